import type { Queryable, Transaction } from '../../platform/database.ts';
import { copyEndpoints, copyUsers } from './copy.ts';
import { type NameMap, nameMap } from './item.ts';
import type { EndpointRow, Recipient } from './row.ts';

/**
 * The columns of an `EndpointRow`, of `endpoints e`. Times as whole milliseconds: cheaper to read than a Date, and what
 * the program counts in.
 */
export const endpointColumns = `
  e.id, e.segment_id as "segmentId", e.channel, e.address, e.opt_out as "optOut", e.status, e.cohort,
  e.user_id as "userId", e.attributes, e.metrics, e.demographic, e.location, e.request_id as "requestId",
  floor(extract(epoch from e.effective_at) * 1000)::int8 as "effectiveAt",
  floor(extract(epoch from e.created_at) * 1000)::int8 as "createdAt"`;

/** Maps that came from PostgreSQL get rid of their prototype: their names are the callers'. */
export function ownMaps<Row extends EndpointRow>(row: Row): Row {
  row.attributes = nameMap(row.attributes);
  row.metrics = nameMap(row.metrics);
  row.demographic = nameMap(row.demographic);
  row.location = nameMap(row.location);
  return row;
}

function ownRecipient(row: Recipient): Recipient {
  row.userAttributes = nameMap(row.userAttributes);
  return ownMaps(row);
}

/** The endpoints with these ids, whoever sees them. */
export async function selectEndpoints(
  db: Queryable,
  applicationId: string,
  ids: string[],
): Promise<Map<string, EndpointRow>> {
  const { rows } = await db.query<EndpointRow>({
    name: 'endpoints-select',
    text: `select ${endpointColumns} from endpoints e where e.application_id = $1 and e.id = any($2)`,
    values: [applicationId, ids],
  });
  return new Map(rows.map((row) => [row.id, ownMaps(row)]));
}

/** The same, locked in the order of their ids, so that two callers never wait for each other. */
export async function lockEndpoints(
  db: Queryable,
  applicationId: string,
  ids: string[],
): Promise<Map<string, EndpointRow>> {
  const { rows } = await db.query<EndpointRow>({
    name: 'endpoints-lock',
    text: `select ${endpointColumns} from endpoints e where e.application_id = $1 and e.id = any($2)
      order by e.id for update`,
    values: [applicationId, ids],
  });
  return new Map(rows.map((row) => [row.id, ownMaps(row)]));
}

/** When each of these endpoints was created, and whose it is, of those that exist. */
export async function selectIdentities(
  db: Queryable,
  applicationId: string,
  ids: readonly string[],
): Promise<Map<string, { createdAt: number; userId: string | null }>> {
  const { rows } = await db.query<{ id: string; createdAt: number; userId: string | null }>({
    name: 'endpoints-identities',
    text: `select e.id, e.user_id as "userId", floor(extract(epoch from e.created_at) * 1000)::int8 as "createdAt"
      from endpoints e where e.application_id = $1 and e.id = any($2)`,
    values: [applicationId, ids],
  });
  return new Map(rows.map(({ id, ...identity }) => [id, identity]));
}

export interface UserRow {
  id: string;
  attributes: NameMap<string[]>;
}

export async function selectUsers(
  db: Queryable,
  applicationId: string,
  ids: string[],
  lock: boolean,
): Promise<Map<string, UserRow>> {
  const { rows } = await db.query<UserRow>({
    name: lock ? 'users-lock' : 'users-select',
    text: `select id, attributes from users where application_id = $1 and id = any($2)
      ${lock ? 'order by id for update' : ''}`,
    values: [applicationId, ids],
  });
  for (const row of rows) row.attributes = nameMap(row.attributes);
  return new Map(rows.map((row) => [row.id, row]));
}

export interface UserEndpoint {
  userId: string;
  id: string;
  channel: string | null;
  effectiveAt: number;
}

/**
 * Begins work that can be taken back (`takeBack`) and is ended by `endWork`. Its statements are planned without a look
 * at their values: of an application that is new, or grew a lot since the tables were last analysed, PostgreSQL
 * believes that it has a row or two, and would read all of it for each chunk.
 */
