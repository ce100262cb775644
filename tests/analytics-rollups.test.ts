import { beforeAll, expect, test } from 'vitest';
import {
  activeInRange,
  analyticsRollups,
  dayName,
  eraseAnalytics,
  eventCounts,
  heatMap,
  requestRebuild,
  retention,
  revenue,
  runRebuilds,
  setTimeZone,
  sweepRetiredRollups,
  usage,
  usageByMonth,
  weeklyCohorts,
} from '../packages/server/src/analytics/index.ts';
import {
  appendFacts,
  createNumberer,
  createSubscriber,
  ensurePartitions,
  type Fact,
} from '../packages/server/src/events/index.ts';
import { hexId } from '../packages/server/src/platform/ids.ts';
import { silentLog } from '../packages/server/src/platform/log.ts';
import { testDatabase } from './support/database.ts';
import { runPostrider, temporaryFolder } from './support/postrider.ts';

const database = await testDatabase();
const numberer = createNumberer({ database, log: silentLog });
const dayMs = 86_400_000;
const firstDay = Date.UTC(2026, 2, 20) / dayMs;
const range = { from: '2026-03-10', to: '2026-05-10' };
const now = Date.UTC(2026, 4, 1, 12);

beforeAll(async () => {
  await ensurePartitions(database);
});

async function application(): Promise<string> {
  const id = hexId();
  await database.query('insert into applications (id, name) values ($1, $1)', [id]);
  return id;
}

function subscriber(maxFacts?: number) {
  return createSubscriber({
    database,
    log: silentLog,
    ...analyticsRollups,
    ...(maxFacts ? { maxFacts } : {}),
    retryDelayMs: 1,
  });
}

async function append(facts: Fact[]): Promise<void> {
  if (facts.length === 0) return;
  await database.transaction(async (tx) => {
    await appendFacts(tx, facts);
  });
  await numberer.drain();
}

let eventId = 0;

function event(
  applicationId: string,
  type: string,
  at: number | string,
  rest: {
    endpoint?: string;
    user?: string;
    session?: string;
    price?: number;
    quantity?: number;
    currency?: string;
  } = {},
): Fact {
  const { endpoint = 'e1', user, session, price, quantity, currency } = rest;
  return {
    type: `event.${type}`,
    applicationId,
    endpointId: endpoint,
    occurredAt: typeof at === 'number' ? at : Date.parse(at),
    payload: {
      id: `event-${eventId++}`,
      ...(user ? { userId: user } : {}),
      ...(session ? { session: { id: session } } : {}),
      ...(currency ? { attributes: { _currency: currency } } : {}),
      ...(price === undefined
        ? {}
        : { metrics: { _item_price: price, ...(quantity === undefined ? {} : { _quantity: quantity }) } }),
    },
  };
}

/** Everything that can be asked, without rows of nothing. */
async function figures(applicationId: string) {
  return {
    usage: await usage(database, applicationId, range),
    months: await usageByMonth(database, applicationId, range),
    active: await activeInRange(database, applicationId, range),
    retention: await retention(database, applicationId, range, now),
    cohorts: await weeklyCohorts(database, applicationId, range, now),
    heat: (await heatMap(database, applicationId, range)).filter((row) => row.sessions !== 0),
    revenue: await revenue(database, applicationId, range),
    events: await eventCounts(database, applicationId, range),
  };
}

/** A small generator (mulberry32), so that a failure can be repeated by its seed. */
function random(seed: number) {
  let state = seed;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
  const upTo = (limit: number) => Math.floor(next() * limit);
  return {
    upTo,
    chance: (share: number) => next() < share,
    pick: <T>(items: readonly T[]): T => items[upTo(items.length)]!,
    shuffle<T>(items: T[]): T[] {
      for (let at = items.length - 1; at > 0; at--) {
        const other = upTo(at + 1);
        [items[at], items[other]] = [items[other]!, items[at]!];
      }
      return items;
    },
  };
}

