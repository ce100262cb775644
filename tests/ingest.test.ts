import { execFile } from 'node:child_process';
import { createHash, createHmac } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { CreateAppCommand, GetEndpointCommand, PutEventsCommand } from '@aws-sdk/client-pinpoint';
import { expect, test } from 'vitest';
import { waitFor } from './support/processes.ts';
import { startProduct } from './support/product.ts';
import { missing } from './support/requires.ts';
import { type RawReply, send, sendSigned } from './support/signed-request.ts';

const run = promisify(execFile);
const product = await startProduct();
const strict = await startProduct({ POSTRIDER_PINPOINT_QUOTAS: 'on' });
const port = Number(new URL(product.url).port);
const client = product.client();

async function newApp(of = client): Promise<string> {
  const { ApplicationResponse } = await of.send(
    new CreateAppCommand({ CreateApplicationRequest: { Name: 'events' } }),
  );
  return ApplicationResponse!.Id!;
}

async function factsOf(app: string) {
  const { rows } = await product.database.query(
    'select type, endpoint_id as endpoint, payload from events where application_id = $1 order by batch_id, seq',
    [app],
  );
  return rows;
}

const purchase = { EventType: '_monetization.purchase', Timestamp: new Date().toISOString() };
const bodyOf = (Events: object, Endpoint: object = {}) =>
  JSON.stringify({ BatchItem: { e: { Endpoint, Events } } });
const post = (app: string, body: string | Buffer, headers: Record<string, string> = {}): Promise<RawReply> =>
  sendSigned({ method: 'POST', path: `/v1/apps/${app}/events`, body, headers }, { key: product.key, port });
const resultOf = (reply: RawReply) => JSON.parse(reply.text).Results.e;
const accepted = { StatusCode: 202, Message: 'Accepted' };

test('the JS SDK puts events; endpoint and events are there when it is answered', async () => {
  const app = await newApp();
  const reply = await client.send(
    new PutEventsCommand({
      ApplicationId: app,
      EventsRequest: {
        BatchItem: {
          phone: {
            Endpoint: {
              ChannelType: 'GCM',
              Address: 'token',
              User: { UserId: 'ann' },
              Attributes: { plan: ['pro'] },
            },
            Events: {
              one: { ...purchase, Attributes: { sku: 'x' }, Metrics: { price: 9.99, wrong: Number.NaN } },
            },
          },
          web: {
            Endpoint: {},
            Events: { two: purchase, three: { ...purchase, EventType: '_session_start' } },
          },
        },
      },
    }),
  );
  expect(reply.$metadata.httpStatusCode).toBe(202);
  expect(reply.EventsResponse!.Results).toEqual({
    phone: {
      EndpointItemResponse: accepted,
      EventsItemResponse: {
        one: { StatusCode: 400, Message: 'Metrics.wrong: expected a number, not "NaN"' },
      },
    },
    web: { EndpointItemResponse: accepted, EventsItemResponse: { two: accepted, three: accepted } },
  });
  expect((await factsOf(app)).map(({ type, endpoint }) => [endpoint, type])).toEqual([
    ['web', 'event._monetization.purchase'],
    ['web', 'event._session.start'],
  ]);
  const { EndpointResponse } = await client.send(
    new GetEndpointCommand({ ApplicationId: app, EndpointId: 'phone' }),
  );
  expect(EndpointResponse).toMatchObject({
    Address: 'token',
    User: { UserId: 'ann' },
    Attributes: { plan: ['pro'] },
  });
});

test.skipIf(missing('boto3').length > 0)('boto3 (needs the Debian package python3-boto3)', async () => {
  const app = await newApp();
  const program = `
import boto3, datetime, json, os
pinpoint = boto3.client('pinpoint', endpoint_url=os.environ['ENDPOINT'])
event = {'EventType': 'opened', 'Timestamp': datetime.datetime.now(datetime.timezone.utc).isoformat(), 'Metrics': {'n': 1.5}}
nan = {**event, 'Metrics': {'n': float('nan'), 'm': float('-inf')}}
request = {'BatchItem': {'e': {'Endpoint': {'User': {'UserId': 'bo'}}, 'Events': {'a': event, 'b': nan, 'NaN': {**event, 'Attributes': {'said': '"NaN, Infinity'}}}}}}
for _ in range(2):
    reply = pinpoint.put_events(ApplicationId='${app}', EventsRequest=request)
print(json.dumps(reply['EventsResponse']['Results']['e']))
`;
  const { stdout } = await run('/usr/bin/python3', ['-c', program], { env: product.environment() });
  expect(JSON.parse(stdout)).toEqual({
    EndpointItemResponse: accepted,
    EventsItemResponse: {
      a: accepted,
      NaN: accepted,
      b: { StatusCode: 400, Message: 'Metrics.n: expected a number, not "NaN"' },
    },
  });
  const facts = await factsOf(app);
  expect(facts.map(({ payload }) => payload.id)).toEqual(['a', 'NaN']);
  expect(facts[1].payload).toMatchObject({ userId: 'bo', attributes: { said: '"NaN, Infinity' } });
});

