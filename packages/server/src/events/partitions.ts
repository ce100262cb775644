import { type Clock, systemClock } from '../platform/clock.ts';
import type { Database, Queryable } from '../platform/database.ts';
import {
  attachPartition,
  createDefaultPartition,
  createPartition,
  deleteFromDefault,
  deleteOldBatches,
  dropPartition,
  lockDefaultPartition,
  lockPartitioning,
  lockTable,
  moveFromDefault,
  type PartitionedTable,
  partitionedTables,
  retainedTables,
  selectDefaultDays,
  selectDefaultDaysBefore,
  selectHasDefault,
  selectPartitionDays,
  selectUnreadOfDay,
} from './partitions.sql.ts';

const dayMs = 86_400_000;

/** How long other transactions may have to queue behind a lock that we wait for. */
const lockTimeoutMs = 500;

/** Rows that are moved out of a default partition while it is locked: about two seconds of work. */
const maxMovedRows = 200_000;

/** Bound of each statement while all of the log is locked. */
const dropTimeoutMs = 3_000;

const deleteChunk = 10_000;
const maxDeleteChunks = 2_000;

/** A day that was left as it is, and why. */
export interface Postponed {
  table: PartitionedTable;
  day: string;
  reason: string;
}

export interface PartitionOptions {
  /** Days after today that get a partition; 7 when absent. */
  daysAhead?: number;
  tables?: readonly PartitionedTable[];
  clock?: Clock;
}

/**
 * Makes the partitions of yesterday, today and the days ahead, for the log and the messages; run at start and daily.
 * When it has not run, rows of a missing day go to the default partition, so no write fails; it moves them to the
 * partition of their day. Never waits long for other transactions: what it cannot have now is `postponed` to the next run.
 */
export async function ensurePartitions(
  database: Database,
  options: PartitionOptions = {},
): Promise<{ created: string[]; postponed: Postponed[] }> {
  const now = (options.clock ?? systemClock).now();
  const wanted: string[] = [];
  for (let ahead = -1; ahead <= (options.daysAhead ?? 7); ahead++) wanted.push(dayOf(now + ahead * dayMs));
  const result = { created: [] as string[], postponed: [] as Postponed[] };
  for (const table of options.tables ?? partitionedTables) {
    let missing: string[] = [];
    try {
      await database.transaction(async (tx) => {
        await tx.query(lockPartitioning(table));
        await tx.query(`set local lock_timeout = ${lockTimeoutMs}`);
        const { rows } = await tx.query<{ found: boolean }>(selectHasDefault(table));
        if (!rows[0]!.found) await tx.query(createDefaultPartition(table));
        const overflow = await tx.query<{ day: string; rows: number }>(
          selectDefaultDays(table, maxMovedRows + 1),
        );
        const existing = new Set(await partitionDays(tx, table));
        const days = new Set([...wanted, ...overflow.rows.map((row) => row.day)]);
        missing = [...days].filter((day) => !existing.has(day)).sort();
        if (missing.length === 0) return;
        const toMove = overflow.rows.reduce((sum, row) => sum + row.rows, 0);
        if (toMove > maxMovedRows)
          throw new PostponeError(`${table}_default holds too many rows to be moved`);
        await tx.query(lockDefaultPartition(table));
        for (const day of missing) {
          await tx.query(createPartition(table, day));
          await tx.query(moveFromDefault(table, day));
          await tx.query(attachPartition(table, day, dayOf(Date.parse(day) + dayMs)));
        }
      });
      result.created.push(...missing.map((day) => `${table} ${day}`));
    } catch (error) {
      const reason = postponeReason(error);
      result.postponed.push(
        ...(missing.length > 0 ? missing : wanted).map((day) => ({ table, day, reason })),
      );
    }
  }
  return result;
}

export interface RetentionOptions {
  /** Whole days before today that are kept. */
  keepDays: number;
  /** Says why a day of the log must stay though all subscribers have read it. */
  holdOf?: (db: Queryable, day: string) => Promise<string | undefined>;
  /** The log and the messages when absent. */
  tables?: readonly PartitionedTable[];
  clock?: Clock;
}

export interface RetentionResult {
  /** `events 2026-08-21`. */
  dropped: string[];
  kept: Postponed[];
  batchesDeleted: number;
}

/**
 * Drops the days of the log (with their batch rows) and of the messages that are older than `keepDays`. A day stays, and
 * is reported with the reason, while a transaction holds it, and in the log also while a subscriber has not read it or a
 * batch of it waits for its number.
 */
