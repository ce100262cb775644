import type { WriteCampaignRequest } from '@aws-sdk/client-pinpoint';
import { beforeEach, describe, expect, test } from 'vitest';
import { testDatabase } from '../../../../../tests/support/database.ts';
import type { Transaction } from '../../platform/database.ts';
import { hexId } from '../../platform/ids.ts';
import { silentLog } from '../../platform/log.ts';
import { campaignAccounting } from './accounting.ts';
import { selectActivities } from './activities.sql.ts';
import type { Campaign } from './campaign.ts';
import { selectCampaigns } from './campaigns.sql.ts';
import { getCampaign, getCampaignVersion, listCampaignVersions } from './read.ts';
import { createCampaignScheduler } from './scheduler.ts';
import { markSegmentDeleted } from './triggers.ts';
import { createCampaign, deleteCampaign, stopCampaignRun, updateCampaign } from './write.ts';

const database = await testDatabase();
const scheduler = createCampaignScheduler({ database, log: silentLog });

let applicationId: string;
let segmentId: string;

beforeEach(async () => {
  applicationId = hexId();
  await database.query('insert into applications (id, name) values ($1, $1)', [applicationId]);
  segmentId = await makeSegment(applicationId);
});

/** A segment of everybody. */
async function makeSegment(application: string): Promise<string> {
  const id = hexId();
  const definition = JSON.stringify({ Dimensions: {} });
  await database.query(
    "insert into segments (application_id, id, type, name, definition) values ($1, $2, 'DIMENSIONAL', 'all', $3)",
    [application, id, definition],
  );
  await database.query(
    "insert into segment_versions (application_id, segment_id, version, name, definition) values ($1, $2, 1, 'all', $3)",
    [application, id, definition],
  );
  return id;
}

async function makeTemplate(name: string): Promise<void> {
  await database.query("insert into templates (type, name) values ('EMAIL', $1)", [name]);
  await database.query(
    "insert into template_versions (type, name, version, content) values ('EMAIL', $1, 1, $2)",
    [name, JSON.stringify({ Subject: 'Hello', HtmlPart: '<p>Hello</p>' })],
  );
}

async function makeEndpoints(count: number): Promise<void> {
  await database.query(
    `insert into endpoints (application_id, id, channel, address, cohort, effective_at)
     select $1, 'e' || n, 'SMS', '+4930' || (1000000 + n), n % 100, now() from generate_series(1, $2) n`,
    [applicationId, count],
  );
}

const tx = <T>(work: (tx: Transaction) => Promise<T>) => database.transaction(work);

function create(change: WriteCampaignRequest = {}): Promise<Campaign> {
  const request: WriteCampaignRequest = {
    SegmentId: segmentId,
    Schedule: { StartTime: 'IMMEDIATE' },
    MessageConfiguration: { SMSMessage: { Body: 'Hello' } },
    ...change,
  };
  return tx((t) => createCampaign(t, applicationId, request, { now: Date.now() }));
}

const update = (id: string, change: WriteCampaignRequest) =>
  tx((t) => updateCampaign(t, applicationId, id, change, { now: Date.now() }));

const read = (id: string) => getCampaign(database, applicationId, id);

async function activities(id: string) {
  return (await selectActivities(database, applicationId, id, { limit: 100 })).items;
}

async function dispatchesOf(id: string) {
  const { rows } = await database.query(
    'select id, state, plan, audience_size, messages_per_second, expires_at from dispatches where campaign_id = $1 order by id',
    [id],
  );
  return rows;
}

/** What the subscriber does at the end of a run. */
async function endRun(id: string): Promise<void> {
  await database.query("update dispatches set state = 'done', finished_at = now() where campaign_id = $1", [
    id,
  ]);
  await database.query(
    "update campaigns set state = 'COMPLETED', dispatch_id = null, run_ends_at = null where id = $1",
    [id],
  );
}

const inOneHour = () => new Date(Date.now() + 3_600_000).toISOString();

