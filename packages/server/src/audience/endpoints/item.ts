import { badMember } from '../../platform/errors.ts';
import type { EndpointGuard } from './guard.ts';

/** The ChannelType values of the Pinpoint API. */
export const channelTypes = [
  'PUSH',
  'GCM',
  'APNS',
  'APNS_SANDBOX',
  'APNS_VOIP',
  'APNS_VOIP_SANDBOX',
  'ADM',
  'SMS',
  'VOICE',
  'EMAIL',
  'BAIDU',
  'CUSTOM',
  'IN_APP',
] as const;
const channelTypeSet: ReadonlySet<string> = new Set(channelTypes);

export const demographicMembers = [
  'AppVersion',
  'Locale',
  'Make',
  'Model',
  'ModelVersion',
  'Platform',
  'PlatformVersion',
  'Timezone',
] as const;
export const locationMembers = ['City', 'Country', 'Latitude', 'Longitude', 'PostalCode', 'Region'] as const;

/** Attribute values as they may arrive: a list, one string (taken as a list of one), or null (delete). */
export type AttributeInput = Readonly<Record<string, readonly string[] | string | null | undefined>>;

/**
 * An endpoint as callers write it (EndpointBatchItem of the API), with what only imports may give:
 * `CohortId` and `CreationDate` of an endpoint that was exported elsewhere.
 */
export interface EndpointItem {
  Id?: string;
  Address?: string;
  Attributes?: AttributeInput;
  ChannelType?: string;
  Demographic?: { readonly [member in (typeof demographicMembers)[number]]?: string };
  EffectiveDate?: string;
  EndpointStatus?: string;
  Location?: {
    readonly City?: string;
    readonly Country?: string;
    readonly Latitude?: number;
    readonly Longitude?: number;
    readonly PostalCode?: string;
    readonly Region?: string;
  };
  Metrics?: Readonly<Record<string, number | null | undefined>>;
  OptOut?: string;
  RequestId?: string;
  User?: { readonly UserId?: string; readonly UserAttributes?: AttributeInput };
  CohortId?: string;
  CreationDate?: string;
}

/** A map in which `__proto__` and `constructor` are ordinary names. */
export type NameMap<Value> = Record<string, Value>;

/**
 * Objects of this class inherit from an object that inherits from nothing: as safe as `Object.create(null)`, which
 * V8 however keeps as a hash table that is slow to fill and to write as JSON.
 */
const Names = function Names() {} as unknown as new () => NameMap<never>;
Names.prototype = Object.create(null);

export function nameMap<Value>(from?: NameMap<Value>): NameMap<Value> {
  const map: NameMap<Value> = new Names();
  return from ? Object.assign(map, from) : map;
}

/** What is asked of one endpoint: absent members stay as they are, a null value deletes its key. */
export interface EndpointChange {
  id: string;
  /** Place in the caller's list, for messages. */
  index: number;
  channel?: string;
  /** Null takes the address away (`""` was given). */
  address?: string | null;
  optOut?: 'ALL' | 'NONE';
  status?: 'ACTIVE' | 'INACTIVE';
  effectiveAt?: number;
  requestId?: string;
  attributes?: NameMap<string[] | null>;
  metrics?: NameMap<number | null>;
  demographic?: NameMap<string>;
  location?: NameMap<string | number>;
  /** Null detaches the endpoint from its user (`""` was given). */
  userId?: string | null;
  userAttributes?: NameMap<string[] | null>;
  cohort?: number;
  createdAt?: number;
  /** Refused when the endpoint is new and has no channel or address (rows of import files). */
  mustBeComplete?: boolean;
  /** Makes the endpoint when there is none, and changes nothing of one that exists: what an event asks for. */
  onlyIfNew?: boolean;
  /** Refused (`forbidden`) when the endpoint exists: who may make endpoints may not take over those of others. */
  mustBeNew?: boolean;
  /** What the caller may do to it, when it is a stranger. */
  guard?: EndpointGuard;
}

/** Bounds of what one endpoint may hold. Lengths are UTF-16 units, except where bytes are said. */
export interface EndpointLimits {
  nameLength: number;
  valueLength: number;
  values: number;
  /** Names in one map. */
  names: number;
  /** JSON size of one request for one endpoint. */
  endpointBytes: number;
}

/** What protects the server; on for everybody. */
export const protectiveLimits: EndpointLimits = {
  nameLength: 500,
  valueLength: 10_000,
  values: 1_000,
  names: 1_000,
  endpointBytes: 256 * 1024,
};

/** The documented quotas of Pinpoint (reference 10.1), for those who want to be held to them. */
export const pinpointLimits: EndpointLimits = {
  nameLength: 50,
  valueLength: 100,
  values: 50,
  names: 250,
  endpointBytes: 15 * 1024,
};

