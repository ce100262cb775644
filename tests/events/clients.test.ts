import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { promisify } from 'node:util';
import {
  CreateAppCommand,
  GetApplicationDateRangeKpiCommand,
  PutEventStreamCommand,
  PutEventsCommand,
} from '@aws-sdk/client-pinpoint';
import { Analytics } from '@segment/analytics-node';
import kinesalite from 'kinesalite';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startBrowser } from '../support/browser.ts';
import { readStream } from '../support/kinesis.ts';
import { waitFor } from '../support/processes.ts';
import { startProduct, type TestProduct } from '../support/product.ts';
import { missing } from '../support/requires.ts';

// Everybody who puts events, into one application; then every place where they must come out right.
const run = promisify(execFile);
const streamArn = 'arn:aws:kinesis:us-east-1:000000000000:stream/out';
const now = Date.now();

/** Who put which purchase: the same event by five ways. */
const purchases = [
  { by: 'js', endpoint: 'from-js', price: 10 },
  { by: 'boto', endpoint: 'from-boto', price: 20 },
  { by: 'cli', endpoint: 'from-cli', price: 40 },
  { by: 'segment', endpoint: 'from-segment', price: 80 },
  { by: 'page', endpoint: crypto.randomUUID(), price: 160 },
];
const purchaseOf = (by: string) => purchases.find((purchase) => purchase.by === by)!;

/** A session and a purchase as PutEvents takes them. */
function batchOf({ by, endpoint, price }: (typeof purchases)[number]) {
  const at = (seconds: number) => new Date(now - 3_600_000 + seconds * 1000).toISOString();
  const Session = { Id: `session-${by}`, StartTimestamp: at(0) };
  return {
    BatchItem: {
      [endpoint]: {
        Endpoint: { Attributes: { Door: [by] }, Demographic: { Platform: 'test', Make: 'Acme' } },
        Events: {
          [`start-${by}`]: { EventType: '_session.start', Timestamp: at(0), Session },
          [`buy-${by}`]: {
            EventType: '_monetization.purchase',
            Timestamp: at(10),
            Session,
            Attributes: { _currency: 'EUR', _product_id: 'ticket', door: by },
            Metrics: { _item_price: price, _quantity: 1 },
          },
          [`stop-${by}`]: { EventType: '_session.stop', Timestamp: at(60), Session },
        },
      },
    },
  };
}

