import sql, { type Sql } from 'sql-template-tag';
import { eventFactType } from '../audience/index.ts';
import { amountScale, largestFigure, purchaseMembers, purchaseType } from './purchase.ts';
import { longestPauseMs } from './session.ts';

export interface AttributionQuery {
  applicationId: string;
  campaignId: string;
  /** message.sent or message.opened. */
  factType: string;
  /** Milliseconds: messages of this time, `until` excluded. */
  from: number;
  until: number;
  windowMs: number;
}

const milliseconds = (column: Sql): Sql => sql`round(extract(epoch from ${column}) * 1000)::int8`;

/** When an endpoint was sent (or a person opened) a message of the campaign. */
function touches(query: AttributionQuery): Sql {
  return sql`touches as materialized (
    select endpoint_id, ${milliseconds(sql`occurred_at`)} as at_ms from events
    where application_id = ${query.applicationId} and type = ${query.factType}
      and occurred_at >= to_timestamp(${query.from}::float8 / 1000)
      and occurred_at < to_timestamp(${query.until}::float8 / 1000)
      and endpoint_id is not null
      and (payload -> 'machine') is distinct from 'true'::jsonb
      and dispatch_id in (
        select id from dispatches
        where application_id = ${query.applicationId} and campaign_id = ${query.campaignId} and kind = 'campaign'))`;
}

export function selectTouches(query: AttributionQuery): Sql {
  return sql`with ${touches(query)}
    select count(*) as messages, count(distinct endpoint_id) as endpoints from touches`;
}

/** Sessions that began within the window after a message, each once. */
export function selectAttributedSessions(query: AttributionQuery, rollupId: number): Sql {
  return sql`with ${touches(query)}, attributed as (
      select distinct a.id as actor_id, s.session_id, s.started_ms
      from touches t
      join analytics_actors a on a.rollup_id = ${rollupId} and a.kind = 'e' and a.name = t.endpoint_id
      join analytics_sessions s on s.actor_id = a.id
        and s.started_ms >= t.at_ms and s.started_ms < t.at_ms + ${query.windowMs}::int8
    )
    select count(*) as sessions, count(distinct actor_id) as endpoints
    from attributed s
    left join lateral (
      select p.ended_ms from analytics_sessions p
      where p.actor_id = s.actor_id and (p.started_ms, p.session_id) < (s.started_ms, s.session_id)
      order by p.started_ms desc, p.session_id desc limit 1
    ) previous on true
    where previous.ended_ms is null or s.started_ms - previous.ended_ms not between 0 and ${longestPauseMs}`;
}

export interface AttributedPurchasesRow {
  currency: string;
  /** numeric, as text. */
  amount: string;
  units: string;
  purchases: number;
  endpoints: number;
}

/** Purchases within the window after a message, each once: the arithmetic of purchase.ts. */
export function selectAttributedPurchases(query: AttributionQuery): Sql {
  const metric = (
    name: string,
    absent: number,
  ) => sql`case when jsonb_typeof(payload -> 'metrics' -> ${name}) = 'number'
    then (payload -> 'metrics' ->> ${name})::float8 else ${absent}::float8 end`;
  return sql`with ${touches(query)}, bought as (
      select batch_id, seq, endpoint_id, ${milliseconds(sql`occurred_at`)} as at_ms,
        ${metric(purchaseMembers.itemPrice, 0)} as price, ${metric(purchaseMembers.quantity, 1)} as quantity,
        case when payload -> 'attributes' ->> ${purchaseMembers.currency} ~ '^[A-Za-z]{3}$'
          then upper(payload -> 'attributes' ->> ${purchaseMembers.currency}) else 'XXX' end as currency
      from events
      where application_id = ${query.applicationId} and type = ${eventFactType(purchaseType)}
        and occurred_at >= to_timestamp(${query.from}::float8 / 1000)
        and occurred_at < to_timestamp(${query.until + query.windowMs}::float8 / 1000)
    ), attributed as (
      select * from bought b
      where case when abs(price) <= ${largestFigure}::float8 and abs(quantity) <= ${largestFigure}::float8
          then abs(price * quantity) <= ${largestFigure}::float8 else false end
        and exists (select from touches t where t.endpoint_id = b.endpoint_id
          and b.at_ms >= t.at_ms and b.at_ms < t.at_ms + ${query.windowMs}::int8)
    )
    select currency, count(*) as purchases, count(distinct endpoint_id) as endpoints,
      (sum(floor(price * quantity * ${amountScale}::float8 + 0.5)::int8) / ${amountScale}::numeric)::text as amount,
      (sum(floor(quantity * ${amountScale}::float8 + 0.5)::int8) / ${amountScale}::numeric)::text as units
    from attributed group by currency order by currency`;
}
