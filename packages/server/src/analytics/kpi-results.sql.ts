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
  return sql`${insertFrom(sql`
      unnest(${column('applicationId')}::text[], ${column('messageId')}::uuid[],
        ${changes.map(({ messageId }) => uuidDay(messageId))}::date[], ${column('outcomes')}::smallint[],
        ${column('errorCode')}::int[], ${column('opens')}::int[], ${column('clicks')}::int[],
        ${column('machineOpens')}::int[], ${column('machineClicks')}::int[])
      as c(application_id, message_id, day, outcomes, error_code, opens, clicks, machine_opens, machine_clicks)`)}
    on conflict (application_id, message_id, day) do update set
      outcomes = r.outcomes | excluded.outcomes,
      error_code = greatest(r.error_code, excluded.error_code),
      opens = r.opens + excluded.opens,
      clicks = r.clicks + excluded.clicks,
      machine_opens = r.machine_opens + excluded.machine_opens,
      machine_clicks = r.machine_clicks + excluded.machine_clicks`;
}

/** The results of the messages that `changes` (as c) are about. */
function insertFrom(changes: Sql): Sql {
  return sql`
    insert into message_results as r (day, application_id, message_id, channel, kind, dispatch_id, campaign_id, treatment_id,
      recipient, outcomes, error_code, opens, clicks, machine_opens, machine_clicks)
    select m.day, m.application_id, m.id, m.channel, coalesce(d.kind, 'direct'), m.dispatch_id, m.campaign_id, m.treatment_id,
      md5(case when m.endpoint_id is null then 'address ' || m.channel || ' ' || lower(m.address)
               else 'endpoint ' || m.endpoint_id end)::uuid,
      c.outcomes, c.error_code, c.opens, c.clicks, c.machine_opens, c.machine_clicks
    from ${changes}
    cross join lateral (
      select * from messages where application_id = c.application_id and id = c.message_id and day = c.day limit 1
    ) m
    left join dispatches d on d.id = m.dispatch_id
    order by m.application_id, m.id`;
}

/** Applications whose results can be rebuilt. */
export function selectResultApplications(applicationId: string | undefined): Sql {
  return applicationId === undefined
    ? sql`select id from applications order by id`
    : sql`select id from applications where id = ${applicationId}`;
}

export function deleteResults(applicationId: string, fromDay: string): Sql {
  return sql`delete from message_results where application_id = ${applicationId} and day >= ${fromDay}::date`;
}

/** The results that the facts up to the cursor come to: what the subscriber adds fact by fact, in one go. */
export function insertResults(
  applicationId: string,
  fromDay: string,
  cursor: { position: number; seq: number },
): Sql {
  const { sent, delivered, hardBounced, otherwiseBounced, complained, failed } = outcomeBits;
  return insertFrom(sql`(
    with unread as materialized (
      select batch_id, case when position = ${cursor.position}::int8 + 1 then ${cursor.seq}::int else 0 end as seq
      from event_batches where position > ${cursor.position}
      union all
      select batch_id, 0 from event_batches_unnumbered
    )
    select e.application_id, e.message_id, (uuid_extract_timestamp(e.message_id) at time zone 'UTC')::date as day,
      bit_or(case e.type
        when 'message.sent' then ${sent}::int when 'message.delivered' then ${delivered}::int
        when 'message.bounced' then
          case when e.payload->>'bounce' = 'hard' then ${hardBounced}::int else ${otherwiseBounced}::int end
        when 'message.complained' then ${complained}::int when 'message.failed' then ${failed}::int
        else 0 end)::smallint as outcomes,
      max((e.payload->>'code')::int) filter (where e.type in ('message.bounced', 'message.failed')) as error_code,
      ${countOf('opened', false)} as opens, ${countOf('clicked', false)} as clicks,
      ${countOf('opened', true)} as machine_opens, ${countOf('clicked', true)} as machine_clicks
    from events e left join unread u on u.batch_id = e.batch_id
    where e.application_id = ${applicationId} and e.type >= 'message.' and e.type < 'message/'
      and e.message_id is not null and (u.batch_id is null or e.seq < u.seq)
    group by 1, 2
    having (uuid_extract_timestamp(e.message_id) at time zone 'UTC')::date >= ${fromDay}::date
  ) c`);
}

function countOf(word: 'opened' | 'clicked', machine: boolean): Sql {
  return sql`(count(*) filter (where e.type = ${`message.${word}`}
    and coalesce((e.payload->>'machine')::boolean, false) = ${machine}::boolean))::int`;
}
