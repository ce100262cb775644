import {
  type CampaignResponse,
  CreateAppCommand,
  CreateCampaignCommand,
  DeleteCampaignCommand,
  GetCampaignActivitiesCommand,
  GetCampaignCommand,
  UpdateCampaignCommand,
  type WriteCampaignRequest,
} from '@aws-sdk/client-pinpoint';
import { expect, test } from 'vitest';
import { createSegment } from '../packages/server/src/audience/index.ts';
import {
  accountingMembers,
  type CampaignAccounting,
  campaignAccounting,
} from '../packages/server/src/engagement/index.ts';
import { testDatabase } from './support/database.ts';
import { waitFor } from './support/processes.ts';
import { testSending } from './support/sending.ts';
import { wireServer } from './support/wire.ts';

const database = await testDatabase(20);
const { pipeline, renderer } = await testSending(database);
const client = (await wireServer({ database, services: { pipeline, renderer } })).client();

interface Person {
  id: string;
  channel?: string | null;
  address?: string | null;
  optOut?: string;
  status?: string;
  name?: string;
}

/** An application with these endpoints and a segment of all of them. Cohorts go round: 0, 1, … 99, 0 … */
async function audienceOf(people: Person[]): Promise<{ ApplicationId: string; SegmentId: string }> {
  const { ApplicationResponse } = await client.send(
    new CreateAppCommand({ CreateApplicationRequest: { Name: 'campaigns' } }),
  );
  const ApplicationId = ApplicationResponse!.Id!;
  const rows = people.map((person, index) => ({
    id: person.id,
    channel: person.channel === undefined ? 'EMAIL' : person.channel,
    address: person.address === undefined ? `${person.id}@example.com` : person.address,
    opt_out: person.optOut ?? 'NONE',
    status: person.status ?? 'ACTIVE',
    cohort: index % 100,
    attributes: person.name === undefined ? {} : { name: [person.name] },
  }));
  await database.query(
    `insert into endpoints (application_id, id, channel, address, opt_out, status, cohort, attributes, effective_at)
     select $1, id, channel, address, opt_out, status, cohort, attributes, now()
     from jsonb_to_recordset($2) as r(id text, channel text, address text, opt_out text, status text, cohort int, attributes jsonb)`,
    [ApplicationId, JSON.stringify(rows)],
  );
  const segment = await database.transaction((tx) => createSegment(tx, ApplicationId, {}, Date.now()));
  return { ApplicationId, SegmentId: segment.id };
}

const people = (count: number, prefix = 'p'): Person[] =>
  Array.from({ length: count }, (_, index) => ({ id: `${prefix}${index}`, name: `Person ${index}` }));

const EmailMessage = {
  FromAddress: 'Shop <shop@example.com>',
  Title: 'Hello {{Attributes.name}}',
  HtmlBody: '<p>Dear {{Attributes.name}}</p>',
};

async function start(
  audience: { ApplicationId: string; SegmentId: string },
  change: WriteCampaignRequest = {},
): Promise<CampaignResponse> {
  const { ApplicationId, SegmentId } = audience;
  const WriteCampaignRequest = {
    SegmentId,
    Schedule: { StartTime: 'IMMEDIATE' },
    MessageConfiguration: { EmailMessage },
    ...change,
  };
  return (await client.send(new CreateCampaignCommand({ ApplicationId, WriteCampaignRequest })))
    .CampaignResponse!;
}

async function statusOf({ ApplicationId, Id }: CampaignResponse): Promise<string> {
  const { CampaignResponse } = await client.send(new GetCampaignCommand({ ApplicationId, CampaignId: Id }));
  return CampaignResponse!.State!.CampaignStatus!;
}

const untilStatus = (campaign: CampaignResponse, status: string) =>
  waitFor(`the campaign to be ${status}`, async () => (await statusOf(campaign)) === status, 60_000);

const accounts = ({ ApplicationId, Id }: CampaignResponse): Promise<CampaignAccounting> =>
  campaignAccounting(database, ApplicationId!, Id!);

const sum = (counts: Record<string, number>) =>
  Object.values(counts).reduce((total, count) => total + count, 0);

/** Addresses in the sandbox's inbox, one for each message that arrived. */
async function inbox(ApplicationId: string): Promise<string[]> {
  const { rows } = await database.query<{ address: string }>(
    'select address from inbox where application_id = $1 order by address',
    [ApplicationId],
  );
  return rows.map((row) => row.address);
}

