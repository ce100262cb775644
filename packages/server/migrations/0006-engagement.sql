-- Who gets what, when: campaigns, their versions and runs.

create table campaigns (
  application_id text collate "C" not null references applications on delete cascade,
  id text collate "C" not null,
  version int not null default 1,
  definition jsonb not null,                -- the members of WriteCampaignRequest, merged over all updates
  inherited jsonb not null default '{}',    -- Limits and QuietTime of the application when the campaign was created
  state text not null,                      -- CampaignStatus
  state_reason text,                        -- why it is INVALID or DELETED, or what ended its last run early
  segment_version int not null,
  -- When the next run is due; kept while the campaign is paused before it.
  next_run_at timestamptz,
  -- The run in progress, and when MaximumDuration or EndTime stops it.
  dispatch_id uuid,
  run_ends_at timestamptz,
  created_at timestamptz not null default now(),
  modified_at timestamptz not null default now(),
  primary key (application_id, id)
);
create index on campaigns (next_run_at) where next_run_at is not null;
create index on campaigns (run_ends_at) where run_ends_at is not null;
create index on campaigns (dispatch_id) where dispatch_id is not null;
create index on campaigns (application_id, created_at, id);

create table campaign_versions (
  application_id text collate "C" not null,
  campaign_id text collate "C" not null,
  version int not null,
  definition jsonb not null,
  state text not null,
  segment_version int not null,
  modified_at timestamptz not null default now(),
  primary key (application_id, campaign_id, version),
  foreign key (application_id, campaign_id) references campaigns on delete cascade
);

-- A run of a campaign for one treatment. Counters are moved by the log's subscriber `campaign-counters`.
create table campaign_activities (
  application_id text collate "C" not null,
  campaign_id text collate "C" not null,
  id text collate "C" not null,             -- a UUIDv7 without dashes: sorts by the time of its making
  treatment_id text not null,
  dispatch_id uuid,                         -- null for a run that could not be started
  state text not null,
  result text,
  scheduled_start timestamptz not null,
  started_at timestamptz,
  ended_at timestamptz,
  total bigint not null default 0,
  successful bigint not null default 0,
  metrics jsonb not null default '{}',
  primary key (application_id, campaign_id, id),
  foreign key (application_id, campaign_id) references campaigns on delete cascade
);
create index on campaign_activities (dispatch_id) where dispatch_id is not null;
