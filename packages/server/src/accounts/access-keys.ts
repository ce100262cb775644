import type { Clock } from '../platform/clock.ts';
import type { Database, Queryable } from '../platform/database.ts';
import { CallerError, notFound } from '../platform/errors.ts';
import { randomBytes } from '../platform/ids.ts';
import type { Log } from '../platform/log.ts';
import type { Secrets } from '../platform/secrets.ts';
import { recordAudit } from './audit.ts';
import { checkScopes } from './authorize.ts';
import {
  anyAccessKey,
  insertAccessKey,
  lockAccessKeys,
  replaceAccessKeySecret,
  revokeAccessKey,
  selectAccessKey,
  selectAccessKeys,
  selectActiveAccessKey,
  touchAccessKey,
} from './credential.sql.ts';
import { CredentialCache } from './credential-cache.ts';
import { type Credential, type CredentialRow, checkName, credentialFromRow } from './credentials.ts';
import { fullScopes, type Principal, type Scopes } from './principal.ts';

/** An access key as it is shown once, when it is made. */
export interface NewAccessKey {
  id: string;
  secret: string;
}

export interface SigningKey {
  principal: Principal;
  secret: string;
  /** To be called when a signature with it was right. */
  used(): void;
}

/** The keys that sign requests. */
export interface AccessKeys {
  /** @throws CallerError bad_request for a bad name or scopes. */
  create(options: { name: string; scopes?: Scopes; by: Principal | 'system' }): Promise<NewAccessKey>;
  /** The key with its secret, to check a signature; undefined when unknown or revoked (within a second). */
  find(id: string): Promise<SigningKey | undefined>;
  list(): Promise<Credential[]>;
  /** @throws CallerError not_found when there is no such key in use. */
  revoke(id: string, by: Principal | 'system'): Promise<void>;
  /**
   * Makes sure that there is a key. A given one (from the settings) is stored, or gets the given secret; without one, a
   * key is made when there never was any.
   * @returns the key that was made, to be printed once; undefined when none was made.
   */
  ensureFirst(given: NewAccessKey | undefined): Promise<NewAccessKey | undefined>;
}

const maxListed = 1000;

export function createAccessKeys(options: {
  database: Database;
  secrets: Secrets;
  clock: Clock;
  log: Log;
}): AccessKeys {
  const { database, secrets, log } = options;
  const cache = new CredentialCache<SigningKey>({
    ...options,
    load: async (id) => {
      const loaded = await loadAccessKey(database, secrets, id);
      return loaded && { ...loaded, used: () => cache.noteUse(id) };
    },
    markUsed: (id) => database.query(touchAccessKey(id)),
  });
  return {
    create: async ({ name, scopes, by }) => {
      const key = newAccessKey();
      await database.transaction((tx) =>
        insert(tx, secrets, key, { name: checkName(name), scopes: checkScopes(scopes ?? fullScopes), by }),
      );
      cache.forget(key.id);
      return key;
    },
    find: (id) => cache.find(id),
    list: async () => {
      const { rows } = await database.query<CredentialRow>(selectAccessKeys(maxListed));
      return rows.map(credentialFromRow);
    },
    revoke: async (id, by) => {
      await database.transaction(async (tx) => {
        const { rows } = await tx.query(revokeAccessKey(id));
        if (!rows[0]) throw notFound('Access key', id);
        await recordAudit(tx, { principal: by, action: 'postrider:RevokeAccessKey', detail: { id } });
      });
      cache.forget(id);
    },
    ensureFirst: async (given) => {
      const made = await database.transaction(async (tx) => {
        await tx.query(lockAccessKeys());
        if (given) return storeGiven(tx, secrets, given, log);
        const { rows } = await tx.query(anyAccessKey());
        if (rows.length > 0) return undefined;
        const key = newAccessKey();
        await insert(tx, secrets, key, { name: 'first key', scopes: fullScopes, by: 'system' });
        return key;
      });
      if (given) cache.forget(given.id);
      return made;
    },
  };
}

function newAccessKey(): NewAccessKey {
  // 16 characters of base 32 without look-alikes, after a prefix that tells whose key it is.
  const alphabet = 'ABCDEFGHJKMNPQRSTVWXYZ0123456789';
  const id = Array.from(randomBytes(16), (byte) => alphabet[byte % alphabet.length]).join('');
  return { id: `PRAK${id}`, secret: randomBytes(30).toString('base64url') };
}

/** What a stored secret belongs to, so that it can be read in its own row only. */
function secretContext(id: string): string {
  return `access_keys/${id}`;
}

async function insert(
  db: Queryable,
  secrets: Secrets,
  key: NewAccessKey,
  options: { name: string; scopes: Scopes; by: Principal | 'system' },
): Promise<void> {
  const { rows } = await db.query(
    insertAccessKey({
      id: key.id,
      name: options.name,
      secret: secrets.encrypt(key.secret, secretContext(key.id)),
      scopes: JSON.stringify(options.scopes),
    }),
  );
  if (!rows[0]) throw new CallerError('conflict', `Access key ${key.id} exists already`);
  const detail = { id: key.id, name: options.name, scopes: options.scopes };
  await recordAudit(db, { principal: options.by, action: 'postrider:CreateAccessKey', detail });
}

async function loadAccessKey(db: Queryable, secrets: Secrets, id: string) {
  const { rows } = await db.query<{ id: string; name: string; secret: Buffer; scopes: Scopes }>(
    selectActiveAccessKey(id),
  );
  const row = rows[0];
  if (!row) return undefined;
  const principal: Principal = { kind: 'access_key', id: row.id, name: row.name, scopes: row.scopes };
  return { principal, secret: secrets.decrypt(row.secret, secretContext(row.id)).toString() };
}

/** The settings' key: stored when absent, its secret brought up to date when it exists. A revoked one stays revoked. */
async function storeGiven(
  db: Queryable,
  secrets: Secrets,
  given: NewAccessKey,
  log: Log,
): Promise<undefined> {
  const { rows } = await db.query<{ secret: Buffer; revoked_at: Date | null }>(selectAccessKey(given.id));
  const stored = rows[0];
  if (!stored) {
    await insert(db, secrets, given, { name: 'first key', scopes: fullScopes, by: 'system' });
    return;
  }
  if (stored.revoked_at) {
    log.warn({ accessKeyId: given.id }, 'the access key of POSTRIDER_ACCESS_KEY_ID was revoked and stays so');
    return;
  }
  if (secrets.decrypt(stored.secret, secretContext(given.id)).toString() === given.secret) return;
  await db.query(replaceAccessKeySecret(given.id, secrets.encrypt(given.secret, secretContext(given.id))));
  await recordAudit(db, {
    principal: 'system',
    action: 'postrider:ReplaceAccessKeySecret',
    detail: { id: given.id },
  });
}
