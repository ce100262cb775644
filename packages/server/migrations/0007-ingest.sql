-- What arrives from apps: which events were accepted, which names they have, and archives of earlier ones.

-- One row for each event that was accepted: an event that comes again within a day is known by its key, the first 16
-- bytes of a hash of application, endpoint and event id. Two generations are looked at, today's and yesterday's.
create table ingested_events (
  day date not null,
  key uuid not null,
  -- How the endpoint that came along was refused, when it was: who asks again gets the same answer.
  refusal text,
  primary key (key, day)
) partition by range (day);
-- Takes the keys of a day that has no partition yet.
create table ingested_events_default partition of ingested_events default;

-- The distinct names in an application's events, since there is a bound on their number.
create table event_names (
  application_id text collate "C" not null,
  kind text collate "C" not null check (kind in ('type', 'attribute', 'metric')),
  name text collate "C" not null,
  primary key (application_id, kind, name)
);

create table event_imports (
  application_id text collate "C" not null,
  id text collate "C" not null,
  url text not null,
  status text not null,
  -- [{key, size, modifiedAt}]: what was found when the job began; a file that differs at a resume fails the job.
  files jsonb,
  -- Where a resumed run starts: the file, and the last record of it that is committed.
  file_index int not null default 0,
  position bigint not null default 0,
  completed_files int not null default 0,
  failed_files int not null default 0,
  processed bigint not null default 0,
  imported bigint not null default 0,
  duplicates bigint not null default 0,
  failures bigint not null default 0,
  first_failures jsonb not null default '[]',
  warnings jsonb not null default '[]',
  error text,
  lease_token uuid,
  leased_until timestamptz,
  created_at timestamptz not null default now(),
  completed_at timestamptz,
  primary key (application_id, id)
);
create index event_imports_open on event_imports (created_at) where completed_at is null;

-- Keys of the records that imports brought, so that a record that is twice in an archive counts once.
create table imported_events (
  application_id text collate "C" not null,
  key uuid not null,
  import_id text collate "C" not null,
  primary key (application_id, key)
);

-- Length of a batch's payloads, all together: events may be large, and who reads several batches at once has to bound
-- what it holds. 0 in rows of earlier versions.
alter table event_batches_unnumbered add column length bigint not null default 0;
alter table event_batches add column length bigint not null default 0;
