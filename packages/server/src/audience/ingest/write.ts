import { holdApplication } from '../../accounts/index.ts';
import { appendBatch, type Fact } from '../../events/index.ts';
import type { Transaction } from '../../platform/database.ts';
import { uuidDay } from '../../platform/ids.ts';
import { type SignOfLife, touchActivity } from '../endpoints/activity.ts';
import type { EndpointChange } from '../endpoints/item.ts';
import { upsertChanges } from '../endpoints/upsert.ts';
import { isAppActivity } from './event.ts';
import { enterKeys, type Generations, noteRefusals, selectRefusals, selectUserIds } from './ingest.sql.ts';
import type { EventNames, KnownNames } from './names.ts';
import { bareChange, keyOf, type PreparedEvent, type PreparedItem } from './prepare.ts';

/** What became of an item. */
export interface ItemOutcome {
  /** Why the endpoint was not changed as was asked. */
  endpointRefusal: string | undefined;
  /** The events are refused with the endpoint: it cannot be, or (`forbidden`) the caller may not write to it. */
  itemRefused: 'forbidden' | 'impossible' | undefined;
  /** Events that are refused by themselves, and why. */
  refusedEvents: ReadonlyMap<PreparedEvent, string>;
  /** Everything in it was accepted before. */
  replayed: boolean;
  /** The endpoint was made by it. */
  created: boolean;
}

/** What is already known to be refused of a group; found out by an attempt that was taken back. */
export class Refusals {
  /** The endpoint's own change; its events are still accepted. */
  readonly endpoints = new Map<PreparedItem, string>();
  /** The endpoint with all of its events. */
  readonly items = new Map<PreparedItem, { message: string; forbidden: boolean }>();
  readonly events = new Map<PreparedEvent, string>();
}

/** Something of the group is refused that was taken for right; the attempt is taken back and the next one knows. */
export class RefusedError extends Error {}

export interface WriteOptions {
  now: number;
  batchId: string;
  endpointsPerUser: number;
  names: EventNames;
  /** Enters the keys of events and answers the new ones; of what apps put in the two generations. */
  enterKeys?: (tx: Transaction, keys: readonly string[]) => Promise<'all' | Set<string>>;
}

/** How long after midnight writers whose clocks are late still write the day before. */
const lateClockMs = 10 * 60_000;
const dayMs = 86_400_000;

/** The two days whose keys are looked at, for a batch with this id. */
export function generationsOf(batchId: string, now: number): Generations {
  const today = uuidDay(batchId);
  const midnight = Date.parse(today);
  const yesterday = new Date(midnight - dayMs).toISOString().slice(0, 10);
  return { today, yesterday, overMidnight: now - midnight < lateClockMs };
}

/**
 * Writes the items of one application in the caller's transaction: keys, endpoints, facts, activity. Always in this
 * order and each in the order of its keys, so that two writers never wait for each other.
 * @throws RefusedError with `refusals` filled: roll back and call again. CallerError not_found: no such application.
 * @returns the outcome of each item, and what is to be called after the commit
 */
export async function writeItems(
  tx: Transaction,
  applicationId: string,
  items: readonly PreparedItem[],
  refusals: Refusals,
  options: WriteOptions,
): Promise<{ outcomes: ItemOutcome[]; facts: number; onCommit: () => void }> {
  await holdApplication(tx, applicationId);
  const generations = generationsOf(options.batchId, options.now);
  const owners = ownersOf(applicationId, items, refusals);
  const keys = [...owners.keys()].sort();
  const enter = options.enterKeys ?? ((tx, keys) => enterKeys(tx, generations, keys));
  const entered = keys.length > 0 ? await enter(tx, keys) : 'all';
  const work = items.map((item) => new ItemWork(item, owners, entered, refusals));
  const names = await enterNames(tx, applicationId, work, refusals, options.names);
  const { userIds, newIds } = await writeEndpoints(tx, applicationId, work, refusals, options);
  await writeFacts(tx, applicationId, work, userIds, options);
  await noteEndpointRefusals(tx, generations, work);
  await recallRefusals(tx, generations, work, owners);
  return {
    outcomes: work.map((one) => one.outcome(newIds)),
    facts: work.reduce((sum, { fresh }) => sum + fresh.length, 0),
    onCommit: () => {
      if (names) options.names.remember(applicationId, names);
    },
  };
}