export async function beginWork(tx: Transaction): Promise<void> {
  await tx.query('set local plan_cache_mode = force_generic_plan; savepoint work');
}

export async function takeBack(tx: Transaction): Promise<void> {
  await tx.query('rollback to savepoint work');
}

export async function endWork(tx: Transaction): Promise<void> {
  await tx.query('release savepoint work; set local plan_cache_mode to default');
}

/** Which registered endpoints these users have. The subquery is not flattened, so a user is one look at an index. */
export async function selectUserEndpoints(
  db: Queryable,
  applicationId: string,
  userIds: string[],
): Promise<UserEndpoint[]> {
  const { rows } = await db.query<UserEndpoint>({
    name: 'endpoints-of-users',
    text: `select found.* from unnest($2::text[]) as wanted (id) cross join lateral (
        select e.user_id as "userId", e.id, e.channel,
          floor(extract(epoch from e.effective_at) * 1000)::int8 as "effectiveAt"
        from endpoints e
        where e.application_id = $1 and e.user_id = wanted.id and e.segment_id is null offset 0
      ) as found`,
    values: [applicationId, userIds],
  });
  return rows;
}

/** The active endpoints that have one of these addresses on the channel at the same place of the list. */
export async function selectActiveByAddress(
  db: Queryable,
  applicationId: string,
  segmentId: string | null,
  channels: string[],
  addresses: string[],
): Promise<{ id: string; channel: string; address: string }[]> {
  const { rows } = await db.query<{ id: string; channel: string; address: string }>({
    name: 'endpoints-by-address',
    text: `select found.* from unnest($3::text[], $4::text[]) as wanted (channel, address) cross join lateral (
        select e.id, e.channel, e.address from endpoints e
        where e.application_id = $1 and e.address = wanted.address and e.channel = wanted.channel
          and e.status = 'ACTIVE' and e.segment_id is not distinct from $2 offset 0
      ) as found`,
    values: [applicationId, segmentId, channels, addresses],
  });
  return rows;
}

/** At most this many locks for the addresses of one application, so that a batch cannot fill the lock table. */
const addressStripes = 64;

/** Makes callers that give endpoints one of these addresses go one after the other, until their commit. */
export async function lockAddresses(
  db: Queryable,
  applicationId: string,
  addresses: string[],
): Promise<void> {
  await db.query({
    name: 'addresses-lock',
    text: `select pg_advisory_xact_lock(hashtext('endpoint address ' || $1::text), stripe)
      from (select distinct abs(hashtext(address) % ${addressStripes}) as stripe
        from unnest($2::text[]) as given (address) order by 1) as stripes`,
    values: [applicationId, addresses],
  });
}

const record = (value: string) => `
  jsonb_to_recordset(${value}::jsonb) as r (
    "id" text, "segmentId" text, "channel" text, "address" text, "optOut" text, "status" text, "cohort" smallint,
    "userId" text, "attributes" jsonb, "metrics" jsonb, "demographic" jsonb, "location" jsonb,
    "requestId" text, "effectiveAt" int8, "createdAt" int8, "version" text)`;

/** More new rows than this are worth a COPY. */
const fewRows = 50;

/**
 * Inserts rows, sorted by id.
 * @throws the database's `23505` when one of them is there.
 */
export async function insertEndpoints(
  db: Transaction,
  applicationId: string,
  rows: EndpointRow[],
): Promise<void> {
  if (rows.length > fewRows) return copyEndpoints(db, applicationId, rows);
  await db.query({
    name: 'endpoints-insert',
    text: `insert into endpoints (application_id, id, segment_id, channel, address, opt_out, status, cohort, user_id,
        attributes, metrics, demographic, location, request_id, effective_at, created_at)
      select $1, r."id", r."segmentId", r."channel", r."address", r."optOut", r."status", r."cohort", r."userId",
        r."attributes", r."metrics", r."demographic", r."location", r."requestId",
        to_timestamp(r."effectiveAt" / 1000.0::float8), to_timestamp(r."createdAt" / 1000.0::float8)
      from ${record('$2')}`,
    values: [applicationId, JSON.stringify(rows)],
  });
}

