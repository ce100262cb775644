import { expect, test } from 'vitest';
import { attribution, demographics, setTimeZone } from '../packages/server/src/analytics/index.ts';
import type { Fact } from '../packages/server/src/events/index.ts';
import { hexId, uuidv7 } from '../packages/server/src/platform/ids.ts';
import { append, application, database, subscriber } from './analytics-rollups-support.ts';

const hourMs = 3_600_000;

/** A campaign's dispatch, of which facts about messages tell. */
async function dispatch(applicationId: string, campaignId: string): Promise<string> {
  const id = uuidv7();
  await database.query(
    `insert into dispatches (id, application_id, kind, class, lane, state, campaign_id, plan, expires_at)
     values ($1, $2, 'campaign', 'promotional', 'bulk', 'done', $3, '{}', now())`,
    [id, applicationId, campaignId],
  );
  return id;
}

/** Into the log, and from there into the rollups. */
async function record(facts: Fact[]): Promise<void> {
  await append(facts);
  await subscriber().drain();
}

test('sessions and purchases within hours after a message, each once', async () => {
  const applicationId = await application();
  await setTimeZone(database, applicationId, 'Europe/Berlin');
  const campaignId = hexId();
  const dispatchId = await dispatch(applicationId, campaignId);
  const otherDispatch = await dispatch(applicationId, hexId());
  const at = Date.parse('2026-03-20T23:00:00Z');
  const message = (type: string, endpointId: string, occurredAt: number, machine?: boolean): Fact => ({
    ...{ type: `message.${type}`, applicationId, endpointId, occurredAt, dispatchId, messageId: uuidv7() },
    payload: { treatmentId: '0', ...(machine === undefined ? {} : { machine }) },
  });
  const session = (endpointId: string, id: string, from: number, to: number): Fact[] => [
    {
      type: 'event._session.start',
      applicationId,
      endpointId,
      occurredAt: from,
      payload: { id, session: { id } },
    },
    {
      type: 'event._session.stop',
      applicationId,
      endpointId,
      occurredAt: to,
      payload: { id: `${id}!`, session: { id } },
    },
  ];
  const purchase = (endpointId: string, occurredAt: number, price: unknown, quantity?: number): Fact => ({
    ...{ type: 'event._monetization.purchase', applicationId, endpointId, occurredAt },
    payload: {
      id: uuidv7(),
      attributes: { _currency: 'eur' },
      metrics: { _item_price: price, ...(quantity ? { _quantity: quantity } : {}) },
    },
  });
  await record([
    message('sent', 'a', at),
    message('sent', 'a', at + hourMs),
    message('sent', 'b', at),
    message('sent', 'c', at - 1),
    { ...message('sent', 'd', at), dispatchId: otherDispatch },
    message('opened', 'a', at + 2 * hourMs, false),
    message('opened', 'b', at + hourMs, true),
    ...session('a', 's0', at - 1, at - 1),
    // Goes on with the one before the message.
    ...session('a', 's1', at + 4_999, at + 60_000),
    ...session('a', 's2', at + 2 * hourMs, at + 3 * hourMs),
    ...session('a', 's3', at + 25 * hourMs - 1, at + 30 * hourMs),
    ...session('a', 's4', at + 25 * hourMs + 6_000_000, at + 31 * hourMs),
    ...session('b', 's5', at + 24 * hourMs, at + 24 * hourMs),
    ...session('d', 's6', at, at),
    purchase('a', at + 2 * hourMs, 19.99, 3),
    purchase('a', at + 90 * hourMs, 100),
    purchase('b', at - 1, 100),
    purchase('b', at + 5, 1e300, 1e300),
    purchase('b', at + 5, 'dear'),
    purchase('d', at + 1, 7),
  ]);
  // The day begins at 23:00 UTC in Berlin.
  const range = { from: '2026-03-21', to: '2026-03-21', campaignId };
  expect(await attribution(database, applicationId, range)).toEqual({
    ...{ messages: 3, endpoints: 2, sessions: 2, endpointsWithSession: 1 },
    purchases: [{ currency: 'EUR', purchases: 2, revenue: 59.97, units: 4, payingEndpoints: 2 }],
  });
  expect(await attribution(database, applicationId, { ...range, windowHours: 48 })).toMatchObject({
    ...{ sessions: 4, endpointsWithSession: 2 },
  });
  expect(await attribution(database, applicationId, { ...range, after: 'opened' })).toEqual({
    ...{ messages: 1, endpoints: 1, sessions: 2, endpointsWithSession: 1 },
    purchases: [{ currency: 'EUR', purchases: 1, revenue: 59.97, units: 3, payingEndpoints: 1 }],
  });
  expect(
    await attribution(database, applicationId, { ...range, from: '2026-03-19', to: '2026-03-20' }),
  ).toMatchObject({
    messages: 1,
    sessions: 0,
    purchases: [],
  });
  for (const wrong of [
    { windowHours: 0 },
    { windowHours: Number.NaN },
    { from: '2026-02-30' },
    { to: '2026-03-20' },
    { from: '2025-01-01' },
  ]) {
    await expect(attribution(database, applicationId, { ...range, ...wrong })).rejects.toMatchObject({
      code: 'bad_request',
    });
  }
  expect(await attribution(database, hexId(), range)).toMatchObject({
    messages: 0,
    sessions: 0,
    purchases: [],
  });
});

