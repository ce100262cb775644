import { setTimeout as sleep } from 'node:timers/promises';
import type { Database } from '../platform/database.ts';
import type { Log } from '../platform/log.ts';
import { lockHead, numberBatches, selectIsUnnumbered } from './batches.sql.ts';
import { createPoller, type PollMs } from './poller.ts';

/** Batches numbered in one transaction, so that no round holds the head for long. */
const roundLimit = 2_000;

export interface Numberer {
  start(): void;
  /** Looks for committed batches now; call it after a commit that appended facts in this process. */
  wake(): void;
  /** Ends after the round that runs. */
  stop(): Promise<void>;
  /** Numbers everything that was committed before the call; for tests and for an orderly end. Answers how many. */
  drain(withinMs?: number): Promise<number>;
}

export interface NumbererOptions {
  database: Database;
  log: Log;
  pollMs?: PollMs;
  /** Called after each round that numbered something: wake the subscribers of this process. */
  onNumbered?: () => void;
}

/**
 * Gives committed batches consecutive positions, in the order in which readers will see them. Any number of numberers may
 * run: the one row of log_head is the lock, so positions have no gaps and no repeats, and a batch that commits late gets
 * a late position instead of being skipped.
 */
export function createNumberer(options: NumbererOptions): Numberer {
  const { database, log, onNumbered } = options;

  async function round(): Promise<number | 'locked'> {
    const waiting = await database.query<{ found: boolean }>(selectIsUnnumbered);
    if (!waiting.rows[0]!.found) return 0;
    return await database.transaction(async (tx) => {
      const head = await tx.query<{ position: number }>(lockHead);
      const row = head.rows[0];
      if (!row) return 'locked';
      // A statement of its own: its snapshot is younger than the lock, so it sees what the last holder committed.
      const { rows } = await tx.query<{ numbered: number }>(numberBatches(row.position, roundLimit));
      return rows[0]?.numbered ?? 0;
    });
  }

  const poller = createPoller({
    pollMs: options.pollMs ?? { busy: 20, idle: 200 },
    onError: (error) => log.warn({ err: error }, 'numbering failed; it is tried again'),
    round: async () => {
      const numbered = await round();
      if (numbered === 'locked' || numbered === 0) return 'none';
      onNumbered?.();
      return numbered >= roundLimit ? 'more' : 'some';
    },
  });

  return {
    start: poller.start,
    wake: poller.wake,
    stop: poller.stop,
    async drain(withinMs = 60_000) {
      const until = performance.now() + withinMs;
      let total = 0;
      for (;;) {
        const numbered = await round();
        if (numbered !== 'locked') total += numbered;
        if (numbered !== 'locked' && numbered < roundLimit) break;
        if (performance.now() > until) throw new Error(`Numbering did not end within ${withinMs} ms`);
        // The other numberer may have looked before our caller's commit, so look again after it.
        if (numbered === 'locked') await sleep(5);
      }
      if (total > 0) onNumbered?.();
      return total;
    },
  };
}
