import { describe, expect, test } from 'vitest';
import {
  accepted,
  database,
  endpointOf,
  event,
  factsOf,
  idsOf,
  ingest,
  ingestOf,
  item,
  newApp,
} from './ingest.fixture.ts';
import { protectiveEventLimits } from './limits.ts';

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
