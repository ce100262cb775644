import sql, { type Sql } from 'sql-template-tag';

const columns = sql`id, application_id, name, origins, rate_per_second, address_rate_per_second,
  created_at, last_used_at, revoked_at`;

/** Makers of keys and secrets of one application wait for each other, so that each counts what the others made. */
export const lockKeyOwner = (applicationId: string): Sql =>
  sql`select from applications where id = ${applicationId} for no key update`;

/** After `lockKeyOwner`. No row when the application does not exist or has `maxKeys` keys in use. */
export const insertPublishableKey = (
  row: {
    id: string;
    applicationId: string;
    name: string;
    origins: string[] | null;
    ratePerSecond: number;
    addressRatePerSecond: number;
    tokenSecret: Buffer;
  },
  maxKeys: number,
): Sql => sql`
  insert into publishable_keys
    (id, application_id, name, origins, rate_per_second, address_rate_per_second, token_secret)
  select ${row.id}, a.id, ${row.name}, ${row.origins}::text[], ${row.ratePerSecond}::int,
    ${row.addressRatePerSecond}::int, ${row.tokenSecret}::bytea
  from applications a
  where a.id = ${row.applicationId} and (select count(*) from publishable_keys k where k.application_id = a.id and k.revoked_at is null) < ${maxKeys}
  returning ${columns}`;

export const updatePublishableKey = (
  applicationId: string,
  id: string,
  row: { name: string; origins: string[] | null; ratePerSecond: number; addressRatePerSecond: number },
): Sql => sql`
  update publishable_keys set name = ${row.name}, origins = ${row.origins}, rate_per_second = ${row.ratePerSecond},
    address_rate_per_second = ${row.addressRatePerSecond}
  where application_id = ${applicationId} and id = ${id} and revoked_at is null
  returning ${columns}`;

export const lockPublishableKey = (applicationId: string, id: string): Sql => sql`
  select ${columns} from publishable_keys
  where application_id = ${applicationId} and id = ${id} and revoked_at is null for update`;

export const selectPublishableKeys = (applicationId: string, limit: number): Sql => sql`
  select ${columns} from publishable_keys where application_id = ${applicationId}
  order by created_at desc, id limit ${limit}`;

export const revokePublishableKey = (applicationId: string, id: string): Sql => sql`
  update publishable_keys set revoked_at = now()
  where application_id = ${applicationId} and id = ${id} and revoked_at is null returning id`;

export const touchPublishableKey = (id: string): Sql =>
  sql`update publishable_keys set last_used_at = now() where id = ${id}`;

/** A key in use with all that its requests are checked by: secrets of its application's keys and identities. */
export const selectActivePublishableKey = (id: string): Sql => sql`
  select ${columns},
    (select json_agg(json_build_object('id', s.id, 'secret', encode(s.token_secret, 'base64')) order by s.created_at, s.id)
      from publishable_keys s where s.application_id = k.application_id and s.revoked_at is null) as token_secrets,
    (select json_agg(json_build_object('id', s.id, 'secret', encode(s.secret, 'base64')) order by s.created_at, s.id)
      from identity_secrets s where s.application_id = k.application_id) as identity_secrets
  from publishable_keys k where k.id = ${id} and k.revoked_at is null`;

/** The key of an application that was made last. */
export const selectNewestPublishableKey = (applicationId: string): Sql => sql`
  select id from publishable_keys where application_id = ${applicationId} and revoked_at is null
  order by created_at desc, id limit 1`;

/** After `lockKeyOwner`. No row when the application does not exist or has `maxSecrets` of them. */
export const insertIdentitySecret = (
  row: { id: string; applicationId: string; secret: Buffer },
  maxSecrets: number,
): Sql => sql`
  insert into identity_secrets (id, application_id, secret)
  select ${row.id}, a.id, ${row.secret}::bytea
  from applications a
  where a.id = ${row.applicationId} and (select count(*) from identity_secrets s where s.application_id = a.id) < ${maxSecrets}
  returning id, created_at`;

export const selectIdentitySecrets = (applicationId: string, limit: number): Sql => sql`
  select id, created_at from identity_secrets where application_id = ${applicationId}
  order by created_at desc, id limit ${limit}`;

export const deleteIdentitySecret = (applicationId: string, id: string): Sql =>
  sql`delete from identity_secrets where application_id = ${applicationId} and id = ${id} returning id`;

/** A note that is a minute old was of an attempt that made no endpoint, so a new attempt replaces it. */
export const noteEndpointCreation = (applicationId: string, endpointId: string, proofs: Buffer[]): Sql => sql`
  insert into endpoint_creations (application_id, endpoint_id, proofs)
  values (${applicationId}, ${endpointId}, ${proofs}::bytea[])
  on conflict (application_id, endpoint_id) do update set proofs = excluded.proofs, created_at = excluded.created_at
    where endpoint_creations.created_at < now() - interval '1 minute'`;

/** The note comes right before the endpoint: one that was made at another time was made by somebody else. */
export const matchEndpointCreation = (
  applicationId: string,
  endpoint: { id: string; createdAt: number },
  proofs: Buffer[],
): Sql => sql`
  select from endpoint_creations
  where application_id = ${applicationId} and endpoint_id = ${endpoint.id} and proofs && ${proofs}::bytea[]
    and created_at > now() - interval '2 days'
    and abs(extract(epoch from created_at) * 1000 - ${endpoint.createdAt}::float8) < 120000`;

export const deleteOldEndpointCreations = (): Sql =>
  sql`delete from endpoint_creations where created_at < now() - interval '2 days'`;
