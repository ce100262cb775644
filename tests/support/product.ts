import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { PinpointClient } from '@aws-sdk/client-pinpoint';
import { afterAll } from 'vitest';
import { createAccessKeys } from '../../packages/server/src/accounts/index.ts';
import { readConfig } from '../../packages/server/src/platform/config.ts';
import type { Database } from '../../packages/server/src/platform/database.ts';
import { migrateJobs } from '../../packages/server/src/platform/jobs.ts';
import { silentLog } from '../../packages/server/src/platform/log.ts';
import { createApiRole } from '../../packages/server/src/roles/api.ts';
import { openProcess } from '../../packages/server/src/roles/process.ts';
import { createWorkerRole } from '../../packages/server/src/roles/worker.ts';
import { testDatabase } from './database.ts';

export interface TestProduct {
  url: string;
  key: { id: string; secret: string };
  database: Database;
  /** `s3://bucket/key` is `bucket/key` in this folder. */
  objects: string;
  client(key?: { id: string; secret: string }): PinpointClient;
  /** A request of the own API, with the key's credentials. */
  request(path: string, init?: RequestInit & { json?: unknown }): Promise<Response>;
  /** The same for its JSON; throws when the answer is not a success. */
  json<T>(path: string, init?: RequestInit & { json?: unknown }): Promise<T>;
  environment(): Record<string, string>;
}

/**
 * Both roles of the product in the test's own process, on a database of its own (or the migrated one that is given);
 * ended after the file's last test.
 */
export async function startProduct(
  env: Record<string, string> = {},
  given?: Database & { url: string },
): Promise<TestProduct> {
  const database = given ?? (await testDatabase(5));
  await migrateJobs(database, silentLog);
  const dataDir = await mkdtemp('/tmp/postrider-product-');
  const key = { id: 'PRAKTEST000000000001', secret: 'a-secret-of-the-tests-a-secret-of-the-tests' };
  const config = readConfig({
    POSTRIDER_HOST: '127.0.0.1',
    POSTRIDER_PORT: '0',
    POSTRIDER_DATA_DIR: dataDir,
    POSTRIDER_LOG_LEVEL: process.env.POSTRIDER_LOG_LEVEL ?? 'fatal',
    POSTRIDER_ALLOW_PRIVATE_HOSTS: 'on',
    POSTRIDER_RETRY_FIRST_DELAY_MS: '1000',
    ...env,
  });
  const shared = { databaseUrl: database.url, masterKey: Buffer.alloc(32, 9) };
  const [apiContext, workerContext] = (['api', 'worker'] as const).map((role) =>
    openProcess(role, config, shared),
  );
  await createAccessKeys(apiContext!).ensureFirst(key);
  const worker = createWorkerRole(workerContext!);
  const api = await createApiRole(apiContext!, () => []);
  const [{ port }] = await Promise.all([api.ready, worker.ready]);
  const url = `http://127.0.0.1:${port}`;
  const clients: PinpointClient[] = [];
  afterAll(async () => {
    for (const client of clients) client.destroy();
    await Promise.all([api.drain(), worker.drain()]);
    await Promise.all([apiContext!.database.close(), workerContext!.database.close()]);
    await rm(dataDir, { recursive: true, force: true });
  });
  const request: TestProduct['request'] = (path, { json, ...init } = {}) => {
    const headers = new Headers(init.headers);
    if (!headers.has('authorization')) {
      headers.set('authorization', `Basic ${Buffer.from(`${key.id}:${key.secret}`).toString('base64')}`);
    }
    if (json !== undefined) headers.set('content-type', 'application/json');
    return fetch(url + path, {
      ...init,
      headers,
      body: json === undefined ? init.body : JSON.stringify(json),
    });
  };
  return {
    url,
    key,
    database,
    objects: join(dataDir, 'objects'),
    client: (signer = key) => {
      const client = new PinpointClient({
        endpoint: url,
        region: 'us-east-1',
        credentials: { accessKeyId: signer.id, secretAccessKey: signer.secret },
        maxAttempts: 1,
      });
      clients.push(client);
      return client;
    },
    request,
    async json(path, init) {
      const response = await request(path, init);
      const text = await response.text();
      if (!response.ok)
        throw new Error(`${init?.method ?? 'GET'} ${path} answered ${response.status}: ${text}`);
      return text ? JSON.parse(text) : undefined;
    },
    environment: () => ({
      AWS_ACCESS_KEY_ID: key.id,
      AWS_SECRET_ACCESS_KEY: key.secret,
      AWS_DEFAULT_REGION: 'us-east-1',
      ENDPOINT: url,
      PATH: process.env.PATH ?? '',
      HOME: dataDir,
    }),
  };
}
