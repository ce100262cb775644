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
  primary key (application_id, id)
);

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

create table import_jobs (
  application_id text collate "C" not null,
  id text collate "C" not null,
  definition jsonb not null,
  status text not null,
  segment_id text collate "C",
  -- The list of files with size and state, and the position in the current one: what a resumed run starts from.
  progress jsonb not null default '{}',
  total_pieces int not null default 0,
  completed_pieces int not null default 0,
  failed_pieces int not null default 0,
  processed bigint not null default 0,
  failures bigint not null default 0,
  first_failures jsonb not null default '[]',
  error text,
  created_at timestamptz not null default now(),
  completed_at timestamptz,
  primary key (application_id, id)
);
create index on import_jobs (application_id, segment_id);

create table export_jobs (
  application_id text collate "C" not null,
  id text collate "C" not null,
  definition jsonb not null,
  status text not null,
  progress jsonb not null default '{}',
  total_pieces int not null default 0,
  completed_pieces int not null default 0,
  failed_pieces int not null default 0,
  processed bigint not null default 0,
  failures bigint not null default 0,
  first_failures jsonb not null default '[]',
  error text,
  created_at timestamptz not null default now(),
  completed_at timestamptz,
  primary key (application_id, id)
);
