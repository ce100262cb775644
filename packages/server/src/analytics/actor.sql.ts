import sql, { type Sql } from 'sql-template-tag';

/** One value stands for itself and the 999 after it. */
export const idsOfADraw = 1_000;

export function drawActorIds(draws: number): Sql {
  return sql`select nextval('analytics_actor_ids') as id from generate_series(1, ${draws}::int)`;
}

export interface ActorNames {
  rollupId: number[];
  kind: string[];
  name: string[];
}

export interface StoredActor {
  /** Place in the names asked for, from 1. */
  place: number;
  id: number;
  firstDay: number;
  days: Buffer;
}

/** One by one through the key: a table that is growing has no statistics to plan anything else by. */
export function selectActors(names: ActorNames) {
  return {
    name: 'analytics-select-actors',
    text: `select asked.place::int4, found.* from unnest($1::int[], $2::"char"[], $3::text[])
        with ordinality as asked (rollup_id, kind, name, place)
      cross join lateral (
        select id, first_day as "firstDay", days from analytics_actors a
        where a.rollup_id = asked.rollup_id and a.kind = asked.kind and a.name = asked.name limit 1
      ) found`,
    values: [names.rollupId, names.kind, names.name],
  };
}

/** Days as hex. */
export function upsertActors(actors: ActorNames & { id: number[]; firstDay: number[]; days: string[] }) {
  return {
    name: 'analytics-upsert-actors',
    text: `insert into analytics_actors (rollup_id, kind, name, id, first_day, days)
      select rollup_id, kind, name, id, first_day, decode(days, 'hex')
      from unnest($1::int[], $2::"char"[], $3::text[], $4::int8[], $5::int[], $6::text[])
        as actor (rollup_id, kind, name, id, first_day, days)
      on conflict (rollup_id, kind, name) do update set first_day = excluded.first_day, days = excluded.days`,
    values: [actors.rollupId, actors.kind, actors.name, actors.id, actors.firstDay, actors.days],
  };
}

export interface CellColumns {
  rollupId: number[];
  kind: string[];
  first: number[];
  second: number[];
  value: number[];
}

export function addActivity(cells: CellColumns) {
  return {
    name: 'analytics-add-activity',
    text: `insert into analytics_activity as a (rollup_id, kind, day, gap, actors)
      select * from unnest($1::int[], $2::"char"[], $3::int[], $4::int[], $5::int8[])
      on conflict (rollup_id, kind, day, gap) do update set actors = a.actors + excluded.actors`,
    values: [cells.rollupId, cells.kind, cells.first, cells.second, cells.value],
  };
}

export function addCohorts(cells: CellColumns & { figure: string[] }) {
  return {
    name: 'analytics-add-cohorts',
    text: `insert into analytics_cohorts as c (rollup_id, kind, figure, first, after, actors)
      select * from unnest($1::int[], $2::"char"[], $3::"char"[], $4::int[], $5::int[], $6::int8[])
      on conflict (rollup_id, kind, figure, first, after) do update set actors = c.actors + excluded.actors`,
    values: [cells.rollupId, cells.kind, cells.figure, cells.first, cells.second, cells.value],
  };
}
