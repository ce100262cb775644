import type { Queryable, Transaction } from '../platform/database.ts';
import type { StoredFact } from './fact.ts';
import { deleteParkedOfApplications, lockCursorWaiting, selectOldestDay } from './replay.sql.ts';
import { type Batch, type Cursor, fitting, limitWithin, readBatches } from './slice.ts';
import {
  insertSubscriber,
  selectBatches,
  selectCursor,
  selectPartOfBatch,
  wantedFacts,
} from './subscribers.sql.ts';

/** Batch rows read at once, however few facts they hold. */
const maxBatches = 1_000;

export interface ReplayRequest {
  from: Cursor;
  /** A subscriber's cursor: the facts that it has handled are read, and no others. */
  until: Cursor;
  /** Facts of the batches that are read at once, at most. */
  limit: number;
  /** As of createSubscriber. */
  types: readonly string[];
  applicationIds: readonly string[];
}

/**
 * The next facts that a subscriber has handled already, for whoever computes its results anew; undefined at `until`.
 * Those that retention has dropped are passed over.
 */
export async function replayFacts(
  tx: Transaction,
  { from, until, limit, types, applicationIds }: ReplayRequest,
): Promise<{ facts: StoredFact[]; next: Cursor } | undefined> {
  if (from.position >= until.position && from.seq >= until.seq) return undefined;
  const { rows } = await tx.query<Batch>(selectBatches(from.position, maxBatches));
  const first = rows[0];
  const whole = rows.filter((batch) => batch.position <= until.position);
  // A young partition has no statistics, and the planner would rather read it whole than use the index.
  await tx.query("select set_config('enable_seqscan', 'off', true)");
  if (!first || (whole.length === 0 && until.seq === 0)) return { facts: [], next: until };
  const isLast = whole.length === 0;
  const wanted = wantedFacts(types, applicationIds);
  const limitOfFirst = limitWithin(first, limit);
  if (isLast || from.seq > 0 || first.facts > limitOfFirst) {
    const end = Math.min(from.seq + limitOfFirst, isLast ? until.seq : first.facts);
    const facts = await tx.query<StoredFact>(
      selectPartOfBatch(first.day, first.batchId, [from.seq, end], wanted),
    );
    if (isLast) return { facts: facts.rows, next: { position: until.position, seq: end } };
    const next =
      end === first.facts ? { position: first.position, seq: 0 } : { position: from.position, seq: end };
    return { facts: facts.rows, next };
  }
  const taken = fitting(whole, limit);
  const facts = await readBatches(tx, taken, wanted);
  return { facts, next: { position: taken.at(-1)!.position, seq: 0 } };
}

/** Where a subscriber is; the beginning when it never ran. */
export async function subscriberCursor(db: Queryable, name: string): Promise<Cursor> {
  const { rows } = await db.query<Cursor>(selectCursor(name));
  return rows[0] ?? { position: 0, seq: 0 };
}

/** Keeps a subscriber where it is until the end of the transaction; waits for the facts that it has at hand. */
export async function holdSubscriber(tx: Transaction, name: string): Promise<Cursor> {
  await tx.query(insertSubscriber(name));
  const { rows } = await tx.query<Cursor>(lockCursorWaiting(name));
  return rows[0]!;
}

/** Forgets what a subscriber parked of these applications, when its results were computed anew with it. */
export async function forgetParkedFacts(
  tx: Transaction,
  name: string,
  applicationIds: readonly string[],
): Promise<void> {
  await tx.query(deleteParkedOfApplications(name, applicationIds));
}

/** The UTC day (`2026-11-21`) of the oldest batch that is kept; undefined for an empty log. */
export async function oldestDay(db: Queryable): Promise<string | undefined> {
  const { rows } = await db.query<{ day: string }>(selectOldestDay);
  return rows[0]?.day;
}
