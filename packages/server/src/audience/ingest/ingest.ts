import { maxBatchFacts } from '../../events/index.ts';
import { type Clock, systemClock } from '../../platform/clock.ts';
import { type Database, isConflict, isConnectionError } from '../../platform/database.ts';
import { CallerError } from '../../platform/errors.ts';
import { uuidv7 } from '../../platform/ids.ts';
import type { Log } from '../../platform/log.ts';
import { type EndpointLimits, protectiveLimits } from '../endpoints/item.ts';
import { EndpointMemory } from './endpoint-memory.ts';
import { type EventLimits, protectiveEventLimits } from './limits.ts';
import { EventNames } from './names.ts';
import { type IngestItem, type PreparedItem, prepareItem } from './prepare.ts';
import { type ItemOutcome, Refusals, RefusedError, writeItems } from './write.ts';
import { writeKnown } from './write-known.ts';

/** 202 accepted, 400 refused for what it is, 403 refused for whose it is. */
export interface IngestAnswer {
  status: 202 | 400 | 403;
  /** `Accepted`, or what was wrong with which member. */
  message: string;
}

/** What became of one item. */
export interface IngestResult {
  endpoint: IngestAnswer;
  /** In the order of the item's events. */
  events: IngestAnswer[];
  /** The item made the endpoint. */
  created: boolean;
  /** Everything in it was accepted before, so it changed nothing; answered as the first time. */
  replayed: boolean;
}

/** The way of all that apps report into the log. */
export interface Ingest {
  readonly eventLimits: EventLimits;
  /**
   * Writes events, and merges the endpoints that come along, in one transaction with other callers' of the same
   * application. Resolves after the commit. What is wrong with an endpoint or event is said in its result and takes
   * nothing with it but itself.
   * @throws CallerError `not_found` (no such application), `too_many_requests` (too much waits), `unavailable` (the
   * database is away, or the server is stopping): then send the same again, what was written is known by its ids.
   */
  put(applicationId: string, items: readonly IngestItem[]): Promise<IngestResult[]>;
  /** Takes nothing more and resolves when everything taken is written or refused. */
  drain(): Promise<void>;
  /** What waits or is being written, for metrics. */
  queued(): { events: number; bytes: number };
}

export interface IngestOptions {
  database: Database;
  log: Log;
  clock?: Clock;
  /** Default 15 (POSTRIDER_ENDPOINTS_PER_USER). */
  endpointsPerUser?: number;
  endpointLimits?: EndpointLimits;
  eventLimits?: EventLimits;
  /** Days that the log keeps, 0 for ever (POSTRIDER_RETENTION_DAYS): older clocks are not believed. Default 90. */
  retentionDays?: number;
  /** Transactions at once. */
  writers?: number;
  /** What may wait, all callers together. */
  maxQueuedEvents?: number;
  maxQueuedBytes?: number;
  /** How long a write is tried again while the database is away. */
  retryForMs?: number;
}

interface Request {
  items: PreparedItem[];
  events: number;
  bytes: number;
  since: number;
  resolve: (outcomes: ItemOutcome[]) => void;
  reject: (error: unknown) => void;
}

const dayMs = 86_400_000;
/** What has to wait for another writer to begin: below, one larger transaction costs less than two small ones. */
const eventsForAnother = 300;
const requestsForAnother = 16;
const applicationsForAnother = 4;
const retryDelayMs = 50;
const longestRetryDelayMs = 1_000;
/** Deadlocks with others, and refusals that turn up one after the other: more often than this a group is split. */
const maxAttempts = 10;

/** From the short ones to the one that all can go: see `writeKnown`. */
type Way = 'remembered' | 'looked up' | 'long';

/**
 * A free writer takes all that waits for one application, so that under load the transactions grow by themselves and a
 * lone caller does not wait. A group that fails is written again request by request, so that strangers do not fail
 * together. A write whose answer was lost is repeated: the keys of its events tell whether it was committed.
 */
export function createIngest(options: IngestOptions): Ingest {
  return new GroupedIngest(options);
}

class GroupedIngest implements Ingest {
  readonly eventLimits: EventLimits;
  readonly #database: Database;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #endpointsPerUser: number;
  readonly #endpointLimits: EndpointLimits;
  readonly #retentionMs: number;
  readonly #maxWriters: number;
  readonly #maxQueuedEvents: number;
  readonly #maxQueuedBytes: number;
  readonly #retryForMs: number;
  readonly #names: EventNames;
  readonly #memory = new EndpointMemory();
  /** By application, the one that has waited longest first. */
  readonly #queue = new Map<string, Request[]>();
  #queuedEvents = 0;
  /** Those of them that no writer has taken, and their requests. */
  #waitingEvents = 0;
  #waitingRequests = 0;
  #queuedBytes = 0;
  #writers = 0;
  #draining = false;
  #drained: (() => void)[] = [];

