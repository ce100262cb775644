import {
  CreateAppCommand,
  CreateCampaignCommand,
  type CreateCampaignCommandInput,
  DeleteCampaignCommand,
  GetCampaignActivitiesCommand,
  GetCampaignCommand,
  GetCampaignsCommand,
  GetCampaignVersionCommand,
  GetCampaignVersionsCommand,
  GetJourneyDateRangeKpiCommand,
  UpdateCampaignCommand,
} from '@aws-sdk/client-pinpoint';
import { afterAll, expect, test } from 'vitest';
import { testDatabase } from '../../../../../tests/support/database.ts';
import { wireServer } from '../../../../../tests/support/wire.ts';
import { createRenderer } from '../../content/index.ts';
import { createCampaignScheduler } from '../../engagement/index.ts';
import { systemClock } from '../../platform/clock.ts';
import { hexId } from '../../platform/ids.ts';
import { silentLog } from '../../platform/log.ts';

const database = await testDatabase();
const renderer = createRenderer({ clock: systemClock, log: silentLog, threads: 1 });
afterAll(() => renderer.close());
const server = await wireServer({ database, services: { renderer } });
const client = server.client();
const { ApplicationResponse } = await client.send(
  new CreateAppCommand({ CreateApplicationRequest: { Name: 'campaigns' } }),
);
const ApplicationId = ApplicationResponse!.Id!;
const SegmentId = await makeSegment();

async function makeSegment(): Promise<string> {
  const id = hexId();
  const values = [ApplicationId, id, JSON.stringify({ Dimensions: {} })];
  await database.query(
    "insert into segments (application_id, id, type, definition) values ($1, $2, 'DIMENSIONAL', $3)",
    values,
  );
  await database.query(
    'insert into segment_versions (application_id, segment_id, version, definition) values ($1, $2, 1, $3)',
    values,
  );
  return id;
}

async function create(change: CreateCampaignCommandInput['WriteCampaignRequest'] = {}) {
  const WriteCampaignRequest = {
    SegmentId,
    Schedule: { StartTime: '2099-01-01T00:00:00Z' },
    MessageConfiguration: { SMSMessage: { Body: 'Hello' } },
    ...change,
  };
  const { CampaignResponse } = await client.send(
    new CreateCampaignCommand({ ApplicationId, WriteCampaignRequest }),
  );
  return CampaignResponse!;
}

async function get(CampaignId: string) {
  return (await client.send(new GetCampaignCommand({ ApplicationId, CampaignId }))).CampaignResponse!;
}

test('a campaign comes back as it was written, with its tags, and is gone after its deletion', async () => {
  const created = await create({
    Name: 'Autumn 🍂',
    Description: 'مرحبا',
    HoldoutPercent: 10,
    AdditionalTreatments: [
      { SizePercent: 25, TreatmentName: 'B', MessageConfiguration: { SMSMessage: { Body: 'B' } } },
    ],
    Limits: { Daily: 1, Total: 2, MessagesPerSecond: 50, MaximumDuration: 3600 },
    Priority: 3,
    tags: { team: 'growth' },
  });
  expect(created).toMatchObject({
    ApplicationId,
    Arn: `arn:aws:mobiletargeting:us-east-1:000000000000:apps/${ApplicationId}/campaigns/${created.Id}`,
    Name: 'Autumn 🍂',
    Description: 'مرحبا',
    SegmentId,
    SegmentVersion: 1,
    Version: 1,
    State: { CampaignStatus: 'SCHEDULED' },
    DefaultState: { CampaignStatus: 'SCHEDULED' },
    AdditionalTreatments: [
      {
        Id: '1',
        SizePercent: 25,
        TreatmentName: 'B',
        State: { CampaignStatus: 'SCHEDULED' },
        MessageConfiguration: { SMSMessage: { Body: 'B' } },
      },
    ],
    HoldoutPercent: 10,
    Limits: { Daily: 1, Total: 2, MessagesPerSecond: 50, MaximumDuration: 3600 },
    Priority: 3,
    IsPaused: false,
    tags: { team: 'growth' },
  });
  expect(created.Id).toMatch(/^[0-9a-f]{32}$/);
  expect(created.CreationDate).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  expect(await get(created.Id!)).toEqual(created);

  const { CampaignResponse: deleted } = await client.send(
    new DeleteCampaignCommand({ ApplicationId, CampaignId: created.Id }),
  );
  expect(deleted).toEqual({
    ...created,
    State: { CampaignStatus: 'DELETED' },
    DefaultState: { CampaignStatus: 'DELETED' },
    AdditionalTreatments: [{ ...created.AdditionalTreatments![0], State: { CampaignStatus: 'DELETED' } }],
  });
  await expect(get(created.Id!)).rejects.toMatchObject({ name: 'NotFoundException' });
});

