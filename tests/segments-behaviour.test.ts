import {
  CreateAppCommand,
  CreateCampaignCommand,
  GetSegmentCommand,
  PutEventsCommand,
  UpdateEmailChannelCommand,
  UpdateEndpointCommand,
} from '@aws-sdk/client-pinpoint';
import { beforeAll, expect, test } from 'vitest';
import { receiveReceipts } from '../packages/server/src/messaging/index.ts';
import { startProduct } from './support/product.ts';
import { sendSigned } from './support/signed-request.ts';

const product = await startProduct();
const client = product.client();
let app: string;

beforeAll(async () => {
  const created = await client.send(
    new CreateAppCommand({ CreateApplicationRequest: { Name: 'behaviour' } }),
  );
  app = created.ApplicationResponse!.Id!;
  await client.send(
    new UpdateEmailChannelCommand({
      ApplicationId: app,
      EmailChannelRequest: { FromAddress: 'Shop <shop@example.com>', Identity: 'example.com' },
    }),
  );
  for (const id of ['ada', 'grace', 'mary']) {
    await client.send(
      new UpdateEndpointCommand({
        ApplicationId: app,
        EndpointId: id,
        EndpointRequest: {
          ChannelType: 'EMAIL',
          Address: `${id}@example.com`,
          User: { UserId: `user-${id}` },
        },
      }),
    );
  }
});

interface Shown {
  id: string;
  version: number;
  definition: object;
}

const json = <T>(path: string, body?: object, method = body ? 'POST' : 'GET') =>
  product.json<T>(`/api/apps/${app}${path}`, { method, ...(body && { json: body }) });
const create = async (criterion: object) =>
  (await json<Shown>('/segments', { definition: { Dimensions: { Behavior: criterion } } })).id;

async function membersOf(id: string): Promise<string[]> {
  const { items } = await json<{ items: { Id: string }[] }>(`/segments/${id}/sample`);
  const { total } = await json<{ total: number }>(`/segments/${id}/count`);
  expect(total).toBe(items.length);
  return items.map(({ Id }) => Id).sort();
}

async function put(endpointId: string, id: string, event: object): Promise<void> {
  const { EventsResponse } = await client.send(
    new PutEventsCommand({
      ApplicationId: app,
      EventsRequest: {
        BatchItem: {
          [endpointId]: {
            Endpoint: {},
            Events: { [id]: { EventType: 'purchase', Timestamp: new Date().toISOString(), ...event } },
          },
        },
      },
    }),
  );
  expect(EventsResponse!.Results![endpointId]!.EventsItemResponse![id]!.StatusCode).toBe(202);
}

const purchases = (count: object, more: object = {}) => ({
  Events: [{ EventType: { Values: ['purchase'] }, Count: count, Window: { Last: 7, Unit: 'DAYS' }, ...more }],
});

test('what apps report decides at once: how often, with which attributes and metrics, or not at all', async () => {
  const shoes = { Attributes: { category: 'shoes' }, Metrics: { price: 120 } };
  await put('ada', '1', shoes);
  await put('ada', '2', shoes);
  await put('ada', '2', shoes);
  await put('grace', '1', { Attributes: { category: 'hats' }, Metrics: { price: 20 } });
  const twice = await create(purchases({ ComparisonOperator: 'GREATER_THAN_OR_EQUAL', Value: 2 }));
  expect(await membersOf(twice)).toEqual(['ada']);
  const cheap = { Metrics: { price: { ComparisonOperator: 'LESS_THAN', Value: 100 } } };
  const once = { ComparisonOperator: 'EQUAL', Value: 1 };
  expect(await membersOf(await create(purchases(once, cheap)))).toEqual(['grace']);
  const never = { EventType: { Values: ['purchase'] }, DimensionType: 'EXCLUSIVE' };
  expect(await membersOf(await create({ Events: [never] }))).toEqual(['mary']);
  const explained = await json<{ matches: boolean; parts: { because: string; seen: object }[] }>(
    `/segments/${twice}/explain?endpointId=ada`,
  );
  expect(explained).toMatchObject({
    matches: true,
    parts: [{ seen: { count: 2, last: expect.stringMatching(/^20.*Z$/) } }],
  });
  expect(explained.parts[0]!.because).toMatch(
    /^The endpoint did "purchase" 2 times in the last 7 days, last at \S+, and at least 2 are asked for\.$/,
  );
  const { member } = await json<{ member: boolean }>(`/segments/${twice}/membership?endpointId=grace`);
  expect(member).toBe(false);
});

test('an event makes its endpoint active, an update does not', async () => {
  await put('ada', 'active', { EventType: '_session.start' });
  const active = await create({ Recency: { Duration: 'HR_24', RecencyType: 'ACTIVE' } });
  expect(await membersOf(active)).toEqual(['ada', 'grace']);
  const inactive = await create({ Recency: { Duration: 'HR_24', RecencyType: 'INACTIVE' } });
  expect(await membersOf(inactive)).toEqual(['mary']);
  // An event of long ago is no sign of life of today.
  await put('mary', 'old', { Timestamp: new Date(Date.now() - 2 * 86_400_000).toISOString() });
  expect(await membersOf(inactive)).toEqual(['mary']);
  expect(await membersOf(await create({ Recency: { Duration: 'DAY_7', RecencyType: 'ACTIVE' } }))).toEqual([
    'ada',
    'grace',
    'mary',
  ]);
});

