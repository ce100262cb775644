import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';
import {
  CreateAppCommand,
  CreateCampaignCommand,
  CreateSegmentCommand,
  GetApplicationDateRangeKpiCommand,
  GetCampaignActivitiesCommand,
  GetCampaignCommand,
  GetCampaignDateRangeKpiCommand,
  GetJourneyDateRangeKpiCommand,
  PutEventsCommand,
  SendMessagesCommand,
  UpdateEmailChannelCommand,
  UpdateEndpointsBatchCommand,
  UpdateSmsChannelCommand,
} from '@aws-sdk/client-pinpoint';
import { parse } from 'csv-parse/sync';
import { beforeAll, describe, expect, test } from 'vitest';
import { kpiNames, kpiResults, rebuildKpiResults } from '../packages/server/src/analytics/index.ts';
import { appendFacts, createSubscriber } from '../packages/server/src/events/index.ts';
import { silentLog } from '../packages/server/src/platform/log.ts';
import { waitFor } from './support/processes.ts';
import { startProduct } from './support/product.ts';

const product = await startProduct();
const client = product.client();
let app: string;
let campaignId: string;
let activityId: string;
const today = new Date().toISOString().slice(0, 10);

/** Ten of these are accepted; what becomes of each is in its name (docs/sandbox.md). */
const people = [
  ...['ada', 'eve', 'sue', 'tom', 'pat', 'kim'],
  ...['bounce+1', 'bounce+2', 'softbounce+1', 'complaint+1'],
  ...['reject+1'],
];

interface Inbox {
  items: { id: string; messageId: string; address: string; channel: string }[];
}
interface Message {
  id: string;
  address: string;
  status: string;
}

const engage = (id: string, word: 'open' | 'click', json: object = {}) =>
  product.json(`/api/apps/${app}/inbox/${id}/${word}`, { method: 'POST', json });

beforeAll(async () => {
  const created = await client.send(new CreateAppCommand({ CreateApplicationRequest: { Name: 'figures' } }));
  app = created.ApplicationResponse!.Id!;
  await client.send(
    new UpdateEmailChannelCommand({
      ApplicationId: app,
      EmailChannelRequest: { FromAddress: 'shop@example.com', Identity: 'example.com' },
    }),
  );
  await client.send(
    new UpdateSmsChannelCommand({ ApplicationId: app, SMSChannelRequest: { Enabled: true } }),
  );
  const Item = people.map((name) => ({
    Id: name.replace('+', '-'),
    ChannelType: 'EMAIL' as const,
    Address: `${name}@example.com`,
  }));
  await client.send(new UpdateEndpointsBatchCommand({ ApplicationId: app, EndpointBatchRequest: { Item } }));
  await runCampaign();
  await sendDirect();
  const inbox = (await product.json<Inbox>(`/api/apps/${app}/inbox?limit=500`)).items;
  const mail = (name: string, index = 0) =>
    inbox.filter(({ address }) => address === `${name}@example.com`).at(-1 - index)!.id;
  // The campaign came first, so its mail is the last of the newest-first list.
  await engage(mail('ada'), 'open');
  await engage(mail('ada'), 'open');
  await engage(mail('ada'), 'click', { url: 'https://example.com/' });
  await engage(mail('eve'), 'open');
  await engage(mail('sue'), 'open', { machine: true });
  await engage(mail('sue'), 'click', { machine: true, url: 'https://example.com/' });
  await engage(mail('ada', 1), 'open');
  await engage(mail('ada', 1), 'click', { url: 'https://example.com/a' });
  await engage(mail('ada', 1), 'click', { url: 'https://example.com/b' });
  await engage(mail('eve', 1), 'open', { machine: true });
  await settled();
});

