import type { Clock } from '../platform/clock.ts';
import type { Database } from '../platform/database.ts';
import { notFound } from '../platform/errors.ts';
import {
  deleteDeadLetters,
  deleteOldDeadLetters,
  requestReplay,
  selectDeadLetters,
  wakeStream,
} from './dead-letter.sql.ts';
import type { FactRange } from './queue.sql.ts';
import { selectStreamId } from './stream.sql.ts';

/** Facts that a stream could not deliver, and why. */
export interface DeadLetter {
  id: number;
  day: string;
  batchId: string;
  position: number;
  /** The facts of the application in this batch from `fromSeq` on, below `toSeq`. */
  fromSeq: number;
  toSeq: number;
  /** How many they were when they were put aside. */
  facts: number;
  error: string;
  attempts: number;
  parkedAt: Date;
  /** When the replay was asked for that has not ended. */
  replayAt: Date | null;
}

const deleteChunk = 10_000;
const maxDeleteChunks = 1_000;

export function toRange({ position, day, batchId, fromSeq, toSeq }: DeadLetter): FactRange {
  return { position, day, batchId, fromSeq, toSeq };
}

async function streamId(database: Database, applicationId: string, name: string): Promise<string> {
  const { rows } = await database.query<{ id: string }>(selectStreamId(applicationId, name));
  if (!rows[0]) throw notFound('Stream', name);
  return rows[0].id;
}

export interface DeadLetterPage {
  items: DeadLetter[];
  next: number | undefined;
}

/** The dead letters of a stream, oldest first. @throws CallerError not_found */
export async function listDeadLetters(
  database: Database,
  applicationId: string,
  name: string,
  page: { limit: number; after?: number | undefined },
): Promise<DeadLetterPage> {
  const id = await streamId(database, applicationId, name);
  const { rows } = await database.query<DeadLetter>(
    selectDeadLetters(id, { limit: page.limit + 1, after: page.after ?? 0 }),
  );
  const items = rows.slice(0, page.limit);
  return { items, next: rows.length > page.limit ? items.at(-1)!.id : undefined };
}

/**
 * Has dead letters delivered once more, those with these ids or all. Answers how many are meant.
 * @throws CallerError not_found
 */
export async function replayDeadLetters(
  { database, clock }: { database: Database; clock: Clock },
  applicationId: string,
  name: string,
  ids?: readonly number[],
): Promise<number> {
  const id = await streamId(database, applicationId, name);
  const { rowCount } = await database.query(requestReplay(id, ids, clock.now()));
  if (rowCount) await database.query(wakeStream(id));
  return rowCount ?? 0;
}

/** Gives dead letters up. Answers how many there were. @throws CallerError not_found */
export async function removeDeadLetters(
  database: Database,
  applicationId: string,
  name: string,
  ids?: readonly number[],
): Promise<number> {
  const id = await streamId(database, applicationId, name);
  const { rowCount } = await database.query(deleteDeadLetters(id, ids));
  return rowCount ?? 0;
}

/** Forgets dead letters of days that the log keeps no more. */
export async function trimDeadLetters(database: Database, keepDays: number, clock: Clock): Promise<void> {
  const beforeDay = new Date(clock.now() - keepDays * 86_400_000).toISOString().slice(0, 10);
  for (let chunk = 0; chunk < maxDeleteChunks; chunk++) {
    const { rowCount } = await database.query(deleteOldDeadLetters(beforeDay, deleteChunk));
    if ((rowCount ?? 0) < deleteChunk) return;
  }
}
