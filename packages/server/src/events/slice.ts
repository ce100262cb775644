import sql, { type Sql } from 'sql-template-tag';
import type { Transaction } from '../platform/database.ts';
import type { StoredFact } from './fact.ts';
import {
  lockCursor,
  ofApplications,
  ofTypes,
  selectBatches,
  selectBatchFacts,
  selectPartOfBatch,
} from './subscribers.sql.ts';

/** Everything up to `position` is handled, and of the batch after it the facts below `seq`. */
export interface Cursor {
  position: number;
  seq: number;
}

/** A numbered batch; `facts` as many as were appended. */
export interface Batch {
  position: number;
  batchId: string;
  day: string;
  facts: number;
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
  const wanted =
    applicationIds?.length === 0
      ? undefined
      : sql`${ofTypes(wants.types ?? [])} ${ofApplications(applicationIds)}`;
  if (cursor.seq > 0 || first.facts > limit) {
    const end = Math.min(cursor.seq + limit, first.facts);
    const facts = wanted
      ? await tx.query<StoredFact>(selectPartOfBatch(first.day, first.batchId, [cursor.seq, end], wanted))
      : undefined;
    const next =
      end === first.facts ? { position: first.position, seq: 0 } : { position: cursor.position, seq: end };
    return { facts: facts?.rows ?? [], from: cursor, next, full: true };
  }
  let count = 0;
  let facts = 0;
  while (count < batches.length && facts + batches[count]!.facts <= limit) {
    facts += batches[count]!.facts;
    count++;
  }
  const taken = batches.slice(0, count);
  return {
    facts: wanted ? await readBatches(tx, taken, wanted) : [],
    from: cursor,
    next: { position: taken.at(-1)!.position, seq: 0 },
    full: count < batches.length || batches.length === batchLimit,
  };
}

async function readBatches(tx: Transaction, batches: readonly Batch[], wanted: Sql): Promise<StoredFact[]> {
  const order = new Map(batches.map((batch, index) => [batch.batchId, index]));
  const days = batches.map((batch) => batch.day).sort();
  const { rows } = await tx.query<StoredFact>(
    selectBatchFacts([days[0]!, days.at(-1)!], [...order.keys()], wanted),
  );
  return rows.sort((a, b) => order.get(a.batchId)! - order.get(b.batchId)! || a.seq - b.seq);
}
