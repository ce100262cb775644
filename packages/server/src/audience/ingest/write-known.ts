import type { Database } from '../../platform/database.ts';
import { isNews, latestSigns, type SignOfLife } from '../endpoints/activity.ts';
import type { EndpointChange } from '../endpoints/item.ts';
import { changeAlone } from '../endpoints/known.ts';
import type { EndpointRow } from '../endpoints/row.ts';
import { type EndpointMemory, type Remembered, rowOf } from './endpoint-memory.ts';
import type { Generations } from './ingest.sql.ts';
import { insertKnown, selectKnown } from './known.sql.ts';
import type { PreparedEvent, PreparedItem } from './prepare.ts';
import { generationsOf, type ItemOutcome, payloadsOf, signOfLife, type WriteOptions } from './write.ts';

/** An item of which everything is to be written. */
interface KnownItem {
  item: PreparedItem;
  events: readonly PreparedEvent[];
}

/** More than this is better copied in pieces than held as one argument. */
const maxBytes = 8 * 1024 * 1024;

const written: ItemOutcome = {
  endpointRefusal: undefined,
  itemRefused: undefined,
  refusedEvents: new Map(),
  replayed: false,
  created: false,
};

export interface KnownOptions extends Pick<WriteOptions, 'now' | 'batchId' | 'names'> {
  memory: EndpointMemory;
  /** Goes by what is remembered, where it can, without a look. */
  trusting: boolean;
}

/**
 * The short way for groups like most: new events of endpoints that exist, with names that are known, whose endpoints
 * change in nothing that others bear on. At most one look, and one statement that does what `writeItems` does in a
 * dozen round trips, or nothing when it is not as it was known (40001, which is a conflict like any other).
 * @returns undefined when the group has to go the long way; nothing was written then
 */
export async function writeKnown(
  database: Database,
  applicationId: string,
  items: readonly PreparedItem[],
  options: KnownOptions,
): Promise<ItemOutcome[] | undefined> {
  const generations = generationsOf(options.batchId, options.now);
  if (generations.overMidnight || items.reduce((sum, { bytes }) => sum + bytes, 0) > maxBytes)
    return undefined;
  const known = items.map((item) => knownItem(applicationId, item, options.names));
  const keys: string[] = [];
  for (const one of known) {
    if (!one) return undefined;
    for (const { key } of one.events) keys.push(key);
  }
  if (keys.length === 0 || new Set(keys).size < keys.length) return undefined;
  const group = known as KnownItem[];
  const endpoints = await knownEndpoints(database, applicationId, group, { generations, keys }, options);
  if (!endpoints) return undefined;
  const changed = changedRows(group, endpoints, options.now);
  const { batchId, memory } = options;
  if (!changed || (changed.length > 0 && memory.isWatched(applicationId))) return undefined;
  const facts = factsOf(group, endpoints);
  const { version, active } = await insertKnown(database, applicationId, {
    batchId,
    generations,
    ...facts,
    changed: changed.map((row) => ({ ...row, version: endpoints.get(row.id)!.version })),
    unchanged: versionsBut(endpoints, changed),
  });
  const { ids, times } = facts.activity;
  const signs = new Map(ids.map((id, place) => [id, times[place]!]));
  for (const id of active) endpoints.get(id)!.activeAt = signs.get(id)!;
  for (const row of changed) {
    memory.remember(applicationId, { ...row, version, activeAt: endpoints.get(row.id)!.activeAt });
  }
  const changedIds = new Set(changed.map(({ id }) => id));
  for (const { item } of group) {
    const { endpointId: id, endpoint } = item;
    if (endpoint === undefined || item.change.onlyIfNew || changedIds.has(id)) continue;
    const remembered = endpoints.get(id)!;
    if (remembered.changesNothing !== endpoint) memory.noteNoChange(applicationId, id, remembered, endpoint);
  }
  return items.map(() => written);
}

/** The endpoints of the group, remembered or looked up; undefined when something about it is not like most. */
async function knownEndpoints(
  database: Database,
  applicationId: string,
  group: readonly KnownItem[],
  { generations, keys }: { generations: Generations; keys: readonly string[] },
  { memory, trusting }: KnownOptions,
): Promise<Map<string, Remembered> | undefined> {
  const endpoints = new Map<string, Remembered>();
  const missing = new Set<string>();
  for (const { item } of group) {
    const remembered = trusting ? memory.get(applicationId, item.endpointId) : undefined;
    if (remembered) endpoints.set(item.endpointId, remembered);
    else missing.add(item.endpointId);
  }
  if (missing.size === 0) return endpoints;
  const found = await selectKnown(database, applicationId, generations, keys, [...missing]);
  if (found.isReplay || found.endpoints.length < missing.size) return undefined;
  memory.noteWatched(applicationId, found.isWatched);
  for (const row of found.endpoints) {
    if (row.segmentId !== null) return undefined;
    endpoints.set(row.id, memory.remember(applicationId, row));
  }
  return endpoints;
}

/** The rows that are different after the group; undefined when others bear on it. */
function changedRows(
  group: readonly KnownItem[],
  endpoints: ReadonlyMap<string, Remembered>,
  now: number,
): EndpointRow[] | undefined {
  const rows = new Map<string, EndpointRow>();
  for (const { item } of group) {
    const remembered = endpoints.get(item.endpointId)!;
    if (!item.change.onlyIfNew && item.endpoint !== remembered.changesNothing && !rows.has(item.endpointId))
      rows.set(item.endpointId, rowOf(remembered));
  }
  if (rows.size === 0) return [];
  return changeAlone(group.filter(({ item }) => rows.has(item.endpointId)).map(changeOf), rows, now);
}

function versionsBut(endpoints: ReadonlyMap<string, Remembered>, changed: readonly EndpointRow[]) {
  const unchanged = new Map(endpoints);
  for (const { id } of changed) unchanged.delete(id);
  return { ids: [...unchanged.keys()], versions: [...unchanged.values()].map(({ version }) => version) };
}

/** The item when the short way can be its way, as far as it says itself. */
function knownItem(
  applicationId: string,
  item: PreparedItem,
  names: WriteOptions['names'],
): KnownItem | undefined {
  if (item.endpointRefusal !== undefined || item.mustBeNew || item.change.guard) return undefined;
  const events: PreparedEvent[] = [];
  for (const event of item.events) {
    if (typeof event === 'string') continue;
    if (names.isNew(applicationId, event)) return undefined;
    events.push(event);
  }
  return { item, events };
}

/** @param index for messages, of which there are none. */
function changeOf({ item }: KnownItem, index: number): EndpointChange {
  return { ...item.change, index };
}

function factsOf(group: readonly KnownItem[], endpoints: ReadonlyMap<string, Remembered>) {
  const signs: SignOfLife[] = [];
  let [facts, count, length] = ['', 0, 0];
  for (const { item, events } of group) {
    const { userId, activeAt } = endpoints.get(item.endpointId)!;
    const payloadOf = payloadsOf(userId ?? undefined);
    const endpoint = JSON.stringify(item.endpointId);
    for (const event of events) {
      const payload = payloadOf(event);
      const type = JSON.stringify(event.factType);
      facts += `${count === 0 ? '[' : ','}{"key":"${event.key}","type":${type},"at":${event.occurredAt},"endpoint":${endpoint},"payload":${payload}}`;
      count++;
      length += payload.length;
    }
    const sign = signOfLife(item.endpointId, events);
    if (sign && isNews(sign, activeAt)) signs.push(sign);
  }
  return { facts: `${facts}]`, count, length, activity: latestSigns(signs) };
}