test.skipIf(missing('aws').length > 0)('aws-cli (needs the Debian package awscli)', async () => {
  const app = await newApp();
  const request = JSON.stringify({ BatchItem: { e: { Endpoint: {}, Events: { a: purchase } } } });
  const args = ['pinpoint', 'put-events', '--application-id', app, '--events-request', request];
  const { stdout } = await run('/usr/bin/aws', [...args, '--endpoint-url', product.url, '--output', 'json'], {
    env: product.environment(),
  });
  expect(JSON.parse(stdout).EventsResponse.Results.e.EventsItemResponse).toEqual({ a: accepted });
});

test('what is wrong with an event is answered for the event; what is wrong with the request refuses it whole', async () => {
  const app = await newApp();
  const reply = await post(
    app,
    `{"BatchItem":{"e":{"Endpoint":{"Attributes":{"a":5}},"Events":{
      "ok":${JSON.stringify(purchase)}, "__proto__":${JSON.stringify(purchase)}, "../x":${JSON.stringify(purchase)},
      "null":null, "no type":{"Timestamp":"2026-01-01T00:00:00Z"}, "bad time":{"EventType":"x","Timestamp":"soon"},
      "huge":{"EventType":"x","Timestamp":1e15,"Metrics":{"m":1e999}}, "list":{"EventType":"x","Timestamp":1,"Attributes":["a"]},
      "nul":{"EventType":"a\\u0000b","Timestamp":1}, "half":{"EventType":"x","Timestamp":1,"Attributes":{"\\ud800":"x"}},
      "1970":{"EventType":"x","Timestamp":"1970-01-01T00:00:00Z"}, "2100":{"EventType":"x","Timestamp":"2100-01-01T00:00:00Z"}}}}}`,
  );
  expect(reply.status).toBe(202);
  const { EndpointItemResponse, EventsItemResponse } = resultOf(reply);
  expect(EndpointItemResponse).toMatchObject({
    StatusCode: 400,
    Message: expect.stringContaining('Endpoint.Attributes.a'),
  });
  const answers = Object.entries<{ StatusCode: number; Message: string }>(EventsItemResponse);
  const good = answers.filter(([, { StatusCode }]) => StatusCode === 202).map(([id]) => id);
  expect(good.sort()).toEqual(['../x', '1970', '2100', '__proto__', 'ok']);
  expect(
    Object.fromEntries(
      answers.filter(([id]) => !good.includes(id)).map(([id, { Message }]) => [id, Message]),
    ),
  ).toEqual({
    null: 'expected an object, not null',
    'no type': 'EventType: this member is required',
    'bad time': 'Timestamp: expected a time such as 2026-11-21T08:00:00Z',
    huge: expect.stringMatching(/Timestamp|Metrics\.m/),
    list: 'Attributes: expected an object, not an array',
    nul: expect.stringContaining('EventType: expected text without U+0000'),
    half: expect.stringContaining('half surrogate'),
  });
  expect((await factsOf(app)).length).toBe(5);

  for (const body of [
    '',
    '[]',
    '{}',
    '{"BatchItem":5}',
    '{"BatchItem":{"e":{}}}',
    '{"BatchItem":{"e":{"Events":{}}}}',
    '{"BatchItem":{"e":{"Endpoint":{},"Events":[]}}}',
    '{nope',
  ]) {
    expect((await post(app, body)).status, body).toBe(400);
  }
  const many = Object.fromEntries(Array.from({ length: 10_000 }, (_, n) => [`many${n}`, purchase]));
  const refused = await post(app, bodyOf(many));
  expect([refused.status, JSON.parse(refused.text).Message]).toEqual([
    400,
    '$.BatchItem: expected at most 1000 events, got 10000',
  ]);
  expect((await post('0'.repeat(32), bodyOf({ a: purchase }))).status).toBe(404);
  expect((await factsOf(app)).length).toBe(5);
  expect((await post(app, bodyOf({}))).status).toBe(202);
});

test("with POSTRIDER_PINPOINT_QUOTAS events and endpoints are held to Pinpoint's", async () => {
  const own = strict.client();
  const app = await newApp(own);
  const put = (Events: object, Endpoint = {}) =>
    own.send(
      new PutEventsCommand({
        ApplicationId: app,
        EventsRequest: { BatchItem: { e: { Endpoint, Events } as never } },
      }),
    );
  const many = (count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, n) => [`n${n}`, purchase]));
  await put(many(100));
  await expect(put(many(101))).rejects.toMatchObject({ name: 'BadRequestException' });
  const { EventsResponse } = await put(
    { long: { ...purchase, Attributes: { a: 'x'.repeat(201) } } },
    { Attributes: { a: ['x'.repeat(101)] } },
  );
  expect(EventsResponse!.Results!.e).toMatchObject({
    EndpointItemResponse: { StatusCode: 400 },
    EventsItemResponse: {
      long: { StatusCode: 400, Message: 'Attributes.a: expected at most 200 characters, got 201' },
    },
  });
});

