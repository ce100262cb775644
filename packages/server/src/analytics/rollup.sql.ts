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

/** An application that is deleted meanwhile waits for us, and its rollup is erased with the rest. */
export function insertLiveRollups(applicationIds: readonly string[], timeZone: string): Sql {
  return sql`with present as (select id from applications where id = any (${applicationIds}) for key share)
    insert into analytics_rollups (application_id, time_zone, state)
    select id, ${timeZone}, 'live' from present order by id
    on conflict do nothing`;
}

/** Those of the applications that are not deleted; they stay so until the end of the transaction. */
export function lockApplications(applicationIds: readonly string[]): Sql {
  return sql`select id from applications where id = any (${applicationIds}) order by id for key share`;
}

export function insertBuildingRollup(applicationId: string, timeZone: string): Sql {
  return sql`insert into analytics_rollups (application_id, time_zone, state)
    values (${applicationId}, ${timeZone}, 'building')`;
}

/** For every application with figures, in its own time zone; those that are being rebuilt already stay as they are. */
export function insertBuildingRollups(): Sql {
  return sql`insert into analytics_rollups (application_id, time_zone, state)
    select application_id, time_zone, 'building' from analytics_rollups where state = 'live' order by id
    on conflict do nothing`;
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

export function enliven(ids: readonly number[]): Sql {
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
