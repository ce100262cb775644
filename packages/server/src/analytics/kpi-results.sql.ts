import sql, { type Sql } from 'sql-template-tag';
import { uuidDay } from '../platform/ids.ts';

/** Bits of `message_results.outcomes`. */
export const outcomeBits = {
  sent: 1,
  delivered: 2,
  hardBounced: 4,
  otherwiseBounced: 8,
  complained: 16,
  failed: 32,
} as const;

/** What some facts say about one message. */
export interface ResultChange {
  applicationId: string;
  messageId: string;
  outcomes: number;
  errorCode: number | null;
  opens: number;
  clicks: number;
  machineOpens: number;
  machineClicks: number;
}

/**
 * Adds changes to the results of their messages. A message that is not in the log any more (too old, or erased) has none.
 * The messages are looked up one by one: a young partition has no statistics, and for a list it would be read whole.
 */
export function upsertResults(changes: readonly ResultChange[]): Sql {
  const column = <Key extends keyof ResultChange>(key: Key) => changes.map((change) => change[key]);
  return sql`
    insert into message_results as r (day, application_id, message_id, channel, kind, dispatch_id, campaign_id, treatment_id,
      recipient, outcomes, error_code, opens, clicks, machine_opens, machine_clicks)
    select m.day, m.application_id, m.id, m.channel, coalesce(d.kind, 'direct'), m.dispatch_id, m.campaign_id, m.treatment_id,
      md5(case when m.endpoint_id is null then 'address ' || m.channel || ' ' || lower(m.address)
               else 'endpoint ' || m.endpoint_id end)::uuid,
      c.outcomes, c.error_code, c.opens, c.clicks, c.machine_opens, c.machine_clicks
    from unnest(${column('applicationId')}::text[], ${column('messageId')}::uuid[],
        ${changes.map(({ messageId }) => uuidDay(messageId))}::date[], ${column('outcomes')}::smallint[],
        ${column('errorCode')}::int[], ${column('opens')}::int[], ${column('clicks')}::int[],
        ${column('machineOpens')}::int[], ${column('machineClicks')}::int[])
      as c(application_id, message_id, day, outcomes, error_code, opens, clicks, machine_opens, machine_clicks)
    cross join lateral (
      select * from messages where application_id = c.application_id and id = c.message_id and day = c.day limit 1
    ) m
    left join dispatches d on d.id = m.dispatch_id
    order by m.application_id, m.id
    on conflict (application_id, message_id, day) do update set
      outcomes = r.outcomes | excluded.outcomes,
      error_code = coalesce(excluded.error_code, r.error_code),
      opens = r.opens + excluded.opens,
      clicks = r.clicks + excluded.clicks,
      machine_opens = r.machine_opens + excluded.machine_opens,
      machine_clicks = r.machine_clicks + excluded.machine_clicks`;
}
