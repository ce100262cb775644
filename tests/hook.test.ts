import { UpdateApplicationSettingsCommand } from '@aws-sdk/client-pinpoint';
import { expect, test } from 'vitest';
import {
  createAudience,
  type FunctionBehaviour,
  runCampaign,
  startCampaign,
  startFunctions,
  statusesOf,
  untilOver,
} from './functions-support.ts';
import { waitFor } from './support/processes.ts';

const { product, start } = await startFunctions();

const person = (index: number, change: object = {}) => ({
  Id: `p${index}`,
  ChannelType: 'SMS',
  Address: `+4915150${String(100_000 + index)}`,
  Attributes: { number: [String(index)] },
  Metrics: { age: 40 },
  User: { UserId: `u${index}`, UserAttributes: { Name: [`N${index}`] } },
  ...change,
});
const people = (count: number) => Array.from({ length: count }, (_, index) => person(index));
const words = {
  MessageConfiguration: { SMSMessage: { Body: 'Hi {{Attributes.number}}{{Attributes.gift}}' } },
};

/** A hook of its own for a test. */
function hook(behaviour: FunctionBehaviour) {
  const own = start('hook', behaviour);
  return { ...own, Hook: { WebUrl: own.url, Mode: 'FILTER' as const } };
}

async function inboxOf(app: string): Promise<{ address: string; body: string }[]> {
  const { items } = await product.json<{ items: { id: string }[] }>(`/api/apps/${app}/inbox?limit=200`);
  return Promise.all(
    items.map(async ({ id }) => {
      const message = await product.json<{ address: string; content: { body: string } }>(
        `/api/apps/${app}/inbox/${id}`,
      );
      return { address: message.address, body: message.content.body };
    }),
  );
}

test('is asked about 50 at a time, signed; drops endpoints, adds attributes, replaces words', async () => {
  const audience = await createAudience(product, [
    ...people(120),
    person(120, { OptOut: 'ALL' }),
    person(121, { ChannelType: 'EMAIL', Address: 'a@example.com' }),
  ]);
  const { Hook, calls } = hook((response, { payload }) => {
    const answer: Record<string, unknown> = {};
    for (const [id, endpoint] of Object.entries(payload.Endpoints)) {
      const number = Number(id.slice(1));
      if (number % 10 === 0) continue;
      answer[id] = { ...endpoint, Attributes: { ...(endpoint.Attributes as object), gift: [`-${number}`] } };
      if (number === 1) Object.assign(answer[id] as object, { BodyOverride: 'Only {{Attributes.gift}}' });
      if (number === 2) Object.assign(answer[id] as object, { Address: '+4915150999999' });
      if (number === 3) answer[id] = null;
    }
    response.end(JSON.stringify(answer));
  });
  const { campaign, statuses } = await runCampaign(product, audience, { ...words, Hook });
  expect(statuses).toEqual({ accepted: 107, hook_filtered: 13, opted_out: 1, channel_mismatch: 1 });
  expect(calls().map(({ fault }) => fault)).toEqual(calls().map(() => undefined));
  const sizes = calls().map(({ payload }) => Object.keys(payload.Endpoints).length);
  expect(sizes.sort((a, b) => a - b)).toEqual([20, 50, 50]);
  const { payload } = calls()[0]!;
  expect(payload).toEqual({
    MessageConfiguration: words.MessageConfiguration,
    ApplicationId: audience.ApplicationId,
    CampaignId: campaign.Id,
    TreatmentId: '0',
    ActivityId: expect.stringMatching(/^[0-9a-f]{32}$/),
    ScheduledTime: expect.stringMatching(/^\d{4}-.*Z$/),
    Endpoints: expect.any(Object),
  });
  const [id, endpoint] = Object.entries(payload.Endpoints)[0]!;
  expect(endpoint).toEqual({
    ChannelType: 'SMS',
    Address: person(Number(id.slice(1))).Address,
    EndpointStatus: 'ACTIVE',
    OptOut: 'NONE',
    Location: {},
    Demographic: {},
    EffectiveDate: expect.any(String),
    Attributes: { number: [id.slice(1)] },
    Metrics: { age: 40 },
    User: { UserId: `u${id.slice(1)}`, UserAttributes: { Name: [`N${id.slice(1)}`] } },
    CreationDate: expect.any(String),
  });
  const bodies = new Map((await inboxOf(audience.ApplicationId)).map(({ address, body }) => [address, body]));
  expect(bodies.get(person(7).Address)).toBe('Hi 7-7');
  expect(bodies.get(person(1).Address)).toBe('Only -1');
  expect(bodies.get(person(2).Address)).toBe('Hi 2-2');
  expect(bodies.has('+4915150999999')).toBe(false);
});

