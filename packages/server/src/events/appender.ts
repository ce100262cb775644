import { type Clock, systemClock } from '../platform/clock.ts';
import { type Database, isConnectionError } from '../platform/database.ts';
import { CallerError } from '../platform/errors.ts';
import { uuidDay, uuidv7 } from '../platform/ids.ts';
import type { Log } from '../platform/log.ts';
import { appendBatch } from './append.ts';
import { hasFacts, probeUnnumbered } from './batches.sql.ts';
import { checkFact, type Fact, maxBatchFacts } from './fact.ts';

/** Group commit: appends of many callers share transactions, and each resolves after its own facts are committed. */
export interface Appender {
  /**
   * Resolves when the facts are committed. They stay together and in order.
   * @throws CallerError `bad_request` for a fact that the log cannot hold, `too_many_requests` when the queue is full,
   * `unavailable` while draining or when the database stays away; after the last one the facts may have been written.
   */
  append(facts: readonly Fact[]): Promise<void>;
  /** Takes nothing more and resolves when everything taken is committed or refused. */
  drain(): Promise<void>;
  /** Facts that wait or are being written, for metrics. */
  queued(): number;
}

export interface AppenderOptions {
  database: Database;
  log: Log;
  clock?: Clock;
  /** Transactions at once. */
  writers?: number;
  /** Facts that may wait, all callers together. */
  maxQueuedFacts?: number;
  /** How long a write is tried again while the database is away. */
  retryForMs?: number;
  /** Called after each commit: wake the numberer of this process. */
  onCommit?: () => void;
}

interface Append {
  facts: readonly Fact[];
  resolve: () => void;
  reject: (error: unknown) => void;
}

const retryDelayMs = 50;
const longestRetryDelayMs = 1_000;

/**
 * A free writer takes all that waits, so that under load the batches grow by themselves and a lone caller does not wait.
 * A group that fails is written again caller by caller: one caller's bad fact is not the others' error.
 */
export function createAppender(options: AppenderOptions): Appender {
  const { database, log, onCommit } = options;
  const clock = options.clock ?? systemClock;
  const maxWriters = options.writers ?? 2;
  const maxQueuedFacts = options.maxQueuedFacts ?? 50_000;
  const retryForMs = options.retryForMs ?? 15_000;
  const queue: Append[] = [];
  let queuedFacts = 0;
  let writers = 0;
  let draining = false;
  let drained: (() => void)[] = [];

  function takeGroup(): Append[] {
    let facts = 0;
    let count = 0;
    while (count < queue.length && (count === 0 || facts + queue[count]!.facts.length <= maxBatchFacts)) {
      facts += queue[count]!.facts.length;
      count++;
    }
    return queue.splice(0, count);
  }

  async function write(group: Append[]): Promise<void> {
    try {
      await commit(group.flatMap((append) => append.facts));
      for (const append of group) append.resolve();
    } catch (error) {
      if (group.length === 1 || (error instanceof CallerError && error.code === 'unavailable')) {
        for (const append of group) append.reject(error);
        return;
      }
      log.warn({ err: error, callers: group.length }, 'a group of appends failed; each is written by itself');
      for (const append of group) await write([append]);
    }
  }

  /** Writes the facts once, also over lost connections. */
  async function commit(facts: readonly Fact[]): Promise<void> {
    const until = performance.now() + retryForMs;
    let delayMs = retryDelayMs;
    for (;;) {
      const batchId = uuidv7(clock.now());
      let failure: unknown;
      try {
        await database.transaction((tx) => appendBatches(tx, batchId, facts));
        return;
      } catch (error) {
        if (!isConnectionError(error)) throw error;
        failure = error;
      }
      // The connection went away, perhaps between the commit and its answer: find out before writing again.
      let known = false;
      while (!known) {
        if (performance.now() >= until) {
          log.error(
            { err: failure, facts: facts.length },
            'facts could not be written: the database is away',
          );
          throw new CallerError('unavailable', 'The database cannot be reached; try again later');
        }
        await new Promise((resolve) => setTimeout(resolve, delayMs));
        delayMs = Math.min(delayMs * 2, longestRetryDelayMs);
        try {
          if (await wasCommitted(database, batchId)) return;
          known = true;
        } catch (error) {
          if (!isConnectionError(error)) throw error;
          failure = error;
        }
      }
    }
  }

  async function appendBatches(
    tx: Parameters<typeof appendBatch>[0],
    firstBatchId: string,
    facts: readonly Fact[],
  ): Promise<void> {
    for (let start = 0; start < facts.length; start += maxBatchFacts) {
      const batchId = start === 0 ? firstBatchId : uuidv7(clock.now());
      await appendBatch(tx, batchId, facts.slice(start, start + maxBatchFacts), clock.now());
    }
  }

  async function runWriter(): Promise<void> {
    while (queue.length > 0) {
      const group = takeGroup();
      await write(group);
      queuedFacts -= group.reduce((sum, append) => sum + append.facts.length, 0);
      onCommit?.();
    }
    writers--;
    if (writers === 0) {
      for (const resolve of drained) resolve();
      drained = [];
    }
  }

  return {
    async append(facts) {
      if (draining) throw new CallerError('unavailable', 'The server is stopping; try again later');
      facts.forEach(checkFact);
      if (facts.length === 0) return;
      // An append that is larger than the queue still gets through when nothing waits before it.
      if (queuedFacts > 0 && queuedFacts + facts.length > maxQueuedFacts) {
        throw new CallerError('too_many_requests', 'Too many events wait to be written; try again later');
      }
      queuedFacts += facts.length;
      const done = new Promise<void>((resolve, reject) => queue.push({ facts, resolve, reject }));
      if (writers < maxWriters) {
        writers++;
        void runWriter();
      }
      await done;
    },
    async drain() {
      draining = true;
      if (writers > 0) await new Promise<void>((resolve) => drained.push(resolve));
    },
    queued: () => queuedFacts,
  };
}

/** Whether the transaction that wrote this batch on a lost connection was committed; waits when it still runs. */
async function wasCommitted(database: Database, batchId: string): Promise<boolean> {
  const day = uuidDay(batchId);
  const client = await database.connect();
  let broken: Error | undefined;
  try {
    await client.query('begin');
    // Whoever inserts the same key waits for the other transaction to end, which no plain read does.
    const probe = await client.query(probeUnnumbered(batchId, day));
    if (probe.rowCount === 0) return true;
    const { rows } = await client.query<{ found: boolean }>(hasFacts(batchId, day));
    return rows[0]!.found;
  } finally {
    await client.query('rollback').catch((error: Error) => {
      broken = error;
    });
    client.release(broken);
  }
}
