import sql, { empty, type Sql } from 'sql-template-tag';

const columns = sql`s.id, s.type, s.name, s.version, s.definition, s.import_definition, s.created_at, s.modified_at`;

/** One writer of an application's segments at a time, so that two updates cannot make a cycle together. */
export function lockSegments(applicationId: string): Sql {
  return sql`select pg_advisory_xact_lock(hashtextextended('segments ' || ${applicationId}::text, 0))`;
}

export function insertSegment(row: {
  applicationId: string;
  id: string;
  type: 'DIMENSIONAL' | 'IMPORT';
  name: string | null;
  definition: string;
  importDefinition: string | null;
  now: string;
}): Sql {
  return sql`with made as (
    insert into segments as s (application_id, id, type, name, definition, import_definition, created_at, modified_at)
    values (${row.applicationId}, ${row.id}, ${row.type}, ${row.name}, ${row.definition}::jsonb,
      ${row.importDefinition}::jsonb, ${row.now}::timestamptz, ${row.now}::timestamptz)
    returning ${columns}
  ), version as (
    insert into segment_versions (application_id, segment_id, version, name, definition, import_definition, modified_at)
    select ${row.applicationId}, id, version, name, definition, import_definition, modified_at from made
  )
  select * from made`;
}

/** A new version. What is null stays as it was. */
export function updateSegmentRow(row: {
  applicationId: string;
  id: string;
  name: string | null;
  definition: string | null;
  importDefinition: string | null;
  now: string;
}): Sql {
  return sql`with changed as (
    update segments s set version = s.version + 1,
      name = coalesce(${row.name}, s.name),
      definition = coalesce(${row.definition}::jsonb, s.definition),
      import_definition = coalesce(${row.importDefinition}::jsonb, s.import_definition),
      modified_at = ${row.now}::timestamptz
    where s.application_id = ${row.applicationId} and s.id = ${row.id} and s.deleted_at is null
    returning ${columns}
  ), version as (
    insert into segment_versions (application_id, segment_id, version, name, definition, import_definition, modified_at)
    select ${row.applicationId}, id, version, name, definition, import_definition, modified_at from changed
  )
  select * from changed`;
}

export function selectSegment(applicationId: string, id: string): Sql {
  return sql`select ${columns} from segments s
    where s.application_id = ${applicationId} and s.id = ${id} and s.deleted_at is null`;
}

/** Newest first, after the position given. */
export function selectSegments(
  applicationId: string,
  after: { createdAt: string; id: string } | undefined,
  limit: number,
): Sql {
  const rest = after ? sql`and (s.created_at, s.id) < (${after.createdAt}::timestamptz, ${after.id})` : empty;
  return sql`select ${columns} from segments s
    where s.application_id = ${applicationId} and s.deleted_at is null ${rest}
    order by s.created_at desc, s.id desc limit ${limit}`;
}

const versionColumns = sql`s.id, s.type, v.name, v.version, v.definition, v.import_definition, s.created_at, v.modified_at`;

export function selectVersion(applicationId: string, id: string, version: number): Sql {
  return sql`select ${versionColumns} from segments s
    join segment_versions v on v.application_id = s.application_id and v.segment_id = s.id
    where s.application_id = ${applicationId} and s.id = ${id} and s.deleted_at is null and v.version = ${version}`;
}

/** Newest first, below the version given. */
export function selectVersions(applicationId: string, id: string, below: number, limit: number): Sql {
  return sql`select ${versionColumns} from segments s
    join segment_versions v on v.application_id = s.application_id and v.segment_id = s.id
    where s.application_id = ${applicationId} and s.id = ${id} and s.deleted_at is null and v.version < ${below}
    order by v.version desc limit ${limit}`;
}

export function markDeleted(applicationId: string, id: string, now: string): Sql {
  return sql`update segments s set deleted_at = ${now}::timestamptz
    where s.application_id = ${applicationId} and s.id = ${id} and s.deleted_at is null
    returning ${columns}`;
}

export function selectDeletedSegments(limit: number): Sql {
  return sql`select application_id, id from segments where deleted_at is not null order by deleted_at limit ${limit}`;
}

/** Some of a segment's own (never registered) endpoints, with their activity. */
export function deleteOwnEndpoints(applicationId: string, id: string, limit: number): Sql {
  return sql`with own as (
    select application_id, id from endpoints
    where application_id = ${applicationId} and segment_id = ${id} limit ${limit} for update
  ), activity as (
    delete from endpoint_activity a using own where a.application_id = own.application_id and a.endpoint_id = own.id
  )
  delete from endpoints e using own where e.application_id = own.application_id and e.id = own.id`;
}

export function deleteMembers(
  table: 'segment_endpoints' | 'segment_users',
  applicationId: string,
  id: string,
  limit: number,
): Sql {
  const [from, using] =
    table === 'segment_endpoints'
      ? [sql`segment_endpoints`, sql`select ctid from segment_endpoints`]
      : [sql`segment_users`, sql`select ctid from segment_users`];
  return sql`delete from ${from} where ctid = any(array(
    ${using} where application_id = ${applicationId} and segment_id = ${id} limit ${limit} for update))`;
}

/** The users of a segment's own endpoints carry its id in front, as those endpoints do. */
export function deleteOwnUsers(applicationId: string, id: string, limit: number): Sql {
  const first = `${id}.`;
  // The next character after the point bounds the prefix.
  const end = `${id}/`;
  return sql`delete from users where ctid = any(array(
    select ctid from users where application_id = ${applicationId} and id >= ${first} and id < ${end} limit ${limit} for update))`;
}

export function deleteSegmentRow(applicationId: string, id: string): Sql {
  return sql`delete from segments where application_id = ${applicationId} and id = ${id} and deleted_at is not null`;
}

/**
 * What a segment's evaluation depends on, as text: its version, and for an imported one which kinds of members it
 * has (an import under way adds them before it makes a version).
 */
const state = sql`s.version || case when s.type = 'IMPORT' then
    case when exists (select from segment_endpoints m where m.application_id = s.application_id and m.segment_id = s.id) then 'e' else '' end
    || case when exists (select from segment_users m where m.application_id = s.application_id and m.segment_id = s.id) then 'u' else '' end
  else '' end`;

/** The definitions of segments at a version, or (0) their latest. A row for each that exists. */
export function selectDefinitions(applicationId: string, ids: string[], versions: number[]): Sql {
  return sql`select r.id, r.version as wanted, v.version, s.type, v.name, v.definition, ${state} as state
    from unnest(${ids}::text[], ${versions}::int[]) as r(id, version)
    join segments s on s.application_id = ${applicationId} and s.id = r.id and s.deleted_at is null
    join segment_versions v on v.application_id = s.application_id and v.segment_id = s.id
      and v.version = case r.version when 0 then s.version else r.version end`;
}

/** `{id: state}` of those of the segments that exist. */
export function selectStates(applicationId: string, ids: string[]): Sql {
  return sql`select coalesce(jsonb_object_agg(s.id, ${state}), '{}') from segments s
    where s.application_id = ${applicationId} and s.id = any(${ids}::text[]) and s.deleted_at is null`;
}
