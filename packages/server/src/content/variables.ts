import type { EndpointResponse } from '@aws-sdk/client-pinpoint';
import type { Variable } from './expressions.ts';
import { indexOf, type Value } from './values.ts';

/** One person to render for. */
export interface RenderInput {
  /** The variables: an endpoint as the Pinpoint API shows it, with its user's attributes; or what is known of one. */
  endpoint: Partial<EndpointResponse>;
  /** Values of this message, by dotted or plain name: `{'User.UserAttributes.FirstName': ['Jane'], code: ['123']}`. */
  substitutions?: Readonly<Record<string, string | readonly string[]>>;
}

/** DefaultSubstitutions of a template. */
export type Defaults = Readonly<Record<string, string | readonly string[]>>;

/**
 * The value of each variable for one person. First come the message's substitutions, then the endpoint, then the
 * template's defaults (reference 6.3). An endpoint's empty attribute (`''`, `[]`) is no value; an empty substitution or
 * default is one, since somebody wrote it down.
 */
export function valuesFor(variables: readonly Variable[], input: RenderInput, defaults: Defaults): Value[] {
  const { endpoint, substitutions } = input;
  return variables.map((variable) => {
    if (substitutions) {
      const given = fromNames(substitutions, variable);
      if (given !== undefined) return given;
    }
    const own = fromEndpoint(endpoint, variable.segments);
    if (isObject(own)) return objectValue(own, variable.name, substitutions, defaults);
    const value = plainValue(own);
    if (value !== undefined) return value;
    const fallback = fromNames(defaults, variable);
    if (fallback !== undefined) return fallback;
    return hasMembers(variable, substitutions) || hasMembers(variable, defaults)
      ? objectValue({}, variable.name, substitutions, defaults)
      : undefined;
  });
}

type Names = Readonly<Record<string, string | readonly string[]>>;

function ownMember(object: object, name: string): unknown {
  return Object.hasOwn(object, name) ? (object as Record<string, unknown>)[name] : undefined;
}

/** `a.b.0` is found under `a.b.0`, under `a.b.[0]`, and in the list under `a.b`. */
function fromNames(names: Names, variable: Variable): Value {
  const exact = substitutionValue(ownMember(names, variable.name));
  const { baseName } = variable;
  if (exact !== undefined || baseName === undefined) return exact;
  const index = variable.segments.at(-1)!;
  const bracketed = substitutionValue(ownMember(names, `${baseName}.[${index}]`));
  if (bracketed !== undefined) return bracketed;
  const list = substitutionValue(ownMember(names, baseName));
  if (Array.isArray(list)) return list[indexOf(index)];
  return index === '0' ? list : undefined;
}

/** A list of one is its element. */
function substitutionValue(value: unknown): Value {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (!Array.isArray(value) || value.length === 0) return undefined;
  const texts = value.filter((item) => typeof item === 'string');
  return texts.length === 1 ? texts[0] : texts;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function fromEndpoint(endpoint: object, segments: readonly string[]): unknown {
  let current: unknown = endpoint;
  for (const segment of segments) {
    if (Array.isArray(current)) {
      current = segment === 'length' ? current.length : current[indexOf(segment)];
    } else if (isObject(current)) {
      current = ownMember(current, segment);
    } else if (current !== undefined && current !== null && segment === '0') {
    } else {
      return undefined;
    }
  }
  return current;
}

function plainValue(value: unknown): Value {
  if (typeof value === 'string') return value === '' ? undefined : value;
  if (typeof value === 'number' || typeof value === 'boolean') return value;
  if (!Array.isArray(value)) return undefined;
  const items = value.filter((item) => typeof item === 'string' || typeof item === 'number');
  return items.some((item) => item !== '') ? items : undefined;
}

/** Levels of objects within a variable; an endpoint has three. */
const maxLevels = 8;

function mapOf(object: Record<string, unknown>, level = 0): Map<string, Value> {
  const map = new Map<string, Value>();
  for (const [name, member] of Object.entries(object)) {
    const value = isObject(member) && level < maxLevels ? mapOf(member, level + 1) : plainValue(member);
    if (value !== undefined) map.set(name, value);
  }
  return map;
}

function hasMembers(variable: Variable, names: Names | undefined): boolean {
  if (!names) return false;
  const prefix = variable.name === '' ? '' : `${variable.name}.`;
  return Object.keys(names).some((name) => name.startsWith(prefix));
}

/** An object that a template enters (`{{#with User}}`), with the substitutions and defaults for its members laid in. */
function objectValue(
  own: Record<string, unknown>,
  name: string,
  substitutions: Names | undefined,
  defaults: Defaults,
): Value {
  const map = mapOf(own);
  const prefix = name === '' ? '' : `${name}.`;
  const lay = (names: Names, replace: boolean) => {
    for (const [key, given] of Object.entries(names)) {
      const value = substitutionValue(given);
      if (value === undefined || !key.startsWith(prefix)) continue;
      put(map, key.slice(prefix.length).split('.'), value, replace);
    }
  };
  lay(defaults, false);
  if (substitutions) lay(substitutions, true);
  return map;
}

function put(map: Map<string, Value>, segments: readonly string[], value: Value, replace: boolean): void {
  let current = map;
  for (const segment of segments.slice(0, Math.min(segments.length - 1, maxLevels))) {
    let next = current.get(segment);
    if (!(next instanceof Map)) {
      if (next !== undefined && !replace) return;
      next = new Map<string, Value>();
      current.set(segment, next);
    }
    current = next as Map<string, Value>;
  }
  const last = segments.at(-1)!;
  if (replace || !current.has(last)) current.set(last, value);
}
