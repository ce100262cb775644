-- Whom we reach.

create table endpoints (
  application_id text collate "C" not null,
  id text collate "C" not null,
  -- Set for the members of a segment that was imported without registering them: only that segment sees them.
  segment_id text collate "C",
  channel text,
  address text,
  opt_out text not null default 'NONE',
  status text not null default 'ACTIVE',
  cohort smallint not null,
  user_id text collate "C",
  attributes jsonb not null default '{}',   -- name -> array of strings
  metrics jsonb not null default '{}',      -- name -> number
  demographic jsonb not null default '{}',
  location jsonb not null default '{}',
  request_id text,
  effective_at timestamptz not null,
  created_at timestamptz not null default now(),
  primary key (application_id, id)
);
create index on endpoints (application_id, user_id) where user_id is not null;
create index on endpoints (application_id, address) where address is not null;
create index on endpoints using gin (attributes jsonb_path_ops);
create index on endpoints (application_id, segment_id) where segment_id is not null;

-- Without it PostgreSQL takes a country to be rare, and joins row by row where it should not.
create statistics endpoints_country on (location ->> 'Country') from endpoints;

create table users (
  application_id text collate "C" not null,
  id text collate "C" not null,
  attributes jsonb not null default '{}',   -- name -> array of strings
  primary key (application_id, id)
);
create index on users using gin (attributes jsonb_path_ops);

-- Apart from endpoints, so that a sign of life does not rewrite the wide row.
create table endpoint_activity (
  application_id text collate "C" not null,
  endpoint_id text collate "C" not null,
  active_at timestamptz not null,
  primary key (application_id, endpoint_id)
);

create table suppressions (
  application_id text collate "C" not null,
  channel text collate "C" not null,
  address text collate "C" not null,
  reason text not null,
  message_id uuid,
  created_at timestamptz not null default now(),
  primary key (application_id, channel, address)
);

create table segments (
  application_id text collate "C" not null,
  id text collate "C" not null,
  type text not null check (type in ('DIMENSIONAL', 'IMPORT')),
  name text,
  version int not null default 1,
  definition jsonb not null,                -- {Dimensions} or {SegmentGroups}; {} for an imported one
  import_definition jsonb,
  created_at timestamptz not null default now(),
  modified_at timestamptz not null default now(),
  -- Set while its members are being deleted, in chunks; for everybody else it is gone.
  deleted_at timestamptz,
  primary key (application_id, id)
);
create index on segments (deleted_at) where deleted_at is not null;

create table segment_versions (
  application_id text collate "C" not null,
  segment_id text collate "C" not null,
  version int not null,
  name text,
  definition jsonb not null,
  import_definition jsonb,
  modified_at timestamptz not null default now(),
  primary key (application_id, segment_id, version),
  foreign key (application_id, segment_id) references segments on delete cascade
);

-- Members of an imported segment, by endpoint or (a file of user ids only) by user.
create table segment_endpoints (
  application_id text collate "C" not null,
  segment_id text collate "C" not null,
  endpoint_id text collate "C" not null,
  primary key (application_id, segment_id, endpoint_id)
);
create table segment_users (
  application_id text collate "C" not null,
  segment_id text collate "C" not null,
  user_id text collate "C" not null,
  primary key (application_id, segment_id, user_id)
);

-- Reading of attribute values in segments.

-- Is one of several values an instant in the range? A function, and not a subquery in the statement, because a
-- correlated subquery keeps PostgreSQL from counting in parallel. Bounds of null are open.
create function any_instant(attribute_values jsonb, earliest bigint, latest bigint) returns boolean
language plpgsql stable parallel safe as $$
declare
  value text;
  at bigint;
begin
  for value in select jsonb_array_elements_text(attribute_values) loop
    at := instant_ms(value);
    if at >= coalesce(earliest, at) and at <= coalesce(latest, at) then return true; end if;
  end loop;
  return false;
end $$;

-- Milliseconds since the epoch of a date or datetime in ISO 8601 (`2026-11-21`, `2026-11-21T10:15Z`,
-- `2026-11-21T10:15:30.123456+01:00`; UTC without an offset), null for any other text, never an error.
-- The same grammar as audience/segments/instant.ts. A list of shapes, because it is hashed: regular expressions of
-- this length cost ten times as much, and a function in PL/pgSQL twenty times. PostgreSQL 15 has no
-- pg_input_is_valid and gets its own. No exception block: parallel workers cannot run one.
do $migration$
declare
  shapes text;
  valid text := 'pg_input_is_valid(value, ''timestamptz'')';
