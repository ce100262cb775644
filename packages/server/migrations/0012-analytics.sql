-- Figures about what apps' users do, kept up by the log's subscriber `analytics-rollups`. docs/analytics.md says what
-- each figure means.

-- One set of figures of an application. A rebuild makes a second one beside the live one and then changes places with it.
-- Days are days of the time zone, counted from 1970-01-01.
create table analytics_rollups (
  id int generated always as identity primary key,
  application_id text collate "C" not null,
  time_zone text not null,
  state text not null check (state in ('live', 'building', 'retired')),
  -- Of a building one: the log up to position is in it, and of the batch after it the facts below seq.
  position bigint not null default 0,
  seq int not null default 0,
  -- What arrived before is not in it: there was nothing, or the log had dropped it when this one was built.
  since timestamptz not null,
  retired_at timestamptz
);
create unique index analytics_rollups_live on analytics_rollups (application_id) where state = 'live';
create unique index analytics_rollups_building on analytics_rollups (application_id) where state = 'building';
create index on analytics_rollups (application_id);

-- Ids are drawn a thousand at a time: one value stands for itself and the 999 after it.
create sequence analytics_actor_ids increment by 1000;

-- An endpoint ('e') or a user ('u') and the days on which it was active: bit i of days (from the lowest bit of the
-- first byte) stands for first_day + i.
create table analytics_actors (
  rollup_id int not null,
  kind "char" not null,
  name text collate "C" not null,
  id bigint not null,
  first_day int not null,
  days bytea not null,
  primary key (rollup_id, kind, name)
) with (fillfactor = 85);

-- How many actors were active on the day, by the days since they had last been active before it; gap 0 on the first
-- day of all. The distinct actors of any range of days are those whose day before lies outside it.
create table analytics_activity (
  rollup_id int not null,
  kind "char" not null,
  day int not null,
  gap int not null,
  actors bigint not null,
  primary key (rollup_id, kind, day, gap)
) with (fillfactor = 50);

-- How many actors with this first day (figure 'd': were active so many days after it; 'r': were active for the second
-- time so many days after it), or first week ('w': were active so many weeks after it; weeks begin on Monday and are
-- counted from that of 1970-01-01).
create table analytics_cohorts (
  rollup_id int not null,
  kind "char" not null,
  figure "char" not null,
  first int not null,
  after int not null,
  actors bigint not null,
  primary key (rollup_id, kind, figure, first, after)
) with (fillfactor = 50);

-- Sums by day: event (key is the event type), session (key is the hour of the day), session_ms, timed_session,
-- user_session.
create table analytics_counts (
  rollup_id int not null,
  measure text collate "C" not null,
  day int not null,
  key text collate "C" not null,
  value bigint not null,
  primary key (rollup_id, measure, day, key)
) with (fillfactor = 50);

-- What the log says of the sessions of an endpoint, in milliseconds since the epoch: the earliest start, the latest
-- stop or pause.
create table analytics_sessions (
  actor_id bigint not null,
  session_id text collate "C" not null,
  started_ms bigint,
  ended_ms bigint,
  has_user boolean not null,
  primary key (actor_id, session_id)
) with (fillfactor = 85);
create index on analytics_sessions (actor_id, started_ms, session_id) where started_ms is not null;

-- What an endpoint ('e') or a user ('u') bought on a day.
create table analytics_payers (
  rollup_id int not null,
  kind "char" not null,
  day int not null,
  currency text collate "C" not null,
  actor_id bigint not null,
  amount numeric not null,
  units numeric not null,
  purchases bigint not null,
  primary key (rollup_id, kind, day, currency, actor_id)
);
