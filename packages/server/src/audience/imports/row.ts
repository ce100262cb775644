import { hash } from 'node:crypto';
import { CallerError } from '../../platform/errors.ts';
import {
  demographicMembers,
  type EndpointChange,
  type EndpointItem,
  locationMembers,
  nameMap,
  readEndpointItem,
} from '../endpoints/item.ts';
import { UnreadableFileError } from './files.ts';
import { csvValues, type FileRecord } from './records.ts';

/** What a record of an import file asks for. */
export type ImportRow =
  | { kind: 'endpoint'; change: EndpointChange }
  /** A file of users: its endpoints are those that the user has when the segment is used. */
  | { kind: 'user'; userId: string; change: EndpointChange }
  | { kind: 'failure'; reason: string };

export interface RowReader {
  /**
   * The Id that the record says, where that can be seen without reading it: a record waits as text until its chunk is
   * written, which spares the garbage collector most of an import's work.
   */
  idOf(record: FileRecord): string | undefined;
  read(record: FileRecord): ImportRow;
}

type Setter = (item: Draft, value: string) => void;

/** An item under construction: a CSV row fills it member by member. */
interface Draft extends EndpointItem {
  Attributes?: Record<string, string[]>;
  Metrics?: Record<string, number>;
  Demographic?: Record<string, string>;
  Location?: Record<string, string | number> & EndpointItem['Location'];
  User?: { UserId?: string; UserAttributes?: Record<string, string[]> };
}

const plainColumns = [
  'ChannelType',
  'Address',
  'Id',
  'OptOut',
  'EffectiveDate',
  'RequestId',
  'EndpointStatus',
  'CohortId',
  'CreationDate',
] as const;
const numbers: ReadonlySet<string> = new Set(['Latitude', 'Longitude']);

/**
 * A reader of the rows below this header (reference 2.5). Unknown columns are left out and named in `unknown`; a
 * column that is there several times holds several values of its attribute.
 * @throws UnreadableFileError when no column is known.
 */
export function csvRowReader(header: FileRecord): { reader: RowReader; unknown: string[] } {
  if (header.error) throw new UnreadableFileError(`the header ${header.error}`);
  const names = csvValues(header.text).map((name) => name.trim());
  const setters = names.map(columnSetter);
  const unknown = names.filter((_, place) => !setters[place]).map((name) => name.slice(0, 100));
  if (setters.every((setter) => !setter)) {
    throw new UnreadableFileError(
      `the first line names no column of an endpoint (ChannelType, Address, Id, Attributes.<name> …, separated by commas), but: ${header.text.slice(0, 200)}`,
    );
  }
  const idPlace = names.indexOf('Id');
  const reader: RowReader = {
    idOf: ({ error, text }) => {
      const isPlain = error === undefined && idPlace !== -1 && idPlace === names.lastIndexOf('Id');
      return isPlain && !text.includes('"') ? valueAt(text, idPlace) : undefined;
    },
    read(record) {
      if (record.error !== undefined) return { kind: 'failure', reason: record.error };
      const values = csvValues(record.text);
      if (values.length !== setters.length) {
        return { kind: 'failure', reason: `expected ${setters.length} values, got ${values.length}` };
      }
      const item: Draft = {};
      for (let place = 0; place < values.length; place++) {
        const value = values[place]!;
        if (value !== '') setters[place]?.(item, value);
      }
      return toRow(item, record);
    },
  };
  return { reader, unknown };
}

/** A value of a row without quotes; undefined when it is empty or not there. */
function valueAt(row: string, place: number): string | undefined {
  let start = 0;
  for (let skipped = 0; skipped < place; skipped++) {
    start = row.indexOf(',', start) + 1;
    if (start === 0) return undefined;
  }
  const end = row.indexOf(',', start);
  return row.slice(start, end === -1 ? row.length : end) || undefined;
}

function columnSetter(name: string): Setter | undefined {
  for (const column of plainColumns) {
    if (column === name) {
      return (item, value) => {
        item[column] = value;
      };
    }
  }
  const dot = name.indexOf('.');
  const group = name.slice(0, dot);
  const member = name.slice(dot + 1);
  if (dot === -1 || member === '') return undefined;
  if (group === 'Attributes') {
    return (item, value) => {
      item.Attributes ??= nameMap();
      append(item.Attributes, member, value);
    };
  }
  if (group === 'Metrics') {
    return (item, value) => {
      item.Metrics ??= nameMap();
      item.Metrics[member] = toNumber(value);
    };
  }
  if (group === 'Demographic' && (demographicMembers as readonly string[]).includes(member)) {
    return (item, value) => {
      item.Demographic ??= nameMap();
      item.Demographic[member] = value;
    };
  }
  if (group === 'Location' && (locationMembers as readonly string[]).includes(member)) {
    return (item, value) => {
      item.Location ??= nameMap() as NonNullable<Draft['Location']>;
      item.Location[member] = numbers.has(member) ? toNumber(value) : value;
    };
  }
  if (name === 'User.UserId') {
    return (item, value) => {
      item.User ??= {};
      item.User.UserId = value;
    };
  }
  if (name.startsWith('User.UserAttributes.') && name.length > 20) {
    const attribute = name.slice(20);
    return (item, value) => {
      item.User ??= {};
      item.User.UserAttributes ??= nameMap();
      append(item.User.UserAttributes, attribute, value);
    };
  }
  return undefined;
}

