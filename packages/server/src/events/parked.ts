import { type Database, isConnectionError } from '../platform/database.ts';
import { columnText, payloadText, type StoredFact } from './fact.ts';
import { lockCursorOf, type Slice } from './slice.ts';
import type { FactHandler } from './subscriber.ts';
import { deleteParked, insertParked, lockParkedAfter, moveCursor, updateParked } from './subscribers.sql.ts';

interface ParkedFact {
  batchId: string;
  seq: number;
  fact: StoredFact;
}

const maxErrorLength = 2_000;

/** Puts the facts of `slice` (one, or none when it was erased) aside with the error, and moves the cursor past them. */
export async function parkSlice(
  database: Database,
  parked: { name: string; timeoutMs: number; slice: Slice; error: unknown; attempts: number },
): Promise<void> {
  const { name, slice, attempts } = parked;
  const error = errorText(parked.error);
  await database.transaction(async (tx) => {
    const cursor = await lockCursorOf(tx, name, parked.timeoutMs);
    // Another process was here in between.
    if (cursor?.position !== slice.from.position || cursor.seq !== slice.from.seq) return;
    for (const stored of slice.facts) {
      const { batchId, seq, applicationId } = stored;
      const fact = payloadText({ payload: { ...stored } });
      await tx.query(insertParked({ subscriber: name, batchId, seq, applicationId, fact, error, attempts }));
    }
    await tx.query(moveCursor(name, slice.next.position, slice.next.seq));
  });
}

/** Hands each parked fact to the handler once more, in a transaction of its own. */
export async function retryParkedFacts(
  database: Database,
  name: string,
  handle: FactHandler,
): Promise<{ handled: number; refused: number }> {
  const result = { handled: 0, refused: 0 };
  let last = { batchId: '00000000-0000-0000-0000-000000000000', seq: -1 };
  for (;;) {
    const read: { parked?: ParkedFact } = {};
    try {
      await database.transaction(async (tx) => {
        const { rows } = await tx.query<ParkedFact>(lockParkedAfter(name, last.batchId, last.seq));
        if (!rows[0]) return;
        read.parked = rows[0];
        await handle(tx, [rows[0].fact]);
        await tx.query(deleteParked(name, rows[0].batchId, rows[0].seq));
      });
      if (!read.parked) return result;
      result.handled++;
    } catch (error) {
      if (!read.parked || isConnectionError(error)) throw error;
      await database.query(updateParked(name, read.parked.batchId, read.parked.seq, errorText(error)));
      result.refused++;
    }
    last = read.parked;
  }
}

function errorText(error: unknown): string {
  return columnText(String(error instanceof Error ? (error.stack ?? error.message) : error)).slice(
    0,
    maxErrorLength,
  );
}
