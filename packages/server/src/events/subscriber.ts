import { setTimeout as sleep } from 'node:timers/promises';
import { type Database, isConnectionError, type Transaction } from '../platform/database.ts';
import type { Log } from '../platform/log.ts';
import { selectHead } from './batches.sql.ts';
import type { StoredFact } from './fact.ts';
import { parkSlice, retryParkedFacts } from './parked.ts';
import { createPoller, type PollMs, type RoundResult } from './poller.ts';
import { type Cursor, lockCursorOf, readSlice, type Slice } from './slice.ts';
import { allowScans, insertSubscriber, moveCursor, selectCursor, selectIsBehind } from './subscribers.sql.ts';

/** Does something with facts in `tx`, together with which the cursor moves: so each effect happens once. */
export type FactHandler = (tx: Transaction, facts: StoredFact[]) => Promise<void>;

export interface SubscriberOptions {
  database: Database;
  log: Log;
  /** The cursor's name; never change it, a new name begins at the beginning of the log. */
  name: string;
  /**
   * Gets the facts in the order of the log, each once as far as its effects are in `tx` (when it throws or the process
   * ends, the same facts come again). Must not keep state of its own about what it has seen.
   */
  handle: FactHandler;
  /** Fact types that are read: exact ones, and prefixes that end in a dot (`event.`). All when absent. */
  types?: readonly string[];
  /** Applications whose facts are read, asked for each transaction anew. All when absent. */
  applications?: (tx: Transaction) => Promise<readonly string[]>;
  /** Called after each commit of what the handler did. */
  onHandled?: () => void;
  /** Facts of one transaction at most. */
  maxFacts?: number;
  pollMs?: PollMs;
  /** Times that a refused set of facts is tried before it is cut down, and a single one before it is parked. */
  attempts?: number;
  /** Wait before the second attempt; doubles up to 5 s. */
  retryDelayMs?: number;
  /** Bound of each statement and pause of a transaction; after it the facts count as refused. */
  timeoutMs?: number;
}

export interface Subscriber {
  readonly name: string;
  start(): void;
  wake(): void;
  /** Ends after the transaction that runs. */
  stop(): Promise<void>;
  /** Works until it has handled (or parked) all that was numbered before the call. @throws Error after `withinMs` */
  drain(withinMs?: number): Promise<void>;
  /** Hands parked facts to the handler once more, one at a time; those that it now takes are parked no longer. */
  retryParked(): Promise<{ handled: number; refused: number }>;
}

const longestRetryDelayMs = 5_000;

/** So many facts parked one after the other are not the facts' fault; from here each one waits longer. */
const parkedInARowBeforeSlowing = 10;
const longestParkDelayMs = 30_000;

/** SQLSTATEs that say nothing about the facts: conflicts, locks, full disks and memory. */
const passingState = /^(40|53|55P03|58)/;

/**
 * Reads the log from a cursor in the database. Any number of processes may run the same subscriber: the locked cursor
 * lets one of them work at a time, and another goes on where it ended.
 */
export function createSubscriber(options: SubscriberOptions): Subscriber {
  const { database, name, handle } = options;
  const log = options.log.child({ subscriber: name });
  const maxFacts = options.maxFacts ?? 5_000;
  const maxAttempts = options.attempts ?? 3;
  const firstDelayMs = options.retryDelayMs ?? 100;
  const timeoutMs = options.timeoutMs ?? 60_000;

  let registered = false;
  /** Facts that are taken at once; halves while the handler refuses them, grows again when it takes them. */
  let limit = maxFacts;
  let failedAttempts = 0;
  let parkedInARow = 0;

  async function work(): Promise<RoundResult> {
    if (!registered) {
      await database.query(insertSubscriber(name));
      registered = true;
    }
    const behind = await database.query<{ found: boolean }>(selectIsBehind(name));
    if (!behind.rows[0]!.found) return 'none';
    const read: { slice?: Slice } = {};
    try {
      const result = await database.transaction(async (tx): Promise<RoundResult> => {
        const cursor = await lockCursorOf(tx, name, timeoutMs);
        if (!cursor) return 'none';
        const slice = await readSlice(tx, cursor, limit, options);
        if (!slice) return 'none';
        read.slice = slice;
        if (slice.facts.length > 0) {
          await tx.query(allowScans);
          await handle(tx, slice.facts);
        }
        await tx.query(moveCursor(name, slice.next.position, slice.next.seq));
        return slice.full ? 'more' : 'some';
      });
      if (!read.slice) return result;
      failedAttempts = 0;
      if (read.slice.facts.length > 0) {
        parkedInARow = 0;
        options.onHandled?.();
      }
      if (limit === maxFacts) return result;
      // What lies between two refused facts is taken in ever larger steps again.
      limit = Math.min(limit * 2, maxFacts);
      return 'more';
    } catch (error) {
      // Before the facts were read, and whenever the connection broke, it is not about the facts.
      if (!read.slice || isConnectionError(error)) throw error;
      return await refused(read.slice, error);
    }
  }

  /** The handler threw: try again, then with half of the facts, and park the one that is left. */
  async function refused(slice: Slice, error: unknown): Promise<RoundResult> {
    failedAttempts++;
    const passing = passingState.test((error as { code?: string } | null)?.code ?? '');
    log.warn({ err: error, facts: slice.facts.length, attempt: failedAttempts }, 'a handler refused facts');
    const whole = limit === maxFacts;
    const single = slice.facts.length <= 1;
    const attempts = whole || single ? maxAttempts : 1;
    if (failedAttempts < attempts || (passing && single)) {
      return { waitMs: Math.min(firstDelayMs * 2 ** (failedAttempts - 1), longestRetryDelayMs) };
    }
    failedAttempts = 0;
    if (!single) {
      limit = Math.max(1, Math.floor(slice.facts.length / 2));
      return 'more';
    }
    await parkSlice(database, { name, timeoutMs, slice, error, attempts });
    log.error({ err: error, fact: slice.facts[0] && factName(slice.facts[0]) }, 'a fact is parked');
    parkedInARow++;
    if (parkedInARow < parkedInARowBeforeSlowing) return 'more';
    log.error({ err: error, parkedInARow }, 'a handler refuses one fact after the other');
    return { waitMs: Math.min(1_000 * 2 ** (parkedInARow - parkedInARowBeforeSlowing), longestParkDelayMs) };
  }

  const poller = createPoller({
    pollMs: options.pollMs ?? { busy: 20, idle: 200 },
    onError: (error) => log.warn({ err: error }, 'reading the log failed; it is tried again'),
    round: work,
  });

  return {
    name,
    start: poller.start,
    wake: poller.wake,
    stop: poller.stop,
    retryParked: () => retryParkedFacts(database, name, handle),
    async drain(withinMs = 60_000) {
      const until = performance.now() + withinMs;
      const head = await database.query<{ position: number }>(selectHead);
      const target = head.rows[0]!.position;
      for (;;) {
        const result = await work();
        const { rows } = await database.query<Cursor>(selectCursor(name));
        if (rows[0]!.position >= target) return;
        if (performance.now() > until) {
          throw new Error(`${name} is at ${rows[0]!.position} of ${target} after ${withinMs} ms`);
        }
        if (typeof result === 'object') await sleep(result.waitMs);
        else if (result === 'none') await sleep(5);
      }
    },
  };
}

function factName(fact: StoredFact): string {
  return `${fact.type} ${fact.batchId}:${fact.seq}`;
}
