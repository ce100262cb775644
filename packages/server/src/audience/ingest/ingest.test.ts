import { afterAll, describe, expect, test } from 'vitest';
import { testDatabase } from '../../../../../tests/support/database.ts';
import { createApplication, deleteApplication, eraseDeletedApplications } from '../../accounts/index.ts';
import { ensurePartitions, eraseFacts } from '../../events/index.ts';
import { silentLog } from '../../platform/log.ts';
import { eraseAudience } from '../erase.ts';
import { createIngest, type IngestOptions } from './ingest.ts';
import { pinpointEventLimits, protectiveEventLimits } from './limits.ts';
import type { IngestEvent, IngestItem } from './prepare.ts';

const database = await testDatabase();
await ensurePartitions(database);
const drains: (() => Promise<void>)[] = [];
afterAll(() => Promise.all(drains.map((drain) => drain())));

function ingestOf(options: Partial<IngestOptions> = {}) {
  const ingest = createIngest({ database, log: silentLog, ...options });
  drains.push(() => ingest.drain());
  return ingest;
}

const ingest = ingestOf();
const newApp = async () => (await createApplication(database, 'events')).id;
const event = (id: string, more: Partial<IngestEvent> = {}): IngestEvent => ({
  id,
  type: 'opened',
  at: Date.now(),
  ...more,
});
const item = (endpointId: string, ids: string[], more: Partial<IngestItem> = {}): IngestItem => ({
  endpointId,
  events: ids.map((id) => event(id)),
  ...more,
});

interface Row {
  endpoint: string;
  type: string;
  occurredAt: number;
  payload: Record<string, unknown>;
}

async function factsOf(app: string): Promise<Row[]> {
  const { rows } = await database.query<Row>(
    `select endpoint_id as endpoint, type, (extract(epoch from occurred_at) * 1000)::int8 as "occurredAt", payload
     from events where application_id = $1 order by batch_id, seq`,
    [app],
  );
  return rows;
}

const idsOf = async (app: string) => (await factsOf(app)).map(({ payload }) => payload.id);

async function endpointOf(app: string, id: string) {
  const { rows } = await database.query(
    'select *, xmin::text as version from endpoints where application_id = $1 and id = $2',
    [app, id],
  );
  return rows[0];
}

const accepted = { status: 202, message: 'Accepted' };

