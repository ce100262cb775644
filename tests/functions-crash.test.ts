import { chmod, mkdtemp, rm } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { PinpointClient } from '@aws-sdk/client-pinpoint';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { accessKey, freePort, Product } from './chaos/product.ts';
import {
  createAudience,
  secretOf,
  startCampaign,
  startReceiver,
  statusesOf,
  untilOver,
} from './functions-support.ts';
import { waitFor } from './support/processes.ts';
import type { TestProduct } from './support/product.ts';

const folder = await mkdtemp('/tmp/postrider-functions-');
await chmod(folder, 0o755);
const running = new Product({ dataDir: join(folder, 'data'), port: await freePort() });
const client = new PinpointClient({
  endpoint: running.url,
  region: 'us-east-1',
  credentials: { accessKeyId: accessKey.id, secretAccessKey: accessKey.secret },
});
/** As much of a product as campaigns of tests need. */
const product = {
  client: () => client,
  async json(path: string) {
    const response = await running.request(path);
    return response.json();
  },
} as unknown as TestProduct;

let held: ServerResponse[] = [];
let isHolding = true;
const receiver = await startReceiver(
  (applicationId) => secretOf(product, applicationId),
  (response, { payload }) => {
    if (isHolding) held.push(response);
    else response.end(JSON.stringify(payload.Endpoints));
  },
);

beforeAll(() => running.start(), 60_000);
afterAll(async () => {
  client.destroy();
  await running.stop();
  await rm(folder, { recursive: true, force: true });
});

const people = Array.from({ length: 70 }, (_, index) => ({
  Id: `p${index}`,
  ChannelType: 'CUSTOM',
  Address: `a${index}`,
}));

/** `kill -9` of the worker while the receiver has two calls; resolves when its successor works. */
async function killWorker(): Promise<void> {
  await waitFor('the calls', () => held.length === 2);
  const before = running.roles().find(({ role }) => role === 'worker')!.pid;
  running.killRole('worker');
  await waitFor('the next worker', () =>
    running.roles().some(({ role, pid }) => role === 'worker' && pid !== before),
  );
}

test('what a dead worker had handed to a function is in doubt, and not handed over again', async () => {
  held = [];
  isHolding = true;
  const audience = await createAudience(product, people);
  const campaign = await startCampaign(product, audience, {
    MessageConfiguration: { CustomMessage: { Data: 'x' } },
    CustomDeliveryConfiguration: { DeliveryUri: `${receiver.url}/deliver` },
  });
  await killWorker();
  await untilOver(product, campaign);
  expect(await statusesOf(product, campaign)).toEqual({ in_doubt: 70 });
  const calls = receiver.calls.filter(({ path }) => path === '/deliver');
  expect(calls.map(({ fault }) => fault)).toEqual([undefined, undefined]);
}, 90_000);

test('a hook that a dead worker had asked is asked again, by the same ids, and nobody is passed over', async () => {
  held = [];
  isHolding = true;
  const audience = await createAudience(product, people);
  const campaign = await startCampaign(product, audience, {
    MessageConfiguration: { CustomMessage: { Data: 'x' } },
    Hook: { WebUrl: `${receiver.url}/hook` },
  });
  await killWorker();
  isHolding = false;
  await untilOver(product, campaign);
  expect(await statusesOf(product, campaign)).toEqual({ accepted: 70 });
  const ids = receiver.calls.filter(({ path }) => path === '/hook').map(({ id }) => id);
  expect(ids).toHaveLength(4);
  expect(new Set(ids).size).toBe(2);
}, 90_000);
