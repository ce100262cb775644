import { badMember } from '../../platform/errors.ts';
import type { OperationModel } from './model.ts';
import type { Member, Shape, StructureShape } from './shapes.ts';

/** A parsed structure or map: no prototype, so that `__proto__` and `constructor` are ordinary keys. */
export type WireObject = Record<string, unknown>;

/** Ids, names and ARNs in paths. Above this a key would not fit into a database index. */
const maxLabelBytes = 2000;
const maxPageSize = 1000;

/**
 * Puts together the input of an operation from path labels, query and body, checked against the model. Unknown
 * members are left out, so that newer clients work; a null member counts as absent.
 * @param body the parsed JSON body; undefined when the body was empty.
 * @throws CallerError bad_request that names the member.
 */
export function parseInput(
  model: OperationModel,
  request: {
    labels: ReadonlyMap<string, string>;
    query: ReadonlyMap<string, string[]>;
    body: unknown;
    /** The handler reads the body itself: it is handed on as it is. */
    isRaw?: boolean;
  },
): WireObject {
  const input: WireObject = Object.create(null);
  for (const member of model.input.members) {
    const value =
      member.place === 'label'
        ? parseLabel(member, request.labels.get(member.name)!)
        : member.place === 'query'
          ? parseQuery(member, request.query.get(member.wireName))
          : parsePayload(member, request.body, request.isRaw ?? false);
    if (value !== undefined) input[member.name] = value;
  }
  return input;
}

function parseLabel(member: Member, value: string): string {
  if (Buffer.byteLength(value) > maxLabelBytes) {
    throw badMember(member.name, `expected at most ${maxLabelBytes} bytes`);
  }
  return checkText(value, member.name);
}

function parseQuery(member: Member, values: string[] | undefined): unknown {
  const { wireName, shape } = member;
  if (!values) {
    if (member.required) throw badMember(wireName, 'this query parameter is required');
    return undefined;
  }
  if (shape.kind === 'list') return values.map((value) => checkText(value, wireName));
  if (values.length > 1) throw badMember(wireName, 'expected this query parameter only once');
  const value = checkText(values[0]!, wireName);
  if (shape.kind === 'boolean') {
    if (value !== 'true' && value !== 'false') throw badMember(wireName, 'expected true or false');
    return value === 'true';
  }
  if (wireName === 'page-size') return checkPageSize(value);
  return parseValue(shape, value, wireName);
}

function checkPageSize(value: string): string {
  const size = /^\d{1,9}$/.test(value) ? Number(value) : 0;
  if (size < 1 || size > maxPageSize) {
    throw badMember('page-size', `expected a whole number from 1 to ${maxPageSize}`);
  }
  return value;
}

function parsePayload(member: Member, body: unknown, isRaw: boolean): unknown {
  if (body === undefined || body === null) {
    if (member.required) throw badMember('$', `expected a body with a JSON object (${member.name})`);
    return undefined;
  }
  return isRaw ? body : parseValue(member.shape, body, '$');
}

/** Checks `value` against `shape` and copies what the model knows. `path` is its place, as `$.Schedule.Frequency`. */
export function parseValue(shape: Shape, value: unknown, path: string): unknown {
  switch (shape.kind) {
    case 'structure':
      return parseStructure(shape, value, path);
    case 'list':
      return parseList(shape, value, path);
    case 'map':
      return parseMap(shape, value, path);
    case 'string':
      return parseString(shape, value, path);
    case 'boolean':
      if (typeof value !== 'boolean')
        throw badMember(path, `expected true or false, not ${described(value)}`);
      return value;
    case 'integer':
    case 'double':
      return parseNumber(shape.kind, value, path);
    case 'timestamp':
      return parseDate(value, path);
    case 'blob':
      return parseBlob(value, path);
    case 'document':
      return checkDocument(value, path, 0);
  }
}

const maxDocumentDepth = 32;

/** Any JSON, with the texts in it checked as all others are. */
function checkDocument(value: unknown, path: string, depth: number): unknown {
  if (typeof value === 'string') return checkText(value, path);
  if (typeof value !== 'object' || value === null) return value;
  if (depth >= maxDocumentDepth) throw badMember(path, `expected at most ${maxDocumentDepth} levels`);
  for (const [key, member] of Object.entries(value)) {
    const memberPath = Array.isArray(value) ? `${path}[${key}]` : `${path}${described(key, 'key')}`;
    checkText(key, memberPath);
    checkDocument(member, memberPath, depth + 1);
  }
  return value;
}

