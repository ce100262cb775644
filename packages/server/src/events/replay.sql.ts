import sql, { type Sql } from 'sql-template-tag';
import { factColumns } from './facts.sql.ts';
import type { Batch } from './slice.ts';
import { ofTypes } from './subscribers.sql.ts';

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
  return sql`select ${factColumns} from events
    where day between ${days[0]} and ${days.at(-1)}
      and batch_id = any (${batches.map((batch) => batch.batchId)}::uuid[]) ${wanted(only)}`;
}

export function selectReplayedPart(
  batch: Batch,
  [fromSeq, toSeq]: readonly [from: number, to: number],
  only: Wanted,
): Sql {
  return sql`select ${factColumns} from events
    where day = ${batch.day} and batch_id = ${batch.batchId} and seq >= ${fromSeq} and seq < ${toSeq} ${wanted(only)}`;
}

export function lockCursorWaiting(name: string): Sql {
  return sql`select position, seq from log_subscribers where name = ${name} for update`;
}

export function deleteParkedOfApplications(name: string, applicationIds: readonly string[]): Sql {
  return sql`delete from log_parked_facts where subscriber = ${name} and application_id = any (${applicationIds})`;
}

export const selectOldestDay = 'select day from event_batches order by position limit 1';
