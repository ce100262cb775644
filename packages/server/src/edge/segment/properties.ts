import { isObject, type Json } from './message.ts';

/** Bounds of the names and values that come out. */
export interface FlatLimits {
  names: number;
  nameLength: number;
  valueLength: number;
}

/** What is left out or cut is said, never silent. */
export type Warn = (text: string) => void;

const maxDepth = 10;

/**
 * The leaves of nested properties, in their order, under names joined by dots (`address.city`, `products.0.sku`).
 * Null and empty members are left out.
 * @param listsAsOne lists of plain values are one leaf.
 */
export function* leaves(
  object: Json,
  options: { listsAsOne: boolean; prefix?: string },
): Generator<[name: string, value: string | number | boolean | (string | number | boolean)[]]> {
  yield* walk(object, options.prefix ?? '', options.listsAsOne, 0);
}

function* walk(
  value: unknown,
  name: string,
  listsAsOne: boolean,
  depth: number,
): Generator<[string, string | number | boolean | (string | number | boolean)[]]> {
  if (isPlain(value)) {
    if (name !== '') yield [name, value];
    return;
  }
  if (depth > maxDepth) return;
  if (Array.isArray(value)) {
    if (listsAsOne && value.length > 0 && value.every(isPlain)) {
      yield [name, value];
      return;
    }
    for (const [index, element] of value.entries()) {
      yield* walk(element, `${name}.${index}`, listsAsOne, depth + 1);
    }
  } else if (isObject(value)) {
    for (const key of Object.keys(value)) {
      if (key === '') continue;
      yield* walk(value[key], name === '' ? key : `${name}.${key}`, listsAsOne, depth + 1);
    }
  }
}

function isPlain(value: unknown): value is string | number | boolean {
  return (
    typeof value === 'string' ||
    typeof value === 'boolean' ||
    (typeof value === 'number' && Number.isFinite(value))
  );
}

/** A map in which every name is an ordinary one. */
function emptyMap<Value>(): Record<string, Value> {
  return Object.create(null) as Record<string, Value>;
}

/** Properties of an event: numbers are metrics, everything else is text. */
export function toEvent(
  properties: Json,
  limits: FlatLimits,
  warn: Warn,
): { attributes: Record<string, string>; metrics: Record<string, number> } {
  const attributes = emptyMap<string>();
  const metrics = emptyMap<number>();
  let count = 0;
  for (const [name, value] of leaves(properties, { listsAsOne: true })) {
    if (!fits(name, limits, warn)) continue;
    if (count === limits.names) {
      warn(`properties: only the first ${limits.names} are kept`);
      break;
    }
    count++;
    if (typeof value === 'number') metrics[name] = value;
    else attributes[name] = cut(Array.isArray(value) ? value.join(',') : String(value), name, limits, warn);
  }
  return { attributes, metrics };
}

/** Traits as attributes of an endpoint or a user (lists of text), and their numbers as metrics. */
export function toAttributes(
  traits: Json,
  limits: FlatLimits & { values: number },
  options: { prefix?: string; numbersAsText: boolean },
  warn: Warn,
): { attributes: Record<string, string[]>; metrics: Record<string, number> } {
  const attributes = emptyMap<string[]>();
  const metrics = emptyMap<number>();
  let count = 0;
  for (const [name, value] of leaves(traits, { listsAsOne: true, prefix: options.prefix ?? '' })) {
    if (!fits(name, limits, warn)) continue;
    if (count === limits.names) {
      warn(`traits: only the first ${limits.names} are kept`);
      break;
    }
    count++;
    if (typeof value === 'number') metrics[name] = value;
    if (typeof value === 'number' && !options.numbersAsText) continue;
    const values = Array.isArray(value) ? value : [value];
    if (values.length > limits.values) warn(`${name}: only the first ${limits.values} values are kept`);
    attributes[name] = values
      .slice(0, limits.values)
      .map((element) => cut(String(element), name, limits, warn));
  }
  return { attributes, metrics };
}

function fits(name: string, limits: FlatLimits, warn: Warn): boolean {
  if (name.length > limits.nameLength) {
    warn(
      `${name.slice(0, 40).toWellFormed()}…: left out, since its name is longer than ${limits.nameLength} characters`,
    );
    return false;
  }
  if (name.includes('\0') || !name.isWellFormed()) {
    warn('a name with U+0000 or half a surrogate pair is left out');
    return false;
  }
  return true;
}

/** Text that can be stored: without U+0000, of whole characters, and not too long. */
function cut(text: string, name: string, limits: FlatLimits, warn: Warn): string {
  let kept = text;
  if (text.includes('\0') || !text.isWellFormed()) {
    warn(`${name}: characters that cannot be stored are replaced`);
    kept = text.replaceAll('\0', '\ufffd').toWellFormed();
  }
  if (kept.length <= limits.valueLength) return kept;
  warn(`${name}: cut to ${limits.valueLength} characters`);
  const short = kept.slice(0, limits.valueLength);
  return short.isWellFormed() ? short : short.slice(0, -1);
}
