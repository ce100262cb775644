import type { Clock } from '../../platform/clock.ts';
import type { Database } from '../../platform/database.ts';
import { badMember, CallerError, notFound } from '../../platform/errors.ts';
import { randomBytes } from '../../platform/ids.ts';
import type { Log } from '../../platform/log.ts';
import type { Secrets } from '../../platform/secrets.ts';
import { recordAudit } from '../audit.ts';
import { CredentialCache } from '../credential-cache.ts';
import { checkName } from '../credentials.ts';
import type { Principal } from '../principal.ts';
import { makeEndpointToken, type TokenSubject } from './endpoint-token.ts';
import { checkOrigins } from './origin.ts';
import {
  insertPublishableKey,
  lockKeyOwner,
  lockPublishableKey,
  revokePublishableKey,
  selectActivePublishableKey,
  selectNewestPublishableKey,
  selectPublishableKeys,
  touchPublishableKey,
  updatePublishableKey,
} from './publishable-key.sql.ts';

/** A key that may stand in a web page or an app, as it is shown to the customer. Its id is all there is of it. */
export interface PublishableKey {
  /** `pk_…`: access key id and secret at once of signed requests, bearer token, Segment write key. */
  id: string;
  name: string;
  /** Origins of the pages that may use it; `["*"]` for all. */
  origins: string[];
  /** Requests a second with this key, and from one client address, in each process. */
  ratePerSecond: number;
  addressRatePerSecond: number;
  createdAt: Date;
  /** To the minute. */
  lastUsedAt: Date | undefined;
  revokedAt: Date | undefined;
}

/** A key in use, with what its requests are checked by. */
export interface ActivePublishableKey {
  id: string;
  applicationId: string;
  principal: Principal;
  /** Null for all. */
  origins: readonly string[] | null;
  ratePerSecond: number;
  addressRatePerSecond: number;
  /** Makes the tokens of its endpoints. */
  tokenSecret: Uint8Array;
  /** Of all keys in use of the application, this one's too: their endpoints may change keys. */
  tokenSecrets: readonly Uint8Array[];
  identitySecrets: readonly string[];
  /** To be called when it was used. */
  used(): void;
}

export interface PublishableKeySettings {
  name: string;
  origins?: readonly string[];
  ratePerSecond?: number;
  addressRatePerSecond?: number;
}

export interface PublishableKeys {
  /** @throws CallerError bad_request, not_found (the application), conflict (too many keys). */
  create(
    applicationId: string,
    settings: PublishableKeySettings,
    by: Principal | 'system',
  ): Promise<PublishableKey>;
  /** Changes what is given. @throws CallerError bad_request, not_found. */
  update(
    applicationId: string,
    id: string,
    changes: Partial<PublishableKeySettings>,
    by: Principal | 'system',
  ): Promise<PublishableKey>;
  list(applicationId: string): Promise<PublishableKey[]>;
  /** Its endpoint tokens end with it. @throws CallerError not_found when there is no such key in use. */
  revoke(applicationId: string, id: string, by: Principal | 'system'): Promise<void>;
  /** The key with this id; undefined when unknown or revoked (within a second). */
  find(id: string): Promise<ActivePublishableKey | undefined>;
  /**
   * The token of an endpoint that was made otherwise, for the customer's backend to hand to the device.
   * @throws CallerError conflict when the application has no key in use.
   */
  issueToken(subject: TokenSubject): Promise<string>;
}

/** What a publishable key may do, and nothing else. Routes of the own API do not know such keys at all. */
export const publishableActions: readonly string[] = [
  'mobiletargeting:PutEvents',
  'mobiletargeting:UpdateEndpoint',
  'mobiletargeting:GetInAppMessages',
];

const maxKeys = 20;
const maxListed = 1000;
const maxRate = 1_000_000;
const defaults = { origins: ['*'], ratePerSecond: 500, addressRatePerSecond: 20 };
const idPattern = /^pk_[0-9A-Za-z]{32}$/;

interface KeyRow {
  id: string;
  application_id: string;
  name: string;
  origins: string[] | null;
  rate_per_second: number;
  address_rate_per_second: number;
  created_at: Date;
  last_used_at: Date | null;
  revoked_at: Date | null;
}

interface StoredSecret {
  id: string;
  /** Base64. */
  secret: string;
}

interface ActiveKeyRow extends KeyRow {
  token_secrets: StoredSecret[];
  identity_secrets: StoredSecret[] | null;
}

export function isPublishableKeyId(text: string): boolean {
  return idPattern.test(text);
}

