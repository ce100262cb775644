import sql, { empty } from 'sql-template-tag';
import type { Queryable } from '../../platform/database.ts';
import { uuidTime } from '../../platform/ids.ts';
import type { SkippedFilter, SkippedTrigger } from './trigger-log.ts';

interface SkippedRow extends SkippedTrigger {
  batchId: string;
  seq: number;
}

/** By the index of these facts, newest first. */
export async function selectSkipped(
  db: Queryable,
  applicationId: string,
  campaignId: string,
  filter: SkippedFilter,
  page: { limit: number; after: { batchId: string; seq: number } | undefined },
): Promise<SkippedRow[]> {
  const { after, limit } = page;
  const { endpointId, eventId, reason } = filter;
  const { rows } = await db.query<Omit<SkippedRow, 'decidedAt'>>(sql`
    select batch_id as "batchId", seq, occurred_at as at, endpoint_id as "endpointId",
      payload->>'eventId' as "eventId", payload->>'eventType' as "eventType", payload->>'reason' as reason
    from events
    where application_id = ${applicationId} and type = 'trigger.skipped' and payload->>'campaignId' = ${campaignId}
      ${after ? sql`and (batch_id, seq) < (${after.batchId}::uuid, ${after.seq}::int)` : empty}
      ${endpointId === undefined ? empty : sql`and endpoint_id = ${endpointId}`}
      ${eventId === undefined ? empty : sql`and payload->>'eventId' = ${eventId}`}
      ${reason === undefined ? empty : sql`and payload->>'reason' = ${reason}`}
    order by batch_id desc, seq desc limit ${limit}`);
  return rows.map((row) => ({ ...row, decidedAt: new Date(uuidTime(row.batchId)) }));
}
