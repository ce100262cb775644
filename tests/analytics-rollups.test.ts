import { expect, test } from 'vitest';
import {
  activeInRange,
  heatMap,
  retention,
  revenue,
  setTimeZone,
  usage,
  usageByMonth,
  weeklyCohorts,
} from '../packages/server/src/analytics/index.ts';
import {
  append,
  application,
  database,
  dayMs,
  event,
  now,
  range,
  subscriber,
} from './analytics-rollups-support.ts';

test('active, new and monthly active endpoints and users by day', async () => {
  const app = await application();
  await append([
    event(app, 'browse', '2026-03-20T10:00:00Z', { endpoint: 'a', user: 'ann' }),
    event(app, 'browse', '2026-03-20T11:00:00Z', { endpoint: 'b', user: 'ann' }),
    event(app, '_session.start', '2026-03-21T11:00:00Z', { endpoint: 'c' }),
    event(app, 'browse', '2026-04-18T11:00:00Z', { endpoint: 'a', user: 'ann' }),
    // What Pinpoint wrote about a message is no use.
    event(app, '_email.open', '2026-03-22T11:00:00Z', { endpoint: 'z', user: 'zoe' }),
  ]);
  await subscriber().drain();
  const days = new Map((await usage(database, app, range)).map((day) => [day.day, day]));
  expect(days.get('2026-03-19')).toMatchObject({
    activeEndpoints: 0,
    monthlyActiveEndpoints: 0,
    stickyFactor: null,
  });
  expect(days.get('2026-03-20')).toMatchObject({
    activeEndpoints: 2,
    activeUsers: 1,
    newEndpoints: 2,
    newUsers: 1,
    monthlyActiveEndpoints: 2,
    stickyFactor: 1,
    sessions: 0,
    averageSessionMs: null,
  });
  expect(days.get('2026-03-22')).toMatchObject({
    activeEndpoints: 0,
    activeUsers: 0,
    monthlyActiveEndpoints: 3,
  });
  expect(days.get('2026-04-18')).toMatchObject({
    activeEndpoints: 1,
    newEndpoints: 0,
    monthlyActiveEndpoints: 3,
    monthlyActiveUsers: 1,
    stickyFactor: 1 / 3,
  });
  // The thirtieth day after 20 March is the first on which it no longer counts.
  expect(days.get('2026-04-19')).toMatchObject({ monthlyActiveEndpoints: 2 });
  expect(await activeInRange(database, app, { from: '2026-03-21', to: '2026-04-18' })).toEqual({
    endpoints: 2,
    users: 1,
  });
  expect(await usageByMonth(database, app, { from: '2026-03-15', to: '2026-04-02' })).toMatchObject([
    { month: '2026-03', activeEndpoints: 3, activeUsers: 1, newEndpoints: 3, sessions: 1 },
    { month: '2026-04', activeEndpoints: 1, activeUsers: 1, newEndpoints: 0, sessions: 0 },
  ]);

  // A late event moves the first day.
  await append([event(app, 'browse', '2026-03-12T10:00:00Z', { endpoint: 'a', user: 'ann' })]);
  await subscriber().drain();
  const later = new Map((await usage(database, app, range)).map((day) => [day.day, day]));
  expect(later.get('2026-03-12')).toMatchObject({ newEndpoints: 1, newUsers: 1, activeEndpoints: 1 });
  expect(later.get('2026-03-20')).toMatchObject({ newEndpoints: 1, newUsers: 0, activeEndpoints: 2 });
});