describe('what is written', () => {
  test('an event becomes a fact of its type with everything that was said', async () => {
    const app = await newApp();
    const at = Date.now() - 5_000;
    const results = await ingest.put(app, [
      {
        endpointId: 'e/../1',
        endpoint: { ChannelType: 'EMAIL', Address: 'a@example.com', User: { UserId: 'ann "x"' } },
        events: [
          event('../../etc/passwd', {
            type: 'purchase',
            at,
            attributes: JSON.parse('{"plan":"pro\\n\\\\","__proto__":"p","constructor":"c"}'),
            metrics: { price: 9.5, 'small 1': 1e-300, large: 1e300, negative: -0 },
            session: { id: 's1', startedAt: at - 10, durationMs: 10 },
            app: { packageName: 'com.example', title: '' },
          }),
        ],
      },
    ]);
    expect(results).toEqual([{ endpoint: accepted, events: [accepted], created: true, replayed: false }]);
    const [fact] = await factsOf(app);
    expect(fact).toMatchObject({ endpoint: 'e/../1', type: 'event.purchase', occurredAt: at });
    expect(JSON.stringify(fact!.payload.attributes)).toContain('"__proto__":"p"');
    expect(fact!.payload).toMatchObject({
      id: '../../etc/passwd',
      attributes: { plan: 'pro\n\\', constructor: 'c' },
      metrics: { price: 9.5, large: 1e300, negative: 0 },
      session: { id: 's1', startedAt: at - 10, durationMs: 10 },
      app: { packageName: 'com.example' },
      userId: 'ann "x"',
    });
    expect(fact!.payload.clientTimestamp).toBeUndefined();
  });

  test('no client can say what only the server knows', async () => {
    const app = await newApp();
    await ingest.put(app, [
      {
        endpointId: 'e',
        events: [event('1', { type: 'message.sent' }), event('2', { type: '_email.open' })],
      },
    ]);
    expect((await factsOf(app)).map(({ type }) => type)).toEqual(['event.message.sent', 'event._email.open']);
  });

  test('names of old SDKs become the documented ones', async () => {
    const app = await newApp();
    const types = [
      '_session_start',
      '_session.stop',
      '_userauth_sign_in',
      '_monetization_purchase',
      '_session_x',
    ];
    await ingest.put(app, [{ endpointId: 'e', events: types.map((type, n) => event(String(n), { type })) }]);
    expect((await factsOf(app)).map(({ type }) => type.slice('event.'.length))).toEqual([
      '_session.start',
      '_session.stop',
      '_userauth.sign_in',
      '_monetization.purchase',
      '_session_x',
    ]);
  });

  test('a clock is believed when arrival does not know better; both times are kept', async () => {
    const app = await newApp();
    const now = Date.parse('2026-11-21T12:00:00Z');
    const clocked = ingestOf({ clock: { now: () => now }, retentionDays: 90 });
    const times = [
      '1970-01-01T00:00:00Z',
      '2100-01-01T00:00:00Z',
      '2026-08-01T00:00:00Z',
      '2026-10-01T00:00:00Z',
    ];
    const events = times.map((time, n) => event(String(n), { at: Date.parse(time) }));
    await clocked.put(app, [{ endpointId: 'e', events }]);
    const facts = await factsOf(app);
    expect(facts.map(({ occurredAt }) => occurredAt)).toEqual([now, now, now, Date.parse(times[3]!)]);
    expect(facts.map(({ payload }) => payload.clientTimestamp)).toEqual([
      0,
      Date.parse(times[1]!),
      Date.parse(times[2]!),
      undefined,
    ]);
    const { rows } = await database.query(
      'select active_at from endpoint_activity where application_id = $1',
      [app],
    );
    expect(rows).toEqual([{ active_at: new Date(now) }]);
  });

  test('each event carries the user that its own request left the endpoint with', async () => {
    const app = await newApp();
    // One writer, so that the requests are written in their order.
    const single = ingestOf({ writers: 1 });
    await single.put(app, [item('e', ['1'], { endpoint: { User: { UserId: 'a' } } })]);
    await Promise.all([
      single.put(app, [item('e', ['2'])]),
      single.put(app, [item('e', ['3'], { endpoint: { User: { UserId: 'b' } } })]),
      single.put(app, [item('e', ['4'])]),
      single.put(app, [item('e', ['5'], { endpoint: { User: { UserId: '' } } })]),
    ]);
    const users = new Map((await factsOf(app)).map(({ payload }) => [payload.id, payload.userId]));
    expect(users).toEqual(
      new Map<unknown, unknown>([
        ['1', 'a'],
        ['2', 'a'],
        ['3', 'b'],
        ['4', 'b'],
        ['5', undefined],
      ]),
    );
  });
});

