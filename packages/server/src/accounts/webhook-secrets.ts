import { randomBytes } from 'node:crypto';
import type { Clock } from '../platform/clock.ts';
import type { Database, Queryable } from '../platform/database.ts';
import { notFound } from '../platform/errors.ts';
import type { Secrets } from '../platform/secrets.ts';
import { recordAudit } from './audit.ts';
import type { Principal } from './principal.ts';
import { insertWebhookSecret, replaceWebhookSecret, selectWebhookSecret } from './webhook-secret.sql.ts';

/** With what the webhooks of an application are signed, as Standard Webhooks writes secrets: `whsec_<base64>`. */
export interface WebhookSecret {
  secret: string;
  /** The one before, which signs as well for a day after a change; null when there is none. */
  previous: string | null;
  createdAt: Date;
}

export interface WebhookSecrets {
  /** The application's secret; made when it has none. @throws CallerError not_found */
  get(applicationId: string): Promise<WebhookSecret>;
  /** A new secret; the former one signs as well for a day. @throws CallerError not_found */
  rotate(applicationId: string, by: Principal | 'system'): Promise<WebhookSecret>;
  /** The secrets to sign with, the newest first; at most a second old. @throws CallerError not_found */
  signing(applicationId: string): Promise<string[]>;
}

const prefix = 'whsec_';
const secretBytes = 32;
const overlapMs = 24 * 3_600_000;
const cacheMs = 1_000;
const maxCached = 10_000;

interface Row {
  secret: Buffer;
  previous: Buffer | null;
  created_at: Date;
}

export function createWebhookSecrets(options: {
  database: Database;
  secrets: Secrets;
  clock: Clock;
}): WebhookSecrets {
  const { database, secrets, clock } = options;
  const cache = new Map<string, { at: number; found: Promise<string[]> }>();
  const contextOf = (applicationId: string) => `webhook_secrets/${applicationId}`;
  const seal = (applicationId: string) => secrets.encrypt(randomBytes(secretBytes), contextOf(applicationId));
  const open = (applicationId: string, sealed: Buffer) =>
    `${prefix}${secrets.decrypt(sealed, contextOf(applicationId)).toString('base64')}`;

  async function read(db: Queryable, applicationId: string): Promise<WebhookSecret | undefined> {
    const { rows } = await db.query<Row>(selectWebhookSecret(applicationId));
    const [row] = rows;
    return (
      row && {
        secret: open(applicationId, row.secret),
        previous: row.previous ? open(applicationId, row.previous) : null,
        createdAt: row.created_at,
      }
    );
  }

  async function get(applicationId: string): Promise<WebhookSecret> {
    const known = await read(database, applicationId);
    if (known) return known;
    try {
      await database.query(insertWebhookSecret(applicationId, seal(applicationId)));
    } catch (error) {
      if ((error as { code?: string }).code === '23503') throw notFound('Application', applicationId);
      throw error;
    }
    // Somebody else's may have been the first.
    return found(await read(database, applicationId), applicationId);
  }

  return {
    get,
    async rotate(applicationId, by) {
      await get(applicationId);
      const changed = await database.transaction(async (tx) => {
        await tx.query(replaceWebhookSecret(applicationId, seal(applicationId), overlapMs));
        await recordAudit(tx, { principal: by, action: 'postrider:RotateWebhookSecret', applicationId });
        return found(await read(tx, applicationId), applicationId);
      });
      cache.delete(applicationId);
      return changed;
    },
    signing(applicationId) {
      const now = clock.now();
      const cached = cache.get(applicationId);
      if (cached && now >= cached.at && now - cached.at < cacheMs) return cached.found;
      if (cache.size >= maxCached) cache.clear();
      const asked = get(applicationId).then(({ secret, previous }) =>
        previous ? [secret, previous] : [secret],
      );
      asked.catch(() => cache.delete(applicationId));
      cache.set(applicationId, { at: now, found: asked });
      return asked;
    },
  };
}

/** The secret goes with its application, which may be deleted at any moment. */
function found(secret: WebhookSecret | undefined, applicationId: string): WebhookSecret {
  if (!secret) throw notFound('Application', applicationId);
  return secret;
}
