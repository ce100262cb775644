import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  type ActivePublishableKey,
  allowsOrigin,
  isPublishableKeyId,
  type PublishableKeys,
  RateLimits,
} from '../../accounts/index.ts';
import type { Clock } from '../../platform/clock.ts';
import type { Database } from '../../platform/database.ts';
import { CallerError } from '../../platform/errors.ts';
import { PublishableCall } from './call.ts';
import { clientAddress } from './client-address.ts';
import { forbidOrigin } from './cors.ts';

/** Where holders of publishable keys come in: finds their key, and keeps each within its bounds. */
export interface PublishableDoor {
  /** The key with this id; undefined for anything else. */
  find(id: string): Promise<ActivePublishableKey | undefined>;
  /**
   * Before anything else is read of a request.
   * @throws CallerError forbidden for a page of another origin, too_many_requests.
   */
  admit(key: ActivePublishableKey, request: IncomingMessage, response: ServerResponse): void;
  /** What endpoints the request may touch. */
  call(key: ActivePublishableKey, request: IncomingMessage, response: ServerResponse): PublishableCall;
}

export function createPublishableDoor(options: {
  publishableKeys: Pick<PublishableKeys, 'find'>;
  database: Database;
  clock: Clock;
  /** POSTRIDER_TRUSTED_PROXIES. */
  trustedProxies: number;
}): PublishableDoor {
  const { publishableKeys, database, clock, trustedProxies } = options;
  const keyLimits = new RateLimits(clock);
  const addressLimits = new RateLimits(clock);
  return {
    find: (id) => publishableKeys.find(id),
    admit(key, request, response) {
      const { origin } = request.headers;
      if (!allowsOrigin(key.origins, origin)) {
        forbidOrigin(response);
        throw new CallerError('forbidden', `Publishable key ${key.id} may not be used by pages of ${origin}`);
      }
      const address = clientAddress(request, trustedProxies);
      // The address first: who is over its own bound takes nothing from the others with the same key.
      const waitMs =
        addressLimits.take(`${key.id} ${address}`, key.addressRatePerSecond) ||
        keyLimits.take(key.id, key.ratePerSecond);
      if (waitMs > 0) {
        response.setHeader('retry-after', String(Math.ceil(waitMs / 1000)));
        throw new CallerError(
          'too_many_requests',
          'More requests than this publishable key takes; try again later',
        );
      }
      key.used();
    },
    call: (key, request, response) => new PublishableCall({ key, database, request, response }),
  };
}

/** The key that an Authorization header of the form `Bearer key` or `Basic base64(key:)` names. */
export function keyOfHeader(header: string | undefined): string | undefined {
  const [scheme = '', value = ''] = (header ?? '').split(' ', 2);
  if (scheme.toLowerCase() === 'bearer') return value;
  if (scheme.toLowerCase() === 'basic') return Buffer.from(value, 'base64').toString().split(':')[0]!;
  return undefined;
}

/** The same, if it is a publishable key. */
export function bearerKeyId(header: string | undefined): string | undefined {
  // Signed requests, nearly all of them, name none.
  if (header?.startsWith('AWS4-')) return undefined;
  const id = keyOfHeader(header);
  return id !== undefined && isPublishableKeyId(id) ? id : undefined;
}
