import sql, { type Sql } from 'sql-template-tag';

export interface RollupRow {
  id: number;
  applicationId: string;
  timeZone: string;
}

/** Which of an application's rollups answers questions. */
export function selectLiveRollup(applicationId: string): Sql {
  return sql`select id, application_id as "applicationId", time_zone as "timeZone" from analytics_rollups
    where application_id = ${applicationId} and state = 'live'`;
}

/** Holds off whoever else writes into the live rollups of these applications, until the end of the transaction. */
export function lockLiveRollups(applicationIds: readonly string[]): Sql {
  return sql`select id, application_id as "applicationId", time_zone as "timeZone" from analytics_rollups
    where application_id = any (${applicationIds}) and state = 'live' order by id for update`;
}

/** @param since for each application when the first of what comes into its rollup arrived, in milliseconds */
export function insertLiveRollups(
  applicationIds: readonly string[],
  since: readonly number[],
  timeZone: string,
): Sql {
  return sql`insert into analytics_rollups (application_id, time_zone, state, since)
    select id, ${timeZone}, 'live', to_timestamp(since / 1000)
    from unnest(${applicationIds}::text[], ${since}::float8[]) as first (id, since) order by id
    on conflict do nothing`;
}

/** Those of the applications that are not deleted; they stay so until the end of the transaction. */
export function lockApplications(applicationIds: readonly string[]): Sql {
  return sql`select id from applications where id = any (${applicationIds}) order by id for key share`;
}

/**
 * Begins to rebuild live rollups, those that are not being rebuilt already: of one application, or of all.
 * @param oldestDay of what the log holds; undefined when it is empty
 * @param timeZone another one than that of the live rollup
 */
export function insertBuildingRollups(of: {
  applicationId?: string | undefined;
  timeZone?: string | undefined;
  oldestDay: string | undefined;
}): Sql {
  return sql`insert into analytics_rollups (application_id, time_zone, state, since)
    select application_id, coalesce(${of.timeZone ?? null}, time_zone), 'building',
      greatest(since, coalesce(${of.oldestDay ?? null}::date, current_date)::timestamptz)
    from analytics_rollups
    where state = 'live' and application_id = coalesce(${of.applicationId ?? null}, application_id)
    order by id
    on conflict do nothing`;
}

/** An application whose figures hold more than the log does. */
export function selectOlderThanLog(oldestDay: string | undefined, applicationId: string | undefined): Sql {
  return sql`select application_id as "applicationId" from analytics_rollups r
    where state = 'live' and application_id = coalesce(${applicationId ?? null}, application_id)
      and since < coalesce(${oldestDay ?? null}::date, 'infinity'::date)
      and exists (select from analytics_counts c where c.rollup_id = r.id)
    order by since limit 1`;
}

export interface BuildingRow extends RollupRow {
  position: number;
  seq: number;
}

const buildingColumns = sql`id, application_id as "applicationId", time_zone as "timeZone", position, seq`;

export function selectBuildingRollup(applicationId: string): Sql {
  return sql`select ${buildingColumns} from analytics_rollups
    where application_id = ${applicationId} and state = 'building'`;
}

/** Those of the rebuilds that are the furthest behind, all at one place of the log; none while others work on them. */
export function lockHindmostRollups(): Sql {
  return sql`select ${buildingColumns} from analytics_rollups
    where state = 'building' and (position, seq) = (
      select position, seq from analytics_rollups where state = 'building' order by position, seq limit 1)
    order by id for update skip locked`;
}

/** Waits for whoever works on them. */
export function lockBuildingRollups(ids: readonly number[]): Sql {
  return sql`select ${buildingColumns} from analytics_rollups
    where id = any (${ids}::int[]) and state = 'building' order by id for update`;
}

/** The hindmost ones, without a lock. */
export function selectHindmostRollups(): Sql {
  return sql`select ${buildingColumns} from analytics_rollups
    where state = 'building' and (position, seq) = (
      select position, seq from analytics_rollups where state = 'building' order by position, seq limit 1)
    order by id`;
}

/** Where the rebuild before which the hindmost ones must stop stands. */
export function selectNextBuildingPlace(position: number, seq: number): Sql {
  return sql`select position, seq from analytics_rollups
    where state = 'building' and (position, seq) > (${position}, ${seq}) order by position, seq limit 1`;
}

export function moveBuildingRollups(ids: readonly number[], position: number, seq: number): Sql {
  return sql`update analytics_rollups set position = ${position}, seq = ${seq} where id = any (${ids}::int[])`;
}

export function retireRollups(applicationIds: readonly string[], states: readonly string[]): Sql {
  return sql`update analytics_rollups set state = 'retired', retired_at = now()
    where application_id = any (${applicationIds}) and state = any (${states})`;
}

/** Their figures answer from now on. */
export function publishRollups(ids: readonly number[]): Sql {
  return sql`update analytics_rollups set state = 'live' where id = any (${ids}::int[])`;
}

/** Retired ones that no question can still be reading. */
export function selectRetiredRollups(olderThanMs: number, limit: number): Sql {
  return sql`select id, application_id as "applicationId", time_zone as "timeZone" from analytics_rollups
    where state = 'retired' and retired_at <= now() - ${olderThanMs}::float8 * interval '1 ms'
    order by id limit ${limit}`;
}

export function selectRollupIds(applicationId: string): Sql {
  return sql`select id from analytics_rollups where application_id = ${applicationId} order by id`;
}

export function deleteRollup(id: number): Sql {
  return sql`delete from analytics_rollups where id = ${id}`;
}

/** Deletes some of a rollup's actors with what is theirs; answers how many. */
export function deleteActors(rollupId: number, limit: number): Sql {
  return sql`with gone as (
      delete from analytics_actors where ctid = any (array(
        select ctid from analytics_actors where rollup_id = ${rollupId} limit ${limit}))
      returning id
    ), sessions as (
      delete from analytics_sessions s using gone where s.actor_id = gone.id
    )
    select count(*)::int as deleted from gone`;
}