/** A random life of a few endpoints over the weeks in which Berlin's clocks are changed. */
function history(applicationId: string, seed: number): Fact[] {
  const { upTo, chance, pick } = random(seed);
  const facts: Fact[] = [];
  const endpoints = 1 + upTo(5);
  for (let n = 0; n < endpoints; n++) {
    const endpoint = `endpoint-${n}`;
    const count = upTo(40);
    let at = (firstDay + upTo(20)) * dayMs + upTo(dayMs);
    for (let index = 0; index < count; index++) {
      at += pick([1, 2_000, 5_000, 5_001, 60_000, 3_600_000, dayMs, 3 * dayMs]) * (1 + upTo(2));
      if (chance(0.1)) at -= upTo(20 * dayMs);
      if (at < firstDay * dayMs) at = firstDay * dayMs;
      const user = chance(0.6) ? `user-${upTo(3)}` : undefined;
      const type = pick([
        ...['_session.start', '_session.start', '_session.stop', '_session.pause', '_session.resume'],
        ...['_userauth.sign_in', '_userauth.sign_up', '_userauth.auth_fail', 'browse'],
        '_monetization.purchase',
      ]);
      facts.push(
        event(applicationId, type, at, {
          endpoint,
          ...(user ? { user } : {}),
          ...(chance(0.9) ? { session: `s${upTo(6)}` } : {}),
          ...(type === '_monetization.purchase'
            ? {
                price: upTo(10_000) / 100,
                ...(chance(0.8) ? { quantity: 1 + upTo(3), currency: pick(['EUR', 'usd', '?']) } : {}),
              }
            : {}),
        }),
      );
    }
  }
  return facts;
}

test('figures do not depend on the order and the portions in which events arrive, and a rebuild equals them', async () => {
  for (let seed = 1; seed <= 12; seed++) {
    const timeZone = ['UTC', 'Europe/Berlin', 'America/St_Johns', 'Pacific/Auckland'][seed % 4]!;
    const [one, other] = [await application(), await application()];
    for (const app of [one, other]) await setTimeZone(database, app, timeZone);
    eventId = 0;
    const facts = history(one, seed);
    const { shuffle, upTo } = random(seed + 1_000);
    await append(facts);
    await subscriber().drain();
    const shuffled = shuffle(facts.map((fact) => ({ ...fact, applicationId: other })));
    for (let at = 0; at < shuffled.length; ) {
      const size = 1 + upTo(30);
      await append(shuffled.slice(at, at + size));
      await subscriber(1 + upTo(20)).drain();
      at += size;
    }
    const expected = await figures(one);
    expect(await figures(other), `seed ${seed}`).toEqual(expected);
    await requestRebuild(database, { applicationId: one });
    await runRebuilds({ database, log: silentLog });
    expect(await figures(one), `seed ${seed}`).toEqual(expected);
  }
});

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

test('a poison fact is parked, the rest goes on; a rebuild takes it in when it is no longer refused', async () => {
  const app = await application();
  await database.query(`create function refuse() returns trigger language plpgsql as $$
    begin
      if new.name = 'poison' then raise exception 'poison'; end if;
      return new;
    end $$`);
  await database.query(
    'create trigger refuse before insert on analytics_actors for each row execute function refuse()',
  );
  const facts = Array.from({ length: 40 }, (_, index) =>
    event(app, 'browse', '2026-03-20T12:00:00Z', { endpoint: index === 17 ? 'poison' : `e${index}` }),
  );
  await append(facts);
  await subscriber().drain();
  const day = { from: '2026-03-20', to: '2026-03-20' };
  expect((await usage(database, app, day))[0]!.activeEndpoints).toBe(39);
  const parked = () =>
    database
      .query('select fact from log_parked_facts where application_id = $1', [app])
      .then(({ rows }) => rows);
  expect(await parked()).toMatchObject([{ fact: { endpointId: 'poison' } }]);

  // While it is refused, a rebuild leaves everything as it is.
  await requestRebuild(database, { applicationId: app });
  await expect(runRebuilds({ database, log: silentLog })).rejects.toThrow('poison');
  expect((await usage(database, app, day))[0]!.activeEndpoints).toBe(39);
  await database.query('drop trigger refuse on analytics_actors');
  await runRebuilds({ database, log: silentLog });
  expect((await usage(database, app, day))[0]!.activeEndpoints).toBe(40);
  expect(await parked()).toEqual([]);
  await subscriber().retryParked();
  expect((await usage(database, app, day))[0]).toMatchObject({ activeEndpoints: 40 });
  expect(await eventCounts(database, app, day)).toMatchObject([{ type: 'browse', events: 40 }]);
});