test('raw JSON of CreateSegment carries the criteria; GetSegment, versions and updates keep them', async () => {
  const SegmentGroups = {
    Groups: [{ Dimensions: [{ Behavior: purchases({ ComparisonOperator: 'EQUAL', Value: 2 }) }] }],
  };
  const signer = { key: product.key, port: Number(new URL(product.url).port) };
  const created = await sendSigned(
    {
      method: 'POST',
      path: `/v1/apps/${app}/segments`,
      body: JSON.stringify({ Name: 'raw', SegmentGroups }),
    },
    signer,
  );
  expect(created.status, created.text).toBe(201);
  const { Id } = JSON.parse(created.text) as { Id: string };
  const path = `/v1/apps/${app}/segments/${Id}`;
  expect(JSON.parse((await sendSigned({ method: 'GET', path }, signer)).text).SegmentGroups).toEqual(
    SegmentGroups,
  );
  expect((await json<Shown>(`/segments/${Id}`)).definition).toEqual({ SegmentGroups });
  expect(await membersOf(Id)).toEqual(['ada']);
  // A client of Pinpoint does not see them, and renaming does not lose them.
  const seen = await client.send(new GetSegmentCommand({ ApplicationId: app, SegmentId: Id }));
  expect(seen.SegmentResponse!.SegmentGroups!.Groups![0]!.Dimensions![0]!.Behavior).toEqual({});
  const renamed = await json<Shown>(`/segments/${Id}`, { name: 'other' }, 'PUT');
  expect(renamed).toMatchObject({ version: 2, name: 'other', definition: { SegmentGroups } });
  for (const definition of [{ Dimension: {} }, { Dimensions: { Behavior: { Event: [] } } }]) {
    const refused = await product.request(`/api/apps/${app}/segments`, {
      method: 'POST',
      json: { definition },
    });
    expect(refused.status).toBe(400);
  }
  const wrong = await sendSigned(
    {
      method: 'POST',
      path: `/v1/apps/${app}/segments`,
      body: '{"Dimensions":{"Behavior":{"Events":[{"EventType":"x"}]}}}',
    },
    signer,
  );
  expect([wrong.status, JSON.parse(wrong.text).Message]).toEqual([
    400,
    '$.Dimensions.Behavior.Events[0].EventType: expected an object',
  ]);
});

test('a window longer than the log goes back is refused, by both doors', async () => {
  const long = { Events: [{ EventType: { Values: ['purchase'] }, Window: { Last: 91 } }] };
  const refused = await product.request(`/api/apps/${app}/segments`, {
    method: 'POST',
    json: { definition: { Dimensions: { Behavior: long } } },
  });
  expect(await refused.json()).toMatchObject({
    status: 400,
    member: '$.Dimensions.Behavior.Events[0].Window',
    detail: expect.stringContaining('within the 90 days for which events are kept'),
  });
  const { warnings } = await json<{ warnings: string[] }>('/segments/count', {
    definition: { Dimensions: { Behavior: long } },
  });
  expect(warnings).toEqual([
    '$.Dimensions.Behavior.Events[0].Window begins before the 90 days for which events are kept',
  ]);
});

test('a campaign reaches those who did it, and its messages make the next segment', {
  timeout: 60_000,
}, async () => {
  const buyers = await create(purchases({ ComparisonOperator: 'GREATER_THAN_OR_EQUAL', Value: 2 }));
  const { CampaignResponse } = await client.send(
    new CreateCampaignCommand({
      ApplicationId: app,
      WriteCampaignRequest: {
        Name: 'thanks',
        SegmentId: buyers,
        Schedule: { StartTime: 'IMMEDIATE' },
        MessageConfiguration: { EmailMessage: { Title: 'Thanks', Body: 'Thank you' } },
      },
    }),
  );
  const CampaignId = CampaignResponse!.Id!;
  const of = (Interaction: string, more: object = {}) =>
    create({ Campaigns: [{ CampaignId, Interaction, ...more }] });
  const sent = await of('SENT');
  await expect.poll(() => membersOf(sent), { timeout: 30_000 }).toEqual(['ada']);
  expect(await membersOf(await of('SENT', { DimensionType: 'EXCLUSIVE' }))).toEqual(['grace', 'mary']);
  const opened = await of('OPENED');
  const delivered = await of('DELIVERED');
  expect(await membersOf(delivered)).toEqual(['ada']);
  const { rows } = await product.database.query<{ id: string }>(
    `select id from messages where campaign_id = $1 and endpoint_id = 'ada'`,
    [CampaignId],
  );
  const about = { messageId: rows[0]!.id, applicationId: app, at: Date.now() };
  await receiveReceipts(product.database, [{ ...about, kind: 'opened', machine: true }]);
  expect(await membersOf(opened)).toEqual([]);
  await receiveReceipts(product.database, [{ ...about, kind: 'opened', machine: false }]);
  expect(await membersOf(opened)).toEqual(['ada']);
  const bounce = { kind: 'bounced', bounce: 'hard', code: 550, response: 'no such mailbox' } as const;
  await receiveReceipts(product.database, [{ ...about, ...bounce }]);
  expect(await membersOf(delivered)).toEqual([]);
});
