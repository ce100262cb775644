import type { ServerResponse } from 'node:http';
import { createServer } from 'node:net';
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
import { startProduct } from './support/product.ts';

const { product, start } = await startFunctions();

const ok = (response: ServerResponse) => void response.end('{}');
/** A function of its own for a test, that takes deliveries. */
function deliverer(behaviour: FunctionBehaviour = ok) {
  const own = start('deliver', behaviour);
  return { ...own, uri: own.url };
}

const person = (index: number, change: object = {}) => ({
  Id: `p${index}`,
  ChannelType: 'CUSTOM',
  Address: `https://chat.example/${index}`,
  Attributes: { plan: ['pro'] },
  User: { UserId: `u${index}`, UserAttributes: { Name: [`N${index}`] } },
  ...change,
});
const people = (count: number) => Array.from({ length: count }, (_, index) => person(index));
const custom = (DeliveryUri: string, EndpointTypes?: string[], Data = '{"offer":1}') => ({
  MessageConfiguration: { CustomMessage: { Data } },
  CustomDeliveryConfiguration: { DeliveryUri, EndpointTypes } as never,
});

test('hands over at most 50 at a time, signed, with the payload of Pinpoint', async () => {
  const { uri, calls } = deliverer();
  const audience = await createAudience(product, people(120));
  const { campaign, statuses } = await runCampaign(product, audience, custom(uri));
  expect(statuses).toEqual({ accepted: 120 });
  expect(calls().filter(({ fault }) => fault)).toEqual([]);
  const ids = calls().flatMap(({ payload }) => Object.keys(payload.Endpoints));
  expect(ids.sort()).toEqual(
    people(120)
      .map(({ Id }) => Id)
      .sort(),
  );
  for (const { payload } of calls()) expect(Object.keys(payload.Endpoints).length).toBeLessThanOrEqual(50);
  expect(new Set(calls().map(({ id }) => id)).size).toBe(calls().length);
  const { payload } = calls()[0]!;
  expect(payload).toEqual({
    Message: {},
    Data: '{"offer":1}',
    ApplicationId: audience.ApplicationId,
    CampaignId: campaign.Id,
    TreatmentId: '0',
    ActivityId: expect.stringMatching(/^[0-9a-f]{32}$/),
    ScheduledTime: expect.stringMatching(/^\d{4}-.*Z$/),
    Endpoints: expect.any(Object),
  });
  const [id, endpoint] = Object.entries(payload.Endpoints)[0]!;
  const index = id.slice(1);
  expect(endpoint).toEqual({
    ChannelType: 'CUSTOM',
    Address: `https://chat.example/${index}`,
    EndpointStatus: 'ACTIVE',
    OptOut: 'NONE',
    Location: {},
    Demographic: {},
    EffectiveDate: expect.any(String),
    Attributes: { plan: ['pro'] },
    User: { UserId: `u${index}`, UserAttributes: { Name: [`N${index}`] } },
    CreationDate: expect.any(String),
  });
});

test('delivers to the types that it is for; others get the message of their channel, or none', async () => {
  const { uri, calls } = deliverer();
  const audience = await createAudience(product, [
    person(0),
    person(1, { ChannelType: 'EMAIL', Address: 'a@example.com' }),
    person(2, { ChannelType: 'GCM', Address: 'token' }),
    person(3, { ChannelType: 'SMS', Address: '+491515000001' }),
    person(4, { ChannelType: 'EMAIL', Address: 'bounced@example.com' }),
  ]);
  await product.json(`/api/apps/${audience.ApplicationId}/suppressions`, {
    method: 'POST',
    json: { channel: 'EMAIL', address: 'bounced@example.com' },
  });
  const { statuses } = await runCampaign(product, audience, {
    ...custom(uri, ['EMAIL', 'PUSH']),
    MessageConfiguration: { CustomMessage: { Data: 'x' }, SMSMessage: { Body: 'y' } },
  });
  expect(statuses).toEqual({ accepted: 3, channel_mismatch: 1, suppressed: 1 });
  const ids = calls().flatMap(({ payload }) => Object.keys(payload.Endpoints));
  expect(ids.sort()).toEqual(['p1', 'p2']);
});

test('words of their own travel in calls of their own; the same words together', async () => {
  const { uri, calls } = deliverer();
  const audience = await createAudience(
    product,
    people(6).map((one, index) => ({ ...one, Attributes: { plan: [index % 2 ? 'free' : 'pro'] } })),
  );
  await runCampaign(product, audience, custom(uri, undefined, 'for {{Attributes.plan}}'));
  expect(
    calls()
      .map(({ payload }) => [payload.Data, Object.keys(payload.Endpoints).length])
      .sort(),
  ).toEqual([
    ['for free', 3],
    ['for pro', 3],
  ]);
});