describe('endpoints', () => {
  test('an event makes the endpoint that is missing, and leaves one that is there as it is', async () => {
    const app = await newApp();
    await ingest.put(app, [item('e', ['1'])]);
    expect(await endpointOf(app, 'e')).toMatchObject({ channel: null, status: 'ACTIVE' });
    await database.query(`update endpoints set status = 'INACTIVE' where application_id = $1`, [app]);
    const before = await endpointOf(app, 'e');
    await ingest.put(app, [item('e', ['2']), item('f', [], { endpoint: {} })]);
    expect(await endpointOf(app, 'e')).toEqual(before);
    expect(await endpointOf(app, 'f')).toMatchObject({ status: 'ACTIVE' });
  });

  test('an endpoint that says nothing new is not written again', async () => {
    const app = await newApp();
    const endpoint = { ChannelType: 'GCM', Address: 'token', Attributes: { plan: ['pro'] } };
    await ingest.put(app, [item('e', ['1'], { endpoint })]);
    const before = await endpointOf(app, 'e');
    await ingest.put(app, [item('e', ['2'], { endpoint })]);
    expect((await endpointOf(app, 'e')).version).toBe(before.version);
    await ingest.put(app, [item('e', ['3'], { endpoint: { Attributes: { plan: ['free'], seen: ['1'] } } })]);
    expect(await endpointOf(app, 'e')).toMatchObject({
      address: 'token',
      attributes: { plan: ['free'], seen: ['1'] },
    });
  });

  test('a refused endpoint does not take its events with it, and a replay hears of it again', async () => {
    const app = await newApp();
    const few = ingestOf({ endpointsPerUser: 1 });
    const of = (id: string, ids: string[]) =>
      item(id, ids, {
        endpoint: { ChannelType: 'EMAIL', Address: `${id}@example.com`, User: { UserId: 'u' } },
      });
    await few.put(app, [of('a', ['1'])]);
    const full = { status: 400, message: 'Exceeded maximum endpoint per user count: 1' };
    const wrong = item('c', ['3'], { endpoint: { Location: { Latitude: 91 } } });
    const first = await few.put(app, [of('b', ['2']), wrong]);
    expect(first).toMatchObject([
      { endpoint: full, events: [accepted] },
      {
        endpoint: { status: 400, message: expect.stringContaining('Endpoint.Location.Latitude') },
        events: [accepted],
      },
    ]);
    const again = await few.put(app, [of('b', ['2']), wrong]);
    expect(again.map(({ endpoint, events }) => ({ endpoint, events }))).toEqual(
      first.map(({ endpoint, events }) => ({ endpoint, events })),
    );
    expect(again.map(({ replayed }) => replayed)).toEqual([true, true]);
    // Its first event is refused by itself, so nothing is known of that.
    const named = ingestOf({
      endpointsPerUser: 1,
      eventLimits: { ...protectiveEventLimits, customTypes: 1 },
    });
    const mixed = { ...of('e', ['5', '5a']), events: [event('5', { type: 'one too many' }), event('5a')] };
    const before = await named.put(app, [mixed]);
    expect(before[0]).toMatchObject({ endpoint: full, events: [{ status: 400 }, accepted] });
    expect(await named.put(app, [mixed])).toEqual([{ ...before[0], created: false, replayed: true }]);
    const both = await Promise.all([few.put(app, [of('d', ['4'])]), few.put(app, [of('d', ['4'])])]);
    expect(both.map(([result]) => result!.endpoint)).toEqual([full, full]);
    expect(await idsOf(app)).toEqual(['1', '2', '3', '5a', '4']);
    expect(await endpointOf(app, 'b')).toMatchObject({ user_id: null, address: null });
  });

  test('who may only make endpoints is refused those that exist, with all events, and burns no id', async () => {
    const app = await newApp();
    await ingest.put(app, [item('taken', ['1'])]);
    const [own, other, twin] = await Promise.all([
      ingest.put(app, [item('mine', ['2'], { mustBeNew: true })]),
      ingest.put(app, [item('taken', ['3'], { mustBeNew: true, endpoint: { User: { UserId: 'x' } } })]),
      ingest.put(app, [item('mine', ['4'], { mustBeNew: true })]),
    ]);
    expect(own[0]).toMatchObject({ endpoint: accepted, events: [accepted], created: true });
    expect(other[0]).toMatchObject({ endpoint: { status: 403 }, events: [{ status: 403 }], created: false });
    expect(twin[0]).toMatchObject({ endpoint: { status: 403 }, events: [{ status: 403 }] });
    const replay = await ingest.put(app, [item('mine', ['2'], { mustBeNew: true })]);
    expect(replay[0]).toMatchObject({
      endpoint: accepted,
      events: [accepted],
      created: false,
      replayed: true,
    });
    // The refused ids are still free for their owner.
    await ingest.put(app, [item('taken', ['3'])]);
    expect(await idsOf(app)).toEqual(['1', '2', '3']);
  });

  test('an endpoint id that cannot be refuses its events, not those of others', async () => {
    const app = await newApp();
    const results = await ingest.put(app, [item('x'.repeat(1025), ['1']), item('ok', ['2'])]);
    expect(results[0]).toMatchObject({ endpoint: { status: 400 }, events: [{ status: 400 }] });
    expect(results[1]).toMatchObject({ endpoint: accepted, events: [accepted] });
    expect(await idsOf(app)).toEqual(['2']);
  });
});

