import type { Sql } from 'sql-template-tag';
import type { Transaction } from '../platform/database.ts';
import type { StoredFact } from './fact.ts';
import {
  lockCursor,
  selectBatches,
  selectBatchFacts,
  selectPartOfBatch,
  wantedFacts,
} from './subscribers.sql.ts';

/** Everything up to `position` is handled, and of the batch after it the facts below `seq`. */
export interface Cursor {
  position: number;
  seq: number;
}

/** A numbered batch; `facts` as many as were appended, `length` that of their payloads together. */
export interface Batch {
  position: number;
  batchId: string;
  day: string;
  facts: number;
  length: number;
}

/** What one transaction handles, and where the cursor stands after it. */
export interface Slice {
  facts: StoredFact[];
  from: Cursor;
  next: Cursor;
  /** There was as much as could be taken, so more is likely to wait. */
  full: boolean;
}

/** Which facts a subscriber reads; all when it says nothing. */
export interface Wants {
  /** Exact types, and prefixes that end in a dot. */
  types?: readonly string[] | undefined;
  /** Asked for each slice, in its transaction. */
  applications?: ((tx: Transaction) => Promise<readonly string[]>) | undefined;
}

/** Batch rows read at once, however few facts they hold. */
const maxBatches = 1_000;

/** Payloads that are held at once: events may be a thousand times as long as most are. */
export const maxSliceLength = 16 * 1024 * 1024;

/** How many facts of a batch may be read at once: fewer than `limit` when they are long. */
export function limitWithin({ facts, length }: Batch, limit: number): number {
  if (length <= maxSliceLength) return limit;
  return Math.max(1, Math.min(limit, Math.floor((facts * maxSliceLength) / length)));
}

/** The cursor, locked until the end of the transaction; undefined when another process has it. */
export async function lockCursorOf(
  tx: Transaction,
  name: string,
  timeoutMs: number,
): Promise<Cursor | undefined> {
  const { rows } = await tx.query<Cursor>(lockCursor(name, timeoutMs));
  return rows[0] && { position: rows[0].position, seq: rows[0].seq };
}

/**
 * The next facts from `cursor` on, `limit` at most: whole batches while they fit, otherwise the next part of one batch.
 * The count in the batch row says where the cursor goes, also when facts were erased since or are of no type that is
 * asked for. Undefined at the head. Which applications are wanted is asked after the batches are known: what was
 * committed before a fact is seen by whoever judges it.
 */
export async function readSlice(
  tx: Transaction,
  cursor: Cursor,
  limit: number,
  wants: Wants = {},
): Promise<Slice | undefined> {
  const batchLimit = Math.min(limit, maxBatches);
  const { rows: batches } = await tx.query<Batch>(selectBatches(cursor.position, batchLimit));
  const first = batches[0];
  if (!first) return undefined;
  const applicationIds = await wants.applications?.(tx);
  const wanted = applicationIds?.length === 0 ? undefined : wantedFacts(wants.types, applicationIds);
  const limitOfFirst = limitWithin(first, limit);
  if (cursor.seq > 0 || first.facts > limitOfFirst) {
    const end = Math.min(cursor.seq + limitOfFirst, first.facts);
    const facts = wanted
      ? await tx.query<StoredFact>(selectPartOfBatch(first.day, first.batchId, [cursor.seq, end], wanted))
      : undefined;
    const next =
      end === first.facts ? { position: first.position, seq: 0 } : { position: cursor.position, seq: end };
    return { facts: facts?.rows ?? [], from: cursor, next, full: true };
  }
  const taken = fitting(batches, limit);
  return {
    facts: wanted ? await readBatches(tx, taken, wanted) : [],
    from: cursor,
    next: { position: taken.at(-1)!.position, seq: 0 },
    full: taken.length < batches.length || batches.length === batchLimit,
  };
}

/** The first batches, as many as fit into one read. The first one fits. */
export function fitting(batches: readonly Batch[], limit: number): Batch[] {
  let facts = 0;
  let length = 0;
  const end = batches.findIndex((batch) => {
    facts += batch.facts;
    length += batch.length;
    return facts > limit || length > maxSliceLength;
  });
  return end === -1 ? [...batches] : batches.slice(0, end);
}

/** The wanted facts of whole batches, in the order of these. */
export async function readBatches(
  tx: Transaction,
  batches: readonly Batch[],
  wanted: Sql,
): Promise<StoredFact[]> {
  const order = new Map(batches.map((batch, index) => [batch.batchId, index]));
  const days = batches.map((batch) => batch.day).sort();
  const { rows } = await tx.query<StoredFact>(
    selectBatchFacts([days[0]!, days.at(-1)!], [...order.keys()], wanted),
  );
  return rows.sort((a, b) => order.get(a.batchId)! - order.get(b.batchId)! || a.seq - b.seq);
}
