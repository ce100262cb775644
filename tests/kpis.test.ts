import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';
import {
  GetApplicationDateRangeKpiCommand,
  GetCampaignDateRangeKpiCommand,
  GetJourneyDateRangeKpiCommand,
} from '@aws-sdk/client-pinpoint';
import { describe, expect, test } from 'vitest';
import { kpiNames, kpiResults, rebuildKpiResults } from '../packages/server/src/analytics/index.ts';
import { appendFacts } from '../packages/server/src/events/index.ts';
import {
  activityId,
  app,
  applicationKpi,
  campaignId,
  campaignKpi,
  client,
  product,
  rowsOf,
  settled,
  today,
} from './kpis-support.ts';

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
  expect(await sent(new Date(0), new Date('9999-12-31T23:59:59.999Z'))).toBe(4);
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
  // A rebuild counts what is parked as well: to hand it over once more would count it twice.
  await product.database.query(
    `insert into log_parked_facts (subscriber, batch_id, seq, application_id, fact, error, attempts)
     select $2, batch_id, seq, application_id, '{}', 'refused', 1 from events
     where application_id = $1 and type = 'message.opened' limit 1`,
    [app, kpiResults.name],
  );
  await product.database.query('delete from message_results where application_id = $1', [app]);
  await rebuildKpiResults(product.database, app);
  expect(await read()).toEqual(before);
  const parked = await product.database.query('select from log_parked_facts where application_id = $1', [
    app,
  ]);
  expect(parked.rowCount).toBe(0);
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