describe('once', () => {
  test('an event that comes again is accepted and changes nothing', async () => {
    const app = await newApp();
    const plan = (value: string) => ({ endpoint: { Attributes: { plan: [value] } } });
    await ingest.put(app, [item('e', ['1', '2'], plan('one'))]);
    const replay = await ingest.put(app, [item('e', ['2', '1'], plan('two'))]);
    expect(replay).toEqual([
      { endpoint: accepted, events: [accepted, accepted], created: false, replayed: true },
    ]);
    expect((await endpointOf(app, 'e')).attributes).toEqual({ plan: ['one'] });
    await ingest.put(app, [item('e', ['2', '3'], plan('three'))]);
    expect((await endpointOf(app, 'e')).attributes).toEqual({ plan: ['three'] });
    expect(await idsOf(app)).toEqual(['1', '2', '3']);
  });

  test('ids belong to their endpoint and application', async () => {
    const [one, two] = [await newApp(), await newApp()];
    await ingest.put(one, [item('a', ['1']), item('b', ['1']), item('a1', ['']), item('a', ['11'])]);
    await ingest.put(two, [item('a', ['1'])]);
    expect(await idsOf(one)).toEqual(['1', '1', '11']);
    expect(await idsOf(two)).toEqual(['1']);
  });

  test('twice in one item, in one request, in one group: one fact', async () => {
    const app = await newApp();
    await Promise.all([
      ingest.put(app, [item('e', ['1', '1']), item('e', ['1'])]),
      ...Array.from({ length: 20 }, () => ingest.put(app, [item('e', ['1', '2'])])),
    ]);
    expect(await idsOf(app)).toEqual(['1', '2']);
  });

  test('two processes that get the same requests at once write each event once', async () => {
    const app = await newApp();
    const others = [ingestOf(), ingestOf()];
    const requests = Array.from({ length: 60 }, (_, n) =>
      item(
        `e${n % 7}`,
        Array.from({ length: 10 }, (_, k) => `${(n * 7 + k * 3) % 40}`),
        {
          endpoint: { Attributes: { n: [String(n % 3)] } },
        },
      ),
    );
    await Promise.all(others.flatMap((one) => requests.map((request) => one.put(app, [request]))));
    const wanted = new Set(
      requests.flatMap(({ endpointId, events }) => events.map(({ id }) => `${endpointId} ${id}`)),
    );
    const facts = (await factsOf(app)).map(({ endpoint, payload }) => `${endpoint} ${payload.id}`);
    expect(facts.length).toBe(wanted.size);
    expect(new Set(facts)).toEqual(wanted);
  });

  test('over midnight, with a clock that is late, for a day and not for ever', async () => {
    const app = await newApp();
    let now = Date.parse('2033-05-01T23:59:59.990Z');
    let late = now;
    const punctual = ingestOf({ clock: { now: () => now } });
    const slow = ingestOf({ clock: { now: () => late } });
    await punctual.put(app, [item('e', ['1'])]);
    now += 20;
    expect((await punctual.put(app, [item('e', ['1', '2'])]))[0]!.replayed).toBe(false);
    // Its clock still says yesterday.
    expect((await slow.put(app, [item('e', ['2'])]))[0]!.replayed).toBe(true);
    await Promise.all([punctual.put(app, [item('e', ['3'])]), slow.put(app, [item('e', ['3'])])]);
    expect(await idsOf(app)).toEqual(['1', '2', '3']);
    now = Date.parse('2033-05-02T23:59:59Z');
    expect((await punctual.put(app, [item('e', ['1', '2', '3'])]))[0]!.replayed).toBe(true);
    // Ids of yesterday, when the ten minutes after midnight are over.
    now = Date.parse('2033-05-03T12:00:00Z');
    await punctual.put(app, [item('e', ['4'])]);
    now = Date.parse('2033-05-04T12:00:00Z');
    expect((await punctual.put(app, [item('e', ['4'])]))[0]!.replayed).toBe(true);
    late = Date.parse('2033-05-06T00:00:00Z');
    expect((await slow.put(app, [item('e', ['4'])]))[0]!.replayed).toBe(false);
  });
});