export function createPublishableKeys(options: {
  database: Database;
  secrets: Secrets;
  clock: Clock;
  log: Log;
}): PublishableKeys {
  const { database, secrets } = options;
  const cache = new CredentialCache<ActivePublishableKey>({
    ...options,
    load: async (id) => {
      const { rows } = await database.query<ActiveKeyRow>(selectActivePublishableKey(id));
      return rows[0] && activeKey(rows[0], secrets, () => cache.noteUse(id));
    },
    markUsed: (id) => database.query(touchPublishableKey(id)),
  });
  const find = (id: string) => (isPublishableKeyId(id) ? cache.find(id) : Promise.resolve(undefined));
  return {
    find,
    async create(applicationId, settings, by) {
      const row = { ...checkSettings({ ...defaults, ...settings }), id: newId(), applicationId };
      const tokenSecret = secrets.encrypt(randomBytes(32), tokenContext(row.id));
      return database.transaction(async (tx) => {
        await tx.query(lockKeyOwner(applicationId));
        const { rows } = await tx.query<KeyRow>(insertPublishableKey({ ...row, tokenSecret }, maxKeys));
        if (!rows[0]) {
          throw new CallerError('conflict', `An application has at most ${maxKeys} publishable keys in use`);
        }
        const detail = { id: row.id, name: row.name, origins: row.origins };
        const action = 'postrider:CreatePublishableKey';
        await recordAudit(tx, { principal: by, action, applicationId, detail });
        return fromRow(rows[0]);
      });
    },
    async update(applicationId, id, changes, by) {
      const changed = await database.transaction(async (tx) => {
        const { rows } = await tx.query<KeyRow>(lockPublishableKey(applicationId, id));
        if (!rows[0]) throw notFound('Publishable key', id);
        const settings = checkSettings({ ...fromRow(rows[0]), ...changes });
        const updated = await tx.query<KeyRow>(updatePublishableKey(applicationId, id, settings));
        const detail = { id, ...settings };
        const action = 'postrider:UpdatePublishableKey';
        await recordAudit(tx, { principal: by, action, applicationId, detail });
        return fromRow(updated.rows[0]!);
      });
      cache.forget(id);
      return changed;
    },
    async list(applicationId) {
      const { rows } = await database.query<KeyRow>(selectPublishableKeys(applicationId, maxListed));
      return rows.map(fromRow);
    },
    async revoke(applicationId, id, by) {
      await database.transaction(async (tx) => {
        const { rows } = await tx.query(revokePublishableKey(applicationId, id));
        if (!rows[0]) throw notFound('Publishable key', id);
        const action = 'postrider:RevokePublishableKey';
        await recordAudit(tx, { principal: by, action, applicationId, detail: { id } });
      });
      cache.forget(id);
    },
    async issueToken(subject) {
      const { rows } = await database.query<{ id: string }>(
        selectNewestPublishableKey(subject.applicationId),
      );
      const key = rows[0] && (await find(rows[0].id));
      if (!key) {
        throw new CallerError(
          'conflict',
          'The application has no publishable key, and tokens are made with one',
        );
      }
      return makeEndpointToken(key.tokenSecret, subject);
    },
  };
}

function newId(): string {
  const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
  // Of 248 values each letter has four; those above are drawn again, so that all letters are as likely.
  let id = '';
  while (id.length < 32) {
    for (const byte of randomBytes(48)) if (byte < 248 && id.length < 32) id += alphabet[byte % 62];
  }
  return `pk_${id}`;
}

/** What a stored secret belongs to, so that it can be read in its own row only. */
function tokenContext(id: string): string {
  return `publishable_keys/${id}`;
}

export function identityContext(id: string): string {
  return `identity_secrets/${id}`;
}

function activeKey(row: ActiveKeyRow, secrets: Secrets, used: () => void): ActivePublishableKey {
  const read = (stored: StoredSecret, context: string) =>
    secrets.decrypt(Buffer.from(stored.secret, 'base64'), context);
  const tokenSecrets = new Map(
    row.token_secrets.map((stored) => [stored.id, read(stored, tokenContext(stored.id))]),
  );
  return {
    id: row.id,
    applicationId: row.application_id,
    principal: {
      kind: 'publishable_key',
      id: row.id,
      name: row.name,
      scopes: { applications: [row.application_id], actions: [...publishableActions], buckets: [] },
    },
    origins: row.origins,
    ratePerSecond: row.rate_per_second,
    addressRatePerSecond: row.address_rate_per_second,
    tokenSecret: tokenSecrets.get(row.id)!,
    tokenSecrets: [...tokenSecrets.values()],
    identitySecrets: (row.identity_secrets ?? []).map((stored) =>
      read(stored, identityContext(stored.id)).toString(),
    ),
    used,
  };
}

function fromRow(row: KeyRow): PublishableKey {
  return {
    id: row.id,
    name: row.name,
    origins: row.origins ?? ['*'],
    ratePerSecond: row.rate_per_second,
    addressRatePerSecond: row.address_rate_per_second,
    createdAt: row.created_at,
    lastUsedAt: row.last_used_at ?? undefined,
    revokedAt: row.revoked_at ?? undefined,
  };
}

function checkSettings(settings: Required<PublishableKeySettings>) {
  const rate = (member: 'ratePerSecond' | 'addressRatePerSecond') => {
    const value = settings[member];
    if (!Number.isInteger(value) || value < 1 || value > maxRate) {
      throw badMember(`$.${member}`, `expected a whole number from 1 to ${maxRate}`);
    }
    return value;
  };
  return {
    name: checkName(settings.name),
    origins: checkOrigins(settings.origins),
    ratePerSecond: rate('ratePerSecond'),
    addressRatePerSecond: rate('addressRatePerSecond'),
  };
}