begin
  select string_agg(shape, ',') into shapes from (
    select '0000-00-00' as shape
    union all
    select '0000-00-00T00:00' || seconds || zone
    from unnest(array['', ':00'] || array(select ':00.' || repeat('0', n) from generate_series(1, 9) n)) seconds,
      unnest(array['', 'Z', '+00:00', '-00:00', '+0000', '-0000']) zone
  ) as every;
  if current_setting('server_version_num')::int < 160000 then
    execute $function$
      create function is_timestamptz(value text) returns boolean language plpgsql immutable parallel safe as $body$
      declare
        month text := substr(value, 6, 2);
        offset_text text := substring(substr(value, 17) from '[+-](.*)$');
      begin
        return left(value, 4) <> '0000' and month between '01' and '12'
          and substr(value, 9, 2) between '01' and case
            when month in ('04', '06', '09', '11') then '30'
            when month <> '02' then '31'
            when left(value, 4)::int % 4 = 0 and (left(value, 4)::int % 100 <> 0 or left(value, 4)::int % 400 = 0) then '29'
            else '28' end
          and substr(value, 12, 2) < '24' and substr(value, 15, 2) < '60'
          and (substr(value, 17, 1) <> ':' or substr(value, 18, 2) < '60')
          and coalesce(left(offset_text, 2) < '16' and right(offset_text, 2) < '60', true);
      end $body$
    $function$;
    valid := 'is_timestamptz(value)';
  end if;
  execute format($function$
    create function instant_ms(value text) returns bigint language sql stable parallel safe as $body$
      select case
        when translate(value, '123456789', '000000000') = any (%L::text[])
          and value not like '___________24%%' and value not like '_________________60%%'
          and %s
        then floor(extract(epoch from value::timestamptz) * 1000)::bigint
      end
    $body$
  $function$, '{' || shapes || '}', valid);
end $migration$;

-- Great-circle distance in kilometres (haversine on the mean radius).
create function great_circle_km(latitude1 float8, longitude1 float8, latitude2 float8, longitude2 float8)
returns float8 language sql immutable strict parallel safe as $$
  select 2 * 6371.0088 * asin(sqrt(least(1,
    power(sin(radians(latitude2 - latitude1) / 2), 2)
    + cos(radians(latitude1)) * cos(radians(latitude2)) * power(sin(radians(longitude2 - longitude1) / 2), 2))))
$$;

create table import_jobs (
  application_id text collate "C" not null,
  id text collate "C" not null,
  definition jsonb not null,
  status text not null,
  -- The segment that the job makes or adds to.
  segment_id text collate "C",
  -- [{key, size, modifiedAt}]: what was found when the job began; a file that differs at a resume fails the job.
  files jsonb,
  -- Where a resumed run starts: the file, and for each lane of rows the last record of it that is committed.
  file_index int not null default 0,
  positions bigint[] not null default '{}',
  total_pieces int not null default 0,
  completed_pieces int not null default 0,
  failed_pieces int not null default 0,
  processed bigint not null default 0,
  failures bigint not null default 0,
  first_failures jsonb not null default '[]',
  warnings jsonb not null default '[]',
  error text,
  -- s3:// address of the file with all row errors, when there are any.
  error_file text,
  lease_token uuid,
  leased_until timestamptz,
  created_at timestamptz not null default now(),
  completed_at timestamptz,
  primary key (application_id, id)
);
create index on import_jobs (application_id, segment_id);
create index import_jobs_open on import_jobs (created_at) where completed_at is null;

-- Row errors of a running job; they become its error file when it ends.
create table import_failures (
  application_id text collate "C" not null,
  job_id text collate "C" not null,
  file_index int not null,
  record bigint not null,
  line bigint not null,
  reason text not null,
  content text not null,
  primary key (application_id, job_id, file_index, record)
);

create table export_jobs (
  application_id text collate "C" not null,
  id text collate "C" not null,
  definition jsonb not null,
  status text not null,
  segment_id text collate "C",
  -- The version that is exported, also when the segment changes while the job runs.
  segment_version int,
  -- Endpoints when the job began; null before.
  total bigint,
  -- The last endpoint id of every piece but the last one. A resumed run goes on with piece completed_pieces + 1, and
  -- since the ranges stay, whoever writes a piece writes the same one.
  bounds text[],
  total_pieces int not null default 0,
  completed_pieces int not null default 0,
  failed_pieces int not null default 0,
  processed bigint not null default 0,
  failures bigint not null default 0,
  first_failures jsonb not null default '[]',
  error text,
  lease_token uuid,
  leased_until timestamptz,
  created_at timestamptz not null default now(),
  completed_at timestamptz,
  primary key (application_id, id)
);
create index on export_jobs (application_id, segment_id);
create index export_jobs_open on export_jobs (created_at) where completed_at is null;