async function runCampaign(): Promise<void> {
  const segment = await client.send(
    new CreateSegmentCommand({ ApplicationId: app, WriteSegmentRequest: { Name: 'all', Dimensions: {} } }),
  );
  const campaign = await client.send(
    new CreateCampaignCommand({
      ApplicationId: app,
      WriteCampaignRequest: {
        Name: 'hello',
        SegmentId: segment.SegmentResponse!.Id!,
        Schedule: { StartTime: 'IMMEDIATE' },
        MessageConfiguration: { EmailMessage: { Title: 'Hi', HtmlBody: '<p>Hi</p>' } },
      },
    }),
  );
  campaignId = campaign.CampaignResponse!.Id!;
  await waitFor('the campaign', async () => {
    const found = await client.send(new GetCampaignCommand({ ApplicationId: app, CampaignId: campaignId }));
    return found.CampaignResponse?.State?.CampaignStatus === 'COMPLETED';
  });
  await receipts(10);
  const { ActivitiesResponse } = await client.send(
    new GetCampaignActivitiesCommand({ ApplicationId: app, CampaignId: campaignId }),
  );
  activityId = ActivitiesResponse!.Item![0]!.Id!;
}

/** Three mails that arrive (two to endpoints), one that bounces softly, and two SMS of which one is refused. */
async function sendDirect(): Promise<void> {
  const email = {
    EmailMessage: { SimpleEmail: { Subject: { Data: 'Order' }, TextPart: { Data: 'Thanks' } } },
  };
  await client.send(
    new SendMessagesCommand({
      ApplicationId: app,
      MessageRequest: {
        Endpoints: { ada: {}, eve: {} },
        Addresses: {
          'new@example.com': { ChannelType: 'EMAIL' },
          'softbounce@example.com': { ChannelType: 'EMAIL' },
        },
        MessageConfiguration: email,
      },
    }),
  );
  await client.send(
    new SendMessagesCommand({
      ApplicationId: app,
      MessageRequest: {
        Addresses: { '+12065550100': { ChannelType: 'SMS' }, '+12065550153': { ChannelType: 'SMS' } },
        MessageConfiguration: { SMSMessage: { Body: 'Hi', MessageType: 'TRANSACTIONAL' } },
      },
    }),
  );
  await receipts(15);
}

/** Waits until that many messages have their receipt. */
async function receipts(count: number): Promise<void> {
  const final = new Set(['delivered', 'bounced', 'complained']);
  await waitFor(`${count} receipts`, async () => {
    const { items } = await product.json<{ items: Message[] }>(`/api/apps/${app}/messages?limit=500`);
    return items.filter(({ status }) => final.has(status)).length === count;
  });
}

/** Waits until the results are as far as the log. */
async function settled(): Promise<void> {
  const subscriber = createSubscriber({ database: product.database, log: silentLog, ...kpiResults });
  await waitFor('the log', async () => {
    const { rows } = await product.database.query<{ waiting: number }>(
      'select count(*) as waiting from event_batches_unnumbered',
    );
    return rows[0]!.waiting === 0;
  });
  await subscriber.drain();
}

type Rows = { group?: string; value: number; key: string; groupKey?: string }[];

function rowsOf(result: { Rows?: { GroupedBys?: object[]; Values?: object[] }[] } | undefined): Rows {
  return result!.Rows!.map(({ GroupedBys = [], Values = [] }) => {
    const [group] = GroupedBys as { Key: string; Value: string; Type: string }[];
    const [value] = Values as { Key: string; Value: string; Type: string }[];
    expect(value!.Type).toBe('Double');
    expect(value!.Value).toMatch(/^\d+\.\d+$/);
    return {
      key: value!.Key,
      value: Number(value!.Value),
      ...(group && { group: group.Value, groupKey: group.Key }),
    };
  });
}

async function applicationKpi(
  KpiName: string,
  range: { StartTime?: Date; EndTime?: Date } = {},
): Promise<Rows> {
  const { ApplicationDateRangeKpiResponse: response } = await client.send(
    new GetApplicationDateRangeKpiCommand({ ApplicationId: app, KpiName, ...range }),
  );
  expect(response).toMatchObject({ ApplicationId: app, KpiName });
  expect(response!.StartTime).toBeInstanceOf(Date);
  return rowsOf(response!.KpiResult);
}