const pause = ({ ApplicationId, Id }: CampaignResponse, IsPaused: boolean) =>
  client.send(
    new UpdateCampaignCommand({ ApplicationId, CampaignId: Id, WriteCampaignRequest: { IsPaused } }),
  );

test('exactly the right people get the right text, and everybody else has a reason', async () => {
  const reached = people(300);
  const audience = await audienceOf([
    ...reached,
    { id: 'out', optOut: 'ALL' },
    { id: 'asleep', status: 'INACTIVE' },
    { id: 'homeless', address: null },
    { id: 'wrong', address: 'not an address' },
    { id: 'twin', address: 'P7@example.com' },
    { id: 'nameless' },
    { id: 'phone', channel: 'SMS', address: '+14255550182' },
    { id: 'supp' },
    { id: 'rejected', address: 'reject@example.com', name: 'r' },
    { id: 'bounced', address: 'bounce@example.com', name: 'b' },
    { id: 'retried', address: 'retry@example.com', name: 'x' },
    { id: 'doubtful', address: 'unknown@example.com', name: 'd' },
  ]);
  const { ApplicationId } = audience;
  await database.query(
    "insert into suppressions (application_id, channel, address, reason) values ($1, 'EMAIL', 'supp@example.com', 'manual')",
    [ApplicationId],
  );
  const campaign = await start(audience);
  await untilStatus(campaign, 'COMPLETED');
  // Receipts come after the run.
  await waitFor('the bounce', async () => (await accounts(campaign)).outcomes.bounced === 1);
  const accounting = await accounts(campaign);
  expect(accounting).toMatchObject({ audience: 312, pending: 0, accepted: 302, state: 'COMPLETED' });
  expect(accounting.reasons).toEqual({
    opted_out: 1,
    inactive: 1,
    address_missing: 1,
    address_invalid: 1,
    duplicate_address: 1,
    missing_variable: 1,
    channel_mismatch: 1,
    suppressed: 1,
  });
  expect(accounting.outcomes).toMatchObject({
    failed: 1,
    bounced: 1,
    in_doubt: 1,
    deferred: 0,
    sending: 0,
    expired: 0,
  });
  expect(sum(accounting.outcomes) + sum(accounting.reasons)).toBe(312);

  const arrived = await inbox(ApplicationId);
  expect(new Set(arrived).size).toBe(arrived.length);
  for (const { id } of reached.slice(10)) expect(arrived).toContain(`${id}@example.com`);
  expect(arrived).toContain('retry@example.com');
  expect(arrived).not.toContain('supp@example.com');
  const { rows } = await database.query(
    "select subject, sender, content from inbox where application_id = $1 and address = 'p42@example.com'",
    [ApplicationId],
  );
  expect(rows).toMatchObject([
    {
      subject: 'Hello Person 42',
      sender: 'Shop <shop@example.com>',
      content: { html: '<p>Dear Person 42</p>' },
    },
  ]);

  const { items } = await accountingMembers(database, ApplicationId, campaign.Id!, 'opted_out', {
    limit: 10,
  });
  expect(items).toMatchObject([{ endpointId: 'out', status: 'opted_out' }]);
  const { ActivitiesResponse } = await client.send(
    new GetCampaignActivitiesCommand({ ApplicationId, CampaignId: campaign.Id }),
  );
  expect(ActivitiesResponse!.Item).toMatchObject([
    {
      TreatmentId: '0',
      State: 'COMPLETED',
      Result: 'SUCCESS',
      TotalEndpointCount: 304,
      SuccessfulEndpointCount: 302,
      ExecutionMetrics: {
        ENDPOINT_PRODUCED: '312',
        ENDPOINT_OPT_OUT: '2',
        ENDPOINT_INACTIVE: '1',
        ENDPOINT_MISSING_ADDRESS: '2',
        ENDPOINT_CHANNEL_MISMATCH: '1',
        DUPLICATE_ENDPOINT: '1',
        MISSING_VARIABLE: '1',
      },
    },
  ]);
});

