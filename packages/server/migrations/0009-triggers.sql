-- Campaigns that an event starts, the dispatches that they keep open, and the attributes whose changes are events.

-- What the log's subscriber `campaign-triggers` compares events with: narrow, because it is read for each slice of the
-- log. State, version and dispatch are those of the campaign.
create table campaign_triggers (
  application_id text collate "C" not null,
  campaign_id text collate "C" not null,
  segment_id text collate "C" not null,
  filter jsonb not null,                    -- Schedule.EventFilter as it was read (trigger-filter.ts)
  -- Events that arrive from `active_from` on and before `active_until` (open when null) trigger it.
  active_from timestamptz not null,
  active_until timestamptz,
  -- When it was over for good; for a day its events still get that reason.
  ended_at timestamptz,
  primary key (application_id, campaign_id),
  foreign key (application_id, campaign_id) references campaigns on delete cascade
);

-- Attributes of which a change is a fact of the log, and who asked for that (a campaign's id).
create table attribute_watches (
  application_id text collate "C" not null references applications on delete cascade,
  kind text collate "C" not null check (kind in ('endpoint', 'user')),
  name text collate "C" not null,
  watcher text collate "C" not null,
  primary key (application_id, kind, name, watcher)
);

-- An open dispatch gets members as long as its campaign is active; it is not finished when there are none.
alter table dispatches add column open boolean not null default false;

-- What made each member of the chunk one, at the same place as in endpoint_ids: the same endpoint may be in a chunk
-- for several events. Null in chunks of an audience.
alter table dispatch_chunks add column occasions jsonb;

-- Chunks that are added to open dispatches; the numbers of those before are gone when it comes round.
create sequence added_chunk_numbers as int cycle;

-- The event that the message is about.
alter table messages add column event_id text;

-- What did not trigger, by campaign and in the order of the log.
create index events_trigger_skipped on events (application_id, (payload ->> 'campaignId'), batch_id, seq)
  where type = 'trigger.skipped';