async function campaignKpi(KpiName: string): Promise<Rows> {
  const { CampaignDateRangeKpiResponse: response } = await client.send(
    new GetCampaignDateRangeKpiCommand({ ApplicationId: app, CampaignId: campaignId, KpiName }),
  );
  expect(response).toMatchObject({ ApplicationId: app, CampaignId: campaignId, KpiName });
  return rowsOf(response!.KpiResult);
}

describe('campaigns', () => {
  // 11 attempted, one refused at once: 10 sent, of which 2 bounced hard.
  const delivered = 8;
  test.each<[string, string, number]>([
    ['successful-delivery-rate', 'SuccessfulDeliveryRate', (100 * delivered) / 10],
    ['email-open-rate', 'EmailOpenRate', (100 * 2) / delivered],
    ['unique-deliveries', 'UniqueDeliveries', delivered],
    ['hard-bounce-rate', 'HardBounceRate', 20],
  ])('%s', async (name, key, value) => {
    expect(await campaignKpi(name)).toEqual([{ key, value }]);
    if (kpiNames.application.has(name)) expect(await applicationKpi(name)).toEqual([{ key, value }]);
  });

  test.each<[string, string, number]>([
    ['attempted-deliveries', 'AttemptedDeliveries', 11],
    ['successful-deliveries', 'SuccessfulDeliveries', delivered],
    ['successful-delivery-rate', 'SuccessfulDeliveryRate', 80],
    ['direct-email-opens', 'DirectEmailOpens', 3],
    ['clicks', 'Clicks', 1],
    ['email-open-rate', 'EmailOpenRate', 25],
    ['unique-deliveries', 'UniqueDeliveries', delivered],
    ['hard-bounce-rate', 'HardBounceRate', 20],
  ])('%s, by activity', async (name, key, value) => {
    const rows = [{ key, value, group: activityId, groupKey: 'CampaignActivityId' }];
    expect(await campaignKpi(`${name}-grouped-by-campaign-activity`)).toEqual(rows);
  });

  test('by campaign and by date', async () => {
    expect(await applicationKpi('successful-deliveries-grouped-by-campaign')).toEqual([
      { key: 'SuccessfulDeliveries', value: delivered, group: campaignId, groupKey: 'CampaignId' },
    ]);
    const days = await applicationKpi('unique-deliveries-grouped-by-date');
    expect(days).toMatchObject([{ key: 'UniqueDeliveries', groupKey: 'Date', value: delivered }]);
    expect(days[0]!.group! >= today).toBe(true);
  });

  test('agree with the accounting', async () => {
    const { accepted, outcomes } = await product.json<{ accepted: number; outcomes: Record<string, number> }>(
      `/api/apps/${app}/campaigns/${campaignId}/accounting`,
    );
    const [attempted] = await campaignKpi('attempted-deliveries-grouped-by-campaign-activity');
    const sum = Object.values(outcomes).reduce((total, count) => total + count, 0);
    expect(attempted!.value).toBe(sum);
    const [rate] = await campaignKpi('hard-bounce-rate');
    expect(Math.round((rate!.value / 100) * accepted)).toBe(2);
    expect(accepted).toBe(10);
  });
});

describe('direct messages', () => {
  test.each<[string, number]>([
    ['txn-emails-sent', 4],
    ['txn-emails-delivered', 3],
    ['txn-emails-delivery-rate', 75],
    ['txn-emails-hard-bounced', 0],
    ['txn-emails-soft-bounced', 1],
    ['txn-emails-opened', 1],
    ['txn-emails-unique-opens', 1],
    ['txn-emails-clicked', 2],
    ['txn-emails-unique-clicks', 1],
    ['txn-emails-with-complaints', 0],
    ['txn-emails-complaint-rate', 0],
    ['txn-sms-sent', 1],
    ['txn-sms-delivered', 1],
    ['txn-sms-delivery-rate', 100],
  ])('%s', async (name, value) => {
    const key = name.replace(/(^|-)(\w)/g, (_, __, letter: string) => letter.toUpperCase());
    expect(await applicationKpi(name)).toEqual([{ key, value }]);
    expect(await applicationKpi(`${name}-grouped-by-date`)).toMatchObject([{ key, value, groupKey: 'Date' }]);
  });

  test('txn-sms-error-distribution', async () => {
    expect(await applicationKpi('txn-sms-error-distribution')).toEqual([
      { key: 'TxnSmsErrorDistribution', value: 1, group: '554', groupKey: 'ErrorCode' },
    ]);
  });
});

