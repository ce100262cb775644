import { beforeEach, expect, test } from 'vitest';
import { testDatabase } from '../../../../../tests/support/database.ts';
import { appendFacts, createNumberer, createSubscriber, ensurePartitions } from '../../events/index.ts';
import { hexId, uuidv7 } from '../../platform/ids.ts';
import { silentLog } from '../../platform/log.ts';
import { insertActivities, selectActivities } from './activities.sql.ts';
import { insertCampaign, selectCampaign } from './campaigns.sql.ts';
import { campaignCounters, executionMetric } from './counters.ts';

const database = await testDatabase();
await ensurePartitions(database);
const numberer = createNumberer({ database, log: silentLog });
const applicationId = hexId();
await database.query('insert into applications (id, name) values ($1, $1)', [applicationId]);

let campaignId: string;
let dispatchId: string;

beforeEach(async () => {
  campaignId = hexId();
  dispatchId = uuidv7();
  await database.transaction(async (tx) => {
    await insertCampaign(tx, {
      applicationId,
      id: campaignId,
      definition: {},
      inherited: {},
      state: 'SCHEDULED',
      segmentVersion: 1,
      nextRunAt: null,
    });
    await tx.query("update campaigns set state = 'EXECUTING', dispatch_id = $2 where id = $1", [
      campaignId,
      dispatchId,
    ]);
    await insertActivities(tx, {
      applicationId,
      campaignId,
      dispatchId,
      scheduledStart: new Date(),
      treatments: ['0', '1'].map((id) => ({ id, activityId: hexId() })),
    });
  });
});

const window = (decisions: Record<string, Record<string, number>>) => ({
  type: 'dispatch.window',
  applicationId,
  dispatchId,
  payload: { decisions },
});
const sent = (treatmentId: string) => ({
  type: 'message.sent',
  applicationId,
  dispatchId,
  messageId: uuidv7(),
  payload: { treatmentId },
});
const done = (state: string) => ({ type: 'dispatch.done', applicationId, dispatchId, payload: { state } });

async function handle(...facts: Parameters<typeof appendFacts>[1][number][]): Promise<void> {
  await database.transaction(async (tx) => {
    await appendFacts(tx, facts);
  });
  await numberer.drain();
}

/** Two processes with the same subscriber, each handling what it gets. */
async function drainTwice(maxFacts = 5_000): Promise<void> {
  const subscribers = [1, 2].map(() =>
    createSubscriber({ database, log: silentLog, ...campaignCounters, maxFacts }),
  );
  await Promise.all(subscribers.map((subscriber) => subscriber.drain()));
}

async function byTreatment() {
  const { items } = await selectActivities(database, applicationId, campaignId, { limit: 10 });
  return Object.fromEntries(items.map((activity) => [activity.treatmentId, activity]));
}

test('windows and outcomes move the counters of their treatment, once', async () => {
  await handle(
    window({
      '0': { sending: 40, opted_out: 3, suppressed: 2, holdout: 5, daily_cap: 1 },
      '1': { sending: 10 },
    }),
    window({ '0': { sending: 10, address_missing: 1, address_invalid: 1 }, '1': { channel_mismatch: 4 } }),
    ...Array.from({ length: 30 }, () => sent('0')),
    ...Array.from({ length: 7 }, () => sent('1')),
    { type: 'message.failed', applicationId, dispatchId, messageId: uuidv7(), payload: { treatmentId: '1' } },
  );
  await drainTwice(7);
  await drainTwice();
  const activities = await byTreatment();
  expect(activities['0']).toMatchObject({ state: 'RUNNING', result: null, total: 50, successful: 30 });
  expect(activities['0']!.metrics).toEqual({
    ENDPOINT_PRODUCED: 63,
    ENDPOINT_OPT_OUT: 5,
    TREATMENT_HOLDOUT: 5,
    DAILY_CAP: 1,
    ENDPOINT_MISSING_ADDRESS: 2,
  });
  expect(activities['1']).toMatchObject({ total: 10, successful: 7 });
  expect(activities['1']!.metrics).toEqual({ ENDPOINT_PRODUCED: 14, ENDPOINT_CHANNEL_MISMATCH: 4 });
});

test('the end of a dispatch completes the campaign; a treatment that reached nobody failed', async () => {
  await handle(window({ '0': { sending: 2 }, '1': { sending: 2 } }), sent('0'), done('done'));
  await drainTwice();
  const activities = await byTreatment();
  expect(activities['0']).toMatchObject({ state: 'COMPLETED', result: 'SUCCESS', endedAt: expect.any(Date) });
  expect(activities['1']).toMatchObject({ state: 'COMPLETED', result: 'FAIL' });
  const campaign = await selectCampaign(database, applicationId, campaignId);
  expect(campaign).toMatchObject({ state: 'COMPLETED', dispatchId: null });

  await handle(sent('1'));
  await drainTwice();
  expect((await byTreatment())['1']).toMatchObject({ result: 'SUCCESS', successful: 1 });
});

test('an audience without members is a success', async () => {
  await handle(done('done'));
  await drainTwice();
  expect((await byTreatment())['0']).toMatchObject({ state: 'COMPLETED', result: 'SUCCESS', total: 0 });
});

test('a stopped run is cancelled', async () => {
  await handle(window({ '0': { sending: 1, stopped: 9 } }), sent('0'), done('stopped'));
  await drainTwice();
  const activities = await byTreatment();
  expect(activities['0']).toMatchObject({ state: 'CANCELLED', result: 'SUCCESS' });
  expect(activities['0']!.metrics).toMatchObject({ STOPPED: 9 });
  expect(activities['1']).toMatchObject({ state: 'CANCELLED', result: 'FAIL' });
  expect(await selectCampaign(database, applicationId, campaignId)).toMatchObject({ state: 'COMPLETED' });
});

test('facts of deleted campaigns, direct messages and strange names do no harm', async () => {
  await handle(
    { ...done('done'), dispatchId: uuidv7() },
    { ...sent('0'), dispatchId: uuidv7() },
    window({ '9': { sending: 1 }, constructor: { toString: 2 } }),
    window({ '0': { constructor: 1 } }),
  );
  await drainTwice();
  expect((await byTreatment())['0']!.metrics).toEqual({ ENDPOINT_PRODUCED: 1, CONSTRUCTOR: 1 });
  expect(executionMetric('toString')).toBe('TOSTRING');
});