function parseStructure(shape: StructureShape, value: unknown, path: string): WireObject {
  const source = asObject(value, path);
  const structure: WireObject = Object.create(null);
  for (const member of shape.members) {
    const memberValue = Object.hasOwn(source, member.wireName) ? source[member.wireName] : undefined;
    if (memberValue === undefined || memberValue === null) {
      if (member.required) throw badMember(`${path}.${member.wireName}`, 'this member is required');
      continue;
    }
    structure[member.name] = parseValue(member.shape, memberValue, `${path}.${member.wireName}`);
  }
  return structure;
}

function parseList(shape: Extract<Shape, { kind: 'list' }>, value: unknown, path: string): unknown[] {
  if (shape.singleAllowed && typeof value === 'string') return [parseValue(shape.element, value, path)];
  if (!Array.isArray(value)) throw badMember(path, `expected an array, not ${described(value)}`);
  return value.map((element, index) => parseValue(shape.element, element, `${path}[${index}]`));
}

function parseMap(shape: Extract<Shape, { kind: 'map' }>, value: unknown, path: string): WireObject {
  const source = asObject(value, path);
  const map: WireObject = Object.create(null);
  for (const key of Object.keys(source)) {
    const keyPath = `${path}${described(key, 'key')}`;
    checkText(key, keyPath);
    if (shape.keys && !shape.keys.includes(key)) {
      throw badMember(path, `expected one of ${shape.keys.join(', ')} as key, not ${described(key)}`);
    }
    const element = source[key];
    if (element === null) {
      if (shape.nullable) map[key] = null;
      continue;
    }
    map[key] = parseValue(shape.value, element, keyPath);
  }
  return map;
}

function parseString(shape: Extract<Shape, { kind: 'string' }>, value: unknown, path: string): string {
  if (typeof value !== 'string') throw badMember(path, `expected a string, not ${described(value)}`);
  if (shape.values && !shape.values.includes(value)) {
    throw badMember(path, `expected one of ${shape.values.join(', ')}, not ${described(value)}`);
  }
  return checkText(value, path);
}

function parseNumber(kind: 'integer' | 'double', value: unknown, path: string): number {
  if (typeof value !== 'number') throw badMember(path, `expected a number, not ${described(value)}`);
  // JSON.parse reads 1e999 as Infinity.
  if (!Number.isFinite(value)) throw badMember(path, 'expected a number of ordinary size');
  if (kind === 'integer' && (!Number.isInteger(value) || Math.abs(value) > 0x7fffffff)) {
    throw badMember(path, 'expected a whole number of at most 32 bits');
  }
  return value;
}

const firstTime = Date.parse('0001-01-01T00:00:00Z');
const lastTime = Date.parse('9999-12-31T23:59:59.999Z');
const rfc3339 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$/i;

/** Milliseconds of a time in RFC 3339, or in seconds since the epoch, as older clients send it; undefined if neither. */
export function parseTimestamp(value: unknown): number | undefined {
  const time =
    typeof value === 'number'
      ? Math.trunc(value * 1000)
      : typeof value === 'string' && rfc3339.test(value)
        ? Date.parse(value)
        : Number.NaN;
  // Also refuses NaN. Outside of these years a time is written in a form that databases do not read.
  return time >= firstTime && time <= lastTime ? time : undefined;
}

function parseDate(value: unknown, path: string): Date {
  const time = parseTimestamp(value);
  if (time === undefined) throw badMember(path, 'expected a time such as 2026-11-21T08:00:00Z');
  return new Date(time);
}

function parseBlob(value: unknown, path: string): Uint8Array {
  if (typeof value !== 'string' || !/^[A-Za-z0-9+/]*={0,2}$/.test(value) || value.length % 4 !== 0) {
    throw badMember(path, 'expected base64');
  }
  return Buffer.from(value, 'base64');
}

/** PostgreSQL stores neither NUL nor half a surrogate pair: refused at the door, wherever it stands. */
function checkText(value: string, path: string): string {
  if (value.includes('\u0000')) throw badMember(path, 'the character NUL (U+0000) cannot be stored');
  if (!value.isWellFormed()) throw badMember(path, 'the text holds half a surrogate pair');
  return value;
}

function asObject(value: unknown, path: string): WireObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw badMember(path, `expected an object, not ${described(value)}`);
  }
  return value as WireObject;
}

const maxShown = 60;

/** A caller's value in an error text: short, and never a part of a character. */
function described(value: unknown, as: 'value' | 'key' = 'value'): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  if (typeof value !== 'string') return typeof value === 'object' ? 'an object' : String(value);
  const shown = value.length > maxShown ? `${value.slice(0, maxShown)}…` : value;
  const text = shown.toWellFormed();
  if (as === 'key') return /^[A-Za-z_][\w]*$/.test(text) ? `.${text}` : `[${JSON.stringify(text)}]`;
  return JSON.stringify(text);
}