const run = promisify(execFile);
const boto3 = existsSync('/usr/lib/python3/dist-packages/boto3');
const aws = '/usr/bin/aws';

test.skipIf(!boto3)('boto3 reads KPIs (needs the Debian package python3-boto3)', async () => {
  const call = async (operation: string, input: object) => {
    const program = `import boto3, json, os, sys
client = boto3.client("pinpoint", endpoint_url=os.environ["ENDPOINT"])
print(json.dumps(getattr(client, sys.argv[1])(**json.loads(sys.argv[2])), default=str))`;
    const words = ['-c', program, operation, JSON.stringify(input)];
    return JSON.parse((await run('/usr/bin/python3', words, { env: product.environment() })).stdout);
  };
  const range = { StartTime: `${today}T00:00:00Z`, EndTime: new Date(Date.now() + 86_400_000).toISOString() };
  const ofCampaign = { ApplicationId: app, CampaignId: campaignId, KpiName: 'hard-bounce-rate' };
  expect(
    (await call('get_campaign_date_range_kpi', ofCampaign)).CampaignDateRangeKpiResponse.KpiResult.Rows,
  ).toEqual([{ GroupedBys: [], Values: [{ Key: 'HardBounceRate', Type: 'Double', Value: '20.0' }] }]);
  const sent = { ApplicationId: app, KpiName: 'txn-emails-sent-grouped-by-date', ...range };
  const { ApplicationDateRangeKpiResponse: response } = await call('get_application_date_range_kpi', sent);
  expect(response.KpiResult.Rows).toMatchObject([
    { GroupedBys: [{ Key: 'Date', Type: 'String' }], Values: [{ Key: 'TxnEmailsSent', Value: '4.0' }] },
  ]);
});

test.skipIf(!existsSync(aws))('aws-cli reads KPIs (needs the Debian package awscli)', async () => {
  const words = [
    'get-application-date-range-kpi',
    '--application-id',
    app,
    '--kpi-name',
    'txn-emails-delivered',
  ];
  const { stdout } = await run(
    aws,
    ['pinpoint', ...words, '--endpoint-url', product.url, '--output', 'json'],
    {
      env: product.environment(),
    },
  );
  expect(JSON.parse(stdout).ApplicationDateRangeKpiResponse).toMatchObject({
    KpiName: 'txn-emails-delivered',
    KpiResult: { Rows: [{ Values: [{ Key: 'TxnEmailsDelivered', Type: 'Double', Value: '3.0' }] }] },
  });
});

test('answers in pages when that is asked for', async () => {
  const other = new Date(Date.now() - 40 * 86_400_000);
  // A second day: the same messages as if they had been made forty days ago.
  const hex = other.getTime().toString(16).padStart(12, '0');
  await product.database.query(
    `insert into message_results (day, application_id, message_id, channel, kind, dispatch_id, recipient, outcomes)
     values ($1, $2, $3, 'EMAIL', 'direct', $3, $3, 1)`,
    [other.toISOString().slice(0, 10), app, `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-000000000000`],
  );
  const page = async (NextToken?: string) =>
    (
      await client.send(
        new GetApplicationDateRangeKpiCommand({
          ...{ ApplicationId: app, KpiName: 'txn-emails-sent-grouped-by-date', PageSize: '1', NextToken },
          StartTime: new Date(Date.now() - 60 * 86_400_000),
        }),
      )
    ).ApplicationDateRangeKpiResponse!;
  const first = await page();
  const second = await page(first.NextToken);
  expect([...rowsOf(first.KpiResult), ...rowsOf(second.KpiResult)].map(({ value }) => value)).toEqual([1, 4]);
  expect(second.NextToken).toBeUndefined();
  await expect(page('wrong')).rejects.toMatchObject({ name: 'BadRequestException' });
  await product.database.query('delete from message_results where application_id = $1 and message_id = $2', [
    app,
    `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-000000000000`,
  ]);
});

