import sql, { join, raw, type Sql } from 'sql-template-tag';
import { eventFactType } from '../audience/index.ts';
import { type EventFilter, type EventRange, eventConditions, inRange } from './event-filter.ts';

export interface FunnelQuery extends EventRange {
  steps: readonly EventFilter[];
  by: 'endpoint' | 'user';
  /** Milliseconds within which all later steps must follow the first. */
  windowMs: number;
}

/**
 * One pass over the actors' events in the order of time. Bit k-1 of `mask` says that an event is of step k. For each
 * event of a step, `r<k>` is the time of the latest first step from which a chain of steps leads to it within the
 * window: the latest one leaves the most time for what follows. `s` is the running maximum of the step before over all
 * earlier events, and `u<k>` the time of the latest event that completes the step before. All windows have the same
 * order, so the events are sorted once. Events of the same millisecond come in the order of the steps.
 */
export function selectFunnel(applicationId: string, query: FunnelQuery, endpoints: readonly Sql[]): Sql {
  const { steps, by } = query;
  const types = [...new Set(steps.map((step) => step.eventType))];
  const actor = by === 'user' ? sql`e.payload->>'userId'` : sql`e.endpoint_id`;
  const bits = steps.map((step, index) => {
    const conditions = [sql`e.type = ${eventFactType(step.eventType)}`, ...eventConditions(step)];
    return sql`case when ${join(conditions, ' and ')} then ${1 << index}::int else 0 end`;
  });
  const conditions = [
    inRange(applicationId, types, query),
    by === 'user' ? sql`e.payload->>'userId' is not null` : sql`e.endpoint_id is not null`,
    ...endpoints,
  ];
  const matched = sql`select ${actor} as actor, e.occurred_at as t, ${join(bits, ' + ')} as mask
    from events e where ${join(conditions, ' and ')}`;
  let chains = sql`select * from (${matched}) matched where mask <> 0`;
  for (let step = 2; step <= steps.length; step++) chains = withStep(chains, step, query.windowMs);
  return figures(chains, steps.length);
}

/** Adds `r<step>` and `u<step>` to the rows of `inner`. */
function withStep(inner: Sql, step: number, windowMs: number): Sql {
  const before = step === 2 ? sql`case when mask & 1 <> 0 then t end` : raw(`r${step - 1}`);
  const at = step === 2 ? before : sql`case when ${before} is not null then t end`;
  const u = raw(`u${step}`);
  return sql`select *, case when mask & ${1 << (step - 1)}::int <> 0 and t <= s${raw(`${step}`)} + ${windowMs}::float8 * interval '1 millisecond'
      then s${raw(`${step}`)} end as ${raw(`r${step}`)}
    from (
      select *, max(${before}) over earlier as s${raw(`${step}`)}, max(${at}) over earlier as ${u}
      from (${inner}) ${raw(`chain${step}`)}
      window earlier as (partition by actor order by t, mask rows between unbounded preceding and 1 preceding)
    ) ${raw(`step${step}`)}`;
}

/**
 * Actors that reached each step, and the median of the seconds between it and the step before. Of each actor counts the
 * first time that it completes a step; the least `u` of those that complete it is the one of the first.
 */
function figures(chains: Sql, steps: number): Sql {
  const later = Array.from({ length: steps - 1 }, (_, index) => index + 2);
  const firsts = later.map((step) =>
    raw(
      `min(t) filter (where r${step} is not null) as t${step}, min(u${step}) filter (where r${step} is not null) as v${step}`,
    ),
  );
  const counts = later.map((step) => raw(`count(t${step})`));
  const medians = later.map((step) =>
    raw(`percentile_cont(0.5) within group (order by extract(epoch from t${step} - v${step})::float8)`),
  );
  return sql`
    select array[count(*) filter (where began), ${join(counts)}]::float8[] as counts,
      array[null, ${join(medians)}]::float8[] as medians
    from (select bool_or(mask & 1 <> 0) as began, ${join(firsts)} from (${chains}) chains group by actor) actors`;
}
