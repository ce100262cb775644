-- What became of messages, one row for each that was handed to a provider: the KPIs are counted from these. Kept up by
-- the log's subscriber `analytics-kpis`; docs/analytics.md says what each figure means.
create table message_results (
  day date not null,                        -- that of the UUIDv7 in message_id
  application_id text collate "C" not null,
  message_id uuid not null,
  channel text collate "C" not null,
  kind text collate "C" not null,           -- that of the dispatch
  dispatch_id uuid not null,
  campaign_id text collate "C",
  treatment_id text collate "C",
  -- A hash of the endpoint or, for a message to a bare address, of the address: what distinct recipients are counted by.
  recipient uuid not null,
  -- Bits of what the log says: 1 sent, 2 delivered, 4 bounced hard, 8 bounced otherwise, 16 complained, 32 failed.
  outcomes smallint not null,
  -- The provider's code of the last refusal or bounce.
  error_code int,
  -- By people, and by machines (prefetching proxies, link scanners).
  opens int not null default 0,
  clicks int not null default 0,
  machine_opens int not null default 0,
  machine_clicks int not null default 0,
  primary key (application_id, message_id, day)
) partition by range (day);
create index on message_results (application_id, campaign_id, message_id) where campaign_id is not null;

-- Takes the rows of a day that has no partition yet.
create table message_results_default partition of message_results default;
