import type { Shape } from './shapes.ts';

/** What a handler returned, as JSON text: only members that the model knows, without those that are null. */
export function serialise(shape: Shape, value: unknown): string {
  return JSON.stringify(toJson(shape, value));
}

function toJson(shape: Shape, value: unknown): unknown {
  switch (shape.kind) {
    case 'structure': {
      const source = value as Record<string, unknown>;
      const target: Record<string, unknown> = {};
      for (const member of shape.members) {
        const memberValue = source[member.name];
        if (memberValue === undefined || memberValue === null) continue;
        target[member.wireName] = toJson(member.shape, memberValue);
      }
      return target;
    }
    case 'list':
      return (value as unknown[]).map((element) => toJson(shape.element, element));
    case 'map': {
      // Without a prototype, so that `__proto__` becomes a member like any other.
      const target: Record<string, unknown> = Object.create(null);
      for (const [key, element] of Object.entries(value as Record<string, unknown>)) {
        if (element !== undefined && element !== null) target[key] = toJson(shape.value, element);
      }
      return target;
    }
    case 'timestamp':
      return value instanceof Date ? value.toISOString() : value;
    case 'blob':
      return value instanceof Uint8Array ? Buffer.from(value).toString('base64') : value;
    default:
      return value;
  }
}