export async function dropOldPartitions(
  database: Database,
  options: RetentionOptions,
): Promise<RetentionResult> {
  if (!Number.isInteger(options.keepDays) || options.keepDays < 1) {
    throw new RangeError(`keepDays: expected a whole number from 1 on, got ${options.keepDays}`);
  }
  const firstKept = dayOf((options.clock ?? systemClock).now() - options.keepDays * dayMs);
  const result: RetentionResult = { dropped: [], kept: [], batchesDeleted: 0 };
  const tables = options.tables ?? retainedTables;
  for (const table of tables) await dropDays(database, table, firstKept, result, options.holdOf);
  if (!tables.includes('events')) return result;
  const keptDays = result.kept.filter((kept) => kept.table === 'events').map((kept) => kept.day);
  for (let chunk = 0; chunk < maxDeleteChunks; chunk++) {
    const { rowCount } = await database.query(deleteOldBatches(firstKept, keptDays, deleteChunk));
    result.batchesDeleted += rowCount ?? 0;
    if ((rowCount ?? 0) < deleteChunk) break;
  }
  return result;
}

async function dropDays(
  database: Database,
  table: PartitionedTable,
  firstKept: string,
  result: RetentionResult,
  holdOf: RetentionOptions['holdOf'],
): Promise<void> {
  const days = (await partitionDays(database, table)).filter((day) => day < firstKept);
  const overflow = await database.query<{ day: string }>(selectDefaultDaysBefore(table, firstKept));
  const work = [
    ...days.map((day) => ({ day, run: () => dropDay(database, table, day, holdOf) })),
    ...overflow.rows.map(({ day }) => ({ day, run: () => deleteDay(database, table, day, holdOf) })),
  ];
  // The lock that one day did not get, the next would wait for as well, with all writers behind it.
  let lockedOut: string | undefined;
  for (const { day, run } of work) {
    try {
      if (lockedOut) throw new PostponeError(lockedOut);
      await run();
      result.dropped.push(`${table} ${day}`);
    } catch (error) {
      const reason = postponeReason(error);
      if (!(error instanceof PostponeError)) lockedOut = reason;
      result.kept.push({ table, day, reason });
    }
  }
}

async function dropDay(
  database: Database,
  table: PartitionedTable,
  day: string,
  holdOf: RetentionOptions['holdOf'],
): Promise<void> {
  // First without a lock, so that a day that has to stay hinders nobody.
  if (table === 'events') await refuseUnread(database, day, holdOf);
  await database.transaction(async (tx) => {
    await tx.query(lockPartitioning(table));
    await tx.query(`set local lock_timeout = ${lockTimeoutMs}`);
    await tx.query(`set local statement_timeout = ${dropTimeoutMs}`);
    // Table before partition, as every reader does. An open writer of any day keeps us out, so nothing of this day can
    // be committed after the second look.
    await tx.query(lockTable(table));
    if (table === 'events') await refuseUnread(tx, day, holdOf);
    await tx.query(dropPartition(table, day));
  });
}

/** Deletes the rows of an old day that never got a partition of its own. */
async function deleteDay(
  database: Database,
  table: PartitionedTable,
  day: string,
  holdOf: RetentionOptions['holdOf'],
): Promise<void> {
  for (let chunk = 0; chunk < maxDeleteChunks; chunk++) {
    const deleted = await database.transaction(async (tx) => {
      await tx.query(`set local lock_timeout = ${lockTimeoutMs}`);
      await tx.query(lockDefaultPartition(table));
      if (table === 'events') await refuseUnread(tx, day, holdOf);
      const { rowCount } = await tx.query(deleteFromDefault(table, day, deleteChunk));
      return rowCount ?? 0;
    });
    if (deleted < deleteChunk) return;
  }
}

async function refuseUnread(db: Queryable, day: string, holdOf: RetentionOptions['holdOf']): Promise<void> {
  const { rows } = await db.query<{ unnumbered: boolean; subscriber: string | null }>(selectUnreadOfDay(day));
  const { unnumbered, subscriber } = rows[0]!;
  if (unnumbered) throw new PostponeError('batches of the day are not numbered yet');
  if (subscriber !== null) throw new PostponeError(`subscriber ${subscriber} has not read the day`);
  const hold = await holdOf?.(db, day);
  if (hold !== undefined) throw new PostponeError(hold);
}

async function partitionDays(db: Pick<Database, 'query'>, table: PartitionedTable): Promise<string[]> {
  const { rows } = await db.query<{ day: string }>(selectPartitionDays(table));
  return rows.map((row) => row.day);
}

class PostponeError extends Error {}

/** Why a day has to wait, for errors that mean this; others are thrown on. */
function postponeReason(error: unknown): string {
  if (error instanceof PostponeError) return error.message;
  const code = (error as { code?: string } | null)?.code;
  if (code === '55P03') return 'an open transaction holds the table';
  if (code === '57014') return 'it would have taken too long';
  throw error;
}

function dayOf(at: number): string {
  return new Date(at).toISOString().slice(0, 10);
}