test('packed bodies are unpacked, bombs are not', async () => {
  const app = await newApp();
  const gzip = { 'content-encoding': 'gzip' };
  expect((await post(app, gzipSync(bodyOf({ a: purchase })), gzip)).status).toBe(202);
  expect((await factsOf(app)).length).toBe(1);
  const bomb = gzipSync(Buffer.alloc(200 * 1024 * 1024, 0x20));
  expect((await post(app, bomb, gzip)).status).toBe(413);
  expect((await post(app, 'no gzip', gzip)).status).toBe(400);
  expect((await post(app, gzipSync(bodyOf({ b: purchase })).subarray(0, 40), gzip)).status).toBe(400);
  expect((await post(app, bodyOf({ c: purchase }), { 'content-encoding': 'br' })).status).toBe(400);
});

/** A path with its signature in the query, as Amplify's `Signer.signUrl` makes it. */
function presigned(path: string, body: string, secret = product.key.secret, at = new Date()): string {
  const time = at.toISOString().replace(/[-:]|\.\d+/g, '');
  const scope = `${time.slice(0, 8)}/us-east-1/mobiletargeting/aws4_request`;
  const query = [
    'X-Amz-Algorithm=AWS4-HMAC-SHA256',
    `X-Amz-Credential=${encodeURIComponent(`${product.key.id}/${scope}`)}`,
    `X-Amz-Date=${time}`,
    'X-Amz-SignedHeaders=host',
  ].join('&');
  const sha = (text: string) => createHash('sha256').update(text).digest('hex');
  const canonical = ['POST', path, query, `host:127.0.0.1:${port}\n`, 'host', sha(body)].join('\n');
  const key = scope
    .split('/')
    .reduce<string | Buffer>((by, part) => createHmac('sha256', by).update(part).digest(), `AWS4${secret}`);
  const text = ['AWS4-HMAC-SHA256', time, scope, sha(canonical)].join('\n');
  return `${path}?${query}&X-Amz-Signature=${createHmac('sha256', key).update(text).digest('hex')}`;
}

test('beacons of old web apps: text/plain, signed in the query, on their own path only', async () => {
  const app = await newApp();
  const legacy = `/v1/apps/${app}/events/legacy`;
  const body = bodyOf({ stop: { ...purchase, EventType: '_session.stop' } });
  const beacon = (path: string, sent = body) =>
    send(port, {
      method: 'POST',
      path,
      body: sent,
      headers: { host: `127.0.0.1:${port}`, 'content-type': 'text/plain;charset=UTF-8' },
    });
  expect((await beacon(presigned(legacy, body))).status).toBe(202);
  expect((await factsOf(app)).map(({ type }) => type)).toEqual(['event._session.stop']);
  expect((await beacon(presigned(legacy, body), bodyOf({ other: purchase }))).status).toBe(403);
  expect((await beacon(presigned(legacy, body, 'not the secret'))).status).toBe(403);
  expect(
    (await beacon(presigned(legacy, body, product.key.secret, new Date(Date.now() - 6 * 60_000)))).status,
  ).toBe(403);
  expect((await beacon(legacy)).status).toBe(403);
  expect((await beacon(presigned(`/v1/apps/${app}/events`, body))).status).toBe(403);
  expect((await factsOf(app)).length).toBe(1);
});

test('an archive is imported over the own API', async () => {
  const app = await newApp();
  await mkdir(join(product.objects, 'archive', app), { recursive: true });
  const record = (n: number) => ({
    event_type: 'opened',
    event_timestamp: Date.now() - n * 1000,
    arrival_timestamp: Date.now() - n * 1000,
    client: { client_id: `e${n % 3}` },
    attributes: {},
    metrics: {},
  });
  const file = `${Array.from({ length: 20 }, (_, n) => JSON.stringify(record(n))).join('\n')}\nwrong\n`;
  await writeFile(join(product.objects, 'archive', app, 'part'), gzipSync(file));
  const path = `/api/apps/${app}/event-imports`;
  const { id } = await product.json<{ id: string }>(path, {
    method: 'POST',
    json: { url: `s3://archive/${app}/` },
  });
  await waitFor('the import', async () => {
    const { status } = await product.json<{ status: string }>(`${path}/${id}`);
    return status === 'COMPLETED';
  });
  expect(await product.json(`${path}/${id}`)).toMatchObject({
    progress: { processed: 21, imported: 20, duplicates: 0, failures: 1, totalFiles: 1, completedFiles: 1 },
    firstFailures: [expect.stringMatching(/line 21: is not JSON/)],
  });
  expect((await product.json<{ items: object[] }>(path)).items.length).toBe(1);
  expect((await factsOf(app)).length).toBe(20);
  expect((await product.request(path, { method: 'POST', json: { url: 'http://x' } })).status).toBe(400);
  expect(
    (
      await product.request(`/api/apps/none/event-imports`, {
        method: 'POST',
        json: { url: 's3://archive/x' },
      })
    ).status,
  ).toBe(404);
});
