import type { Clock } from '../platform/clock.ts';
import type { Database } from '../platform/database.ts';
import { notFound } from '../platform/errors.ts';
import { uuidv7 } from '../platform/ids.ts';
import type { Log } from '../platform/log.ts';
import { hashToken, newToken } from '../platform/secrets.ts';
import { recordAudit } from './audit.ts';
import { checkScopes } from './authorize.ts';
import { insertToken, revokeToken, selectActiveToken, selectTokens, touchToken } from './credential.sql.ts';
import { CredentialCache } from './credential-cache.ts';
import { type Credential, type CredentialRow, checkName, credentialFromRow } from './credentials.ts';
import type { Principal, Scopes } from './principal.ts';

/** Bearer tokens of our own API: `pr_…`, stored only as their hash. */
export interface Tokens {
  /** @returns the token, which cannot be read again. @throws CallerError bad_request for a bad name or scopes. */
  create(options: {
    name: string;
    scopes: Scopes;
    by: Principal | 'system';
  }): Promise<{ id: string; token: string }>;
  /** Whose token this is; undefined when unknown or revoked (within a second). */
  find(token: string): Promise<Principal | undefined>;
  list(): Promise<Credential[]>;
  /** @throws CallerError not_found when there is no such token in use. */
  revoke(id: string, by: Principal | 'system'): Promise<void>;
}

const prefix = 'pr_';
const maxListed = 1000;

export function createTokens(options: { database: Database; clock: Clock; log: Log }): Tokens {
  const { database } = options;
  const cache = new CredentialCache<Principal>({
    ...options,
    load: async (hash) => {
      const { rows } = await database.query<{ id: string; name: string; scopes: Scopes }>(
        selectActiveToken(Buffer.from(hash, 'hex')),
      );
      return rows[0] && { kind: 'token', ...rows[0] };
    },
    markUsed: (hash) => database.query(touchToken(Buffer.from(hash, 'hex'))),
  });
  return {
    create: async ({ name, scopes, by }) => {
      const { token, hash } = newToken(prefix);
      const id = uuidv7();
      const row = { id, name: checkName(name), hash, scopes: JSON.stringify(checkScopes(scopes)) };
      await database.transaction(async (tx) => {
        await tx.query(insertToken(row));
        const detail = { id, name, scopes };
        await recordAudit(tx, { principal: by, action: 'postrider:CreateToken', detail });
      });
      return { id, token };
    },
    find: async (token) => {
      if (!/^pr_[\w-]{43}$/.test(token)) return undefined;
      const hash = hashToken(token).toString('hex');
      const principal = await cache.find(hash);
      if (principal) cache.noteUse(hash);
      return principal;
    },
    list: async () => {
      const { rows } = await database.query<CredentialRow>(selectTokens(maxListed));
      return rows.map(credentialFromRow);
    },
    revoke: async (id, by) => {
      const hash = await database.transaction(async (tx) => {
        const { rows } = await tx.query<{ hash: Buffer }>(revokeToken(id));
        if (!rows[0]) throw notFound('Token', id);
        await recordAudit(tx, { principal: by, action: 'postrider:RevokeToken', detail: { id } });
        return rows[0].hash;
      });
      cache.forget(hash.toString('hex'));
    },
  };
}