test('a session that goes on within five seconds is one; lengths and hours in the application’s time zone', async () => {
  const app = await application();
  await setTimeZone(database, app, 'Europe/Berlin');
  const at = Date.parse('2026-03-28T23:30:00Z');
  await append([
    event(app, '_session.start', at, { session: 'one', user: 'ann' }),
    event(app, '_session.stop', at + 60_000, { session: 'one' }),
    event(app, '_session.start', at + 65_000, { session: 'two' }),
    event(app, '_session.pause', at + 100_000, { session: 'two' }),
    event(app, '_session.start', at + 105_001, { session: 'three' }),
    // The clocks of Berlin go from 02:00 to 03:00 at 01:00 UTC.
    event(app, '_session.start', '2026-03-29T00:59:59.999Z', { session: 'four' }),
    event(app, '_session.start', '2026-03-29T01:00:00Z', { session: 'five' }),
    // Another endpoint's end is not ours.
    event(app, '_session.start', at + 61_000, { session: 'one', endpoint: 'e2' }),
    event(app, '_session.stop', at + 61_000 + 3 * dayMs, { session: 'one', endpoint: 'e2' }),
  ]);
  await subscriber().drain();
  const days = new Map((await usage(database, app, range)).map((day) => [day.day, day]));
  expect(days.get('2026-03-28')).toMatchObject({ activeEndpoints: 0, sessions: 0 });
  expect(days.get('2026-03-29')).toMatchObject({
    activeEndpoints: 2,
    activeUsers: 1,
    sessions: 5,
    sessionsPerEndpoint: 2.5,
    sessionsPerUser: 1,
    averageSessionMs: (60_000 + 35_000 + dayMs) / 2,
  });
  const heat = (await heatMap(database, app, range)).filter((row) => row.sessions > 0);
  expect(heat).toEqual([
    { weekday: 7, hour: 0, sessions: 3 },
    { weekday: 7, hour: 1, sessions: 1 },
    { weekday: 7, hour: 3, sessions: 1 },
  ]);

  // A stop that comes late makes the third session go on with the second one.
  await append([event(app, '_session.stop', at + 103_000, { session: 'two' })]);
  await subscriber().drain();
  const [day] = await usage(database, app, { from: '2026-03-29', to: '2026-03-29' });
  expect(day).toMatchObject({ sessions: 4, averageSessionMs: (60_000 + 38_000 + dayMs) / 2 });
});

test('retention is not judged before its day is over; weekly cohorts end with the last whole week', async () => {
  const app = await application();
  const active = (endpoint: string, ...days: string[]) =>
    days.map((day) => event(app, 'browse', `${day}T12:00:00Z`, { endpoint }));
  await append([
    ...active('a', '2026-03-30', '2026-03-31', '2026-04-06', '2026-04-29'),
    ...active('b', '2026-03-30', '2026-04-02'),
    ...active('c', '2026-03-30'),
    ...active('d', '2026-04-29', '2026-04-30'),
  ]);
  await subscriber().drain();
  const { days, total } = await retention(database, app, range, now);
  const on = (day: string) => days.find((row) => row.day === day)!.endpoints;
  expect(on('2026-03-30')).toEqual({
    size: 3,
    returned: [
      { after: 1, onDay: 1, onDayShare: 1 / 3, within: 1, withinShare: 1 / 3 },
      { after: 7, onDay: 1, onDayShare: 1 / 3, within: 2, withinShare: 2 / 3 },
      { after: 14, onDay: 0, onDayShare: 0, within: 2, withinShare: 2 / 3 },
      { after: 30, onDay: 1, onDayShare: 1 / 3, within: 2, withinShare: 2 / 3 },
    ],
  });
  expect(on('2026-04-29').returned.map((row) => row.onDay)).toEqual([1, null, null, null]);
  expect(on('2026-04-30').returned.map((row) => row.onDay)).toEqual([null, null, null, null]);
  expect(total.endpoints.map((row) => [row.size, row.within])).toEqual([
    [4, 2],
    [3, 2],
    [3, 2],
    [3, 2],
  ]);
  const cohorts = await weeklyCohorts(database, app, { from: '2026-04-01', to: '2026-04-30' }, now);
  expect(cohorts.map((row) => [row.week, row.endpoints.size, row.endpoints.active])).toEqual([
    ['2026-03-30', 3, [1, 0, 0]],
    ['2026-04-06', 0, [0, 0]],
    ['2026-04-13', 0, [0]],
    ['2026-04-20', 0, []],
    ['2026-04-27', 1, []],
  ]);
});