describe('limits', () => {
  const reasons = async (limits = protectiveEventLimits, ...events: IngestEvent[]) => {
    const app = await newApp();
    const [result] = await ingestOf({ eventLimits: limits }).put(app, [{ endpointId: 'e', events }]);
    expect((await idsOf(app)).length).toBe(result!.events.filter(({ status }) => status === 202).length);
    return result!.events.map(({ status, message }) => (status === 202 ? 'ok' : message));
  };
  const many = (count: number, value: string | number) =>
    Object.fromEntries(Array.from({ length: count }, (_, n) => [`n${n}`, value]));

  test("Pinpoint's, at and over", async () => {
    expect(
      await reasons(
        pinpointEventLimits,
        event('1', { attributes: { ['x'.repeat(50)]: 'y'.repeat(200) } }),
        event('2', { attributes: { ['x'.repeat(51)]: '' } }),
        event('3', { attributes: { plan: 'y'.repeat(201) } }),
        event('4', {
          attributes: many(20, 'v') as Record<string, string>,
          metrics: many(20, 1) as Record<string, number>,
        }),
        event('5', {
          attributes: many(21, 'v') as Record<string, string>,
          metrics: many(20, 1) as Record<string, number>,
        }),
      ),
    ).toEqual([
      'ok',
      `Attributes.${'x'.repeat(51)}: expected a name of at most 50 characters, got 51`,
      'Attributes.plan: expected at most 200 characters, got 201',
      'ok',
      'Attributes, Metrics: expected at most 40 names together, got 41',
    ]);
  });

  test('what protects the server holds for everybody', async () => {
    const value = 'y'.repeat(8_000);
    expect(
      await reasons(
        protectiveEventLimits,
        event('1', { attributes: { a: 'y'.repeat(8_193) } }),
        event('2', { attributes: many(128, value) as Record<string, string> }),
        event('3', { type: 't'.repeat(257) }),
        event('4', { type: '' }),
        event('x'.repeat(257)),
        event('5', { metrics: { a: Number.NaN } }),
        event('6', { metrics: { a: Number.POSITIVE_INFINITY } }),
        event('7', { attributes: { 'a\0b': 'c' } }),
        event('8', { attributes: { a: '\ud800' } }),
        event('9', { attributes: { '': 'x' } }),
        event('10', { session: { id: 's', durationMs: -1 } }),
        event('11\0'),
        event('12', { attributes: { ok: '\u0001 "\\ 😀' } }),
      ),
    ).toEqual([
      'Attributes.a: expected at most 8192 characters, got 8193',
      expect.stringMatching(/^expected an event of at most 1024000 bytes, got 10\d{5}$/),
      'EventType: expected at most 256 characters, got 257',
      'EventType: expected a name that is not empty',
      'EventId: expected at most 256 characters, got 257',
      'Metrics.a: expected a number of ordinary size',
      'Metrics.a: expected a number of ordinary size',
      expect.stringContaining('without U+0000'),
      'Attributes.a: expected text without U+0000 and without half surrogate pairs',
      'Attributes: expected names that are not empty',
      'Session.Duration: expected milliseconds from 0 on',
      expect.stringContaining('EventId: expected text without U+0000'),
      'ok',
    ]);
  });

  test('distinct names of an application: its own types, attributes, metrics', async () => {
    const app = await newApp();
    const limits = { ...pinpointEventLimits, customTypes: 3, attributeNames: 2, metricNames: 1 };
    const [one, two] = [ingestOf({ eventLimits: limits }), ingestOf({ eventLimits: limits })];
    const put = async (ingest: typeof one, ...types: string[]) => {
      const events = types.map((type) => event(`${Math.random()}`, { type }));
      return (await ingest.put(app, [{ endpointId: 'e', events }]))[0]!.events.map(({ status }) => status);
    };
    expect(await put(one, 'a', 'b', '_session.start')).toEqual([202, 202, 202]);
    expect(await put(two, 'c', 'd', '_session.stop', 'a', 'd')).toEqual([202, 400, 202, 202, 400]);
    expect(await put(one, 'd', 'c', 'b')).toEqual([400, 202, 202]);
    const [result] = await one.put(app, [
      {
        endpointId: 'e',
        events: [
          event('1', { type: 'a', attributes: { x: '', y: '' }, metrics: { m: 1 } }),
          event('2', { type: 'a', attributes: { z: '' } }),
          event('3', { type: 'a', metrics: { n: 1 } }),
        ],
      },
    ]);
    expect(result!.events).toEqual([
      accepted,
      { status: 400, message: 'the application has its most of 2 attribute names already' },
      { status: 400, message: 'the application has its most of 1 metric names already' },
    ]);
  });

  test('a queue that is full says so, and what was taken is written', async () => {
    const app = await newApp();
    const small = ingestOf({ maxQueuedEvents: 40, writers: 1 });
    const answers = await Promise.allSettled(
      Array.from({ length: 30 }, (_, n) =>
        small.put(app, [
          item(
            'e',
            Array.from({ length: 10 }, (_, k) => `${n} ${k}`),
          ),
        ]),
      ),
    );
    const done = answers.filter(({ status }) => status === 'fulfilled').length;
    expect(done).toBe(4);
    for (const answer of answers.slice(4)) {
      expect(answer).toMatchObject({ reason: { code: 'too_many_requests' } });
    }
    expect((await idsOf(app)).length).toBe(done * 10);
    expect(small.queued()).toEqual({ events: 0, bytes: 0 });
  });
});

