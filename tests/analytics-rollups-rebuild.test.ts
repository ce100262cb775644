import { expect, test } from 'vitest';
import {
  eraseAnalytics,
  eventCounts,
  requestRebuild,
  runRebuilds,
  setTimeZone,
  sweepRetiredRollups,
  usage,
} from '../packages/server/src/analytics/index.ts';
import type { Fact } from '../packages/server/src/events/index.ts';
import { hexId } from '../packages/server/src/platform/ids.ts';
import { silentLog } from '../packages/server/src/platform/log.ts';
import {
  append,
  application,
  database,
  dayMs,
  event,
  figures,
  subscriber,
} from './analytics-rollups-support.ts';
import { runPostrider, temporaryFolder } from './support/postrider.ts';

const firstDay = Date.UTC(2026, 2, 20) / dayMs;

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

/** Use by day, counted anew from the facts in the plainest way. */
function recount(facts: readonly Fact[], timeZone: string): (day: string) => object {
  const format = new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short' });
  const localDays = new Map(facts.map((fact) => [fact, format.format(fact.occurredAt!)]));
  const userOf = (fact: Fact) => fact.payload!.userId as string | undefined;
  const distinct = (of: (fact: Fact) => string | null | undefined, days: (local: string) => boolean) =>
    new Set(facts.filter((fact) => of(fact) && days(localDays.get(fact)!)).map(of)).size;
  const endpointOf = (fact: Fact) => fact.endpointId;
  const sessions = new Map<
    string,
    { key: string; endpoint: string; start: number; end: number; user: boolean }
  >();
  for (const fact of facts) {
    if (!/^event._session.(start|stop|pause)$/.test(fact.type)) continue;
    const at = fact.occurredAt!;
    const key = (fact.payload!.session as { id: string } | undefined)?.id ?? `@${at}`;
    const name = `${fact.endpointId} ${key}`;
    const session = sessions.get(name) ?? {
      key,
      endpoint: fact.endpointId!,
      start: Infinity,
      end: -Infinity,
      user: false,
    };
    sessions.set(name, session);
    if (fact.type.endsWith('start')) {
      session.start = Math.min(session.start, at);
      session.user ||= userOf(fact) !== undefined;
    } else session.end = Math.max(session.end, at);
  }
  const ordered = [...sessions.values()]
    .filter((session) => session.start !== Infinity)
    .sort((a, b) => a.start - b.start || (a.key < b.key ? -1 : 1));
  return (day) => {
    const monthStart = new Date(Date.parse(day) - 29 * dayMs).toISOString().slice(0, 10);
    const ofDay = { sessions: 0, users: 0, timed: 0, ms: 0 };
    for (const [index, session] of ordered.entries()) {
      if (format.format(session.start) !== day) continue;
      const before = ordered.slice(0, index).findLast((other) => other.endpoint === session.endpoint);
      const pause = before ? session.start - before.end : -1;
      const counts = !(pause >= 0 && pause <= 5_000);
      const timed = session.end >= session.start;
      if (counts) ofDay.sessions++;
      if (counts && session.user) ofDay.users++;
      if (counts && timed) ofDay.timed++;
      if (timed) ofDay.ms += Math.min(session.end - session.start, dayMs);
    }
    const share = (part: number, whole: number) => (whole === 0 ? null : part / whole);
    const activeEndpoints = distinct(endpointOf, (local) => local === day);
    const activeUsers = distinct(userOf, (local) => local === day);
    return {
      ...{ day, activeEndpoints, activeUsers },
      monthlyActiveEndpoints: distinct(endpointOf, (local) => local >= monthStart && local <= day),
      monthlyActiveUsers: distinct(userOf, (local) => local >= monthStart && local <= day),
      newEndpoints:
        distinct(endpointOf, (local) => local <= day) - distinct(endpointOf, (local) => local < day),
      newUsers: distinct(userOf, (local) => local <= day) - distinct(userOf, (local) => local < day),
      sessions: ofDay.sessions,
      sessionsPerEndpoint: share(ofDay.sessions, activeEndpoints),
      sessionsPerUser: share(ofDay.users, activeUsers),
      averageSessionMs: share(ofDay.ms, ofDay.timed),
    };
  };
}

test('figures equal a recount, in whatever order and portions events arrive, and a rebuild equals them', async () => {
  for (let seed = 1; seed <= 8; seed++) {
    const timeZone = ['UTC', 'Europe/Berlin', 'America/St_Johns', 'Pacific/Auckland'][seed % 4]!;
    const [one, other] = [await application(), await application()];
    for (const app of [one, other]) await setTimeZone(database, app, timeZone);
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
    const recounted = recount(facts, timeZone);
    expect(expected.usage, `seed ${seed}`).toMatchObject(expected.usage.map((row) => recounted(row.day)));
    expect(await figures(other), `seed ${seed}`).toEqual(expected);
    await requestRebuild(database, { applicationId: one });
    await runRebuilds({ database, log: silentLog });
    expect(await figures(one), `seed ${seed}`).toEqual(expected);
  }
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
  const silent = runPostrider(['rebuild-analytics', await application()], settings);
  expect(await silent.ended, silent.output()).toBe(0);
  expect(silent.output()).toContain('The figures are rebuilt.');
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
});