  constructor(options: IngestOptions) {
    this.#database = options.database;
    this.#log = options.log;
    this.#clock = options.clock ?? systemClock;
    this.eventLimits = options.eventLimits ?? protectiveEventLimits;
    this.#endpointsPerUser = options.endpointsPerUser ?? 15;
    this.#endpointLimits = options.endpointLimits ?? protectiveLimits;
    const retentionDays = options.retentionDays ?? 90;
    this.#retentionMs = retentionDays === 0 ? Number.POSITIVE_INFINITY : retentionDays * dayMs;
    this.#maxWriters = options.writers ?? 2;
    this.#maxQueuedEvents = options.maxQueuedEvents ?? 50_000;
    this.#maxQueuedBytes = options.maxQueuedBytes ?? 64 * 1024 * 1024;
    this.#retryForMs = options.retryForMs ?? 15_000;
    this.#names = new EventNames(this.eventLimits);
  }

  async put(applicationId: string, items: readonly IngestItem[]): Promise<IngestResult[]> {
    if (this.#draining) throw new CallerError('unavailable', 'The server is stopping; try again later');
    if (this.#queuedEvents > this.#maxQueuedEvents || this.#queuedBytes > this.#maxQueuedBytes)
      throw tooMany();
    const prepareOptions = {
      applicationId,
      now: this.#clock.now(),
      retentionMs: this.#retentionMs,
      eventLimits: this.eventLimits,
      endpointLimits: this.#endpointLimits,
    };
    const prepared = items.map((item) => prepareItem(item, prepareOptions));
    const { events, bytes } = weigh(prepared);
    if (events > maxBatchFacts) {
      throw new CallerError('bad_request', `expected at most ${maxBatchFacts} events at once, got ${events}`);
    }
    if (prepared.length === 0) return [];
    // What is larger than the queue still gets through when nothing waits before it.
    const full =
      this.#queuedEvents + events > this.#maxQueuedEvents || this.#queuedBytes + bytes > this.#maxQueuedBytes;
    if (full && this.#queuedBytes > 0) throw tooMany();
    const outcomes = await this.#enqueue(applicationId, prepared, events, bytes);
    return prepared.map((item, place) => resultOf(item, outcomes[place]!));
  }

  async drain(): Promise<void> {
    this.#draining = true;
    if (this.#writers > 0) await new Promise<void>((resolve) => this.#drained.push(resolve));
  }

  queued(): { events: number; bytes: number } {
    return { events: this.#queuedEvents, bytes: this.#queuedBytes };
  }

  #enqueue(
    applicationId: string,
    items: PreparedItem[],
    events: number,
    bytes: number,
  ): Promise<ItemOutcome[]> {
    this.#queuedEvents += events;
    this.#waitingEvents += events;
    this.#waitingRequests++;
    this.#queuedBytes += bytes;
    return new Promise((resolve, reject) => {
      const request = { items, events, bytes, since: performance.now(), resolve, reject };
      const waiting = this.#queue.get(applicationId);
      if (waiting) waiting.push(request);
      else this.#queue.set(applicationId, [request]);
      if (this.#writers < this.#maxWriters && this.#isWorth(this.#writers + 1)) {
        this.#writers++;
        // After the other requests of this turn, which are at the same place.
        queueMicrotask(() => void this.#runWriter());
      }
    });
  }

  /** Is there work for so many writers? */
  #isWorth(writers: number): boolean {
    if (this.#queue.size === 0) return false;
    return (
      writers === 1 ||
      this.#waitingEvents >= eventsForAnother ||
      this.#waitingRequests >= requestsForAnother ||
      this.#queue.size >= applicationsForAnother
    );
  }

  /** All that waits for the application that has waited longest, as far as it fits into one batch. */
  #takeGroup(): { applicationId: string; group: Request[] } {
    const [applicationId, waiting] = this.#queue.entries().next().value!;
    let events = 0;
    let count = 0;
    while (count < waiting.length && (count === 0 || events + waiting[count]!.events <= maxBatchFacts)) {
      events += waiting[count]!.events;
      count++;
    }
    this.#queue.delete(applicationId);
    if (count < waiting.length) this.#queue.set(applicationId, waiting.splice(count));
    this.#waitingEvents -= events;
    this.#waitingRequests -= count;
    return { applicationId, group: waiting };
  }

  async #runWriter(): Promise<void> {
    while (this.#isWorth(this.#writers)) {
      const { applicationId, group } = this.#takeGroup();
      await this.#write(applicationId, group);
      for (const { events, bytes } of group) {
        this.#queuedEvents -= events;
        this.#queuedBytes -= bytes;
      }
    }
    this.#writers--;
    if (this.#writers > 0) return;
    for (const resolve of this.#drained) resolve();
    this.#drained = [];
  }

  async #write(applicationId: string, group: Request[]): Promise<void> {
    try {
      const outcomes = await this.#commit(applicationId, group);
      for (const [place, { resolve }] of group.entries()) resolve(outcomes[place]!);
    } catch (error) {
      if (group.length === 1 || error instanceof CallerError) {
        for (const { reject } of group) reject(error);
        return;
      }
      this.#log.warn(
        { err: error, requests: group.length },
        'a group of events failed; each is written by itself',
      );
      for (const request of group) await this.#write(applicationId, [request]);
    }
  }

  /** Writes the group once, also over lost connections. Answers the outcomes request by request. */
  async #commit(applicationId: string, group: Request[]): Promise<ItemOutcome[][]> {
    const items = group.flatMap((request) => request.items);
    const until = Math.min(...group.map(({ since }) => since)) + this.#retryForMs;
    const refusals = new Refusals();
    let delayMs = retryDelayMs;
    let way: Way = this.#memory.trustNext() ? 'remembered' : 'looked up';
    for (let attempt = 1; ; ) {
      try {
        return byRequest(group, await this.#attempt(applicationId, items, refusals, way));
      } catch (error) {
        if (way === 'remembered' && isConflict(error)) {
          this.#memory.distrust();
          way = 'looked up';
        } else way = 'long';
        if (isConnectionError(error)) {
          this.#memory.clear();
          // Perhaps between the commit and its answer: then the next attempt finds the keys of all events.
          if (performance.now() >= until) throw this.#away(error, items.length);
          await new Promise((resolve) => setTimeout(resolve, delayMs));
          delayMs = Math.min(delayMs * 2, longestRetryDelayMs);
        } else {
          const canHelp = error instanceof RefusedError || isConflict(error);
          if (!canHelp || attempt >= maxAttempts) throw error;
          attempt++;
        }
      }
    }
  }

  async #attempt(
    applicationId: string,
    items: readonly PreparedItem[],
    refusals: Refusals,
    way: Way,
  ): Promise<ItemOutcome[]> {
    const now = this.#clock.now();
    const options = {
      now,
      batchId: uuidv7(now),
      endpointsPerUser: this.#endpointsPerUser,
      names: this.#names,
    };
    if (way !== 'long') {
      const known = await writeKnown(this.#database, applicationId, items, {
        ...options,
        memory: this.#memory,
        trusting: way === 'remembered',
      });
      if (known) return known;
    }
    const { outcomes, onCommit } = await this.#database.transaction((tx) =>
      writeItems(tx, applicationId, items, refusals, options),
    );
    this.#memory.forget(
      applicationId,
      items.map(({ endpointId }) => endpointId),
    );
    onCommit();
    return outcomes;
  }

  #away(error: unknown, items: number): CallerError {
    this.#log.error({ err: error, items }, 'events could not be written: the database is away');
    return new CallerError('unavailable', 'The database cannot be reached; try again later');
  }
}

