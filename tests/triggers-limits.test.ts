import { expect, test } from 'vitest';
import { uuidv7 } from '../packages/server/src/platform/ids.ts';
import {
  audienceOf,
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
} from './triggers-support.ts';

test('what happened too long ago is not written about, also when the subscriber was away for two days', async () => {
  const audience = await audienceOf(people(1));
  const campaign = await create(audience);
  const twoDays = 2 * 86_400_000;
  await put(
    event(audience.ApplicationId, 'p0', { at: Date.now() - 301_000 }),
    event(audience.ApplicationId, 'p0', { at: Date.now() - twoDays }),
    event(audience.ApplicationId, 'p0', { at: Date.now() - 200_000 }),
    event(audience.ApplicationId, 'p0', { source: 'archive' }),
  );
  expect(await reasons(campaign)).toEqual({ too_late: 2 });
  expect(await decisions(campaign)).toEqual({ sending: 1 });
});

test('caps, holdout and treatments hold for each event, also for several at once', async () => {
  const audience = await audienceOf(people(100));
  const { ApplicationId } = audience;
  const total = await create(audience, { Limits: { Total: 3 } });
  const other = { MessageConfiguration: { EmailMessage: { ...EmailMessage, Title: 'Other' } } };
  const split = await create(audience, {
    HoldoutPercent: 10,
    AdditionalTreatments: [{ SizePercent: 20, ...other }],
  });
  const facts = people(100).flatMap(({ id }) => [event(ApplicationId, id), event(ApplicationId, id)]);
  await put(...facts, ...Array.from({ length: 8 }, () => event(ApplicationId, 'p99')));
  // p99 has ten events, the others two each.
  expect(await decisions(total)).toEqual({ sending: 201, campaign_cap: 7 });
  expect(await decisions(split)).toEqual({ sending: 188, holdout: 20 });
  const { rows } = await database.query(
    'select treatment_id, count(*) from messages where campaign_id = $1 and decision = $2 group by 1 order by 1',
    [split.Id, 'sending'],
  );
  expect(rows).toEqual([
    { treatment_id: '0', count: 148 },
    { treatment_id: '1', count: 40 },
  ]);
});

test('the daily cap counts over campaigns and events together', async () => {
  const audience = await audienceOf(people(20));
  const { ApplicationId } = audience;
  const campaigns = [
    await create(audience, { Limits: { Daily: 3 } }),
    await create(audience, { Limits: { Daily: 3 } }),
  ];
  for (let round = 0; round < 3; round++) await put(...people(20).map(({ id }) => event(ApplicationId, id)));
  const counts = await Promise.all(campaigns.map(decisions));
  const sum = (decision: string) => counts.reduce((all, count) => all + (count[decision] ?? 0), 0);
  expect(sum('sending')).toBe(60);
  expect(sum('daily_cap')).toBe(60);
});

test('quiet time is that of the recipient at the event', async () => {
  const hour = new Date().getUTCHours();
  const at = (hours: number) => `${String((hour + hours + 24) % 24).padStart(2, '0')}:00`;
  const audience = await audienceOf([
    { id: 'here', timezone: 'UTC' },
    { id: 'there', timezone: 'Asia/Tokyo' },
    { id: 'unknown' },
  ]);
  const campaign = await create(audience, {
    Schedule: { ...onPurchase(), QuietTime: { Start: at(-1), End: at(2) } },
  });
  await put(...['here', 'there', 'unknown'].map((id) => event(audience.ApplicationId, id)));
  const messages = await messagesOf(campaign);
  expect(messages.map(({ endpoint_id, decision }) => [endpoint_id, decision])).toEqual([
    ['here', 'quiet_time'],
    ['there', 'sending'],
    ['unknown', 'sending'],
  ]);
});

test('caps that count what was sent give back what was refused, for each event of an endpoint', async () => {
  const { releaseDaily, releaseTotal, reserveDaily, reserveTotal } = await import(
    '../packages/server/src/messaging/caps.sql.ts'
  );
  const [app, campaign] = [uuidv7(), uuidv7()];
  await database.transaction(async (tx) => {
    for (let n = 0; n < 3; n++) {
      expect((await reserveTotal(tx, campaign, ['a', 'b'], 3)).size).toBe(2);
      expect((await reserveDaily(tx, app, ['a', 'b'], 3)).size).toBe(2);
    }
    await releaseTotal(tx, campaign, ['a', 'a', 'b']);
    await releaseDaily(tx, app, ['a', 'a', 'b']);
    const { rows } = await tx.query(
      `select c.endpoint_id, c.count, cardinality(s.recent) as recent from campaign_sends c
       join endpoint_sends s using (endpoint_id) where c.campaign_id = $1 and s.application_id = $2 order by 1`,
      [campaign, app],
    );
    expect(rows).toEqual([
      { endpoint_id: 'a', count: 1, recent: 1 },
      { endpoint_id: 'b', count: 2, recent: 2 },
    ]);
  });
});
