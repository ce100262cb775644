-- What we say: templates belong to the account, not to an application (as in Pinpoint).

create table templates (
  type text collate "C" not null check (type in ('EMAIL', 'SMS', 'PUSH', 'VOICE', 'INAPP')),
  name text collate "C" not null,
  -- The highest version number that was ever given, also when that version was deleted: numbers are not used again.
  last_version int not null default 1,
  -- The version that messages use. Null follows the latest version that exists.
  active_version int,
  created_at timestamptz not null default now(),
  primary key (type, name)
);
create index on templates (name, type);

create table template_versions (
  type text collate "C" not null,
  name text collate "C" not null,
  version int not null,
  -- The request's own members without tags: Subject, HtmlPart …, DefaultSubstitutions as the text that it is.
  content jsonb not null,
  created_at timestamptz not null default now(),
  modified_at timestamptz not null default now(),
  primary key (type, name, version),
  foreign key (type, name) references templates on delete cascade
);
