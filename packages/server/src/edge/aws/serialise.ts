import type { Shape } from './shapes.ts';

class JsonText {
  readonly json: string;

  constructor(json: string) {
    this.json = json;
  }
}

/** A payload that a handler has written as JSON itself: one with a part for each of many items, which has to be fast. */
export function jsonText<Payload>(json: string): Payload {
  return new JsonText(json) as Payload;
}

/** What a handler returned, as JSON text: only members that the model knows, without those that are null. */
export function payloadJson(shape: Shape, payload: unknown): string {
  return payload instanceof JsonText ? payload.json : serialise(shape, payload);
}

function serialise(shape: Shape, value: unknown): string {
  switch (shape.kind) {
    case 'structure': {
      const source = value as Record<string, unknown>;
      let json = '{';
      for (const member of shape.members) {
        const memberValue = source[member.name];
        if (memberValue === undefined || memberValue === null) continue;
        // Names of the model are letters and digits.
        json += `${json.length > 1 ? ',' : ''}"${member.wireName}":${serialise(member.shape, memberValue)}`;
      }
      return `${json}}`;
    }
    case 'list':
      return `[${(value as unknown[]).map((element) => (element == null ? 'null' : serialise(shape.element, element))).join(',')}]`;
    case 'map': {
      const source = value as Record<string, unknown>;
      let json = '{';
      for (const key of Object.keys(source)) {
        const element = source[key];
        if (element === undefined || element === null) continue;
        json += `${json.length > 1 ? ',' : ''}${JSON.stringify(key)}:${serialise(shape.value, element)}`;
      }
      return `${json}}`;
    }
    case 'timestamp':
      return JSON.stringify(value instanceof Date ? value.toISOString() : value);
    case 'blob':
      return JSON.stringify(value instanceof Uint8Array ? Buffer.from(value).toString('base64') : value);
    default:
      return JSON.stringify(value);
  }
}