/** Keys of B-tree indexes: PostgreSQL takes at most 2704 bytes for all columns of one entry. */
const maxIdBytes = 1024;
const maxAddressBytes = 2000;

/**
 * Checks one item and brings it into the form that is applied. `path` is its place in the request (`$` or
 * `$.Item[3]`).
 * @throws CallerError `bad_request` that names the member.
 */
export function readEndpointItem(
  item: EndpointItem,
  id: string,
  index: number,
  path: string,
  limits: EndpointLimits = protectiveLimits,
): EndpointChange {
  checkKey(id, `${path}.Id`, maxIdBytes);
  if (id === '') throw badMember(`${path}.Id`, 'expected a non-empty endpoint id');
  const change: EndpointChange = { id, index };
  if (item.ChannelType != null) {
    if (!channelTypeSet.has(item.ChannelType)) {
      throw badMember(`${path}.ChannelType`, `expected one of ${channelTypes.join(', ')}`);
    }
    change.channel = item.ChannelType;
  }
  if (item.Address != null) {
    checkKey(item.Address, `${path}.Address`, maxAddressBytes);
    change.address = item.Address === '' ? null : item.Address;
  }
  if (item.OptOut != null) change.optOut = oneOf(item.OptOut, ['ALL', 'NONE'], `${path}.OptOut`);
  if (item.EndpointStatus != null) {
    change.status = oneOf(item.EndpointStatus, ['ACTIVE', 'INACTIVE'], `${path}.EndpointStatus`);
  }
  if (item.EffectiveDate != null && item.EffectiveDate !== '') {
    change.effectiveAt = readTime(item.EffectiveDate, `${path}.EffectiveDate`);
  }
  if (item.RequestId != null) {
    change.requestId = checkText(item.RequestId, `${path}.RequestId`, limits.valueLength);
  }
  if (item.Attributes) change.attributes = readAttributes(item.Attributes, `${path}.Attributes`, limits);
  if (item.Metrics) change.metrics = readMetrics(item.Metrics, `${path}.Metrics`, limits);
  if (item.Demographic) {
    change.demographic = readTexts(item.Demographic, demographicMembers, `${path}.Demographic`, limits);
  }
  if (item.Location) change.location = readLocation(item.Location, `${path}.Location`, limits);
  if (item.User) readUser(item.User, change, path, limits);
  if (item.CohortId != null) change.cohort = readCohort(item.CohortId, `${path}.CohortId`);
  if (item.CreationDate != null) change.createdAt = readTime(item.CreationDate, `${path}.CreationDate`);
  return change;
}

/**
 * Is an item of the request bigger than `limits.endpointBytes`? Apart, since files bound their lines themselves.
 * @returns the item as JSON
 */
export function checkEndpointSize(item: EndpointItem, path: string, limits: EndpointLimits): string {
  const json = JSON.stringify(item);
  // A character takes at most three bytes for each of its units.
  if (json.length * 3 > limits.endpointBytes && Buffer.byteLength(json) > limits.endpointBytes) {
    throw badMember(
      path,
      `expected an endpoint of at most ${limits.endpointBytes} bytes, got ${Buffer.byteLength(json)}`,
    );
  }
  return json;
}

function readUser(
  user: NonNullable<EndpointItem['User']>,
  change: EndpointChange,
  path: string,
  limits: EndpointLimits,
): void {
  if (user.UserId != null) {
    checkKey(user.UserId, `${path}.User.UserId`, maxIdBytes);
    change.userId = user.UserId === '' ? null : user.UserId;
  }
  if (user.UserAttributes) {
    const read = readAttributes(user.UserAttributes, `${path}.User.UserAttributes`, limits);
    if (read) change.userAttributes = read;
  }
}

function readAttributes(
  input: AttributeInput,
  path: string,
  limits: EndpointLimits,
): NameMap<string[] | null> | undefined {
  const names = Object.keys(input);
  if (names.length === 0) return undefined;
  checkNames(names, path, limits);
  const read = nameMap<string[] | null>();
  for (const name of names) {
    const given = input[name];
    if (given === undefined) continue;
    if (given === null || given.length === 0) {
      // `[]` and null delete the key; an empty string is one empty value.
      read[name] = typeof given === 'string' ? [''] : null;
      continue;
    }
    const values = typeof given === 'string' ? [given] : given;
    if (!Array.isArray(values)) throw badMember(`${path}.${name}`, 'expected a list of strings');
    if (values.length > limits.values) {
      throw badMember(`${path}.${name}`, `expected at most ${limits.values} values, got ${values.length}`);
    }
    for (const [place, value] of values.entries()) {
      checkText(value, `${path}.${name}[${place}]`, limits.valueLength);
    }
    read[name] = values as string[];
  }
  return read;
}

