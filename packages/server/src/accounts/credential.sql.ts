import sql, { type Sql } from 'sql-template-tag';

export const insertAccessKey = (row: {
  id: string;
  name: string;
  secret: Buffer;
  scopes: string;
}): Sql => sql`
  insert into access_keys (id, name, secret, scopes)
  values (${row.id}, ${row.name}, ${row.secret}, ${row.scopes}::jsonb)
  on conflict (id) do nothing
  returning id, name, scopes, created_at, last_used_at, revoked_at`;

export const selectActiveAccessKey = (id: string): Sql =>
  sql`select id, name, secret, scopes from access_keys where id = ${id} and revoked_at is null`;

export const selectAccessKey = (id: string): Sql =>
  sql`select secret, revoked_at from access_keys where id = ${id}`;

export const replaceAccessKeySecret = (id: string, secret: Buffer): Sql =>
  sql`update access_keys set secret = ${secret} where id = ${id}`;

export const anyAccessKey = (): Sql => sql`select 1 from access_keys limit 1`;

/** Serialises the makers of the first key; ends with the transaction. */
export const lockAccessKeys = (): Sql => sql`lock table access_keys in share row exclusive mode`;

export const selectAccessKeys = (limit: number): Sql => sql`
  select id, name, scopes, created_at, last_used_at, revoked_at from access_keys
  order by created_at desc, id limit ${limit}`;

export const revokeAccessKey = (id: string): Sql =>
  sql`update access_keys set revoked_at = now() where id = ${id} and revoked_at is null returning id`;

export const touchAccessKey = (id: string): Sql =>
  sql`update access_keys set last_used_at = now() where id = ${id}`;

export const insertToken = (row: { id: string; name: string; hash: Buffer; scopes: string }): Sql => sql`
  insert into tokens (id, name, hash, scopes)
  values (${row.id}, ${row.name}, ${row.hash}, ${row.scopes}::jsonb)
  returning id, name, scopes, created_at, last_used_at, revoked_at`;

export const selectActiveToken = (hash: Buffer): Sql =>
  sql`select id, name, scopes from tokens where hash = ${hash} and revoked_at is null`;

export const selectTokens = (limit: number): Sql => sql`
  select id, name, scopes, created_at, last_used_at, revoked_at from tokens
  order by created_at desc, id limit ${limit}`;

export const revokeToken = (id: string): Sql =>
  sql`update tokens set revoked_at = now() where id = ${id} and revoked_at is null returning hash`;

export const touchToken = (hash: Buffer): Sql =>
  sql`update tokens set last_used_at = now() where hash = ${hash}`;
