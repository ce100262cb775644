-- The log: facts, written in batches; batches get consecutive positions after their commit.

create table log_head (
  id int primary key default 1 check (id = 1),
  position bigint not null default 0
);
insert into log_head default values;

-- Committed but not yet numbered. Rows move to event_batches, in the transaction that moves log_head.
create table event_batches_unnumbered (
  batch_id uuid primary key,
  day date not null,
  facts int not null
);

create table event_batches (
  position bigint primary key,
  batch_id uuid not null,
  day date not null,
  facts int not null,
  numbered_at timestamptz not null default now()
);

create table log_subscribers (
  name text collate "C" primary key,
  position bigint not null default 0,
  moved_at timestamptz not null default now()
);

-- day is the day of arrival: that of the UUIDv7 in batch_id, never of a client's clock.
create table events (
  day date not null,
  batch_id uuid not null,
  seq int not null,
  occurred_at timestamptz not null,
  application_id text collate "C" not null,
  type text collate "C" not null,
  endpoint_id text collate "C",
  message_id uuid,
  dispatch_id uuid,
  payload jsonb not null default '{}'
) partition by range (day);
create index on events using brin (batch_id) with (pages_per_range = 8, autosummarize = on);
create index on events (message_id) where message_id is not null;
create index on events (application_id, type, occurred_at);
