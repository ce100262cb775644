import sql, { join, raw, type Sql } from 'sql-template-tag';
import { eventFactType } from '../audience/index.ts';
import { type EventFilter, type EventRange, eventConditions, inRange } from './event-filter.ts';

export interface FunnelQuery extends EventRange {
  steps: readonly EventFilter[];
  by: 'endpoint' | 'user';
}

/**
 * The events of the steps: a row for each hash of an actor, with 8 bytes for each event in the order of time. Of their 62
 * bits, from the highest one on, 16 are of another hash of the actor, 36 the milliseconds since `from`, 10 the steps
 * that the event is of (bit k-1 for step k). Actors are told apart by both hashes, 80 bits: numbers are sorted and handed
 * over much faster than names, and for two of a hundred million actors to look the same is less likely than 1 in 100
 * million.
 */
export function selectFunnelEvents(
  applicationId: string,
  query: FunnelQuery,
  endpoints: readonly Sql[],
): Sql {
  const { steps, by, from } = query;
  const types = [...new Set(steps.map((step) => step.eventType))];
  const actor = by === 'user' ? sql`(e.payload->>'userId')` : sql`e.endpoint_id`;
  const filters = steps.map(eventConditions);
  const conditions = [
    inRange(applicationId, types, query),
    sql`${actor} is not null`,
    ...(filters.every((filter) => filter.length > 0) ? [sql`(${join(filters.map(all), ' or ')})`] : []),
    ...endpoints,
  ];
  return sql`
    select string_agg(int8send(event), ''::bytea order by event) as events
    from (
      select hashtextextended(${actor}, 0) as actor,
        ((hashtextextended(${actor}, 1) & 65535) << 46)
          | (((date_part('epoch', e.occurred_at) * 1000)::int8 - ${from}::int8) << 10)
          | ${maskOf(types, steps, filters)} as event
      from events e where ${join(conditions, ' and ')}
    ) found
    group by actor`;
}

function all(conditions: readonly Sql[]): Sql {
  return sql`(${join(conditions, ' and ')})`;
}

/** The steps that an event is of; its type is looked at once for all of them. */
function maskOf(types: readonly string[], steps: readonly EventFilter[], filters: readonly Sql[][]): Sql {
  const cases = types.map((type) => {
    const bits = steps.flatMap((step, index) => {
      if (step.eventType !== type) return [];
      const bit = sql`${raw(String(1 << index))}`;
      return [
        filters[index]!.length === 0 ? bit : sql`case when ${all(filters[index]!)} then ${bit} else 0 end`,
      ];
    });
    return sql`when ${eventFactType(type)} then ${join(bits, ' + ')}`;
  });
  return sql`case e.type ${join(cases, ' ')} end`;
}