test('500 twice, then 200: one id, and everybody gets the message', async () => {
  const audience = await createAudience(product, people(3));
  const tries = new Map<string, number>();
  const { Hook, calls } = hook((response, { id, payload }) => {
    tries.set(id, (tries.get(id) ?? 0) + 1);
    response.statusCode = tries.get(id)! < 3 ? 500 : 200;
    response.end(JSON.stringify(payload.Endpoints));
  });
  expect((await runCampaign(product, audience, { ...words, Hook })).statuses).toEqual({
    missing_variable: 3,
  });
  expect(calls().map(({ fault }) => fault)).toEqual([undefined, undefined, undefined]);
  expect(new Set(calls().map(({ id }) => id)).size).toBe(1);
});

const plain = { MessageConfiguration: { SMSMessage: { Body: 'Hi {{Attributes.number}}' } } };

test.each<[string, (response: import('node:http').ServerResponse) => void, RegExp]>([
  ['500', (response) => response.writeHead(500).end('oh'), /after 3 tries: answered 500: oh/],
  ['404', (response) => response.writeHead(404).end(), /after 1 tries: answered 404/],
  ['no JSON', (response) => response.end('<html>'), /no JSON: <html>/],
  ['a list', (response) => response.end('[]'), /no map of endpoints/],
  ['others', (response) => response.end('{"p77":{}}'), /none of the endpoints/],
  [
    'too much',
    (response) => response.end(`{"a":"${'x'.repeat(6 * 1024 * 1024)}"}`),
    /more than 6291456 bytes/,
  ],
  ['a broken connection', (response) => response.destroy(), /after 3 tries/],
  ['an endpoint that is none', (response) => response.end('{"p0":[],"p1":"x"}'), /something else/],
])('a hook that answers with %s: nobody of that call gets a message', async (_, behave, detail) => {
  const audience = await createAudience(product, people(2));
  const { Hook } = hook((response) => behave(response));
  const { campaign, statuses } = await runCampaign(product, audience, { ...plain, Hook });
  expect(statuses).toEqual({ hook_failure: 2 });
  const { items } = await product.json<{ items: { detail: string }[] }>(
    `/api/apps/${audience.ApplicationId}/messages?campaign=${campaign.Id}`,
  );
  expect(items.map((item) => item.detail)).toEqual([
    expect.stringMatching(detail),
    expect.stringMatching(detail),
  ]);
});

test('an empty answer leaves everybody out; names like __proto__ are names', async () => {
  const audience = await createAudience(product, [
    person(0),
    person(1, { Id: '__proto__' }),
    person(2, { Id: 'constructor' }),
  ]);
  const none = hook((response) => response.end('{}'));
  expect((await runCampaign(product, audience, { ...plain, Hook: none.Hook })).statuses).toEqual({
    hook_filtered: 3,
  });
  const some = hook((response, { payload }) => response.end(JSON.stringify(payload.Endpoints)));
  expect((await runCampaign(product, audience, { ...plain, Hook: some.Hook })).statuses).toEqual({
    accepted: 3,
  });
  const one = hook((response) => response.end('{"__proto__":{"Attributes":{"__proto__":["x"]}}}'));
  expect((await runCampaign(product, audience, { ...plain, Hook: one.Hook })).statuses).toEqual({
    accepted: 1,
    hook_filtered: 2,
  });
});