test('treatments and holdout follow the cohort', async () => {
  const audience = await audienceOf(people(200, 'c'));
  const other = (Body: string) => ({
    MessageConfiguration: { EmailMessage: { ...EmailMessage, Title: Body } },
  });
  const campaign = await start(audience, {
    HoldoutPercent: 10,
    AdditionalTreatments: [
      { SizePercent: 20, ...other('B') },
      { SizePercent: 30, ...other('C') },
    ],
  });
  await untilStatus(campaign, 'COMPLETED');
  const { rows } = await database.query<{ cohort: number; subject: string | null }>(
    `select e.cohort, i.subject from endpoints e
     left join inbox i on i.application_id = e.application_id and i.address = e.address
     where e.application_id = $1`,
    [audience.ApplicationId],
  );
  expect(rows).toHaveLength(200);
  const expected = (cohort: number) => (cohort < 10 ? null : cohort < 30 ? 'B' : cohort < 60 ? 'C' : 'Hello');
  for (const { cohort, subject } of rows)
    expect([cohort, subject?.split(' ')[0] ?? null]).toEqual([cohort, expected(cohort)]);
  const { ActivitiesResponse } = await client.send(
    new GetCampaignActivitiesCommand({ ApplicationId: audience.ApplicationId, CampaignId: campaign.Id }),
  );
  const byTreatment = Object.fromEntries(ActivitiesResponse!.Item!.map((item) => [item.TreatmentId, item]));
  expect(byTreatment).toMatchObject({
    '0': {
      TotalEndpointCount: 80,
      SuccessfulEndpointCount: 80,
      ExecutionMetrics: { TREATMENT_HOLDOUT: '20' },
    },
    '1': { TotalEndpointCount: 40, SuccessfulEndpointCount: 40 },
    '2': { TotalEndpointCount: 60, SuccessfulEndpointCount: 60 },
  });
});

test('a run that is paused and resumed reaches everybody once; the numbers add up on the way', async () => {
  const audience = await audienceOf(people(600, 'r'));
  const campaign = await start(audience, { Limits: { MessagesPerSecond: 300 } });
  await waitFor('the first messages', async () => (await inbox(audience.ApplicationId)).length > 0);
  await pause(campaign, true);
  expect(await statusOf(campaign)).toBe('PAUSED');
  // What was being committed when it was paused still goes out; then it stands still.
  let held = await accounts(campaign);
  await waitFor('what was in flight', async () => {
    held = await accounts(campaign);
    return held.outcomes.sending === 0;
  });
  expect(held.pending).toBeGreaterThan(0);
  expect(held.audience).toBe(600);
  expect(held.pending + sum(held.outcomes) + sum(held.reasons)).toBe(600);
  const { items, next } = await accountingMembers(database, audience.ApplicationId, campaign.Id!, 'pending', {
    limit: 7,
  });
  expect(items).toHaveLength(7);
  const rest = await accountingMembers(database, audience.ApplicationId, campaign.Id!, 'pending', {
    limit: 1000,
    after: next,
  });
  expect(items.length + rest.items.length).toBe(held.pending);
  expect(new Set([...items, ...rest.items].map((member) => member.endpointId)).size).toBe(held.pending);
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect((await accounts(campaign)).pending).toBe(held.pending);

  await pause(campaign, false);
  await untilStatus(campaign, 'COMPLETED');
  const arrived = await inbox(audience.ApplicationId);
  expect(arrived).toHaveLength(600);
  expect(new Set(arrived).size).toBe(600);
});

test('deleting a running campaign stops it; who was not reached has the reason', async () => {
  const audience = await audienceOf(people(600, 's'));
  const campaign = await start(audience, { Limits: { MessagesPerSecond: 200 } });
  const { ApplicationId, Id: CampaignId } = campaign;
  await waitFor('the first messages', async () => (await inbox(ApplicationId!)).length > 0);
  await client.send(new DeleteCampaignCommand({ ApplicationId, CampaignId }));
  await waitFor('the dispatch to end', async () => {
    const { rows } = await database.query(
      "select from dispatches where campaign_id = $1 and state = 'stopped' and finished_at is not null",
      [CampaignId],
    );
    return rows.length === 1;
  });
  const { rows } = await database.query<{ decision: string; count: number }>(
    'select decision, count(*) from messages where campaign_id = $1 group by decision',
    [CampaignId],
  );
  const counts = Object.fromEntries(rows.map((row) => [row.decision, row.count]));
  expect(counts.sending! + counts.stopped!).toBe(600);
  expect(await inbox(ApplicationId!)).toHaveLength(counts.sending!);
  await expect(statusOf(campaign)).rejects.toMatchObject({ name: 'NotFoundException' });
});

test('an empty audience is a campaign that is soon over', async () => {
  const campaign = await start(await audienceOf([]));
  await untilStatus(campaign, 'COMPLETED');
  expect(await accounts(campaign)).toMatchObject({ audience: 0, pending: 0, accepted: 0, reasons: {} });
});