describe.skipIf(missing('aws', 'boto3', 'chromium').length > 0)('events of every client', () => {
  let product: TestProduct;
  let app: string;
  const kinesis = kinesalite({ createStreamMs: 5 });
  let kinesisUrl: string;

  const aws = async (service: string, ...words: string[]) => {
    const url = service === 'kinesis' ? kinesisUrl : product.url;
    const args = [service, ...words, '--endpoint-url', url, '--output', 'json'];
    const { stdout } = await run('/usr/bin/aws', args, { env: product.environment() });
    return stdout ? JSON.parse(stdout) : undefined;
  };

  beforeAll(async () => {
    kinesis.listen(0, '127.0.0.1');
    await once(kinesis, 'listening');
    kinesisUrl = `http://127.0.0.1:${(kinesis.address() as AddressInfo).port}`;
    product = await startProduct({
      POSTRIDER_AWS_ACCESS_KEY_ID: 'AKIDTEST',
      POSTRIDER_AWS_SECRET_ACCESS_KEY: 'secret',
      POSTRIDER_AWS_ENDPOINT_URL: kinesisUrl,
    });
    await aws('kinesis', 'create-stream', '--stream-name', 'out', '--shard-count', '2');
    const created = await product
      .client()
      .send(new CreateAppCommand({ CreateApplicationRequest: { Name: 'doors' } }));
    app = created.ApplicationResponse!.Id!;
    await waitFor(
      'the stream to be active',
      async () =>
        (await aws('kinesis', 'describe-stream', '--stream-name', 'out')).StreamDescription.StreamStatus ===
        'ACTIVE',
    );
    await product.client().send(
      new PutEventStreamCommand({
        ApplicationId: app,
        WriteEventStream: { DestinationStreamArn: streamArn, RoleArn: 'arn:aws:iam::000000000000:role/x' },
      }),
    );
  });
  afterAll(() => kinesis.close());

  test('the JS SDK', async () => {
    const { EventsResponse } = await product
      .client()
      .send(new PutEventsCommand({ ApplicationId: app, EventsRequest: batchOf(purchaseOf('js')) }));
    expect(EventsResponse!.Results!['from-js']).toEqual({
      EndpointItemResponse: { StatusCode: 202, Message: 'Accepted' },
      EventsItemResponse: Object.fromEntries(
        ['start-js', 'buy-js', 'stop-js'].map((id) => [id, { StatusCode: 202, Message: 'Accepted' }]),
      ),
    });
  });

  test('boto3', async () => {
    const text = `
import boto3, json, sys
pinpoint = boto3.client('pinpoint', endpoint_url='${product.url}')
answer = pinpoint.put_events(ApplicationId='${app}', EventsRequest=json.loads(sys.argv[1]))
print(answer['ResponseMetadata']['HTTPStatusCode'], [r['StatusCode'] for r in answer['EventsResponse']['Results']['from-boto']['EventsItemResponse'].values()])`;
    const { stdout } = await run(
      '/usr/bin/python3',
      ['-c', text, JSON.stringify(batchOf(purchaseOf('boto')))],
      { env: product.environment() },
    );
    expect(stdout.trim()).toBe('202 [202, 202, 202]');
  });

  test('the AWS CLI', async () => {
    const request = JSON.stringify(batchOf(purchaseOf('cli')));
    const answer = await aws('pinpoint', 'put-events', '--application-id', app, '--events-request', request);
    expect(answer.EventsResponse.Results['from-cli'].EventsItemResponse['buy-cli'].StatusCode).toBe(202);
  });

  test("Segment's library for Node", async () => {
    const { token } = await product.json<{ token: string }>('/api/tokens', {
      method: 'POST',
      json: {
        name: 'segment',
        scopes: { applications: [app], actions: ['mobiletargeting:PutEvents'], buckets: [] },
      },
    });
    const analytics = new Analytics({ writeKey: token, host: product.url, flushAt: 20 });
    const failures: unknown[] = [];
    analytics.on('error', (error) => failures.push(error));
    const properties = { total: 80, currency: 'EUR', order_id: 'o1', door: 'segment' };
    const timestamp = new Date(now - 3_590_000);
    analytics.track({ anonymousId: 'from-segment', event: 'Order Completed', properties, timestamp });
    await analytics.closeAndFlush();
    expect(failures).toEqual([]);
  });

  test('a page in Chromium with a publishable key', async () => {
    const { id } = await product.json<{ id: string }>(`/api/apps/${app}/publishable-keys`, {
      method: 'POST',
      json: { name: 'web' },
    });
    const site = createServer((_, response) => response.end('<!doctype html><title>shop</title>'));
    site.listen(0, '127.0.0.1');
    await once(site, 'listening');
    const browser = await startBrowser();
    try {
      const page = await browser.newPage();
      await page.goto(`http://127.0.0.1:${(site.address() as AddressInfo).port}/`);
      const answer = await page.evaluate(
        async ([url, key, body]) => {
          const response = await fetch(url!, {
            method: 'POST',
            headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
            body: body!,
          });
          return {
            status: response.status,
            token: response.headers.get('x-postrider-endpoint-token'),
            text: await response.text(),
          };
        },
        [`${product.url}/v1/apps/${app}/events`, id, JSON.stringify(batchOf(purchaseOf('page')))],
      );
      expect(answer).toMatchObject({ status: 202, token: expect.any(String) });
      expect(
        JSON.parse(answer.text).Results[purchaseOf('page').endpoint].EndpointItemResponse.StatusCode,
      ).toBe(202);
    } finally {
      await browser.close();
      site.close();
    }
  });

  test('are facts of the log, each once', async () => {
    const { rows } = await product.database.query(
      `select type, endpoint_id as endpoint, payload -> 'metrics' ->> '_item_price' as price from events
       where application_id = $1 and type = 'event._monetization.purchase'`,
      [app],
    );
    const seen = rows.map(({ endpoint, price }) => `${endpoint} ${price}`).sort();
    expect(seen).toEqual(purchases.map(({ endpoint, price }) => `${endpoint} ${price}`).sort());
  });

  test('are in the figures, and in the KPIs that clients of Pinpoint ask for', async () => {
    const day = new Date(now - 3_600_000).toISOString().slice(0, 10);
    const path = `/api/apps/${app}/analytics`;
    await waitFor('the figures', async () => {
      const { items } = await product.json<{ items: { purchases: number }[] }>(
        `${path}/revenue?from=${day}&to=${day}`,
      );
      return items[0]?.purchases === 5;
    });
    const revenue = await product.json(`${path}/revenue?from=${day}&to=${day}`);
    expect(revenue).toMatchObject({
      items: [{ day, currency: 'EUR', revenue: 310, purchases: 5, units: 5, payingEndpoints: 5 }],
    });
    const usage = await product.json(`${path}/usage?from=${day}&to=${day}`);
    // Segment's events tell of no session.
    expect(usage).toMatchObject({
      items: [{ activeEndpoints: 5, newEndpoints: 5, sessions: 4, averageSessionMs: 60_000 }],
    });
    const kpi = await product
      .client()
      .send(new GetApplicationDateRangeKpiCommand({ ApplicationId: app, KpiName: 'unique-deliveries' }));
    expect(kpi.ApplicationDateRangeKpiResponse).toMatchObject({
      ApplicationId: app,
      KpiName: 'unique-deliveries',
    });
  });

  test('are in the explorer', async () => {
    const answer = await product.json<{ items: object[] }>(`/api/apps/${app}/analytics/explorer`, {
      method: 'POST',
      json: {
        eventType: '_monetization.purchase',
        from: new Date(now - 86_400_000).toISOString(),
        to: new Date(now + 60_000).toISOString(),
        interval: 'all',
        metric: '_item_price',
        groupBy: 'door',
      },
    });
    const byDoor = Object.fromEntries(
      answer.items.map((row) => {
        const { group, sum, count } = row as { group: string; sum: number; count: number };
        return [group, { sum, count }];
      }),
    );
    expect(byDoor).toEqual(
      Object.fromEntries(purchases.map(({ by, price }) => [by, { sum: price, count: 1 }])),
    );
  });

  test("are in the stream, in Pinpoint's records", async () => {
    const purchasesIn = async () =>
      (await readStream(kinesisUrl, 'out', product.environment())).filter(
        ({ event_type }) => event_type === '_monetization.purchase',
      );
    await waitFor('the records', async () => (await purchasesIn()).length >= purchases.length);
    const records = await purchasesIn();
    expect(new Set(records.map((record) => record.client.client_id))).toEqual(
      new Set(purchases.map(({ endpoint }) => endpoint)),
    );
    expect(records.find(({ client }) => client.client_id === 'from-boto')).toMatchObject({
      event_type: '_monetization.purchase',
      event_version: expect.stringMatching(/^3\./),
      application: { app_id: app },
      session: { session_id: 'session-boto' },
      attributes: { _currency: 'EUR', door: 'boto' },
      metrics: { _item_price: 20, _quantity: 1 },
      device: { platform: { name: 'test' }, make: 'Acme' },
    });
  });
});
