import type { Database } from '../../platform/database.ts';
import { latestSigns, type SignOfLife } from '../endpoints/activity.ts';
import type { EndpointChange } from '../endpoints/item.ts';
import { changeAlone } from '../endpoints/known.ts';
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

/**
 * The short way for groups like most: new events of endpoints that exist, with names that are known, whose endpoints
 * change in nothing that others bear on. One look, and one statement that does what `writeItems` does in a dozen round
 * trips, or nothing when others came between (40001, which is a conflict like any other).
 * @returns undefined when the group has to go the long way; nothing was written then
 */
export async function writeKnown(
  database: Database,
  applicationId: string,
  items: readonly PreparedItem[],
  options: Pick<WriteOptions, 'now' | 'batchId' | 'names'>,
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
  const ids = [...new Set(items.map(({ endpointId }) => endpointId))];
  const { isReplay, isWatched, endpoints } = await selectKnown(
    database,
    applicationId,
    generations,
    keys,
    ids,
  );
  if (isReplay || endpoints.size < ids.length) return undefined;
  const changed = changeAlone(group.map(changeOf), endpoints, options.now);
  if (!changed || (isWatched && changed.length > 0)) return undefined;
  await insertKnown(database, applicationId, {
    batchId: options.batchId,
    day: generations.today,
    ...factsOf(group, (id) => endpoints.get(id)!.userId ?? undefined),
    changed: changed.map((row) => ({ ...row, version: endpoints.get(row.id)!.version })),
  });
  return items.map(() => written);
}

/** The item when the short way can be its way, as far as it says itself. */
function knownItem(
  applicationId: string,
  item: PreparedItem,
  names: WriteOptions['names'],
): KnownItem | undefined {
  if (item.endpointRefusal !== undefined || item.mustBeNew) return undefined;
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

function factsOf(group: readonly KnownItem[], userOf: (endpointId: string) => string | undefined) {
  const signs: SignOfLife[] = [];
  let [facts, count, length] = ['', 0, 0];
  for (const { item, events } of group) {
    const payloadOf = payloadsOf(userOf(item.endpointId));
    const endpoint = JSON.stringify(item.endpointId);
    for (const event of events) {
      const payload = payloadOf(event);
      const type = JSON.stringify(event.factType);
      facts += `${count === 0 ? '[' : ','}{"key":"${event.key}","type":${type},"at":${event.occurredAt},"endpoint":${endpoint},"payload":${payload}}`;
      count++;
      length += payload.length;
    }
    const sign = signOfLife(item.endpointId, events);
    if (sign) signs.push(sign);
  }
  return { facts: `${facts}]`, count, length, activity: latestSigns(signs) };
}
