-- Who may do what: applications and their settings, channels, tags, keys, tokens, audit.

create table applications (
  id text collate "C" primary key,
  name text not null,
  settings jsonb not null default '{}',
  settings_modified_at timestamptz,
  created_at timestamptz not null default now()
);

-- Deleted applications whose data is not all erased yet: the rows of other rooms go in chunks, after the answer.
create table deleted_applications (
  id text collate "C" primary key,
  deleted_at timestamptz not null default now()
);

create table channels (
  application_id text collate "C" not null references applications on delete cascade,
  type text collate "C" not null,
  enabled boolean not null,
  settings jsonb not null default '{}',
  version int not null default 1,
  created_at timestamptz not null default now(),
  modified_at timestamptz not null default now(),
  modified_by text,
  primary key (application_id, type)
);

create table tags (
  arn text collate "C" primary key,
  application_id text collate "C" references applications on delete cascade,
  tags jsonb not null
);

-- The secret of an access key must be readable to check a signature, so it is encrypted, not hashed.
create table access_keys (
  id text collate "C" primary key,
  name text not null,
  secret bytea not null,
  scopes jsonb not null,
  created_at timestamptz not null default now(),
  last_used_at timestamptz,
  revoked_at timestamptz
);

create table tokens (
  id text collate "C" primary key,
  name text not null,
  hash bytea not null unique,
  scopes jsonb not null,
  created_at timestamptz not null default now(),
  last_used_at timestamptz,
  revoked_at timestamptz
);

create table audit_entries (
  id uuid primary key,
  at timestamptz not null default now(),
  principal text not null,
  action text not null,
  application_id text collate "C",
  detail jsonb not null default '{}'
);
create index on audit_entries (application_id, id);

create table idempotency_keys (
  principal text collate "C" not null,
  key text collate "C" not null,
  request_hash bytea not null,
  status int,
  response jsonb,
  created_at timestamptz not null default now(),
  primary key (principal, key)
);
create index on idempotency_keys (created_at);