test('all 66 names of applications and campaigns are known, and those of channels to come answer no rows', async () => {
  const { application, campaign } = kpiNames;
  expect([application.size, campaign.size]).toEqual([48, 18]);
  for (const [name, { measure }] of application) {
    const rows = await applicationKpi(name);
    if (measure === 'notBuilt') expect(rows, name).toEqual([]);
    else expect(rows.length, name).toBeGreaterThan(0);
  }
  for (const [name, { measure }] of campaign) {
    const rows = await campaignKpi(name);
    expect(rows.length > 0, name).toBe(measure !== 'notBuilt');
  }
});

test('what is not there, and ranges that are none', async () => {
  const get = (input: object) =>
    client.send(
      new GetApplicationDateRangeKpiCommand({ ApplicationId: app, KpiName: 'unique-deliveries', ...input }),
    );
  const bad = { name: 'BadRequestException' };
  const none = { name: 'NotFoundException' };
  await expect(get({ KpiName: 'no-such-kpi' })).rejects.toMatchObject(bad);
  await expect(get({ KpiName: 'sms-spend' })).rejects.toMatchObject(bad);
  await expect(get({ ApplicationId: 'none' })).rejects.toMatchObject(none);
  await expect(get({ StartTime: new Date(2), EndTime: new Date(1) })).rejects.toMatchObject(bad);
  const ofCampaign = new GetCampaignDateRangeKpiCommand({
    ApplicationId: app,
    CampaignId: 'none',
    KpiName: 'unique-deliveries',
  });
  await expect(client.send(ofCampaign)).rejects.toMatchObject(none);
  const ofJourney = new GetJourneyDateRangeKpiCommand({
    ApplicationId: app,
    JourneyId: 'none',
    KpiName: 'journey-emails-sent',
  });
  await expect(client.send(ofJourney)).rejects.toMatchObject({ $metadata: { httpStatusCode: 501 } });
});

test('a range is exact to the millisecond, includes both its ends, and may be longer than Pinpoint allowed', async () => {
  const { rows } = await product.database.query<{ first: Date; last: Date }>(
    `select min(uuid_extract_timestamp(message_id)) as first, max(uuid_extract_timestamp(message_id)) as last
     from message_results where application_id = $1 and kind = 'direct' and channel = 'EMAIL' and outcomes & 31 <> 0`,
    [app],
  );
  const { first, last } = rows[0]!;
  const sent = async (StartTime: Date, EndTime: Date) =>
    (await applicationKpi('txn-emails-sent', { StartTime, EndTime }))[0]?.value;
  expect(await sent(first, last)).toBe(4);
  expect(await sent(new Date(0), new Date(last.getTime() + 86_400_000_000))).toBe(4);
  expect(await sent(new Date(last.getTime() + 1), new Date(last.getTime() + 2))).toBeUndefined();
  expect(await sent(new Date(first.getTime() - 2), new Date(first.getTime() - 1))).toBeUndefined();
});

test('a rebuild comes to the same results, and a repeated receipt changes no delivery', async () => {
  const read = async () =>
    (
      await product.database.query(
        'select * from message_results where application_id = $1 order by message_id',
        [app],
      )
    ).rows;
  const before = await read();
  expect(before.length).toBeGreaterThan(15);
  await product.database.query('delete from message_results where application_id = $1', [app]);
  await rebuildKpiResults(product.database, app);
  expect(await read()).toEqual(before);
  const { message_id: messageId } = before.find(({ outcomes }) => (outcomes & 4) !== 0)!;
  const fact = {
    type: 'message.bounced',
    applicationId: app,
    messageId,
    payload: { bounce: 'hard', code: 550 },
  };
  await product.database.transaction(async (tx) => void (await appendFacts(tx, [fact])));
  await settled();
  expect(await read()).toEqual(before);
});