describe('writing', () => {
  test('a campaign is read as it was written; each update makes a version that stays', async () => {
    const Schedule = { StartTime: inOneHour(), Timezone: 'UTC+02' };
    const made = await create({ Name: 'First 🎉', Schedule, HoldoutPercent: 5 });
    expect(made).toMatchObject({ version: 1, state: 'SCHEDULED', segmentVersion: 1 });
    expect(made.definition).toEqual({
      Name: 'First 🎉',
      Schedule,
      HoldoutPercent: 5,
      SegmentId: segmentId,
      MessageConfiguration: { SMSMessage: { Body: 'Hello' } },
    });
    expect(await read(made.id)).toEqual(made);

    const second = await update(made.id, { Name: 'Second', Limits: { Daily: 2 } });
    expect(second).toMatchObject({
      version: 2,
      definition: { ...made.definition, Name: 'Second', Limits: { Daily: 2 } },
    });
    expect(second.modifiedAt.getTime()).toBeGreaterThan(made.modifiedAt.getTime());
    expect(await read(made.id)).toEqual(second);
    expect(await getCampaignVersion(database, applicationId, made.id, '1')).toMatchObject({
      version: 1,
      definition: made.definition,
      modifiedAt: made.modifiedAt,
    });

    const pages = [await listCampaignVersions(database, applicationId, made.id, { limit: 1 })];
    pages.push(
      await listCampaignVersions(database, applicationId, made.id, { limit: 1, after: pages[0]!.next! }),
    );
    expect(pages.map((page) => page.items.map(({ version }) => version))).toEqual([[2], [1]]);
    expect(pages[1]!.next).toBeUndefined();
  });

  test('campaigns are listed newest first, page by page, and only those of the application', async () => {
    const made: string[] = [];
    for (let count = 0; count < 5; count++)
      made.unshift((await create({ Schedule: { StartTime: inOneHour() } })).id);
    const other = hexId();
    await database.query('insert into applications (id, name) values ($1, $1)', [other]);
    const listed: string[] = [];
    let after: string | undefined;
    do {
      const page = await selectCampaigns(database, applicationId, { limit: 2, after });
      listed.push(...page.items.map(({ id }) => id));
      after = page.next;
    } while (after);
    expect(listed).toEqual(made);
    expect((await selectCampaigns(database, other, { limit: 2 })).items).toEqual([]);
    await expect(selectCampaigns(database, applicationId, { limit: 2, after: 'x' })).rejects.toThrow('token');
    await expect(getCampaign(database, other, made[0]!)).rejects.toMatchObject({ code: 'not_found' });
  });

  test('what a campaign refers to must be there, in this application', async () => {
    const other = hexId();
    await database.query('insert into applications (id, name) values ($1, $1)', [other]);
    const foreign = await makeSegment(other);
    const EmailTemplate = { Name: 'nothing-there' };
    await expect(create({ SegmentId: foreign })).rejects.toMatchObject({
      code: 'bad_request',
      member: '$.SegmentId',
    });
    await expect(create({ SegmentVersion: 2 })).rejects.toMatchObject({ member: '$.SegmentVersion' });
    await expect(create({ TemplateConfiguration: { EmailTemplate } })).rejects.toMatchObject({
      member: '$.TemplateConfiguration.EmailTemplate.Name',
    });
    const name = `t-${hexId()}`;
    await makeTemplate(name);
    await expect(
      create({ TemplateConfiguration: { EmailTemplate: { Name: name, Version: '2' } } }),
    ).rejects.toMatchObject({ member: '$.TemplateConfiguration.EmailTemplate.Version' });
    applicationId = hexId();
    await expect(create()).rejects.toMatchObject({ code: 'not_found' });
    const { rows } = await database.query('select from campaigns where application_id = any($1)', [
      [other, applicationId],
    ]);
    expect(rows).toEqual([]);
  });

  test('a refused update changes nothing', async () => {
    const made = await create({ Schedule: { StartTime: inOneHour() } });
    await expect(update(made.id, { Name: 'x', Limits: { Daily: 101 } })).rejects.toThrow('$.Limits.Daily');
    await expect(update(made.id, { SegmentId: hexId() })).rejects.toThrow('$.SegmentId');
    expect(await read(made.id)).toEqual(made);
    await expect(update(hexId(), {})).rejects.toMatchObject({ code: 'not_found' });
  });
});

