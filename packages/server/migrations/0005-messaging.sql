-- Dispatches ("reach these with this"), the messages they made, and the small tables of what is in flight.

create table workers (
  id uuid primary key,
  role text not null,
  host text not null,
  pid int not null,
  started_at timestamptz not null default now(),
  seen_at timestamptz not null default now()
);

create table dispatches (
  id uuid primary key,
  application_id text collate "C" not null,
  kind text not null check (kind in ('campaign', 'direct', 'test')),
  class text not null check (class in ('transactional', 'promotional')),
  lane text not null check (lane in ('verification', 'transactional', 'triggered', 'bulk')),
  state text not null check (state in ('running', 'paused', 'stopped', 'done')),
  campaign_id text collate "C",
  -- What to say and by which rules (treatments, holdout, limits, quiet time); see messaging/dispatch.ts.
  plan jsonb not null,
  messages_per_second int,
  audience_size bigint not null default 0,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  finished_at timestamptz,
  -- Round-robin within a lane: the dispatch that was served longest ago comes first.
  served_at timestamptz not null default now()
);
create index on dispatches (application_id, campaign_id) where campaign_id is not null;
create index dispatches_open on dispatches (lane) where finished_at is null;

-- The audience of a dispatch, as it was when it started, in slices that are claimed by one worker at a time.
create table dispatch_chunks (
  dispatch_id uuid not null references dispatches on delete cascade,
  number int not null,
  endpoint_ids text[] not null,
  size int not null,
  -- Index of the first endpoint that has no message row yet; the row is deleted when there is none left.
  next int not null default 0,
  worker_id uuid,
  -- Waits for its rate; nobody claims it before.
  not_before timestamptz not null default '-infinity',
  primary key (dispatch_id, number)
);
create index on dispatch_chunks (worker_id) where worker_id is not null;

-- One row for each decision about one recipient; inserted once, never updated. What happened next are facts.
create table messages (
  day date not null,                        -- that of the UUIDv7 in id
  id uuid not null,
  application_id text collate "C" not null,
  dispatch_id uuid not null,
  channel text not null,
  address text not null,
  endpoint_id text collate "C",
  user_id text collate "C",
  campaign_id text collate "C",
  treatment_id text,
  -- 'sending', or the reason why not.
  decision text collate "C" not null,
  detail text,
  -- Subject or beginning of the text, with codes and secrets masked.
  summary text,
  primary key (application_id, id, day)
) partition by range (day);
create index on messages (dispatch_id, id);
create index on messages (application_id, lower(address), id);
create index on messages (application_id, endpoint_id, id) where endpoint_id is not null;

-- Messages that a worker has handed (or is about to hand) to a provider and whose outcome is not written yet.
create table send_windows (
  id uuid primary key,
  worker_id uuid not null,
  application_id text collate "C" not null,
  dispatch_id uuid not null,
  class text not null,
  lane text not null,
  expires_at timestamptz not null,
  created_at timestamptz not null default now(),
  -- [{id, endpointId, treatmentId, attempt}] and, for the transactional class, `message`: what is sent again after a crash.
  messages jsonb not null
);
create index on send_windows (worker_id);
create index on send_windows (dispatch_id);

create table retries (
  message_id uuid primary key,
  application_id text collate "C" not null,
  dispatch_id uuid not null,
  endpoint_id text collate "C",
  treatment_id text,
  class text not null,
  lane text not null,
  due_at timestamptz not null,
  expires_at timestamptz not null,
  attempt int not null,
  message jsonb not null                    -- the composed message, so that a repeat says the same
);
create index on retries (lane, due_at);
create index on retries (dispatch_id);

create table rate_slices (
  key text collate "C" primary key,
  slice bigint not null,
  used int not null
);

-- Sends of the last 24 hours of an endpoint over all campaigns (Limits.Daily), and of a campaign (Limits.Total).
create table endpoint_sends (
  application_id text collate "C" not null,
  endpoint_id text collate "C" not null,
  recent timestamptz[] not null,
  primary key (application_id, endpoint_id)
);
create table campaign_sends (
  campaign_id text collate "C" not null,
  endpoint_id text collate "C" not null,
  count int not null,
  primary key (campaign_id, endpoint_id)
);

create table provider_accounts (
  id text collate "C" primary key,
  -- Null serves every application.
  application_id text collate "C" references applications on delete cascade,
  channel text not null,
  provider text not null,
  name text not null,
  settings jsonb not null default '{}',
  secrets bytea,                            -- encrypted JSON
  priority int not null default 100,        -- lower is tried first
  state text not null check (state in ('draft', 'active', 'disabled')),
  messages_per_second int,
  daily_limit int,
  created_at timestamptz not null default now(),
  modified_at timestamptz not null default now()
);

create table provider_account_days (
  account_id text collate "C" not null references provider_accounts on delete cascade,
  day date not null,
  sent bigint not null,
  primary key (account_id, day)
);

-- What the sandbox provider "delivered": the built-in inbox and phone.
create table inbox (
  id uuid primary key,
  application_id text collate "C" not null,
  message_id uuid not null,
  channel text not null,
  sender text,
  address text not null,
  subject text,
  content jsonb not null,
  received_at timestamptz not null default now()
);
create index on inbox (application_id, id);
create index on inbox (application_id, address, id);
