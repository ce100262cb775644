-- What we say: templates belong to the account, not to an application (as in Pinpoint).

create table templates (
  type text collate "C" not null check (type in ('EMAIL', 'SMS', 'PUSH', 'VOICE', 'INAPP')),
  name text collate "C" not null,
  latest_version int not null default 1,
  -- Null follows the latest version.
  active_version int,
  created_at timestamptz not null default now(),
  primary key (type, name)
);

create table template_versions (
  type text collate "C" not null,
  name text collate "C" not null,
  version int not null,
  content jsonb not null,
  created_at timestamptz not null default now(),
  modified_at timestamptz not null default now(),
  primary key (type, name, version),
  foreign key (type, name) references templates on delete cascade
);