test('treatments deliver through functions of their own, one of them in Lambda', async () => {
  const [web, lambda] = [deliverer(), deliverer()];
  const audience = await createAudience(product, people(40));
  await product.database.query(
    'update endpoints set cohort = substr(id, 2)::int * 2 where application_id = $1',
    [audience.ApplicationId],
  );
  const { statuses } = await runCampaign(product, audience, {
    ...custom(web.uri),
    HoldoutPercent: 10,
    AdditionalTreatments: [{ SizePercent: 30, ...custom(lambda.name) }],
  });
  expect(statuses).toEqual({ accepted: 35, holdout: 5 });
  const count = ({ calls }: typeof web) =>
    calls().reduce((sum, { payload }) => sum + Object.keys(payload.Endpoints).length, 0);
  expect([count(lambda), count(web)]).toEqual([15, 20]);
  expect(lambda.calls()[0]).toMatchObject({ fault: undefined, payload: { TreatmentId: '1' } });
});

test('500 twice, then 200: one call, delivered once', async () => {
  const tries = new Map<string, number>();
  const { uri, calls } = deliverer((response, { id }) => {
    tries.set(id, (tries.get(id) ?? 0) + 1);
    response.writeHead(tries.get(id)! < 3 ? 500 : 200).end();
  });
  const audience = await createAudience(product, people(2));
  expect((await runCampaign(product, audience, custom(uri))).statuses).toEqual({ accepted: 2 });
  expect(calls()).toHaveLength(3);
  expect(new Set(calls().map(({ id }) => id)).size).toBe(1);
});

const details = async (app: string, campaign: string) => {
  const path = `/api/apps/${app}/messages?campaign=${campaign}`;
  const { items } = await product.json<{ items: { detail: string }[] }>(path);
  return items.map(({ detail }) => detail);
};

test('a function that says no has failed for good; nobody is suppressed for it', async () => {
  const { uri } = deliverer((response) => response.writeHead(500).end('full'));
  const audience = await createAudience(product, people(2));
  const { campaign, statuses } = await runCampaign(product, audience, custom(uri));
  expect(statuses).toEqual({ failed: 2 });
  expect(await details(audience.ApplicationId, campaign.Id!)).toEqual(
    Array(2).fill('CUSTOM_DELIVERY_FAILURE after 3 tries: answered 500: full'),
  );
  const { items } = await product.json<{ items: unknown[] }>(
    `/api/apps/${audience.ApplicationId}/suppressions`,
  );
  expect(items).toEqual([]);
});

test('a function that breaks off may have got it: in doubt, and sent again by hand', async () => {
  const broken = deliverer((response) => response.destroy());
  const audience = await createAudience(product, people(2));
  const { ApplicationId } = audience;
  const { campaign, statuses } = await runCampaign(product, audience, custom(broken.uri));
  expect(statuses).toEqual({ in_doubt: 2 });
  broken.behave(ok);
  // Three tries, and one more when the first went over a connection that was kept from an earlier test.
  const calls = broken.calls().length;
  const { items } = await product.json<{ items: { id: string }[] }>(
    `/api/apps/${ApplicationId}/messages?campaign=${campaign.Id}`,
  );
  const messageIds = items.map(({ id }) => id);
  await product.json(`/api/apps/${ApplicationId}/messages/resend`, { method: 'POST', json: { messageIds } });
  await waitFor('the repeat', async () => (await statusesOf(product, campaign)).accepted === 2);
  const repeated = broken.calls().slice(calls);
  expect(repeated.flatMap(({ payload }) => Object.keys(payload.Endpoints)).sort()).toEqual(['p0', 'p1']);
});

test('a function that is not there yet is waited for', async () => {
  const audience = await createAudience(product, people(3));
  const { uri, calls } = deliverer();
  const gone = await freePort();
  const campaign = await startCampaign(product, audience, custom(`http://127.0.0.1:${gone}/x`));
  await waitFor('the first attempt', async () => (await statusesOf(product, campaign)).deferred === 3);
  expect(await details(audience.ApplicationId, campaign.Id!)).toEqual(
    Array(3).fill(expect.stringContaining('ECONNREFUSED')),
  );
  expect((await runCampaign(product, audience, custom(uri))).statuses).toEqual({ accepted: 3 });
  expect(calls()).toHaveLength(1);
});

/** A port on which nothing listens. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

test('without AWS credentials a function in Lambda is a clear failure', async () => {
  const bare = await startProduct();
  const audience = await createAudience(bare, people(1));
  const { statuses, campaign } = await runCampaign(bare, audience, custom('sift'));
  expect(statuses).toEqual({ failed: 1 });
  const path = `/api/apps/${audience.ApplicationId}/messages?campaign=${campaign.Id}`;
  const { items } = await bare.json<{ items: { detail: string }[] }>(path);
  expect(items[0]!.detail).toMatch(/no AWS credentials/);
});

test('a function that is slow keeps no other campaign waiting', async () => {
  const held: ServerResponse[] = [];
  const slow = deliverer((response) => void held.push(response));
  const quick = deliverer();
  const [many, few] = [
    await createAudience(product, people(1_200)),
    await createAudience(product, people(60)),
  ];
  const stuck = await startCampaign(product, many, custom(slow.uri));
  await waitFor('the calls', () => held.length >= 10);
  expect((await runCampaign(product, few, custom(quick.uri))).statuses).toEqual({ accepted: 60 });
  slow.behave(ok);
  for (const response of held) response.end();
  await untilOver(product, stuck);
  expect(await statusesOf(product, stuck)).toEqual({ accepted: 1_200 });
});
