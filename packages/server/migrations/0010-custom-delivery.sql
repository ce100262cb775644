-- Calls to a customer's own functions (hooks, custom delivery), and what in-app messages need.

-- With what an application's webhooks are signed (Standard Webhooks). After a change the former secret signs as well
-- until `previous_until`, so that receivers can follow.
create table webhook_secrets (
  application_id text collate "C" primary key references applications on delete cascade,
  secret bytea not null,                    -- encrypted, as `previous`
  previous bytea,
  previous_until timestamptz,
  created_at timestamptz not null default now()
);

-- Who decides about quiet time and caps of in-app messages when a request does not say: the client, as with Pinpoint.
create table in_app_settings (
  application_id text collate "C" primary key references applications on delete cascade,
  evaluation text not null default 'client' check (evaluation in ('client', 'server'))
);

-- What clients reported of in-app messages. Moved by the log's subscriber `in-app-counts`.
create table in_app_counts (
  application_id text collate "C" not null,
  endpoint_id text collate "C" not null,
  campaign_id text collate "C" not null,
  displayed bigint not null default 0,
  clicked bigint not null default 0,
  dismissed bigint not null default 0,
  recent timestamptz[] not null default '{}',   -- displays of 24 hours, at most 100
  session_id text,                              -- the latest session in which it was displayed, and how often there
  session_displayed int not null default 0,
  primary key (application_id, endpoint_id, campaign_id),
  foreign key (application_id, endpoint_id) references endpoints on delete cascade
);

-- The campaigns that GetInAppMessages chooses from.
create index campaigns_in_app on campaigns (application_id)
  where definition->'Schedule'->>'Frequency' = 'IN_APP_EVENT';
