import type { Database, Transaction } from '../platform/database.ts';
import type { Log } from '../platform/log.ts';
import { createPoller, type PollMs, type RoundResult } from './poller.ts';
import { type Batch, lockCursorOf } from './slice.ts';
import { insertSubscriber, moveCursor, selectBatches, selectIsBehind } from './subscribers.sql.ts';

/** Does something about batches in `tx`, together with which the cursor moves. */
export type BatchHandler = (tx: Transaction, batches: readonly Batch[]) => Promise<void>;

export interface BatchSubscriberOptions {
  database: Database;
  log: Log;
  /** The cursor's name; never change it. */
  name: string;
  handle: BatchHandler;
  pollMs?: PollMs;
}

/** Batches, and facts in them, of one transaction at most (one batch may be larger by itself). */
const maxBatches = 500;
const maxFacts = 50_000;
/** Bound of each statement and pause of a transaction. */
const timeoutMs = 60_000;

export interface BatchSubscriber {
  readonly name: string;
  start(): void;
  wake(): void;
  /** Ends after the transaction that runs. */
  stop(): Promise<void>;
}

/**
 * A subscriber that is told of the numbered batches and not of the facts in them: for handlers that work on sets in the
 * database. As with `createSubscriber`, any number of processes may run it, and retention waits for its cursor. A
 * handler that throws is called again with the same batches, for ever: nothing is parked, so it may not depend on what
 * a fact says.
 */
export function createBatchSubscriber(options: BatchSubscriberOptions): BatchSubscriber {
  const { database, name, handle } = options;
  const log = options.log.child({ subscriber: name });
  let registered = false;

  async function round(): Promise<RoundResult> {
    if (!registered) {
      await database.query(insertSubscriber(name));
      registered = true;
    }
    const behind = await database.query<{ found: boolean }>(selectIsBehind(name));
    if (!behind.rows[0]!.found) return 'none';
    return await database.transaction(async (tx): Promise<RoundResult> => {
      const cursor = await lockCursorOf(tx, name, timeoutMs);
      if (!cursor) return 'none';
      const { rows } = await tx.query<Batch>(selectBatches(cursor.position, maxBatches));
      const batches = fitting(rows);
      if (batches.length === 0) return 'none';
      await handle(tx, batches);
      await tx.query(moveCursor(name, batches.at(-1)!.position, 0));
      return batches.length < rows.length || rows.length === maxBatches ? 'more' : 'some';
    });
  }

  const poller = createPoller({
    pollMs: options.pollMs ?? { busy: 20, idle: 200 },
    onError: (error) => log.warn({ err: error }, 'reading the log failed; it is tried again'),
    round,
  });
  return { name, start: poller.start, wake: poller.wake, stop: poller.stop };
}

function fitting(batches: Batch[]): Batch[] {
  let facts = 0;
  const end = batches.findIndex((batch, index) => {
    facts += batch.facts;
    return index > 0 && facts > maxFacts;
  });
  return end === -1 ? batches : batches.slice(0, end);
}
