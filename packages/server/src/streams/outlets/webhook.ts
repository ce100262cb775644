import { createHash } from 'node:crypto';
import { Webhook } from 'standardwebhooks';
import type { Clock } from '../../platform/clock.ts';
import { isoTime } from '../../platform/clock.ts';
import { fetchOutbound, OutboundError, type OutboundPolicy } from '../../platform/outbound.ts';
import { type Outlet, OutletError, shownBody } from './outlet.ts';

const defaultBatchRecords = 500;
const defaultTimeoutMs = 15_000;
const maxResponseBytes = 64 * 1024;
const longestRetryAfterMs = 3_600_000;

/** Answers that are about what is in the request. 401, 403 and 404 are about us or the address, and may be mended. */
const refusedStatuses = new Set([400, 413, 415, 422]);

/**
 * HTTPS webhook by Standard Webhooks: `webhook-id`, `webhook-timestamp`, `webhook-signature`; the body is
 * `{type: "stream.records", timestamp, data: {applicationId, stream, records: [...]}}`. 2xx accepts all of it; 410
 * disables the stream. Requests go one after the other, so records arrive in their order.
 */
export function createWebhookOutlet(options: {
  url: string;
  applicationId: string;
  stream: string;
  secrets: readonly string[];
  batchRecords?: number;
  timeoutMs?: number;
  clock: Clock;
  outbound: OutboundPolicy;
}): Outlet {
  const { url, applicationId, stream, clock } = options;
  const signers = options.secrets.map((secret) => new Webhook(secret));
  return {
    limits: {
      records: options.batchRecords ?? defaultBatchRecords,
      bytes: 1_000_000,
      recordBytes: 1_000_000,
      overheadBytes: 1,
      concurrency: 1,
      order: 'request',
    },
    async put(records, signal) {
      const at = clock.now();
      const head = JSON.stringify({ type: 'stream.records', timestamp: isoTime(at) }).slice(0, -1);
      const data = JSON.stringify({ applicationId, stream }).slice(0, -1);
      const body = `${head},"data":${data},"records":[${records.map(({ json }) => json).join(',')}]}}`;
      // The same records have the same id, so a receiver that keeps ids sees a repeat.
      const ids = createHash('sha256').update(records.map(({ id }) => id).join('\n'));
      const webhookId = `msg_${ids.digest('base64url').slice(0, 32)}`;
      const response = await fetchOutbound(url, {
        ...options.outbound,
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'user-agent': 'Postrider',
          'webhook-id': webhookId,
          'webhook-timestamp': String(Math.floor(at / 1000)),
          'webhook-signature': signers.map((signer) => signer.sign(webhookId, new Date(at), body)).join(' '),
        },
        body,
        timeoutMs: options.timeoutMs ?? defaultTimeoutMs,
        maxResponseBytes,
        // By its webhook-id.
        repeatable: true,
        signal,
      }).catch((error: unknown) => {
        if (error instanceof OutboundError) throw new OutletError('unavailable', error.message);
        throw error;
      });
      const { status } = response;
      if (status >= 200 && status < 300) return records.map(() => 'accepted' as const);
      const words = `the webhook answered ${status}: ${shownBody(response.body)}`;
      if (status === 410) throw new OutletError('gone', words);
      if (refusedStatuses.has(status)) throw new OutletError('refused', words);
      throw new OutletError('unavailable', words, retryAfter(response.headers['retry-after'], at));
    },
    close: async () => undefined,
  };
}

/** Seconds or a date; undefined when it is neither. */
function retryAfter(header: string | undefined, now: number): number | undefined {
  if (header === undefined) return undefined;
  const ms = /^\d{1,9}$/.test(header) ? Number(header) * 1000 : Date.parse(header) - now;
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(ms, 0), longestRetryAfterMs);
}
