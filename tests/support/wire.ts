import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PinpointClient } from '@aws-sdk/client-pinpoint';
import { afterAll } from 'vitest';
import {
  type AccessKeys,
  authorize,
  createAccessKeys,
  type NewAccessKey,
} from '../../packages/server/src/accounts/index.ts';
import {
  createWireEngine,
  type OperationHandlers,
  type Services,
} from '../../packages/server/src/edge/aws/index.ts';
import { operations } from '../../packages/server/src/edge/pinpoint/operations.ts';
import { type Clock, systemClock } from '../../packages/server/src/platform/clock.ts';
import type { Database } from '../../packages/server/src/platform/database.ts';
import { type Log, silentLog } from '../../packages/server/src/platform/log.ts';
import { createSecrets } from '../../packages/server/src/platform/secrets.ts';

export interface WireServer {
  /** `http://127.0.0.1:40123` */
  url: string;
  port: number;
  region: string;
  accountId: string;
  /** May do everything. */
  key: NewAccessKey;
  accessKeys: AccessKeys;
  /** A client of the JS SDK that signs with `key`, and does not repeat what failed. */
  client(key?: NewAccessKey): PinpointClient;
  /** Environment for aws-cli, boto3 and anything that reads AWS_*. */
  environment(key?: NewAccessKey): Record<string, string>;
}

/**
 * The Pinpoint API on a free port, stopped after the calling file's last test.
 * @param options.services what the handlers under test need of `Services`.
 */
export async function wireServer(options: {
  database: Database;
  services?: Partial<Services>;
  handlers?: OperationHandlers;
  clock?: Clock;
  log?: Log;
}): Promise<WireServer> {
  const { database, clock = systemClock, log = silentLog } = options;
  const accessKeys = createAccessKeys({ database, secrets: createSecrets(Buffer.alloc(32, 7)), clock, log });
  const key = await accessKeys.create({ name: 'test', by: 'system' });
  const scope = { region: 'us-east-1', accountId: '000000000000' };
  const engine = createWireEngine({
    handlers: options.handlers ?? operations,
    findAccessKey: accessKeys.find,
    authorize,
    ...scope,
    database,
    clock,
    log,
    services: { erasers: [], taggable: {}, ...options.services } as Services,
  });
  const server = createServer((request, response) => void engine.handle(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  const clients: PinpointClient[] = [];
  afterAll(async () => {
    for (const client of clients) client.destroy();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return {
    url,
    port,
    ...scope,
    key,
    accessKeys,
    client: (signer = key) => {
      const client = new PinpointClient({
        endpoint: url,
        region: scope.region,
        maxAttempts: 1,
        credentials: { accessKeyId: signer.id, secretAccessKey: signer.secret },
      });
      clients.push(client);
      return client;
    },
    environment: (signer = key) => ({
      AWS_ACCESS_KEY_ID: signer.id,
      AWS_SECRET_ACCESS_KEY: signer.secret,
      AWS_DEFAULT_REGION: scope.region,
      AWS_ENDPOINT_URL_PINPOINT: url,
      AWS_MAX_ATTEMPTS: '1',
      AWS_PAGER: '',
      AWS_EC2_METADATA_DISABLED: 'true',
      HOME: '/nonexistent',
      PATH: process.env.PATH ?? '',
    }),
  };
}
