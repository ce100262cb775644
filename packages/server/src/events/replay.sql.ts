import sql, { type Sql } from 'sql-template-tag';
import type { Batch } from './slice.ts';
import { ofTypes, selectBatchFacts, selectPartOfBatch } from './subscribers.sql.ts';

interface Wanted {
  types: readonly string[];
  applicationIds: readonly string[];
}

function wanted({ types, applicationIds }: Wanted): Sql {
  return sql`and application_id = any (${applicationIds}) ${ofTypes(types)}`;
}

/** Facts of whole batches, in no order. */
export function selectReplayedFacts(batches: readonly Batch[], only: Wanted): Sql {
  const days = batches.map((batch) => batch.day).sort();
  const ids = batches.map((batch) => batch.batchId);
  return selectBatchFacts([days[0]!, days.at(-1)!], ids, wanted(only));
}

export function selectReplayedPart(
  batch: Batch,
  part: readonly [from: number, to: number],
  only: Wanted,
): Sql {
  return selectPartOfBatch(batch.day, batch.batchId, part, wanted(only));
}

export function lockCursorWaiting(name: string): Sql {
  return sql`select position, seq from log_subscribers where name = ${name} for update`;
}

export function deleteParkedOfApplications(name: string, applicationIds: readonly string[]): Sql {
  return sql`delete from log_parked_facts where subscriber = ${name} and application_id = any (${applicationIds})`;
}

export const selectOldestDay = 'select day from event_batches order by position limit 1';