test('revenue by currency, distinct buyers, refunds and nonsense', async () => {
  const app = await application();
  const buy = (at: string, rest: Parameters<typeof event>[3]) =>
    event(app, '_monetization.purchase', at, rest);
  await append([
    buy('2026-03-20T10:00:00Z', { endpoint: 'a', user: 'ann', price: 19.99, quantity: 3, currency: 'eur' }),
    buy('2026-03-20T11:00:00Z', { endpoint: 'b', user: 'ann', price: 0.1, quantity: 1, currency: 'EUR' }),
    buy('2026-03-21T11:00:00Z', { endpoint: 'a', user: 'ann', price: -19.99, currency: 'EUR' }),
    buy('2026-03-21T12:00:00Z', { endpoint: 'c', price: 5, currency: 'dollars' }),
    buy('2026-03-21T12:00:00Z', { endpoint: 'c', price: 1e300, quantity: 1e300 }),
    buy('2026-03-21T13:00:00Z', { endpoint: 'd' }),
    event(app, 'browse', '2026-03-20T12:00:00Z', { endpoint: 'e', user: 'eve' }),
  ]);
  await subscriber().drain();
  const report = await revenue(database, app, range);
  expect(report.days).toMatchObject([
    {
      ...{ day: '2026-03-20', currency: 'EUR', revenue: 60.07, purchases: 2, units: 4 },
      ...{ payingEndpoints: 2, payingUsers: 1, revenuePerEndpoint: 60.07 / 3, revenuePerUser: 60.07 / 2 },
      ...{ revenuePerPayingUser: 60.07, unitsPerEndpoint: 4 / 3, purchasesPerEndpoint: 2 / 3 },
    },
    { day: '2026-03-21', currency: 'EUR', revenue: -19.99, purchases: 1, units: 1, payingUsers: 1 },
    {
      day: '2026-03-21',
      currency: 'XXX',
      revenue: 5,
      purchases: 2,
      units: 2,
      payingUsers: 0,
      revenuePerPayingUser: null,
    },
  ]);
  expect(report.totals).toMatchObject([
    { currency: 'EUR', revenue: 40.08, purchases: 3, payingEndpoints: 2, payingUsers: 1 },
    { currency: 'XXX', revenue: 5, purchases: 2, payingEndpoints: 2, payingUsers: 0 },
  ]);
  expect(report).toMatchObject({ payingEndpoints: 4, payingUsers: 1 });
});

test('names at and over the limits of an index, prototype names and strange payloads do no harm', async () => {
  const app = await application();
  const at = Date.parse('2026-03-20T12:00:00Z');
  const long = 'ü€'.repeat(20_000);
  await append([
    ...['__proto__', 'constructor', long].map((name) =>
      event(app, '_session.start', at, { endpoint: name, user: name, session: name }),
    ),
    {
      ...event(app, '_monetization.purchase', at),
      payload: { id: 'x', metrics: 5, attributes: [], userId: 7, session: null },
    },
    { ...event(app, '_session.stop', at), payload: {} },
    { ...event(app, long, at), endpointId: null },
    event(app, 'browse', 0, { endpoint: 'ancient' }),
    event(app, 'browse', Date.UTC(9999, 11, 31), { endpoint: 'future' }),
  ]);
  await subscriber().drain();
  expect((await usage(database, app, { from: '2026-03-20', to: '2026-03-20' }))[0]).toMatchObject({
    activeEndpoints: 4,
    activeUsers: 3,
    sessions: 3,
  });
  const { rows } = await database.query(
    'select count(*) as parked from log_parked_facts where application_id = $1',
    [app],
  );
  expect(rows[0].parked).toBe(0);
});