test('rebuilds of all applications and a change of the time zone, while events go on', async () => {
  const apps = [await application(), await application(), await application()];
  for (const [index, app] of apps.entries()) await append(history(app, 50 + index));
  await subscriber().drain();
  const live = subscriber(50);
  live.start();
  let changed = 0;
  for (let round = 0; round < 6; round++) {
    const app = apps[round % 3]!;
    await append(history(app, 100 + round));
    if (round === 1) await requestRebuild(database);
    if (round % 2 === 0) {
      await setTimeZone(database, app, ['Asia/Kolkata', 'America/New_York', 'UTC'][changed++]!);
    }
    await Promise.all([
      runRebuilds({ database, log: silentLog }),
      runRebuilds({ database, log: silentLog }),
      append(history(app, 200 + round)),
    ]);
  }
  await live.stop();
  await subscriber().drain();
  for (const app of apps) {
    const before = await figures(app);
    expect(before.usage.some((day) => day.activeEndpoints > 0)).toBe(true);
    // The same facts once more, into an application that has never been rebuilt.
    const fresh = await application();
    const zone = await database.query(
      "select time_zone from analytics_rollups where application_id = $1 and state = 'live'",
      [app],
    );
    await setTimeZone(database, fresh, zone.rows[0].time_zone);
    const { rows } = await database.query(
      `select type, endpoint_id as "endpointId", payload, (extract(epoch from occurred_at) * 1000)::float8 as "occurredAt"
       from events where application_id = $1 order by random()`,
      [app],
    );
    await append(rows.map((row) => ({ ...row, applicationId: fresh })));
    await subscriber().drain();
    expect(await figures(fresh)).toEqual(before);
  }
});

test('one command rebuilds the figures of an application, or of all', async () => {
  const apps = [await application(), await application()];
  const day = { from: '2026-03-20', to: '2026-03-20' };
  for (const app of apps) await append([event(app, 'browse', '2026-03-20T12:00:00Z')]);
  await subscriber().drain();
  const settings = {
    POSTRIDER_DATABASE_URL: database.url,
    POSTRIDER_DATA_DIR: await temporaryFolder(),
    POSTRIDER_MASTER_KEY: Buffer.alloc(32, 7).toString('base64'),
  };
  const spoil = () =>
    database.query(
      `update analytics_activity set actors = 99 where rollup_id in (
      select id from analytics_rollups where application_id = any ($1) and state = 'live')`,
      [apps],
    );
  const active = () =>
    Promise.all(apps.map(async (app) => (await usage(database, app, day))[0]!.activeEndpoints));
  await spoil();
  const one = runPostrider(['rebuild-analytics', apps[0]!], settings);
  expect(await one.ended, one.output()).toBe(0);
  expect(await active()).toEqual([1, 99]);
  await spoil();
  const all = runPostrider(['rebuild-analytics'], settings);
  expect(await all.ended, all.output()).toBe(0);
  expect(await active()).toEqual([1, 1]);
  const none = runPostrider(['rebuild-analytics', 'nobody'], settings);
  expect(await none.ended).toBe(1);
  expect(none.output()).toContain('Application nobody not found');
});

test('what a rebuild would lose since the log dropped it is said first', async () => {
  const app = await application();
  await append([event(app, 'browse', '2026-03-20T12:00:00Z')]);
  await subscriber().drain();
  await database.query("update analytics_rollups set since = '2020-01-01' where application_id = $1", [app]);
  await expect(requestRebuild(database, { applicationId: app })).rejects.toMatchObject({ code: 'conflict' });
  await expect(setTimeZone(database, app, 'Asia/Tokyo')).rejects.toMatchObject({ code: 'conflict' });
  expect(await setTimeZone(database, app, 'Asia/Tokyo', { forgetDroppedDays: true })).toEqual({
    timeZone: 'UTC',
    rebuildingTo: 'Asia/Tokyo',
  });
  await runRebuilds({ database, log: silentLog });
  // What is lost is lost: it need not be said again.
  await requestRebuild(database, { applicationId: app });
  await runRebuilds({ database, log: silentLog });
  await expect(setTimeZone(database, app, '+02:00')).rejects.toMatchObject({ code: 'bad_request' });
  await expect(setTimeZone(database, hexId(), 'UTC')).rejects.toMatchObject({ code: 'not_found' });
});

test('a deleted application leaves no figures, also when events were on their way', async () => {
  const app = await application();
  await append(history(app, 7));
  await subscriber().drain();
  await requestRebuild(database, { applicationId: app });
  await append(history(app, 8));
  await database.query('delete from applications where id = $1', [app]);
  await eraseAnalytics(database, app);
  await subscriber().drain();
  await runRebuilds({ database, log: silentLog });
  await sweepRetiredRollups(database, 0);
  const tables = ['activity', 'cohorts', 'counts', 'payers', 'actors'];
  for (const table of tables) {
    const { rows } = await database.query(
      `select count(*) as orphans from analytics_${table} where rollup_id not in (select id from analytics_rollups)`,
    );
    expect(rows[0].orphans, table).toBe(0);
  }
  const sessions = await database.query(
    'select count(*) as orphans from analytics_sessions where actor_id not in (select id from analytics_actors)',
  );
  expect(sessions.rows[0].orphans).toBe(0);
  const rollups = await database.query('select from analytics_rollups where application_id = $1', [app]);
  expect(rollups.rowCount).toBe(0);
  expect(dayName(firstDay)).toBe('2026-03-20');
});