function weigh(items: readonly PreparedItem[]): { events: number; bytes: number } {
  let events = 0;
  let bytes = 0;
  for (const item of items) {
    events += item.events.length;
    bytes += item.bytes;
  }
  return { events, bytes };
}

function byRequest(group: readonly Request[], outcomes: readonly ItemOutcome[]): ItemOutcome[][] {
  let start = 0;
  return group.map(({ items }) => {
    start += items.length;
    return outcomes.slice(start - items.length, start);
  });
}

const accepted: IngestAnswer = { status: 202, message: 'Accepted' };

function resultOf(item: PreparedItem, outcome: ItemOutcome): IngestResult {
  const { endpointRefusal, refusedEvents, itemRefused, replayed, created } = outcome;
  const status = itemRefused === 'forbidden' ? 403 : 400;
  return {
    endpoint: endpointRefusal === undefined ? accepted : { status, message: endpointRefusal },
    events: item.events.map((event): IngestAnswer => {
      if (itemRefused) return { status, message: endpointRefusal! };
      if (typeof event === 'string') return { status: 400, message: event };
      const refusal = refusedEvents.get(event);
      return refusal === undefined ? accepted : { status: 400, message: refusal };
    }),
    created,
    replayed,
  };
}

function tooMany(): CallerError {
  return new CallerError('too_many_requests', 'Too many events wait to be written; try again later');
}
