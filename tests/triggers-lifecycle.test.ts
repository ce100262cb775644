import {
  DeleteAppCommand,
  DeleteCampaignCommand,
  DeleteSegmentCommand,
  GetCampaignActivitiesCommand,
} from '@aws-sdk/client-pinpoint';
import { expect, test } from 'vitest';
import { waitFor } from './support/processes.ts';
import {
  audienceOf,
  client,
  create,
  database,
  decisions,
  EmailMessage,
  event,
  messagesOf,
  onPurchase,
  people,
  put,
  reasons,
  statusOf,
  update,
} from './triggers-support.ts';

test('a pause, an edit, an end and a deletion count for the events that come after', async () => {
  const audience = await audienceOf(people(2));
  const { ApplicationId } = audience;
  const campaign = await create(audience);
  await put(event(ApplicationId, 'p0'));
  expect(await decisions(campaign)).toEqual({ sending: 1 });
  await update(campaign, { IsPaused: true });
  await put(event(ApplicationId, 'p0'));
  expect(await statusOf(campaign)).toBe('PAUSED');
  expect(await reasons(campaign)).toEqual({ paused: 1 });
  await update(campaign, {
    IsPaused: false,
    MessageConfiguration: { EmailMessage: { ...EmailMessage, Title: 'New' } },
  });
  expect(await statusOf(campaign)).toBe('PENDING_NEXT_RUN');
  await put(event(ApplicationId, 'p1'));
  expect(await decisions(campaign)).toEqual({ sending: 2 });
  const { rows } = await database.query<{ summary: string }>(
    'select summary from messages where campaign_id = $1 order by id',
    [campaign.Id],
  );
  expect(rows.map(({ summary }) => summary)).toEqual(['Thanks', 'New']);
  await waitFor('the first dispatch to be over', async () => {
    const { ActivitiesResponse } = await client.send(
      new GetCampaignActivitiesCommand({ ApplicationId, CampaignId: campaign.Id }),
    );
    const states = ActivitiesResponse!.Item!.map(({ State }) => State);
    return JSON.stringify(states) === '["RUNNING","COMPLETED"]';
  });

  await update(campaign, {
    Schedule: { ...onPurchase(), EndTime: new Date(Date.now() + 1_500).toISOString() },
  });
  await put(event(ApplicationId, 'p0'));
  expect(await decisions(campaign)).toEqual({ sending: 3 });
  await waitFor('the end', async () => (await statusOf(campaign)) === 'COMPLETED');
  await put(event(ApplicationId, 'p0'));
  expect(await reasons(campaign)).toEqual({ paused: 1, ended: 1 });
  // A new start, and again it waits for events.
  await update(campaign, {
    Schedule: { ...onPurchase(), StartTime: new Date(Date.now() + 500).toISOString() },
  });
  expect(await statusOf(campaign)).toBe('SCHEDULED');
  await put(event(ApplicationId, 'p0'));
  expect(await reasons(campaign)).toEqual({ paused: 1, ended: 1, not_started: 1 });
  await waitFor('the start', async () => (await statusOf(campaign)) === 'PENDING_NEXT_RUN');
  await put(event(ApplicationId, 'p0'));
  expect(await decisions(campaign)).toEqual({ sending: 4 });
  await client.send(new DeleteCampaignCommand({ ApplicationId, CampaignId: campaign.Id }));
  await put(event(ApplicationId, 'p0'));
  expect(await decisions(campaign)).toEqual({ sending: 4 });
  await waitFor('the dispatches to be over', async () => {
    const { rows: open } = await database.query(
      'select from dispatches where campaign_id = $1 and finished_at is null',
      [campaign.Id],
    );
    return open.length === 0;
  });
});

test('what waits while a campaign is paused goes out afterwards, unless it was changed meanwhile', async () => {
  const audience = await audienceOf(people(1));
  const { ApplicationId } = audience;
  const slow = { Limits: { MessagesPerSecond: 1 } };
  const [kept, changed] = [await create(audience, slow), await create(audience, slow)];
  await put(...Array.from({ length: 4 }, () => event(ApplicationId, 'p0')));
  await waitFor('both to begin', async () => {
    const { rows } = await database.query(
      'select from messages where campaign_id = any($1) group by campaign_id',
      [[kept.Id, changed.Id]],
    );
    return rows.length === 2;
  });
  await update(kept, { IsPaused: true });
  await update(changed, { IsPaused: true });
  await update(changed, { Limits: {} });
  await waitFor('the rest to have its reason', async () => {
    const { sending = 0, stopped = 0 } = await decisions(changed);
    return sending + stopped === 4 && stopped > 0;
  });
  await update(kept, { IsPaused: false });
  await waitFor('the others', async () => (await decisions(kept)).sending === 4);
});

test('a campaign that starts later and is paused before its start waits for both', async () => {
  const audience = await audienceOf(people(1));
  const campaign = await create(audience, { IsPaused: true });
  expect(campaign.State).toEqual({ CampaignStatus: 'PAUSED' });
  await put(event(audience.ApplicationId, 'p0'));
  expect(await reasons(campaign)).toEqual({ paused: 1 });
  await update(campaign, { IsPaused: false });
  expect(await statusOf(campaign)).toBe('PENDING_NEXT_RUN');
  await put(event(audience.ApplicationId, 'p0'));
  expect(await decisions(campaign)).toEqual({ sending: 1 });
});

test('a campaign whose segment is deleted ends, and says so to its events', async () => {
  const audience = await audienceOf(people(1));
  const { ApplicationId, SegmentId } = audience;
  const campaign = await create(audience);
  await client.send(new DeleteSegmentCommand({ ApplicationId, SegmentId }));
  expect(await statusOf(campaign)).toBe('DELETED');
  await put(event(ApplicationId, 'p0'));
  expect(await reasons(campaign)).toEqual({ segment_deleted: 1 });
  expect(await messagesOf(campaign)).toEqual([]);
});

test('an application that is deleted while events come leaves nothing open, and the others go on', async () => {
  const [doomed, other] = [await audienceOf(people(50)), await audienceOf(people(1))];
  await create(doomed, { Limits: { MessagesPerSecond: 50 } });
  const campaign = await create(other);
  let putting = true;
  const load = (async () => {
    while (putting) await put(...people(50).map(({ id }) => event(doomed.ApplicationId, id)));
  })();
  await waitFor('the first messages', async () => {
    const { rows } = await database.query('select from messages where application_id = $1 limit 1', [
      doomed.ApplicationId,
    ]);
    return rows.length === 1;
  });
  await client.send(new DeleteAppCommand({ ApplicationId: doomed.ApplicationId }));
  putting = false;
  await load;
  await put(event(other.ApplicationId, 'p0'));
  expect(await decisions(campaign)).toEqual({ sending: 1 });
  const { rows } = await database.query(
    `select from campaign_triggers where application_id = $1
     union all select from dispatches where application_id = $1 and finished_at is null`,
    [doomed.ApplicationId],
  );
  expect(rows).toEqual([]);
  const { rows: parked } = await database.query(
    "select from log_parked_facts where subscriber = 'campaign-triggers'",
  );
  expect(parked).toEqual([]);
});
