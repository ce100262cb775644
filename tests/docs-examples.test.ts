import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import {
  CreateAppCommand,
  CreateSegmentCommand,
  PinpointClient,
  UpdateEndpointCommand,
} from '@aws-sdk/client-pinpoint';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { waitFor } from './support/processes.ts';
import { startProduct } from './support/product.ts';
import { missing } from './support/requires.ts';

/** The examples of the documents, as a reader pastes them: with the names that the first start prints. */
const run = promisify(execFile);
const product = await startProduct();
const docs = fileURLToPath(new URL('../docs/', import.meta.url));
const names: Record<string, string> = {};
let home: string;

beforeAll(async () => {
  const client = product.client();
  const created = await client.send(new CreateAppCommand({ CreateApplicationRequest: { Name: 'docs' } }));
  const app = created.ApplicationResponse!.Id!;
  const segment = await client.send(
    new CreateSegmentCommand({ ApplicationId: app, WriteSegmentRequest: { Name: 'all', Dimensions: {} } }),
  );
  const token = await product.json<{ token: string }>('/api/tokens', {
    method: 'POST',
    json: {
      name: 'segment',
      scopes: { applications: [app], actions: ['mobiletargeting:PutEvents'], buckets: [] },
    },
  });
  home = await mkdtemp('/tmp/postrider-docs-');
  // An answer that is an error ends the example.
  await writeFile(join(home, '.curlrc'), 'fail-with-body\nsilent\nshow-error\n');
  const archive = join(product.objects, 'archive/2026');
  await mkdir(archive, { recursive: true });
  await writeFile(join(archive, 'events.gz'), gzipSync(await exampleRecord()));
  Object.assign(names, {
    ...product.environment(),
    ...{ HOME: home, CURL_HOME: home, URL: product.url, KEY: product.key.id, SECRET: product.key.secret },
    ...{ APP: app, SEGMENT: segment.SegmentResponse!.Id!, TOKEN: token.token },
  });
});
afterAll(() => rm(home, { recursive: true, force: true }));

/** The first example of the reference of stream records, as a line of an archive. */
async function exampleRecord(): Promise<string> {
  const [, record] = /^```json\n([\s\S]*?)^```/m.exec(
    await readFile(join(docs, 'stream-records.md'), 'utf8'),
  )!;
  return `${JSON.stringify(JSON.parse(record!))}\n`;
}

async function blocksOf(page: string, language: string): Promise<string[]> {
  const text = await readFile(join(docs, page), 'utf8');
  return [...text.matchAll(/^```(\w+)\n([\s\S]*?)^```/gm)]
    .filter(([, found]) => found === language)
    .map(([, , block]) => block!);
}

test.skipIf(missing('aws').length > 0).each([
  ['analytics.md', 2],
  ['events.md', 2],
  ['exports.md', 1],
  ['publishable-keys.md', 2],
  ['segment-api.md', 2],
  ['streams.md', 2],
])('the shell examples of %s are answered as they should be', async (page, count) => {
  const blocks = await blocksOf(page, 'sh');
  expect(blocks).toHaveLength(count);
  for (const block of blocks) {
    const { stdout } = await run('/bin/sh', ['-ec', block], { env: names });
    expect(() => JSON.parse(stdout), stdout).not.toThrow();
    expect(stdout).not.toMatch(/"StatusCode": ?4/);
  }
});

test.skipIf(missing('aws').length > 0)('what the examples put and import is counted', async () => {
  const path = `/api/apps/${names.APP}`;
  await waitFor('the events and the import', async () => {
    const types = await product.json<{ items: { eventType: string }[] }>(`${path}/analytics/event-types`);
    const found = types.items.map(({ eventType }) => eventType);
    const { items } = await product.json<{ items: { progress: { imported: number; failures: number } }[] }>(
      `${path}/event-imports`,
    );
    const { imported, failures } = items[0]!.progress;
    if (failures > 0) throw new Error(JSON.stringify(items[0]));
    return found.includes('_monetization.purchase') && found.includes('Invoice Paid') && imported === 1;
  });
});

async function createPublishableKey(): Promise<string> {
  const path = `/api/apps/${names.APP}/publishable-keys`;
  return (await product.json<{ id: string }>(path, { method: 'POST', json: { name: 'docs' } })).id;
}

/** A script of a page, with the names that it is given. */
function script<T>(given: string, ...parameters: string[]): (...values: unknown[]) => Promise<T> {
  const AsyncFunction = (async () => undefined).constructor as new (
    ...of: string[]
  ) => (...values: unknown[]) => Promise<T>;
  return new AsyncFunction(...parameters, given);
}

test('the page of docs/publishable-keys.md makes its endpoint and tracks', async () => {
  const [block] = await blocksOf('publishable-keys.md', 'js');
  const page = script<Response>(
    block!
      .replace('https://postrider.example.com', product.url)
      .replace("app: '…'", `app: '${names.APP}'`)
      .replace("key: 'pk_…'", `key: '${await createPublishableKey()}'`)
      .replace('await postrider.track', 'return await postrider.track'),
    ...['localStorage', 'location'],
  );
  const storage: Record<string, string> = {};
  for (const time of ['first', 'second']) {
    const answer = await page(storage, { pathname: '/books' });
    expect(answer.status, time).toBe(202);
    expect(await answer.text()).not.toMatch(/"StatusCode": ?4/);
    expect(storage.endpointToken).toMatch(/^et_/);
  }
});

test('the AWS SDK of docs/publishable-keys.md keeps the token of its endpoint', async () => {
  const [, block] = await blocksOf('publishable-keys.md', 'js');
  const connect = script<PinpointClient>(
    `let token; ${block}; return client;`,
    ...['PinpointClient', 'endpoint', 'key'],
  );
  const client = await connect(PinpointClient, product.url, await createPublishableKey());
  const [ApplicationId, EndpointId] = [names.APP!, randomUUID()];
  for (const plan of ['free', 'pro']) {
    const EndpointRequest = { ChannelType: 'IN_APP' as const, Attributes: { plan: [plan] } };
    await client.send(new UpdateEndpointCommand({ ApplicationId, EndpointId, EndpointRequest }));
  }
  client.destroy();
});

test("the page of docs/segment-api.md keeps its endpoint's token and hands it on", async () => {
  const block = (await blocksOf('segment-api.md', 'js')).at(-1)!;
  const page = script<void>(
    block.replace('https://postrider.example.com', product.url),
    ...['analytics', 'localStorage', 'document', 'window', 'writeKey'],
  );
  const writeKey = await createPublishableKey();
  const anonymousId = randomUUID();
  type Call = { obj: { context: { postrider?: { endpointToken: string } } } & Record<string, unknown> };
  let middleware: (call: { payload: Call; next: (payload: Call) => void }) => void = () => undefined;
  const analytics = {
    user: () => ({ anonymousId: () => anonymousId }),
    addSourceMiddleware(given: typeof middleware) {
      middleware = given;
    },
  };
  const storage: Record<string, string> = {};
  await page(analytics, storage, { title: 'Books' }, {}, writeKey);
  expect(storage.endpointToken).toMatch(/^et_/);
  const call: Call = { obj: { anonymousId, event: 'Read', messageId: randomUUID(), writeKey, context: {} } };
  let passed: Call | undefined;
  middleware({ payload: call, next: (payload) => (passed = payload) });
  const answer = await fetch(`${product.url}/v1/track`, {
    method: 'POST',
    body: JSON.stringify(passed!.obj),
  });
  expect([answer.status, await answer.json()]).toMatchObject([200, { success: true }]);
});
