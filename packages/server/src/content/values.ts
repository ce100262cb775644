/**
 * What a template computes with. Objects of a person are Maps, so that no name (`constructor`, `__proto__`) can reach
 * anything but the person's own attributes.
 */
export type Value =
  | undefined
  | string
  | number
  | boolean
  | Absent
  | readonly Value[]
  | ReadonlyMap<string, Value>;

/** The result of a helper whose variable has no value: printing it reports the variable as missing. */
export class Absent {
  readonly variable: string;

  constructor(variable: string) {
    this.variable = variable;
  }
}

/** A render that cannot be finished for this person; its message is meant for the template's author. */
export class RenderError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'RenderError';
  }
}

/** Printed between the values of a list that a template prints whole (`{{Attributes.colors}}`). */
export const listSeparator = ', ';

/** Falsy in the sense of Handlebars: nothing, false, 0, an empty text or an empty list. */
export function isEmpty(value: Value): boolean {
  if (value === undefined || value === false || value === '' || value === 0) return true;
  if (value instanceof Absent) return true;
  return Array.isArray(value) && value.length === 0;
}

/** The text that a value prints as; undefined when it has none (nothing there, or an object). */
export function textOf(value: Value): string | undefined {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (!Array.isArray(value)) return undefined;
  const texts: string[] = [];
  for (const item of value) {
    const text = textOf(item);
    if (text !== undefined) texts.push(text);
  }
  return texts.length === 0 && value.length > 0 ? undefined : texts.join(listSeparator);
}

/** A list of one stands for its element: attributes are lists in Pinpoint, whether one value or many. */
export function single(value: Value): Value {
  return Array.isArray(value) && value.length === 1 ? value[0] : value;
}

const arrayIndex = /^(0|[1-9]\d{0,8})$/;

/** The number of `0`, `12` …; -1 when a path segment is no index. */
export function indexOf(segment: string): number {
  return arrayIndex.test(segment) ? Number(segment) : -1;
}

/** Follows path segments from a value; undefined where nothing of that name is there. */
export function follow(value: Value, segments: readonly string[]): Value {
  let current = value;
  for (const segment of segments) {
    if (current instanceof Map) {
      current = current.get(segment);
    } else if (Array.isArray(current)) {
      current = segment === 'length' ? current.length : current[indexOf(segment)];
    } else if (current !== undefined && indexOf(segment) === 0 && !(current instanceof Absent)) {
    } else {
      return undefined;
    }
  }
  return current;
}
