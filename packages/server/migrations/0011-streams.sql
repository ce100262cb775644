-- Streams: outlets of the log, through which what happens in an application is delivered elsewhere.

create table streams (
  id text collate "C" primary key,
  application_id text collate "C" not null,
  -- `default` is the one of PutEventStream.
  name text collate "C" not null,
  kind text not null check (kind in ('kinesis', 'firehose', 'webhook', 'nats', 'files')),
  destination text not null,                -- DestinationStreamArn as it was given
  role_arn text,
  settings jsonb not null default '{}',
  secrets bytea,                            -- encrypted JSON
  state text not null default 'active' check (state in ('active', 'paused', 'disabled')),
  state_reason text,                        -- why it is disabled
  -- The worker that delivers it; free when that worker's row in `workers` is gone.
  worker_id uuid,
  -- Since when no attempt succeeded, how many there were, and when the next one is due.
  failing_since timestamptz,
  failures int not null default 0,
  next_attempt_at timestamptz not null default '-infinity',
  last_error text,
  last_error_at timestamptz,
  delivered bigint not null default 0,      -- records
  delivered_at timestamptz,
  created_at timestamptz not null default now(),
  modified_at timestamptz not null default now(),
  modified_by text,
  unique (application_id, name)
) with (fillfactor = 50);
create index on streams (worker_id);

-- What a stream has yet to deliver: its application's facts of a numbered batch, from from_seq on. Rows go when the
-- outlet has accepted what they name, so the rows that are left are the stream's cursor.
create table stream_slices (
  stream_id text collate "C" not null references streams on delete cascade,
  position bigint not null,
  application_id text collate "C" not null,
  day date not null,
  batch_id uuid not null,
  facts int not null,
  from_seq int not null default 0,
  arrived_at timestamptz not null,
  primary key (stream_id, position)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
create index on stream_slices (application_id);
create index on stream_slices (day);

-- Facts that a stream could not deliver: one that the outlet refused by itself, or all of a slice that was stuck for
-- longer than the stream tries. They name the facts; the words stay in the log, until retention or an erasure.
create table stream_dead_letters (
  id bigint generated always as identity primary key,
  stream_id text collate "C" not null references streams on delete cascade,
  application_id text collate "C" not null,
  position bigint not null,
  day date not null,
  batch_id uuid not null,
  from_seq int not null,
  to_seq int not null,                      -- the first fact that is not meant any more
  facts int not null,                       -- of the application, when it was parked
  error text not null,
  attempts int not null default 1,          -- 1 and the replays that failed
  parked_at timestamptz not null,
  replay_at timestamptz                     -- when a replay was asked for that has not ended
);
create index on stream_dead_letters (stream_id, id);
create index on stream_dead_letters (stream_id) where replay_at is not null;
create index on stream_dead_letters (application_id);
