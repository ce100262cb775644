-- The log: facts, written in batches; batches get consecutive positions after their commit.

create table log_head (
  id int primary key default 1 check (id = 1),
  position bigint not null default 0
);
insert into log_head default values;

-- Committed but not yet numbered. Rows move to event_batches, in the transaction that moves log_head.
-- arrival orders the batches of one round of numbering: who appends after he saw another's commit gets the higher
-- one. It is never compared with what is numbered already, since a late commit may have a low one.
create table event_batches_unnumbered (
  batch_id uuid primary key,
  arrival bigint generated always as identity,
  day date not null,
  facts int not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
create index on event_batches_unnumbered (arrival);

create table event_batches (
  position bigint primary key,
  batch_id uuid not null,
  day date not null,
  facts int not null,
  numbered_at timestamptz not null default now()
);

-- Everything up to position is handled, and of the batch after it the facts below seq.
create table log_subscribers (
  name text collate "C" primary key,
  position bigint not null default 0,
  seq int not null default 0,
  moved_at timestamptz not null default now()
) with (fillfactor = 50);

-- Facts that a subscriber's handler refuses again and again; the whole fact, since its partition may be dropped.
create table log_parked_facts (
  subscriber text collate "C" not null,
  batch_id uuid not null,
  seq int not null,
  application_id text collate "C" not null,
  fact jsonb not null,
  error text not null,
  attempts int not null,
  parked_at timestamptz not null default now(),
  primary key (subscriber, batch_id, seq)
);
create index on log_parked_facts (application_id);

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
-- Not BRIN: a range that is not summarised yet (up to a minute of arrivals) is scanned by every reader at the head.
create index on events (batch_id);
create index on events (message_id) where message_id is not null;
create index on events (application_id, type, occurred_at);

-- Takes the facts of a day that has no partition yet, so that an append never fails for one.
create table events_default partition of events default;
