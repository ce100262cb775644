import sql, { type Sql } from 'sql-template-tag';

export interface ActivityCell {
  kind: 'e' | 'u';
  day: number;
  /** Days since the actors had last been active; 0 when never before, and `longest` for all longer ones. */
  gap: number;
  actors: number;
}

/** Actors by day and gap, gaps of `longest` days and more as one. */
export function selectActivity(rollupId: number, from: number, to: number, longest: number): Sql {
  return sql`select kind, day, least(gap, ${longest}) as gap, sum(actors)::int8 as actors from analytics_activity
    where rollup_id = ${rollupId} and kind = any ('{e,u}'::"char"[]) and day between ${from} and ${to}
    group by 1, 2, 3`;
}

/** Distinct actors of a range: of each the first active day in it counts. */
export function selectDistinctActors(rollupId: number, from: number, to: number): Sql {
  return sql`select kind, sum(actors)::int8 as actors from analytics_activity
    where rollup_id = ${rollupId} and kind = any ('{e,u}'::"char"[]) and day between ${from} and ${to}
      and (gap = 0 or gap > day - ${from})
    group by 1`;
}

export interface CountRow {
  measure: string;
  day: number;
  key: string;
  value: number;
}

/** Sums of each day; of events only the types in `eventTypes`, and hours of sessions added up. */
export function selectUsageCounts(
  rollupId: number,
  range: { from: number; to: number },
  eventTypes: readonly string[],
): Sql {
  return sql`select measure, day, case when measure = 'event' then key else '' end as key, sum(value)::int8 as value
    from analytics_counts
    where rollup_id = ${rollupId}
      and measure = any ('{event,session,session_ms,timed_session,user_session}'::text[])
      and day between ${range.from} and ${range.to}
      and (measure <> 'event' or key = any (${eventTypes}::text[]))
    group by 1, 2, 3`;
}

/** Sessions by ISO weekday and hour. */
export function selectSessionHours(rollupId: number, from: number, to: number): Sql {
  return sql`select (day + 3) % 7 + 1 as weekday, key::int as hour, sum(value)::int8 as sessions
    from analytics_counts
    where rollup_id = ${rollupId} and measure = 'session' and day between ${from} and ${to}
    group by 1, 2`;
}

/** Events of each type and day. */
export function selectEventCounts(rollupId: number, from: number, to: number): Sql {
  return sql`select day, key as type, value as events from analytics_counts
    where rollup_id = ${rollupId} and measure = 'event' and day between ${from} and ${to} and value <> 0
    order by day, key`;
}

export interface CohortCell {
  kind: 'e' | 'u';
  figure: 'd' | 'r' | 'w';
  first: number;
  after: number;
  actors: number;
}

/** Cohorts whose first day (or week) lies in the range; `after` up to `longest`. */
export function selectCohorts(
  rollupId: number,
  figures: readonly string[],
  range: { from: number; to: number },
  longest: number,
): Sql {
  return sql`select kind, figure, first, after, actors from analytics_cohorts
    where rollup_id = ${rollupId} and kind = any ('{e,u}'::"char"[]) and figure = any (${figures}::"char"[])
      and first between ${range.from} and ${range.to} and after <= ${longest} and actors <> 0`;
}
