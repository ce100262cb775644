import { type Clock, systemClock } from '../platform/clock.ts';
import type { Queryable } from '../platform/database.ts';
import { uuidTime } from '../platform/ids.ts';
import { selectHead } from './batches.sql.ts';
import { selectLag, selectOldestUnnumbered, selectUnnumbered } from './subscribers.sql.ts';

export interface SubscriberLag {
  name: string;
  position: number;
  /** Batches that are numbered and that it has not finished. */
  lagPositions: number;
  /** Age of the oldest of them; 0 when there is none. */
  lagSeconds: number;
  /** Facts that its handler refused and that lie aside. */
  parked: number;
}

export interface LogLag {
  /** Position of the newest numbered batch. */
  head: number;
  /** Committed batches that wait for a number; counted up to 100,000. */
  unnumberedBatches: number;
  unnumberedSeconds: number;
  subscribers: SubscriberLag[];
}

/** How far the log's readers are behind, as numbers for /metrics and /health. */
export async function logLag(db: Queryable, clock: Clock = systemClock): Promise<LogLag> {
  const head = await db.query<{ position: number }>(selectHead);
  const unnumbered = await db.query<{ batches: number }>(selectUnnumbered);
  const oldest = await db.query<{ batchId: string }>(selectOldestUnnumbered);
  const { rows: subscribers } = await db.query<SubscriberLag>(selectLag);
  const oldestId = oldest.rows[0]?.batchId;
  return {
    head: head.rows[0]?.position ?? 0,
    unnumberedBatches: unnumbered.rows[0]?.batches ?? 0,
    unnumberedSeconds: oldestId ? Math.max(0, (clock.now() - uuidTime(oldestId)) / 1000) : 0,
    subscribers,
  };
}
