import sql, { empty, join, type Sql } from 'sql-template-tag';
import { eventFactType } from '../audience/index.ts';
import { type EventFilter, type EventRange, eventConditions, inRange, metricOf } from './event-filter.ts';

export type ExplorerInterval = 'hour' | 'day' | 'all';

export interface ExplorerQuery extends EventFilter, EventRange {
  interval: ExplorerInterval;
  timeZone: string;
  /** Metric whose sum, least, greatest and average are answered. */
  metric?: string;
  /** Name of the attribute by whose values the events are grouped: the `top` most frequent ones, and all others as one. */
  groupBy?: string;
  top: number;
}

/** One row of figures as the statement answers it. */
export interface ExplorerFigures {
  /** Instant at which the interval begins, in milliseconds, and the same as clocks of the zone show it. */
  start: number | null;
  local: string | null;
  value: string | null;
  /** All values together that are not among the most frequent. */
  other: boolean;
  count: number;
  endpoints: number;
  users: number;
  sessions: number;
  /** Of the metric, over the events that have it; null when none has, or no metric was asked for. */
  sum: number | null;
  min: number | null;
  max: number | null;
  average: number | null;
}

/** The beginning of the hour or day on the zone's clocks; an hour that the clocks show twice is two hours. */
function startOf(interval: ExplorerInterval, timeZone: string): Sql {
  const local = sql`(e.occurred_at at time zone ${timeZone}::text)`;
  if (interval === 'day') return sql`date_trunc('day', e.occurred_at, ${timeZone}::text)`;
  if (interval === 'hour') return sql`e.occurred_at - (${local} - date_trunc('hour', ${local}))`;
  return sql`null::timestamptz`;
}

/** `endpoints`: conditions on whose events count. */
export function selectFigures(applicationId: string, query: ExplorerQuery, endpoints: readonly Sql[]): Sql {
  const { metric, groupBy, interval, timeZone } = query;
  const value = groupBy === undefined ? sql`null::text` : sql`e.payload->'attributes'->>${groupBy}::text`;
  const conditions = [
    inRange(applicationId, [query.eventType], query),
    ...eventConditions(query),
    ...endpoints,
  ];
  return sql`
    with matched as ${groupBy === undefined ? empty : sql`materialized`} (
      select ${startOf(interval, timeZone)} as start, ${value} as value, e.endpoint_id,
        e.payload->>'userId' as user_id, e.payload->'session'->>'id' as session_id,
        ${metric === undefined ? sql`null::float8` : metricOf(metric)} as metric
      from events e where ${join(conditions, ' and ')}
    ),
    ${groupBy === undefined ? sql`placed as (select *, false as other from matched)` : placed(query.top)}
    select extract(epoch from start)::float8 * 1000 as start,
      to_char(start at time zone ${timeZone}::text, 'YYYY-MM-DD"T"HH24:MI:SS') as local,
      value, other, count(*) as count, count(distinct endpoint_id) as endpoints, count(distinct user_id) as users,
      count(distinct (endpoint_id, session_id)) filter (where session_id is not null) as sessions,
      sum(metric) as sum, min(metric) as min, max(metric) as max, avg(metric) as average
    from placed
    group by start, value, other
    order by start, other, count(*) desc, value nulls last`;
}

/** Values that are not among the most frequent ones become one, marked `other`. Ties go by the value. */
function placed(top: number): Sql {
  return sql`most as (
      select value from matched group by value order by count(*) desc, value nulls last limit ${top}
    ),
    placed as (
      select m.start, case when o.found then m.value end as value, not coalesce(o.found, false) as other,
        m.endpoint_id, m.user_id, m.session_id, m.metric
      from matched m
      left join (select value, true as found from most) o on o.value is not distinct from m.value
    )`;
}

/** Types of clients' events that occurred since `from` (milliseconds), most frequent first. */
export function selectEventTypes(applicationId: string, from: number, limit: number): Sql {
  return sql`
    select substr(e.type, ${eventFactType('').length + 1}::int) as "eventType", count(*) as count,
      extract(epoch from max(e.occurred_at))::float8 * 1000 as "lastAt"
    from events e
    where e.application_id = ${applicationId} and e.type >= 'event.' and e.type < 'event/'
      and e.day >= ${new Date(from).toISOString().slice(0, 10)}::date
      and e.occurred_at >= to_timestamp(${from}::float8 / 1000)
    group by e.type order by count(*) desc, e.type limit ${limit}`;
}

/** Attributes (or metrics, without values) of the newest events of a type: names, and the most frequent values of each. */
export function selectNames(
  applicationId: string,
  eventType: string,
  kind: 'attributes' | 'metrics',
  bounds: { events: number; names: number; values: number },
): Sql {
  return sql`
    with newest as (
      select e.payload->${kind}::text as members from events e
      where e.application_id = ${applicationId} and e.type = ${eventFactType(eventType)}
      order by e.occurred_at desc limit ${bounds.events}
    ),
    seen as (
      select member.key as name, member.value, count(*) as count
      from newest, jsonb_each_text(case when jsonb_typeof(members) = 'object' then members end) as member
      group by 1, 2
    ),
    ranked as (
      select name, value, count, sum(count) over (partition by name) as total,
        row_number() over (partition by name order by count desc, value) as place,
        count(*) over (partition by name) as distinct_values
      from seen
    )
    select name, total::int8 as count, distinct_values as "distinctValues",
      coalesce(jsonb_agg(jsonb_build_object('value', value, 'count', count) order by place)
        filter (where place <= ${bounds.values}), '[]') as values
    from ranked group by name, total, distinct_values order by total desc, name limit ${bounds.names}`;
}