/** The first item of the group that has each key; a later one with the same event is its replay. */
function ownersOf(
  applicationId: string,
  items: readonly PreparedItem[],
  refusals: Refusals,
): Map<string, { item: PreparedItem; event: PreparedEvent | undefined }> {
  const owners = new Map<string, { item: PreparedItem; event: PreparedEvent | undefined }>();
  for (const item of items) {
    if (refusals.items.has(item)) continue;
    let keyed = false;
    for (const event of item.events) {
      if (typeof event === 'string' || refusals.events.has(event)) continue;
      keyed = true;
      if (!owners.has(event.key)) owners.set(event.key, { item, event });
    }
    // Without an event it could not tell, after a lost connection, the endpoint that it has made from another's.
    if (item.mustBeNew && !keyed) owners.set(requestKey(applicationId, item), { item, event: undefined });
  }
  return owners;
}

/** A key of this one item; the same when it is written again after a lost connection. */
function requestKey(applicationId: string, item: PreparedItem): string {
  item.requestKey ??= keyOf(`${applicationId}\n${item.endpointId}\n${crypto.randomUUID()}`);
  return item.requestKey;
}

/** An item on its way into the log. */
class ItemWork {
  readonly item: PreparedItem;
  /** Events that were not there before. */
  readonly fresh: PreparedEvent[] = [];
  readonly replayed: boolean;
  readonly refused: { message: string; forbidden: boolean } | undefined;
  readonly #refusals: Refusals;
  endpointRefusal: string | undefined;

  constructor(
    item: PreparedItem,
    owners: ReturnType<typeof ownersOf>,
    entered: 'all' | Set<string>,
    refusals: Refusals,
  ) {
    this.item = item;
    this.#refusals = refusals;
    this.refused = refusals.items.get(item);
    this.endpointRefusal = this.refused?.message ?? item.endpointRefusal ?? refusals.endpoints.get(item);
    let known = item.requestKey !== undefined && entered !== 'all' && !entered.has(item.requestKey);
    if (!this.refused) {
      for (const event of item.events) {
        if (typeof event === 'string' || refusals.events.has(event)) continue;
        const isNew = entered === 'all' || entered.has(event.key);
        if (isNew && owners.get(event.key)!.event === event) this.fresh.push(event);
        else known = true;
      }
    }
    this.replayed = known && this.fresh.length === 0;
  }

  /** What is asked of the endpoint; undefined when nothing is. */
  change(): EndpointChange | undefined {
    const { item } = this;
    if (this.refused || this.replayed) return undefined;
    const refused = item.endpointRefusal !== undefined || this.#refusals.endpoints.has(item);
    if (!refused && !(item.change.onlyIfNew && item.events.length > 0)) return item.change;
    // The events alone: they make an endpoint, unless they are of a message that Pinpoint sent.
    if (!this.fresh.some((event) => isAppActivity(event.eventType))) return undefined;
    return refused ? bareChange(item.endpointId) : item.change;
  }

  outcome(newIds: ReadonlySet<string>): ItemOutcome {
    return {
      endpointRefusal: this.endpointRefusal,
      itemRefused: this.refused && (this.refused.forbidden ? 'forbidden' : 'impossible'),
      refusedEvents: this.#refusals.events,
      replayed: this.replayed,
      created: !this.refused && !this.replayed && newIds.has(this.item.endpointId),
    };
  }
}

async function enterNames(
  tx: Transaction,
  applicationId: string,
  work: readonly ItemWork[],
  refusals: Refusals,
  names: EventNames,
): Promise<KnownNames | undefined> {
  const unknown: PreparedEvent[] = [];
  for (const { fresh } of work) {
    for (const event of fresh) if (names.isNew(applicationId, event)) unknown.push(event);
  }
  if (unknown.length === 0) return undefined;
  const { known, refusals: full } = await names.enter(tx, applicationId, unknown);
  if (full.size === 0) return known;
  for (const [event, message] of full) refusals.events.set(event, message);
  throw new RefusedError();
}