function readMetrics(
  input: NonNullable<EndpointItem['Metrics']>,
  path: string,
  limits: EndpointLimits,
): NameMap<number | null> | undefined {
  const names = Object.keys(input);
  if (names.length === 0) return undefined;
  checkNames(names, path, limits);
  const read = nameMap<number | null>();
  for (const name of names) {
    const value = input[name];
    if (value === undefined) continue;
    if (value !== null && !Number.isFinite(value)) throw badMember(`${path}.${name}`, 'expected a number');
    read[name] = value;
  }
  return read;
}

function readTexts(
  input: Readonly<Record<string, unknown>>,
  members: readonly string[],
  path: string,
  limits: EndpointLimits,
): NameMap<string> | undefined {
  let read: NameMap<string> | undefined;
  for (const member of members) {
    const value = input[member];
    if (value == null) continue;
    read ??= nameMap<string>();
    read[member] = checkText(value, `${path}.${member}`, limits.valueLength);
  }
  return read;
}

function readLocation(
  input: NonNullable<EndpointItem['Location']>,
  path: string,
  limits: EndpointLimits,
): NameMap<string | number> | undefined {
  const texts = readTexts(input, ['City', 'Country', 'PostalCode', 'Region'], path, limits);
  const country = texts?.Country;
  // Alpha-2 is documented; clients of old also sent alpha-3.
  if (country !== undefined && country !== '' && !/^[A-Za-z]{2,3}$/.test(country)) {
    throw badMember(`${path}.Country`, 'expected a country code of ISO 3166-1 (`DE`)');
  }
  const read: NameMap<string | number> = texts ?? nameMap<string | number>();
  for (const [member, bound] of [
    ['Latitude', 90],
    ['Longitude', 180],
  ] as const) {
    const value = input[member];
    if (value == null) continue;
    if (!Number.isFinite(value) || Math.abs(value) > bound) {
      throw badMember(`${path}.${member}`, `expected a number from -${bound} to ${bound}`);
    }
    read[member] = value;
  }
  return texts || Object.keys(read).length > 0 ? read : undefined;
}

function readCohort(value: string, path: string): number {
  const cohort = Number(value);
  if (!/^\d{1,2}$/.test(value)) throw badMember(path, 'expected a number from 0 to 99');
  return cohort;
}

/** Years that both JavaScript and PostgreSQL's output can say in ISO 8601 with four digits. */
const earliestTime = Date.UTC(1, 0, 1);
const latestTime = Date.UTC(9999, 11, 31);

function readTime(value: string, path: string): number {
  const at = /^\d{4}-\d{2}-\d{2}/.test(value) ? Date.parse(value) : Number.NaN;
  if (!(at >= earliestTime && at <= latestTime)) {
    throw badMember(path, 'expected a time in ISO 8601 (`2018-05-24T21:26:33.995Z`)');
  }
  return at;
}

function oneOf<const Value extends string>(value: string, allowed: readonly Value[], path: string): Value {
  for (const candidate of allowed) if (candidate === value) return candidate;
  throw badMember(path, `expected one of ${allowed.join(', ')}`);
}

function checkNames(names: string[], path: string, limits: EndpointLimits): void {
  if (names.length > limits.names) {
    throw badMember(path, `expected at most ${limits.names} names, got ${names.length}`);
  }
  for (const name of names) {
    if (name === '') throw badMember(path, 'expected names that are not empty');
    if (name.length > limits.nameLength) {
      throw badMember(
        `${path}.${name.slice(0, 20)}…`,
        `expected a name of at most ${limits.nameLength} characters`,
      );
    }
    checkStorable(name, path);
  }
}

function checkText(value: unknown, path: string, maxLength: number): string {
  if (typeof value !== 'string') throw badMember(path, 'expected a string');
  if (value.length > maxLength) {
    throw badMember(path, `expected at most ${maxLength} characters, got ${value.length}`);
  }
  return checkStorable(value, path);
}

function checkKey(value: string, path: string, maxBytes: number): void {
  if (typeof value !== 'string') throw badMember(path, 'expected a string');
  if (value.length * 3 > maxBytes && Buffer.byteLength(value) > maxBytes) {
    throw badMember(path, `expected at most ${maxBytes} bytes, got ${Buffer.byteLength(value)}`);
  }
  checkStorable(value, path);
}

/** PostgreSQL can store neither U+0000 nor half of a surrogate pair. */
function checkStorable(value: string, path: string): string {
  if (value.includes('\0')) throw badMember(path, 'expected text without U+0000');
  if (!value.isWellFormed()) throw badMember(path, 'expected text without lone surrogates');
  return value;
}