function append(map: Record<string, string[]>, name: string, value: string): void {
  const values = map[name];
  if (values) values.push(value);
  else map[name] = [value];
}

/** What is no number becomes NaN, which the check of the item refuses by name. */
function toNumber(value: string): number {
  const trimmed = value.trim();
  return trimmed === '' ? Number.NaN : Number(trimmed);
}

/** Reads lines of JSON: an EndpointRequest with Id each, or the EndpointResponse of an export. */
export const jsonRowReader: RowReader = {
  idOf: () => undefined,
  read(record) {
    if (record.error !== undefined) return { kind: 'failure', reason: record.error };
    let item: unknown;
    try {
      item = JSON.parse(record.text);
    } catch (error) {
      return { kind: 'failure', reason: `is not JSON: ${(error as Error).message}` };
    }
    if (typeof item !== 'object' || item === null || Array.isArray(item)) {
      return { kind: 'failure', reason: 'expected a JSON object' };
    }
    const wrong = wrongMember(item as Record<string, unknown>);
    if (wrong) return { kind: 'failure', reason: wrong };
    return toRow(item as EndpointItem, record);
  },
};

const textMembers = [...plainColumns.filter((name) => name !== 'CohortId')];
const mapMembers = ['Attributes', 'Metrics', 'Demographic', 'Location', 'User'];

/** The shape of JSON that nobody has checked before; values within maps are checked by readEndpointItem. */
function wrongMember(item: Record<string, unknown>): string | undefined {
  for (const name of textMembers) {
    const value = item[name];
    if (value != null && typeof value !== 'string') return `$.${name}: expected a string`;
  }
  // Some exports write it as a number.
  if (typeof item.CohortId === 'number') item.CohortId = String(item.CohortId);
  else if (item.CohortId != null && typeof item.CohortId !== 'string') return '$.CohortId: expected a string';
  for (const name of mapMembers) {
    const value = item[name];
    if (value != null && (typeof value !== 'object' || Array.isArray(value)))
      return `$.${name}: expected an object`;
  }
  const user = item.User as Record<string, unknown> | null | undefined;
  if (user?.UserId != null && typeof user.UserId !== 'string') return '$.User.UserId: expected a string';
  const attributes = user?.UserAttributes;
  if (attributes != null && (typeof attributes !== 'object' || Array.isArray(attributes))) {
    return '$.User.UserAttributes: expected an object';
  }
  return undefined;
}

function toRow(item: EndpointItem, record: FileRecord): ImportRow {
  const userId = item.User?.UserId;
  const hasEndpoint = Boolean(item.Id) || Boolean(item.ChannelType) || Boolean(item.Address);
  if (!hasEndpoint && !userId) {
    return { kind: 'failure', reason: 'needs Id, ChannelType and Address, or User.UserId' };
  }
  if (hasEndpoint && !item.Id && !(item.ChannelType && (item.Address || item.ChannelType === 'IN_APP'))) {
    return { kind: 'failure', reason: 'a new endpoint needs ChannelType and Address' };
  }
  try {
    const id = item.Id || derivedId(item);
    const change = readEndpointItem(item, id, record.number, '$');
    if (!hasEndpoint) return { kind: 'user', userId: userId!, change };
    // Endpoints of an export may lack an address, since the application never gave them one.
    change.mustBeComplete = change.cohort === undefined && change.createdAt === undefined;
    return { kind: 'endpoint', change };
  } catch (error) {
    if (error instanceof CallerError) return { kind: 'failure', reason: error.message };
    throw error;
  }
}

/**
 * The id of an endpoint that has none: always the same for the same channel, address and user, so that importing a
 * file twice does not make every endpoint twice.
 */
function derivedId(item: EndpointItem): string {
  const key = JSON.stringify([item.ChannelType ?? '', item.Address ?? '', item.User?.UserId ?? '']);
  return hash('sha256', key, 'hex').slice(0, 32);
}