test('every update is a version; what is read can be written back', async () => {
  const created = await create({ Name: 'v1' });
  const CampaignId = created.Id!;
  await client.send(
    new UpdateCampaignCommand({
      ApplicationId,
      CampaignId,
      WriteCampaignRequest: { Name: 'v2', IsPaused: true },
    }),
  );
  const read = await get(CampaignId);
  expect(read).toMatchObject({ Version: 2, Name: 'v2', IsPaused: true, State: { CampaignStatus: 'PAUSED' } });
  await client.send(
    new UpdateCampaignCommand({
      ApplicationId,
      CampaignId,
      WriteCampaignRequest: { ...read, IsPaused: false },
    }),
  );
  const third = await get(CampaignId);
  expect(third).toMatchObject({ Version: 3, Name: 'v2', State: { CampaignStatus: 'SCHEDULED' } });
  const { CampaignsResponse } = await client.send(
    new GetCampaignVersionsCommand({ ApplicationId, CampaignId, PageSize: '2' }),
  );
  expect(CampaignsResponse!.Item!.map((item) => item.Version)).toEqual([3, 2]);
  const { CampaignsResponse: rest } = await client.send(
    new GetCampaignVersionsCommand({ ApplicationId, CampaignId, Token: CampaignsResponse!.NextToken }),
  );
  expect(rest).toEqual({ Item: [created] });
  const version = async (Version: string) =>
    (await client.send(new GetCampaignVersionCommand({ ApplicationId, CampaignId, Version })))
      .CampaignResponse;
  expect(await version('1')).toEqual(created);
  expect(await version('3')).toEqual(third);
  await expect(version('4')).rejects.toMatchObject({ name: 'NotFoundException' });
  await expect(version('x')).rejects.toMatchObject({ name: 'BadRequestException' });
});

test('campaigns are listed page by page', async () => {
  const { ApplicationResponse: other } = await client.send(
    new CreateAppCommand({ CreateApplicationRequest: { Name: 'empty' } }),
  );
  const empty = await client.send(new GetCampaignsCommand({ ApplicationId: other!.Id }));
  expect(empty.CampaignsResponse).toEqual({ Item: [] });
  const names = ['a', 'b', 'c'];
  for (const Name of names) await create({ Name });
  const listed: string[] = [];
  let Token: string | undefined;
  do {
    const { CampaignsResponse } = await client.send(
      new GetCampaignsCommand({ ApplicationId, PageSize: '2', Token }),
    );
    listed.push(...CampaignsResponse!.Item!.map((item) => item.Name ?? ''));
    Token = CampaignsResponse!.NextToken;
  } while (Token);
  expect(listed.slice(0, 3)).toEqual(names.toReversed());
  await expect(client.send(new GetCampaignsCommand({ ApplicationId, Token: 'eHg' }))).rejects.toMatchObject({
    name: 'BadRequestException',
  });
  await expect(client.send(new GetCampaignsCommand({ ApplicationId: hexId() }))).rejects.toMatchObject({
    name: 'NotFoundException',
  });
});

test('the activities of a run, whose metrics are strings', async () => {
  const { Id: CampaignId } = await create({ Schedule: { StartTime: 'IMMEDIATE' } });
  expect(await createCampaignScheduler({ database, log: silentLog }).runDue()).toBe(1);
  await database.query(
    'update campaign_activities set total = 5, successful = 4, metrics = $2 where campaign_id = $1',
    [CampaignId, JSON.stringify({ ENDPOINT_PRODUCED: 6 })],
  );
  const { ActivitiesResponse } = await client.send(
    new GetCampaignActivitiesCommand({ ApplicationId, CampaignId }),
  );
  expect(ActivitiesResponse!.Item).toEqual([
    {
      Id: expect.stringMatching(/^[0-9a-f]{32}$/),
      ApplicationId,
      CampaignId,
      TreatmentId: '0',
      State: 'RUNNING',
      ScheduledStart: expect.stringMatching(/Z$/),
      Start: expect.stringMatching(/Z$/),
      TotalEndpointCount: 5,
      SuccessfulEndpointCount: 4,
      TimezonesTotalCount: 1,
      TimezonesCompletedCount: 0,
      ExecutionMetrics: { ENDPOINT_PRODUCED: '6' },
    },
  ]);
  expect(await get(CampaignId!)).toMatchObject({ State: { CampaignStatus: 'EXECUTING' } });
});

test('errors name the member; what is not built says so', async () => {
  await expect(create({ HoldoutPercent: 120 })).rejects.toMatchObject({
    name: 'BadRequestException',
    message: '$.HoldoutPercent: expected a whole number from 0 to 100',
  });
  await expect(create({ SegmentId: hexId() })).rejects.toThrow(
    '$.SegmentId: this application has no segment',
  );
  await expect(create({ Schedule: { StartTime: 'IMMEDIATE', Frequency: 'DAILY' } })).rejects.toMatchObject({
    $metadata: { httpStatusCode: 501 },
  });
  await expect(
    create({ MessageConfiguration: { EmailMessage: { HtmlBody: '<p>\n{{#each a}}</p>' } } }),
  ).rejects.toMatchObject({
    name: 'BadRequestException',
    message: expect.stringMatching(/^\$\.MessageConfiguration\.EmailMessage\.HtmlBody: line 2: /),
  });
  await expect(create({ tags: { 'aws:x': '1' } })).rejects.toMatchObject({ name: 'BadRequestException' });
  await expect(
    client.send(
      new GetJourneyDateRangeKpiCommand({
        ApplicationId,
        JourneyId: hexId(),
        KpiName: 'journey-emails-sent',
      }),
    ),
  ).rejects.toMatchObject({ $metadata: { httpStatusCode: 501 } });
});