/** The users of the endpoints after the items' changes, by place of the item. */
async function writeEndpoints(
  tx: Transaction,
  applicationId: string,
  work: readonly ItemWork[],
  refusals: Refusals,
  options: WriteOptions,
): Promise<{ userIds: Map<number, string>; newIds: ReadonlySet<string> }> {
  const changes: EndpointChange[] = [];
  const changing = new Set<string>();
  // Of endpoints that are only to be there, those that are need a look at two columns and no lock.
  const bare = new Set<string>();
  for (const [index, one] of work.entries()) {
    const change = one.change();
    if (!change) {
      if (one.fresh.length > 0) bare.add(one.item.endpointId);
      continue;
    }
    changes.push({ ...change, index, ...(one.item.mustBeNew ? { mustBeNew: true } : {}) });
    if (!change.onlyIfNew || one.item.mustBeNew) changing.add(change.id);
  }
  for (const { id } of changes) bare.add(id);
  for (const id of changing) bare.delete(id);
  const existing =
    bare.size > 0 ? await selectUserIds(tx, applicationId, [...bare]) : new Map<string, string | null>();
  const left = existing.size === 0 ? changes : changes.filter(({ id }) => !existing.has(id));
  const { now, endpointsPerUser } = options;
  const result = await upsertChanges(tx, applicationId, left, { now, endpointsPerUser });
  for (const { index, member, message, forbidden = false } of result.refusals) {
    const { item } = work[index]!;
    const text = message.startsWith('Exceeded') ? message : `Endpoint.${member}: ${message}`;
    const hopeless = forbidden || refusals.endpoints.has(item) || item.change.onlyIfNew;
    if (hopeless) refusals.items.set(item, { message: text, forbidden });
    else refusals.endpoints.set(item, text);
  }
  if (result.refusals.length > 0) throw new RefusedError();
  const { userIds } = result;
  // Also of items that ask for nothing beside others that change the same endpoint.
  const users = new Map(existing);
  for (const { id, index } of left) users.set(id, userIds.get(index) ?? null);
  const asking = new Set(left.map(({ index }) => index));
  for (const [index, { item }] of work.entries()) {
    const userId = asking.has(index) ? null : users.get(item.endpointId);
    if (userId) userIds.set(index, userId);
  }
  return { userIds, newIds: new Set(result.newIds) };
}

async function writeFacts(
  tx: Transaction,
  applicationId: string,
  work: readonly ItemWork[],
  userIds: ReadonlyMap<number, string>,
  options: WriteOptions,
): Promise<void> {
  const facts: Fact[] = [];
  const signs: SignOfLife[] = [];
  for (const [index, { item, fresh }] of work.entries()) {
    const { endpointId } = item;
    const payloadOf = payloadsOf(userIds.get(index));
    for (const event of fresh) {
      const { factType: type, occurredAt } = event;
      facts.push({ type, applicationId, endpointId, occurredAt, payloadJson: payloadOf(event) });
    }
    const sign = signOfLife(endpointId, fresh);
    if (sign) signs.push(sign);
  }
  await touchActivity(tx, applicationId, signs);
  if (facts.length > 0) await appendBatch(tx, options.batchId, facts, options.now);
}

/** The whole payloads of an endpoint's events, by its user. */
export function payloadsOf(userId: string | undefined): (event: PreparedEvent) => string {
  const end = endOfPayload(userId);
  return ({ payloadHead, userId: ownUser }) =>
    payloadHead + (userId === undefined && ownUser !== undefined ? endOfPayload(ownUser) : end);
}

function endOfPayload(userId: string | undefined): string {
  return userId === undefined ? '}' : `,"userId":${JSON.stringify(userId)}}`;
}

/** The latest of what an endpoint's app did; undefined when it did nothing. */
export function signOfLife(endpointId: string, events: readonly PreparedEvent[]): SignOfLife | undefined {
  let at = -1;
  for (const { eventType, occurredAt } of events) {
    if (occurredAt > at && isAppActivity(eventType)) at = occurredAt;
  }
  return at < 0 ? undefined : { endpointId, at };
}

async function noteEndpointRefusals(
  tx: Transaction,
  generations: Generations,
  work: readonly ItemWork[],
): Promise<void> {
  const keys: string[] = [];
  const messages: string[] = [];
  for (const { fresh, endpointRefusal, item } of work) {
    // What reading the item shows, it shows again.
    if (endpointRefusal === undefined || item.endpointRefusal !== undefined) continue;
    for (const { key } of fresh) {
      keys.push(key);
      messages.push(endpointRefusal);
    }
  }
  if (keys.length > 0) await noteRefusals(tx, generations, keys, messages);
}

/** A replay is answered as the first time. */
async function recallRefusals(
  tx: Transaction,
  generations: Generations,
  work: readonly ItemWork[],
  owners: ReturnType<typeof ownersOf>,
): Promise<void> {
  const replays = work.filter((one) => one.replayed && one.endpointRefusal === undefined);
  if (replays.length === 0) return;
  // Of an event that was refused nothing is stored.
  const firstKey = ({ item }: ItemWork) =>
    item.events.find((event) => typeof event !== 'string' && owners.has(event.key)) as
      | PreparedEvent
      | undefined;
  const keys = replays.flatMap((one) => firstKey(one)?.key ?? []);
  const stored = await selectRefusals(tx, generations, keys);
  for (const one of replays) one.endpointRefusal = stored.get(firstKey(one)?.key ?? '');
}
