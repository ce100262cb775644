import { type BatchSubscriber, createBatchSubscriber, type PollMs } from '../events/index.ts';
import type { Database } from '../platform/database.ts';
import { uuidTime } from '../platform/ids.ts';
import type { Log } from '../platform/log.ts';
import { forbidScans, insertSlices, selectAnyStream } from './queue.sql.ts';

/**
 * The subscriber of the log that fills the queues of all streams: for each batch and stream one row that says how many
 * facts are meant. So the log is read once for all streams, and a stream that is down holds up neither the others nor
 * this subscriber's cursor.
 */
export function createStreamFeed(options: {
  database: Database;
  log: Log;
  pollMs?: PollMs;
  /** Called when there may be something to deliver. */
  onSlices: () => void;
}): BatchSubscriber {
  return createBatchSubscriber({
    database: options.database,
    log: options.log,
    name: 'streams',
    pollMs: options.pollMs ?? { busy: 20, rest: 100, idle: 200 },
    async handle(tx, batches) {
      const { rows } = await tx.query<{ found: boolean }>(selectAnyStream);
      if (!rows[0]!.found) return;
      await tx.query(forbidScans);
      const arrivals = batches.map(({ batchId }) => uuidTime(batchId));
      const { rowCount } = await tx.query(insertSlices(batches, arrivals));
      if (rowCount) setImmediate(options.onSlices);
    },
  });
}