describe('faults', () => {
  test('one bad row in a shared commit is the error of its request alone', async () => {
    const app = await newApp();
    await database.query(`create function refuse_poison() returns trigger language plpgsql as $$
      begin if new.type = 'event.poison' then raise exception 'poison'; end if; return new; end $$`);
    await database.query(
      'create trigger poison before insert on events for each row execute function refuse_poison()',
    );
    const puts = Array.from({ length: 20 }, (_, n) =>
      ingest.put(app, [{ endpointId: `e${n}`, events: [event('1', { type: n === 7 ? 'poison' : 'fine' })] }]),
    );
    const answers = await Promise.allSettled(puts);
    await database.query('drop trigger poison on events');
    expect(answers.map(({ status }) => status === 'rejected')).toEqual(answers.map((_, n) => n === 7));
    expect((await idsOf(app)).length).toBe(19);
    expect(await endpointOf(app, 'e7')).toBeUndefined();
    expect((await ingest.put(app, [item('e7', ['1'])]))[0]!.replayed).toBe(false);
  });

  test('a connection that is lost before or after the commit leaves each event once, and each caller answered', async () => {
    const app = await newApp();
    let answered = 0;
    const puts = Array.from({ length: 300 }, async (_, n) => {
      await new Promise((resolve) => setTimeout(resolve, n * 3));
      const result = await ingest.put(app, [
        item(`e${n % 5}`, [`${n}`], { endpoint: { Metrics: { n } } }),
        item(`new${n}`, [], { mustBeNew: true }),
      ]);
      answered++;
      return result;
    });
    const all = Promise.all(puts);
    // Each time that something got through, so that it is an end of the test and not of the machine's speed.
    for (let kill = 0; kill < 10 && answered < puts.length; kill++) {
      const before = answered;
      while (answered === before && answered < puts.length)
        await new Promise((resolve) => setTimeout(resolve, 2));
      await database
        .query(
          `select pg_terminate_backend(pid) from pg_stat_activity
           where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'`,
        )
        .catch(() => undefined);
    }
    const results = await all;
    // The last kill may still be on its way, to the very connections that this test reads by.
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(results.flat().every(({ endpoint }) => endpoint.status === 202)).toBe(true);
    const ids = await idsOf(app);
    expect(ids.length).toBe(300);
    expect(new Set(ids).size).toBe(300);
  });

  test('an application that is deleted under load is answered not_found, and nothing of it is left', async () => {
    const app = await newApp();
    let running = true;
    const codes = new Set<string>();
    const load = Array.from({ length: 8 }, async (_, who) => {
      for (let n = 0; running; n++) {
        await ingest.put(app, [item(`e${who}-${n % 10}`, [`${n}`], { endpoint: { Metrics: { n } } })]).then(
          () => codes.add('ok'),
          (error: { code: string }) => codes.add(error.code),
        );
        await new Promise((resolve) => setImmediate(resolve));
      }
    });
    await new Promise((resolve) => setTimeout(resolve, 300));
    await deleteApplication(database, app);
    await new Promise((resolve) => setTimeout(resolve, 200));
    await eraseDeletedApplications({
      database,
      log: silentLog,
      erasers: [
        { room: 'audience', erase: eraseAudience },
        { room: 'events', erase: eraseFacts },
      ],
    });
    await new Promise((resolve) => setTimeout(resolve, 100));
    running = false;
    await Promise.all(load);
    expect(codes).toEqual(new Set(['ok', 'not_found']));
    for (const table of ['events', 'endpoints', 'endpoint_activity', 'event_names', 'users']) {
      const { rowCount } = await database.query(`select from ${table} where application_id = $1`, [app]);
      expect(rowCount, table).toBe(0);
    }
  });
});
