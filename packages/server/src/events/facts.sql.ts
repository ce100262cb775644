import sql, { raw, type Sql } from 'sql-template-tag';

/** The columns of events as the members of StoredFact. */
export const factColumns = raw(`batch_id as "batchId", seq, day, type, application_id as "applicationId",
  round(extract(epoch from occurred_at) * 1000)::int8 as "occurredAt",
  endpoint_id as "endpointId", message_id as "messageId", dispatch_id as "dispatchId", payload`);

/**
 * Message by message, each through the index: a partition that is young has no statistics, and for a list of ids the
 * planner would then read it whole.
 */
export function selectMessageFacts(messageIds: readonly string[], fromDay: string, perMessage: number): Sql {
  return sql`select fact.* from unnest(${messageIds}::uuid[]) as asked (id)
    cross join lateral (
      select ${factColumns} from events
      where message_id = asked.id and day >= ${fromDay}
      order by batch_id, seq limit ${perMessage}
    ) fact
    order by fact."batchId", fact.seq`;
}

export interface FactPosition {
  occurredAt: number;
  batchId: string;
  seq: number;
}

/** Newest first. */
export function selectFactsByType(
  query: { applicationId: string; type: string; from: number; to: number; after?: FactPosition },
  limit: number,
): Sql {
  const { after } = query;
  const before = after
    ? sql`and occurred_at <= to_timestamp(${after.occurredAt}::float8 / 1000)
        and (occurred_at, batch_id, seq) < (to_timestamp(${after.occurredAt}::float8 / 1000), ${after.batchId}::uuid, ${after.seq}::int)`
    : sql``;
  return sql`select ${factColumns} from events
    where application_id = ${query.applicationId} and type = ${query.type}
      and occurred_at >= to_timestamp(${query.from}::float8 / 1000)
      and occurred_at < to_timestamp(${query.to}::float8 / 1000) ${before}
    order by occurred_at desc, batch_id desc, seq desc limit ${limit}`;
}
