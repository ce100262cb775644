-- Keys that stand in web pages and apps, and what keeps their holders off other people's endpoints.

-- The id is the whole key: it is public. The token secret is ours: endpoint tokens are made with it, so they end with
-- the key.
create table publishable_keys (
  id text collate "C" primary key,
  application_id text collate "C" not null references applications on delete cascade,
  name text not null,
  origins text[], -- null: pages of every origin
  rate_per_second int not null,
  address_rate_per_second int not null,
  token_secret bytea not null,
  created_at timestamptz not null default now(),
  last_used_at timestamptz,
  revoked_at timestamptz
);
create index on publishable_keys (application_id, created_at);

-- With these a customer's backend proves to us who its user is. Readable to check a proof, so encrypted.
create table identity_secrets (
  id text collate "C" primary key,
  application_id text collate "C" not null references applications on delete cascade,
  secret bytea not null,
  created_at timestamptz not null default now()
);
create index on identity_secrets (application_id, created_at);

-- Endpoints that were made lately with a publishable key, and by which hashes their maker is known again when it did
-- not get the answer with the token.
create table endpoint_creations (
  application_id text collate "C" not null,
  endpoint_id text collate "C" not null,
  proofs bytea[] not null,
  created_at timestamptz not null default now(),
  primary key (application_id, endpoint_id)
);
create index on endpoint_creations (created_at);
