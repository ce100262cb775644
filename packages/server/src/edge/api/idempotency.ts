import { createHash } from 'node:crypto';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import sql from 'sql-template-tag';
import { principalName } from '../../accounts/index.ts';
import type { Database } from '../../platform/database.ts';
import { badMember, CallerError } from '../../platform/errors.ts';

interface StoredAnswer {
  request_hash: Buffer;
  status: number | null;
  response: unknown;
}

declare module 'fastify' {
  interface FastifyRequest {
    idempotencyKey: string | null;
  }
}

/**
 * `Idempotency-Key` on POST: the same key with the same request within 24 hours is answered with the stored answer and
 * does nothing; with another request it is refused. The key is taken before the work starts, so of two at once one is
 * told to wait. Only successes are kept: what was refused may be corrected and sent again.
 */
export function addIdempotency(api: FastifyInstance, database: Database): void {
  api.decorateRequest('idempotencyKey', null);
  api.addHook('preHandler', async (request, reply) => {
    const key = request.headers['idempotency-key'];
    if (key === undefined || request.method !== 'POST' || !request.routeOptions.config.action) return;
    if (typeof key !== 'string' || !/^[\x21-\x7e]{1,255}$/.test(key)) {
      throw badMember('Idempotency-Key', 'expected 1 to 255 visible ASCII characters');
    }
    const stored = await takeKey(database, request, key);
    if (!stored) {
      request.idempotencyKey = key;
      return;
    }
    if (!stored.request_hash.equals(hashOf(request))) {
      throw new CallerError(
        'conflict',
        'Idempotency-Key: this key was used for another request',
        'Idempotency-Key',
      );
    }
    if (stored.status === null) {
      throw new CallerError(
        'conflict',
        'Idempotency-Key: the first request with this key has no answer yet',
        'Idempotency-Key',
      );
    }
    reply.header('idempotent-replayed', 'true');
    return reply.code(stored.status).send(stored.response);
  });
  api.addHook('onSend', async (request, reply, payload) => {
    const key = request.idempotencyKey;
    if (!key) return payload;
    const principal = principalName(request.principal);
    if (reply.statusCode < 300) {
      await database.query(sql`
        update idempotency_keys set status = ${reply.statusCode}, response = ${String(payload || 'null')}::jsonb
        where principal = ${principal} and key = ${key}`);
    } else {
      await database.query(sql`delete from idempotency_keys where principal = ${principal} and key = ${key}`);
    }
    return payload;
  });
}

function hashOf(request: FastifyRequest): Buffer {
  return createHash('sha256')
    .update(JSON.stringify([request.url, request.body ?? null]))
    .digest();
}

/** Takes the key for this request; the stored row when somebody has it already. */
async function takeKey(
  database: Database,
  request: FastifyRequest,
  key: string,
): Promise<StoredAnswer | undefined> {
  const principal = principalName(request.principal);
  const { rowCount } = await database.query(sql`
    insert into idempotency_keys (principal, key, request_hash) values (${principal}, ${key}, ${hashOf(request)})
    on conflict (principal, key) do update
      set request_hash = excluded.request_hash, status = null, response = null, created_at = now()
      where idempotency_keys.created_at < now() - interval '24 hours'`);
  if (rowCount) return undefined;
  const { rows } = await database.query<StoredAnswer>(sql`
    select request_hash, status, response from idempotency_keys where principal = ${principal} and key = ${key}`);
  return rows[0];
}

/** Forgets keys that are older than their window. Returns how many. */
export async function expireIdempotencyKeys(database: Database): Promise<number> {
  const { rowCount } = await database.query(sql`
    delete from idempotency_keys where created_at < now() - interval '24 hours'`);
  return rowCount ?? 0;
}