test('demographics divide endpoints and users by what they are now', async () => {
  const applicationId = await application();
  const insert = (
    id: string,
    userId: string | null,
    platform: string | null,
    country: string | null,
    attributes: Record<string, string[]> = {},
    segmentId: string | null = null,
  ) =>
    database.query(
      `insert into endpoints (application_id, id, channel, user_id, demographic, location, attributes, segment_id, cohort, effective_at)
       values ($1, $2, 'EMAIL', $3, $4, $5, $6, $7, 0, now())`,
      [
        applicationId,
        id,
        userId,
        JSON.stringify(platform ? { Platform: platform } : {}),
        JSON.stringify(country ? { Country: country } : {}),
        JSON.stringify(attributes),
        segmentId,
      ],
    );
  await insert('a', 'ann', 'iOS', 'DE', { interest: ['tea', 'bikes', 'tea'], ['__proto__']: ['x'] });
  await insert('b', 'ann', 'iOS', 'FR', { interest: ['tea'] });
  await insert('c', 'bob', 'Android', 'DE');
  await insert('d', null, null, 'DE', { interest: [] });
  await insert('z', 'zoe', 'iOS', 'DE', {}, 'segment');
  expect(await demographics(database, applicationId, { dimension: 'platform' })).toEqual({
    ...{ endpoints: 4, users: 2, different: 3 },
    values: [
      { value: 'iOS', endpoints: 2, users: 1, endpointShare: 0.5, userShare: 0.5 },
      { value: 'Android', endpoints: 1, users: 1, endpointShare: 0.25, userShare: 0.5 },
      { value: null, endpoints: 1, users: 0, endpointShare: 0.25, userShare: 0 },
    ],
  });
  expect(await demographics(database, applicationId, { dimension: 'country', limit: 1 })).toMatchObject({
    different: 2,
    values: [{ value: 'DE', endpoints: 3, users: 2 }],
  });
  expect(await demographics(database, applicationId, { attribute: 'interest' })).toMatchObject({
    different: 3,
    values: [
      { value: 'tea', endpoints: 2, users: 1 },
      { value: null, endpoints: 2, users: 1 },
      { value: 'bikes', endpoints: 1, users: 1 },
    ],
  });
  expect(await demographics(database, applicationId, { attribute: '__proto__' })).toMatchObject({
    different: 2,
    values: [
      { value: null, endpoints: 3 },
      { value: 'x', endpoints: 1 },
    ],
  });
  for (const wrong of [
    {},
    { dimension: 'toString' as 'make' },
    { dimension: 'make' as const, attribute: 'x' },
    { attribute: 'a\0' },
  ]) {
    await expect(demographics(database, applicationId, wrong)).rejects.toMatchObject({ code: 'bad_request' });
  }
  expect(await demographics(database, hexId(), { dimension: 'make' })).toEqual({
    ...{ endpoints: 0, users: 0, different: 0, values: [] },
  });
});