test('the hook of the application is asked by campaigns that name none, as Lambda, signed', async () => {
  const audience = await createAudience(product, people(2));
  const { ApplicationId } = audience;
  const lambda = hook((response, { payload }) => {
    const { p0 } = payload.Endpoints;
    response.end(JSON.stringify({ p0 }));
  });
  const arn = `arn:aws:lambda:eu-west-1:123456789012:function:${lambda.name}`;
  const settings = (CampaignHook: object) =>
    product.client().send(
      new UpdateApplicationSettingsCommand({
        ApplicationId,
        WriteApplicationSettingsRequest: { CampaignHook },
      }),
    );
  await settings({ LambdaFunctionName: arn, Mode: 'FILTER' });
  const filtered = { accepted: 1, hook_filtered: 1 };
  expect((await runCampaign(product, audience, plain)).statuses).toEqual(filtered);
  expect(lambda.calls().map(({ fault }) => fault)).toEqual([undefined]);
  expect(lambda.calls()[0]!.path).toBe(`/2015-03-31/functions/${encodeURIComponent(arn)}/invocations`);
  expect((await runCampaign(product, audience, { ...plain, Hook: {} })).statuses).toEqual({ accepted: 2 });
  await expect(settings({ WebUrl: 'http://hook.example/' })).rejects.toThrow(/\$\.CampaignHook\.WebUrl/);
  await settings({ LambdaFunctionName: lambda.name });
  expect((await runCampaign(product, audience, plain)).statuses).toEqual(filtered);
});

test('a failed function in Lambda is tried again, then it is a failure', async () => {
  const audience = await createAudience(product, people(1));
  const lambda = hook((response) =>
    response.setHeader('x-amz-function-error', 'Unhandled').end('{"errorMessage":"oh no"}'),
  );
  const Hook = { LambdaFunctionName: lambda.name };
  const { statuses } = await runCampaign(product, audience, { ...plain, Hook });
  expect(statuses).toEqual({ hook_failure: 1 });
  expect(lambda.calls()).toHaveLength(3);
});

test('a hook that does not answer keeps no other campaign waiting, nor its own stop', async () => {
  const [slow, quick] = [
    await createAudience(product, people(1_600)),
    await createAudience(product, people(20)),
  ];
  const held: import('node:http').ServerResponse[] = [];
  const silent = hook((response) => void held.push(response));
  const stuck = await startCampaign(product, slow, { ...plain, Hook: silent.Hook });
  // More chunks than the lane has processors, all of which wait.
  await waitFor('the calls', () => held.length >= 16);
  expect((await runCampaign(product, quick, plain)).statuses).toEqual({ accepted: 20 });
  const own = { ApplicationId: slow.ApplicationId, SegmentId: slow.SegmentId };
  expect((await runCampaign(product, own, plain)).statuses).toEqual({ accepted: 1_600 });
  expect((await statusesOf(product, stuck)).accepted).toBeUndefined();
  silent.behave((response, { payload }) => response.end(JSON.stringify(payload.Endpoints)));
  for (const response of held) response.destroy();
  await untilOver(product, stuck);
  expect(await statusesOf(product, stuck)).toEqual({ accepted: 1_600 });
});

test('two endpoints with one address are not written to twice while the hook thinks', async () => {
  const twins = Array.from({ length: 600 }, (_, index) => person(index % 300, { Id: `t${index}` }));
  const audience = await createAudience(product, twins);
  // The newest endpoint of an address makes the others inactive, unless an import says otherwise.
  await product.database.query(`update endpoints set status = 'ACTIVE' where application_id = $1`, [
    audience.ApplicationId,
  ]);
  const { Hook } = hook((response, { payload }) =>
    setTimeout(() => response.end(JSON.stringify(payload.Endpoints)), 50),
  );
  const { statuses } = await runCampaign(product, audience, { ...plain, Hook });
  expect(statuses).toEqual({ accepted: 300, duplicate_address: 300 });
});

test('the secret can be changed; the former one verifies for a while', async () => {
  const { ApplicationId } = await createAudience(product, []);
  const path = `/api/apps/${ApplicationId}/webhook-secret`;
  const first = await product.json<{ secret: string; previous: null }>(path);
  expect(first).toMatchObject({
    secret: expect.stringMatching(/^whsec_[A-Za-z0-9+/]{43}=$/),
    previous: null,
  });
  expect(await product.json(path)).toEqual(first);
  const second = await product.json<{ secret: string }>(`${path}/rotate`, { method: 'POST' });
  expect(second).toMatchObject({ previous: first.secret });
  expect(second.secret).not.toBe(first.secret);
  expect((await product.request('/api/apps/nothing/webhook-secret')).status).toBe(404);
});