describe('the own API', () => {
  const path = () => `/api/apps/${app}/analytics`;

  test('answers a KPI in a time zone, as JSON and as the same CSV', async () => {
    const url = `${path()}/kpis/txn-emails-sent-grouped-by-date?timeZone=Pacific/Kiritimati`;
    const { items } = await product.json<{ items: { group: string; value: number }[] }>(url);
    expect(items.map(({ value }) => value)).toEqual([4]);
    const csv = await product.request(url, { headers: { accept: 'text/csv' } });
    expect(csv.headers.get('content-type')).toMatch(/^text\/csv/);
    expect(parse(await csv.text(), { columns: true })).toEqual(
      items.map(({ group, value }) => ({ group, value: String(value) })),
    );
    const wrong = await product.request(`${path()}/kpis/txn-emails-sent?timeZone=Mars/Base`);
    expect(wrong.status).toBe(400);
    expect((await product.request(`${path()}/kpis/nothing`)).status).toBe(400);
  });

  test('tells people and machines apart', async () => {
    const ofCampaign = await product.json(`${path()}/engagement?campaign=${campaignId}`);
    expect(ofCampaign).toMatchObject({
      ...{ sent: 10, opens: 3, opened: 2, uniqueOpens: 2, clicks: 1, uniqueClicks: 1 },
      ...{ machineOpens: 1, machineClicks: 1 },
    });
    const direct = await product.json(`${path()}/engagement?kind=direct`);
    expect(direct).toMatchObject({ opens: 1, clicks: 2, uniqueClicks: 1, machineOpens: 1, machineClicks: 0 });
  });

  const events = [
    ...['view', 'cart', 'purchase'].map((type, index) => ({
      endpoint: 'one',
      type,
      index,
      price: 10 * index,
    })),
    ...['view', 'cart'].map((type, index) => ({ endpoint: 'two', type, index, price: 5 })),
    { endpoint: 'three', type: 'view', index: 0, price: 1 },
  ];

  test('explores events and funnels that came by PutEvents', async () => {
    const at = Date.now() - 3_600_000;
    const BatchItem = Object.fromEntries(
      [...Map.groupBy(events, ({ endpoint }) => endpoint)].map(([endpoint, own]) => [
        endpoint,
        {
          Endpoint: {},
          Events: Object.fromEntries(
            own.map(({ type, index, price }) => [
              `event-${index}`,
              {
                EventType: type,
                Timestamp: new Date(at + index * 60_000).toISOString(),
                Attributes: { page: '=1+1', shop: endpoint },
                Metrics: { price },
              },
            ]),
          ),
        },
      ]),
    );
    await client.send(new PutEventsCommand({ ApplicationId: app, EventsRequest: { BatchItem } }));
    const range = { from: new Date(at - 1).toISOString(), to: new Date(at + 3_600_000).toISOString() };
    const explorer = { ...range, eventType: 'view', interval: 'all', metric: 'price', groupBy: 'page' };
    const post = (word: string, json: object, headers = {}) =>
      product.request(`${path()}/${word}`, { method: 'POST', json, headers });
    expect(await (await post('explorer', explorer)).json()).toMatchObject({
      items: [{ time: null, group: '=1+1', count: 3, endpoints: 3, sum: 6, min: 0, max: 5, average: 2 }],
    });
    const csv = await (await post('explorer', explorer, { accept: 'text/csv' })).text();
    expect(parse(csv, { columns: true })).toMatchObject([{ group: "'=1+1", count: '3', sum: '6' }]);
    const steps = events.slice(0, 3).map(({ type }) => ({ eventType: type }));
    const funnel = await (await post('funnels', { ...range, steps, windowSeconds: 300 })).json();
    expect(funnel).toMatchObject({
      items: [
        { step: 1, count: 3, share: 1, medianSeconds: null },
        { step: 2, count: 2, dropOff: 1, medianSeconds: 60 },
        { step: 3, count: 1, shareOfPrevious: 0.5, medianSeconds: 60 },
      ],
    });
    const short = await (await post('funnels', { ...range, steps, windowSeconds: 60 })).json();
    expect(short).toMatchObject({ items: [{ count: 3 }, { count: 2 }, { count: 0 }] });
    const types = await product.json<{ items: object[] }>(`${path()}/event-types`);
    expect(types.items).toMatchObject([
      { eventType: 'view', count: 3 },
      { eventType: 'cart', count: 2 },
      { eventType: 'purchase', count: 1 },
    ]);
    expect(await product.json(`${path()}/event-types/view`)).toMatchObject({
      attributes: [
        { name: 'page', count: 3, distinctValues: 1, values: [{ value: '=1+1', count: 3 }] },
        { name: 'shop', distinctValues: 3 },
      ],
      metrics: [{ name: 'price', count: 3 }],
    });
    await settled();
  });

  test.each([
    ['usage', 'activeEndpoints'],
    ['usage?by=month', 'activeEndpoints'],
    ['retention', 'size'],
    ['cohorts', 'active'],
    ['heat-map', 'sessions'],
    ['revenue', 'currency'],
    ['event-counts', 'events'],
    ['event-types', 'count'],
    ['demographics?dimension=channel', 'endpoints'],
    ['attribution?campaign=x', 'messages'],
  ])('%s is the same as JSON and as CSV', async (word, column) => {
    const answer = await product.json<{ items: object[] }>(`${path()}/${word}`);
    expect(answer.items).toBeInstanceOf(Array);
    const response = await product.request(`${path()}/${word}`, { headers: { accept: 'text/csv' } });
    expect(response.status).toBe(200);
    const rows = parse(await response.text()) as string[][];
    expect(rows[0]).toContain(column);
  });

  test('the time zone of the figures', async () => {
    const put = (timeZone: string) =>
      product.request(`${path()}/time-zone`, { method: 'PUT', json: { timeZone } });
    expect((await put('Mars/Base')).status).toBe(400);
    expect((await put('Europe/Berlin')).status).toBe(200);
    await waitFor('the rebuild', async () => {
      const { timeZone } = await product.json<{ timeZone: string }>(`${path()}/time-zone`);
      return timeZone === 'Europe/Berlin';
    });
    expect(await product.json(`${path()}/usage`)).toMatchObject({ timeZone: 'Europe/Berlin' });
  });

  test('names what is wrong, and asks for its right', async () => {
    const wrong = async (word: string, json: object) =>
      (await product.request(`${path()}/${word}`, { method: 'POST', json })).json();
    const range = { from: '2026-11-01', to: '2026-11-02' };
    expect(await wrong('explorer', { ...range, eventType: 'x', from: 'yesterday' })).toMatchObject({
      status: 400,
      member: '$.from',
    });
    expect(await wrong('explorer', { ...range, eventType: 'x', interval: 'week' })).toMatchObject({
      status: 400,
    });
    expect(await wrong('explorer', { ...range, eventType: 'x', segmentId: 'none' })).toMatchObject({
      status: 404,
    });
    expect(await wrong('funnels', { ...range, steps: [{ eventType: 'x' }] })).toMatchObject({ status: 400 });
    expect((await product.request(`${path()}/usage?from=2026-13-01&to=2026-13-02`)).status).toBe(400);
    const { token } = await product.json<{ token: string }>('/api/tokens', {
      method: 'POST',
      json: { name: 'none', scopes: { applications: [app], actions: ['postrider:ListInbox'], buckets: [] } },
    });
    const headers = { authorization: `Bearer ${token}` };
    expect((await product.request(`${path()}/usage`, { headers })).status).toBe(403);
    expect((await product.request('/api/apps/none/analytics/usage')).status).toBe(404);
  });
});