describe('a run', () => {
  test('evaluates the segment when it starts, and has one activity for each treatment', async () => {
    const made = await create({
      HoldoutPercent: 10,
      AdditionalTreatments: [
        { SizePercent: 20, MessageConfiguration: { SMSMessage: { Body: 'B' } } },
        { SizePercent: 30, MessageConfiguration: { SMSMessage: { Body: 'C' } } },
      ],
      Limits: { MessagesPerSecond: 70 },
    });
    await makeEndpoints(7);
    expect(await scheduler.runDue()).toBe(1);
    expect(await read(made.id)).toMatchObject({ state: 'EXECUTING', nextRunAt: null });
    const [dispatch, ...others] = await dispatchesOf(made.id);
    expect(others).toEqual([]);
    expect(dispatch).toMatchObject({ state: 'running', audience_size: 7, messages_per_second: 70 });
    expect(dispatch.plan.holdoutPercent).toBe(10);
    expect(
      dispatch.plan.treatments.map((t: { id: string; sizePercent: number }) => [t.id, t.sizePercent]),
    ).toEqual([
      ['0', 40],
      ['1', 20],
      ['2', 30],
    ]);
    const runs = await activities(made.id);
    expect(runs.map(({ treatmentId, state }) => [treatmentId, state]).sort()).toEqual([
      ['0', 'RUNNING'],
      ['1', 'RUNNING'],
      ['2', 'RUNNING'],
    ]);
    expect(runs[0]!.id).toMatch(/^[0-9a-f]{32}$/);
    expect(await campaignAccounting(database, applicationId, made.id)).toMatchObject({
      audience: 7,
      pending: 7,
      accepted: 0,
    });
  });

  test('is started once, however many schedulers look', async () => {
    const made = await Promise.all(Array.from({ length: 20 }, () => create()));
    const schedulers = Array.from({ length: 4 }, () => createCampaignScheduler({ database, log: silentLog }));
    const started = await Promise.all(schedulers.map((one) => one.runDue()));
    expect(started.reduce((sum, count) => sum + count)).toBe(20);
    for (const { id } of made) expect(await dispatchesOf(id)).toHaveLength(1);
  });

  test('waits for its time', async () => {
    const made = await create({ Schedule: { StartTime: inOneHour() } });
    expect(await scheduler.runDue()).toBe(0);
    await database.query("update campaigns set next_run_at = now() - interval '2 hours' where id = $1", [
      made.id,
    ]);
    expect(await scheduler.runDue()).toBe(1);
  });

  test('does not take place when it is much too late, as after restoring an old backup', async () => {
    const made = await create({ Schedule: { StartTime: inOneHour() } });
    await database.query("update campaigns set next_run_at = now() - interval '25 hours' where id = $1", [
      made.id,
    ]);
    expect(await scheduler.runDue()).toBe(0);
    expect(await dispatchesOf(made.id)).toEqual([]);
    expect(await read(made.id)).toMatchObject({
      state: 'INVALID',
      stateReason: expect.stringContaining('25 hours'),
    });
    expect(await activities(made.id)).toMatchObject([
      { state: 'CANCELLED', result: 'FAIL', metrics: { REASON: expect.stringContaining('25 hours') } },
    ]);
    const again = await update(made.id, { Schedule: { StartTime: 'IMMEDIATE' } });
    expect(again).toMatchObject({ state: 'SCHEDULED', stateReason: null });
    expect(await scheduler.runDue()).toBe(1);
  });

  test('whose segment or template is gone says so', async () => {
    const name = `t-${hexId()}`;
    await makeTemplate(name);
    const withTemplate = await create({ TemplateConfiguration: { EmailTemplate: { Name: name } } });
    await database.query('delete from templates where name = $1', [name]);
    const second = await makeSegment(applicationId);
    const withSegment = await create({ SegmentId: second });
    await database.query('delete from segments where id = $1', [second]);
    expect(await scheduler.runDue()).toBe(0);
    expect(await read(withTemplate.id)).toMatchObject({
      state: 'INVALID',
      stateReason: expect.stringContaining(name),
    });
    expect(await read(withSegment.id)).toMatchObject({
      state: 'DELETED',
      stateReason: expect.stringContaining(second),
    });
  });

  test('takes the limits and quiet time that the application had when the campaign was created', async () => {
    const settings = {
      Limits: { Daily: 3, Total: 4, MessagesPerSecond: 90 },
      QuietTime: { Start: '22:00', End: '06:00' },
    };
    const change = (value: object) =>
      database.query('update applications set settings = $2 where id = $1', [
        applicationId,
        JSON.stringify(value),
      ]);
    await change(settings);
    const inherits = await create();
    const overrides = await create({
      Limits: { Daily: 0, Total: 9 },
      Schedule: { StartTime: 'IMMEDIATE', QuietTime: { Start: '12:00', End: '13:00' } },
    });
    await change({ Limits: { Daily: 50 } });
    await scheduler.runDue();
    expect((await dispatchesOf(inherits.id))[0]).toMatchObject({
      messages_per_second: 90,
      plan: { limits: { daily: 3, total: 4 }, quietTime: { start: '22:00', end: '06:00' } },
    });
    const [own] = await dispatchesOf(overrides.id);
    expect(own.plan.limits).toEqual({ total: 9 });
    expect(own.plan.quietTime).toEqual({ start: '12:00', end: '13:00' });
    await change({ CampaignHook: { LambdaFunctionName: 'filter' } });
    const hooks: unknown[] = [];
    for (const Hook of [undefined, { WebUrl: 'https://sift.example/' }, {}]) {
      const made = await create({ Hook });
      await scheduler.runDue();
      hooks.push((await dispatchesOf(made.id))[0].plan.hook);
    }
    expect(hooks).toEqual(['filter', 'https://sift.example/', undefined]);
  });

  test('ends at its MaximumDuration, also when it is paused', async () => {
    const made = await create({ Limits: { MaximumDuration: 60 } });
    await scheduler.runDue();
    const [dispatch] = await dispatchesOf(made.id);
    expect(dispatch.expires_at.getTime() - Date.now()).toBeLessThan(61_000);
    await update(made.id, { IsPaused: true });
    await database.query('update campaigns set run_ends_at = now() where id = $1', [made.id]);
    await scheduler.runDue();
    expect((await dispatchesOf(made.id))[0].state).toBe('stopped');
    expect(await read(made.id)).toMatchObject({ stateReason: expect.stringContaining('MaximumDuration') });
  });
});

