import { badMember } from '../../platform/errors.ts';

/** Reading of plain JSON values by member, with the path in every complaint. Keys never reach a prototype. */

/** `$.Attributes` and `plan` make `$.Attributes.plan`; a key that is not a plain word is quoted. */
export function keyPath(path: string, key: string): string {
  if (/^[A-Za-z_][\w-]{0,63}$/.test(key)) return `${path}.${key}`;
  return `${path}[${JSON.stringify(key.length > 64 ? `${key.slice(0, 64)}…` : key)}]`;
}

/** Key and value of each own member of a JSON object; members that are null count as absent. */
export function entries(value: unknown, path: string): [string, unknown][] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw badMember(path, 'expected an object');
  }
  return Object.entries(value).filter(([, member]) => member != null);
}

/** A reader of the members of an object that may have only `allowed` ones. */
export function members(value: unknown, path: string, allowed: readonly string[]): (name: string) => unknown {
  const own = new Map(entries(value, path));
  for (const name of own.keys()) {
    if (!allowed.includes(name)) {
      throw badMember(keyPath(path, name), `unknown member, expected one of ${allowed.join(', ')}`);
    }
  }
  return (name) => own.get(name);
}

/** Each element of a list, with its path. */
export function elements(value: unknown, path: string, most: number): [unknown, string][] {
  if (!Array.isArray(value)) throw badMember(path, 'expected a list');
  if (value.length > most) throw badMember(path, `expected at most ${most} elements`);
  return value.map((element, index) => [element, `${path}[${index}]`]);
}

export function oneOf<const Name extends string>(names: readonly Name[], value: unknown, path: string): Name {
  const found = names.find((name) => name === value);
  if (found === undefined) throw badMember(path, `expected one of ${names.join(', ')}`);
  return found;
}

/** A string of `fewest` to `most` characters (code points). */
export function text(value: unknown, path: string, fewest: number, most: number): string {
  if (typeof value !== 'string') throw badMember(path, 'expected a string');
  // Two code units a character at most: a long string is refused without being walked.
  const characters = value.length > 2 * most ? value.length : [...value].length;
  if (characters < fewest) throw badMember(path, `expected at least ${fewest} characters`);
  if (characters > most) throw badMember(path, `expected at most ${most} characters`);
  return value;
}

export function finiteNumber(value: unknown, path: string, least?: number, most?: number): number {
  if (typeof value !== 'number' || !Number.isFinite(value)) throw badMember(path, 'expected a number');
  if (least !== undefined && most !== undefined && (value < least || value > most)) {
    throw badMember(path, `expected a number from ${least} to ${most}`);
  }
  return value;
}

export function wholeNumber(value: unknown, path: string, least: number, most: number): number {
  if (!Number.isInteger(value)) throw badMember(path, 'expected a whole number');
  return finiteNumber(value, path, least, most);
}