/** Writes the rows, which the caller has locked. */
export async function updateEndpoints(
  db: Queryable,
  applicationId: string,
  rows: EndpointRow[],
): Promise<void> {
  const values = [applicationId, JSON.stringify(rows)];
  await db.query({ name: 'endpoints-update', text: updateFrom('$1', '$2'), values });
}

/** An endpoint as it was read, and the version of its row. */
export interface VersionedRow extends EndpointRow {
  version: string;
}

/**
 * An update of rows (`VersionedRow[]` as JSON), for statements that write more than it: of those that nobody has
 * changed since they were read.
 * @param application, rows the parameters, as `$1`
 */
export function updateUnchanged(application: string, rows: string): string {
  return `${updateFrom(application, rows)} and e.xmin::text = r."version"`;
}

/**
 * Each row is found by its key and stays where it was found. Joined by the key, PostgreSQL would rather read the whole
 * table once it thinks that the application has most of it.
 */
function updateFrom(application: string, rows: string): string {
  return `update endpoints e set channel = r."channel", address = r."address", opt_out = r."optOut",
      status = r."status", user_id = r."userId", attributes = r."attributes", metrics = r."metrics",
      demographic = r."demographic", location = r."location", request_id = r."requestId",
      effective_at = to_timestamp(r."effectiveAt" / 1000.0::float8)
    from ${record(rows)} cross join lateral (
      select at.ctid as place from endpoints at where at.application_id = ${application} and at.id = r."id" offset 0
    ) as found
    where e.ctid = found.place`;
}

/** As insertEndpoints, for users. */
export async function insertUsers(db: Transaction, applicationId: string, rows: UserRow[]): Promise<void> {
  if (rows.length > fewRows) return copyUsers(db, applicationId, rows);
  await db.query({
    name: 'users-insert',
    text: `insert into users (application_id, id, attributes)
      select $1, r.id, r.attributes from jsonb_to_recordset($2::jsonb) as r (id text, attributes jsonb)`,
    values: [applicationId, JSON.stringify(rows)],
  });
}

/** As updateEndpoints, for users. */
export async function updateUsers(db: Queryable, applicationId: string, rows: UserRow[]): Promise<void> {
  await db.query({
    name: 'users-update',
    text: `update users u set attributes = r.attributes
      from jsonb_to_recordset($2::jsonb) as r (id text, attributes jsonb) cross join lateral (
        select at.ctid as place from users at where at.application_id = $1 and at.id = r.id offset 0
      ) as found
      where u.ctid = found.place`,
    values: [applicationId, JSON.stringify(rows)],
  });
}

/** A subquery, not a join: then each user is one look at the key, whatever PostgreSQL thinks of the tables' sizes. */
const recipientColumns = `${endpointColumns}, coalesce((
  select owner.attributes from users owner
  where owner.application_id = e.application_id and owner.id = e.user_id), '{}') as "userAttributes"`;

/** Endpoints with their users' attributes; also those that only one segment sees. */
export async function selectRecipients(
  db: Queryable,
  applicationId: string,
  ids: readonly string[],
): Promise<Recipient[]> {
  const { rows } = await db.query<Recipient>({
    name: 'recipients-select',
    text: `select ${recipientColumns} from endpoints e where e.application_id = $1 and e.id = any($2)`,
    values: [applicationId, ids],
  });
  return rows.map(ownRecipient);
}

/**
 * Registered endpoints for which `condition` (on `e`, with values from $2 on) holds, by id. The application's id is
 * hidden in a subquery: PostgreSQL plans for an average application then, not for what it last knew of this one.
 */
export async function selectRecipientsWhere(
  db: Queryable,
  applicationId: string,
  condition: string,
  values: unknown[],
  limit: number,
): Promise<Recipient[]> {
  const { rows } = await db.query<Recipient>(
    `select ${recipientColumns} from endpoints e
      where e.application_id = (select $1::text) and e.segment_id is null and ${condition}
      order by e.id limit ${limit}`,
    [applicationId, ...values],
  );
  return rows.map(ownRecipient);
}