describe('the state machine', () => {
  test('a run in progress is paused and resumed', async () => {
    const made = await create();
    await scheduler.runDue();
    expect(await update(made.id, { IsPaused: true })).toMatchObject({ state: 'PAUSED', version: 2 });
    expect((await dispatchesOf(made.id))[0].state).toBe('paused');
    expect((await activities(made.id))[0]!.state).toBe('PAUSED');
    expect(await update(made.id, { Name: 'still paused' })).toMatchObject({ state: 'PAUSED' });
    expect(await update(made.id, { IsPaused: false })).toMatchObject({ state: 'EXECUTING' });
    expect((await dispatchesOf(made.id))[0].state).toBe('running');
    expect((await activities(made.id))[0]!.state).toBe('RUNNING');
  });

  test('a run can be paused when its segment is gone, and also when it has just ended', async () => {
    const made = await create();
    await scheduler.runDue();
    await database.query('delete from segments where id = $1', [segmentId]);
    expect(await update(made.id, { IsPaused: true })).toMatchObject({ state: 'PAUSED' });
    await update(made.id, { IsPaused: false });
    await database.query("update dispatches set state = 'done' where campaign_id = $1", [made.id]);
    await update(made.id, { IsPaused: true });
    expect((await dispatchesOf(made.id))[0].state).toBe('done');
  });

  test('what a run sends cannot be changed while it is in progress; giving the same again is no change', async () => {
    const made = await create({ Limits: { Daily: 1 } });
    await scheduler.runDue();
    for (const change of [
      { MessageConfiguration: { SMSMessage: { Body: 'Other' } } },
      { HoldoutPercent: 1 },
      { Schedule: { StartTime: inOneHour() } },
      { Limits: {} },
    ]) {
      await expect(update(made.id, change)).rejects.toMatchObject({ member: `$.${Object.keys(change)[0]}` });
    }
    const same = await update(made.id, { ...made.definition, SegmentVersion: 1, Name: 'Renamed' });
    expect(same).toMatchObject({ state: 'EXECUTING', definition: { Name: 'Renamed' } });
  });

  test('a campaign that is over sends again only for a new start time', async () => {
    const made = await create();
    await scheduler.runDue();
    await endRun(made.id);
    expect(await update(made.id, { ...made.definition, Name: 'Renamed' })).toMatchObject({
      state: 'COMPLETED',
    });
    expect(await update(made.id, { IsPaused: true })).toMatchObject({ state: 'COMPLETED' });
    expect(await update(made.id, { IsPaused: false })).toMatchObject({ state: 'COMPLETED' });
    expect(await scheduler.runDue()).toBe(0);
    expect(await update(made.id, { Schedule: { StartTime: inOneHour() } })).toMatchObject({
      state: 'SCHEDULED',
    });
    await update(made.id, { Schedule: { StartTime: 'IMMEDIATE' } });
    expect(await scheduler.runDue()).toBe(1);
    expect(await dispatchesOf(made.id)).toHaveLength(2);
  });

  test('a campaign that is paused before its run waits, an immediate one too', async () => {
    const made = await create({ IsPaused: true });
    expect(made.state).toBe('PAUSED');
    expect(await scheduler.runDue()).toBe(0);
    await update(made.id, { IsPaused: false });
    expect(await scheduler.runDue()).toBe(1);
    const later = await create({ Schedule: { StartTime: inOneHour() } });
    await update(later.id, { IsPaused: true });
    await database.query("update campaigns set next_run_at = now() - interval '1 hour' where id = $1", [
      later.id,
    ]);
    expect(await scheduler.runDue()).toBe(0);
    await update(later.id, { IsPaused: false });
    expect(await scheduler.runDue()).toBe(1);
  });

  test('a run that was held for more than a day wants a new start time', async () => {
    const made = await create({ Schedule: { StartTime: inOneHour() }, IsPaused: true });
    await database.query("update campaigns set next_run_at = now() - interval '25 hours' where id = $1", [
      made.id,
    ]);
    await expect(update(made.id, { IsPaused: false })).rejects.toMatchObject({
      member: '$.Schedule.StartTime',
    });
    await update(made.id, { IsPaused: false, Schedule: { StartTime: 'IMMEDIATE' } });
    expect(await scheduler.runDue()).toBe(1);
  });

  test('deleting stops the run in progress; stopping keeps the campaign', async () => {
    const deleted = await create();
    const stopped = await create();
    await scheduler.runDue();
    await tx((t) => deleteCampaign(t, applicationId, deleted.id));
    expect((await dispatchesOf(deleted.id))[0].state).toBe('stopped');
    await expect(read(deleted.id)).rejects.toMatchObject({ code: 'not_found' });
    await tx((t) => stopCampaignRun(t, applicationId, stopped.id, { reason: 'Stopped by anna' }));
    expect((await dispatchesOf(stopped.id))[0].state).toBe('stopped');
    expect(await read(stopped.id)).toMatchObject({ stateReason: 'Stopped by anna' });
    const idle = await create({ Schedule: { StartTime: inOneHour() } });
    await expect(
      tx((t) => stopCampaignRun(t, applicationId, idle.id, { reason: 'x' })),
    ).rejects.toMatchObject({ code: 'conflict' });
  });

  test('deleting a segment marks the campaigns that were to use it, not the one that runs', async () => {
    const running = await create();
    await scheduler.runDue();
    const waiting = await create({ Schedule: { StartTime: inOneHour() } });
    await tx((t) => markSegmentDeleted(t, applicationId, segmentId));
    expect(await read(waiting.id)).toMatchObject({
      state: 'DELETED',
      stateReason: `Segment ${segmentId} was deleted`,
    });
    expect(await read(running.id)).toMatchObject({ state: 'EXECUTING' });
    const next = await makeSegment(applicationId);
    await update(waiting.id, { SegmentId: next, Schedule: { StartTime: 'IMMEDIATE' } });
    expect(await scheduler.runDue()).toBe(1);
  });
});

test('a campaign that cannot be started does not keep the others waiting', async () => {
  const broken = await create();
  const fine = await create();
  // A definition that only a broken migration could leave behind.
  await database.query(
    'update campaigns set definition = definition || \'{"AdditionalTreatments": 7}\' where id = $1',
    [broken.id],
  );
  expect(await scheduler.runDue()).toBe(1);
  expect(await read(fine.id)).toMatchObject({ state: 'EXECUTING' });
  expect(await read(broken.id)).toMatchObject({ state: 'SCHEDULED' });
});
