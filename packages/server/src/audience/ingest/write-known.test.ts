import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { deleteApplication } from '../../accounts/index.ts';
import { type Database, isConflict } from '../../platform/database.ts';
import { uuidv7 } from '../../platform/ids.ts';
import { deleteEndpoint } from '../endpoints/delete.ts';
import type { EndpointGuard } from '../endpoints/guard.ts';
import { protectiveLimits } from '../endpoints/item.ts';
import { upsertEndpoints } from '../endpoints/upsert.ts';
import { changedFactType, watchAttributes } from '../endpoints/watch.ts';
import { EndpointMemory } from './endpoint-memory.ts';
import {
  accepted,
  database,
  endpointOf,
  event,
  factsOf,
  idsOf,
  ingestOf,
  item,
  newApp,
} from './ingest.fixture.ts';
import { protectiveEventLimits } from './limits.ts';
import { EventNames } from './names.ts';
import { type IngestItem, prepareItem } from './prepare.ts';
import { Refusals, RefusedError, writeItems } from './write.ts';
import { writeKnown } from './write-known.ts';

const noon = Date.parse('2033-06-01T12:00:00Z');
const clock = { now: () => noon };
const names = new EventNames(protectiveEventLimits);

function prepared(applicationId: string, items: readonly IngestItem[]) {
  const limits = { eventLimits: protectiveEventLimits, endpointLimits: protectiveLimits };
  const options = { applicationId, now: noon, retentionMs: 90 * 86_400_000, ...limits };
  return items.map((one) => prepareItem(one, options));
}

const options = (at: number) => ({ now: at, batchId: uuidv7(at), endpointsPerUser: 15, names });

/** The way that all can go, in as many attempts as it takes. */
async function longWay(app: string, items: readonly IngestItem[], at: number) {
  const refusals = new Refusals();
  const all = prepared(app, items);
  for (;;) {
    try {
      const { outcomes, onCommit } = await database.transaction((tx) =>
        writeItems(tx, app, all, refusals, options(at)),
      );
      onCommit();
      return outcomes;
    } catch (error) {
      if (!(error instanceof RefusedError)) throw error;
    }
  }
}

const shortWay = (app: string, items: readonly IngestItem[], at: number, memory = new EndpointMemory()) =>
  writeKnown(database, app, prepared(app, items), { ...options(at), memory, trusting: true });

/** Like `database`, and counts the looks before the write. */
function counted() {
  const looks: string[] = [];
  const query = (statement: { name?: string }, values?: unknown[]) => {
    if (statement.name === 'ingest-known') looks.push(statement.name);
    return database.query(statement as never, values);
  };
  return { looks, database: { ...database, query: query as Database['query'] } };
}

/** Endpoints e0 to e3 of users, e4 of nobody, e5 that is inactive. */
async function appWithEndpoints(): Promise<string> {
  const app = await newApp();
  const endpoint = (n: number) => ({
    Id: `e${n}`,
    ChannelType: 'EMAIL',
    Address: `${n}@example.com`,
    Attributes: { a: ['1'], gone: ['x', 'y'] },
    Metrics: { m: 1 },
    ...(n < 4 ? { User: { UserId: `u${n % 3}` } } : {}),
    ...(n === 5 ? { EndpointStatus: 'INACTIVE' } : {}),
  });
  await database.transaction((tx) =>
    upsertEndpoints(tx, app, [0, 1, 2, 3, 4, 5].map(endpoint), { now: noon - 1_000_000 }),
  );
  // So that the names are known.
  const named = [
    event('0', { at: noon, attributes: { x: '' } }),
    event('00', { at: noon, type: '_campaign.send' }),
  ];
  await longWay(app, [{ endpointId: 'e0', events: named }], noon);
  return app;
}

async function stateOf(app: string) {
  const select = async (text: string) => (await database.query(text, [app])).rows;
  return {
    endpoints: await select(
      `select id, channel, address, opt_out, status, user_id, attributes, metrics, demographic, location, request_id,
        effective_at from endpoints where application_id = $1 order by id`,
    ),
    users: await select('select id, attributes from users where application_id = $1 order by id'),
    activity: await select(
      'select endpoint_id, active_at from endpoint_activity where application_id = $1 order by endpoint_id',
    ),
    facts: await factsOf(app),
    batches: await select(
      `select facts, length from event_batches_unnumbered where batch_id in (
        select batch_id from events where application_id = $1) order by batch_id`,
    ),
  };
}

const attributes = fc.dictionary(
  fc.constantFrom('a', 'gone', 'new', '__proto__'),
  fc.constantFrom(['1'], ['2'], ['x', 'y'], ['y', 'x'], []),
  { maxKeys: 3 },
);
const own = {
  Attributes: attributes,
  Metrics: fc.dictionary(fc.constantFrom('m', 'n'), fc.constantFrom(1, 2, -0, null), { maxKeys: 2 }),
  Demographic: fc.record({ Locale: fc.constantFrom('de_DE', 'en_GB') }),
  Location: fc.record({ Country: fc.constantFrom('DE', 'GB'), Latitude: fc.constantFrom(1, 2.5) }),
  OptOut: fc.constantFrom('ALL', 'NONE'),
  RequestId: fc.constantFrom('r1', 'r2'),
  EffectiveDate: fc.constantFrom('2033-01-01T00:00:00Z', '2033-06-01T11:00:00.5Z'),
};
const ofOthers = {
  ChannelType: fc.constantFrom('EMAIL', 'SMS'),
  EndpointStatus: fc.constantFrom('ACTIVE', 'INACTIVE'),
  User: fc.record({ UserId: fc.constantFrom('u0', 'u1', 'u2') }),
};
const endpoints = fc.oneof(
  { weight: 5, arbitrary: fc.record(own, { requiredKeys: [] }) },
  { weight: 1, arbitrary: fc.record({ ...own, ...ofOthers }, { requiredKeys: [] }) },
);
const items = fc.array(
  fc.record(
    {
      endpointId: fc.constantFrom('e0', 'e0', 'e1', 'e1', 'e2', 'e2', 'e3', 'e3', 'e4', 'e4', 'e5', 'e6'),
      events: fc.array(
        fc.record({
          id: fc.integer({ min: 0, max: 300 }).map(String),
          type: fc.constantFrom('opened', 'opened', '_campaign.send', 'x'.repeat(60)),
          at: fc.integer({ min: noon - 200_000, max: noon + 1_000 }),
          attributes: fc.constantFrom<Record<string, string>>({}, { x: '"\\ü\u{1f600}' }),
        }),
        { maxLength: 3 },
      ),
      endpoint: endpoints,
    },
    { requiredKeys: ['endpointId', 'events'] },
  ),
  { minLength: 1, maxLength: 4 },
);

/** What others write between two groups. */
const others = fc.array(
  fc.record({
    Id: fc.constantFrom('e0', 'e1', 'e2'),
    Attributes: fc.constantFrom({ theirs: ['1'] }, { a: ['3'] }),
  }),
  { maxLength: 1 },
);

describe('the short way', () => {
  test('leads to where the long one does', async () => {
    let taken = 0;
    let runs = 0;
    let conflicts = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(others, items), { minLength: 1, maxLength: 3 }), async (groups) => {
        const [short, long] = [await appWithEndpoints(), await appWithEndpoints()];
        const memory = new EndpointMemory();
        const all = ['e0', 'e1', 'e2', 'e3', 'e4', 'e5'].map((id) => ({
          ...item(id, []),
          events: [event(`first ${id}`, { at: noon })],
        }));
        expect(await shortWay(short, all, noon, memory)).toHaveLength(all.length);
        await longWay(long, all, noon);
        for (const [place, [changes, group]] of groups.entries()) {
          const at = noon + place * 50_000;
          for (const app of [short, long]) {
            await database.transaction((tx) => upsertEndpoints(tx, app, changes, { now: at - 1 }));
          }
          const outcomes = await shortWay(short, group, at, memory).catch((error) => {
            // What it remembered of these is not so any more, or an event was there before.
            if (!isConflict(error)) throw error;
            conflicts++;
            return undefined;
          });
          if (!outcomes)
            memory.forget(
              short,
              group.map(({ endpointId }) => endpointId),
            );
          runs++;
          if (outcomes) taken++;
          const own = outcomes ?? (await longWay(short, group, at));
          const withoutEvents = ({ refusedEvents, ...rest }: (typeof own)[number]) => ({
            ...rest,
            refused: [...refusedEvents.values()],
          });
          expect(own.map(withoutEvents)).toEqual((await longWay(long, group, at)).map(withoutEvents));
        }
        expect(await stateOf(short)).toEqual(await stateOf(long));
      }),
      { numRuns: 150 },
    );
    expect(conflicts).toBeGreaterThan(0);
    expect(taken).toBeGreaterThan(runs / 10);
    expect(taken).toBeLessThan(runs);
  }, 120_000);

  test('is taken by events of endpoints that exist and change in nothing that concerns others', async () => {
    const app = await appWithEndpoints();
    const put = (id: string, more: Partial<IngestItem>) => shortWay(app, [item('e0', [id], more)], noon);
    expect(await put('1', {})).toHaveLength(1);
    expect(
      await put('2', { endpoint: { Attributes: { plan: ['pro'] }, User: { UserId: 'u0' } } }),
    ).toHaveLength(1);
    expect((await endpointOf(app, 'e0')).attributes).toEqual({ a: ['1'], gone: ['x', 'y'], plan: ['pro'] });
    for (const endpoint of [
      { User: { UserId: 'other' } },
      { User: { UserId: 'u0', UserAttributes: { a: ['1'] } } },
      { Address: 'other@example.com' },
      { EndpointStatus: 'INACTIVE' },
    ]) {
      expect(await put('3', { endpoint }), JSON.stringify(endpoint)).toBeUndefined();
    }
    expect(await put('2', {})).toBeUndefined();
    expect(await put('3', { mustBeNew: true })).toBeUndefined();
    expect(await put('3', { events: [event('3', { type: 'never seen' })] })).toBeUndefined();
    expect(await shortWay(app, [item('e9', ['3'])], noon)).toBeUndefined();
    expect(await idsOf(app)).toEqual(['0', '00', '1', '2']);
  });

  test('is too narrow for many megabytes', async () => {
    const app = await appWithEndpoints();
    const many = Array.from({ length: 9_000 }, (_, n) =>
      event(`m${n}`, { at: noon, attributes: { x: 'x'.repeat(1_000) } }),
    );
    expect(await shortWay(app, [{ endpointId: 'e0', events: many }], noon)).toBeUndefined();
    expect(await shortWay(app, [{ endpointId: 'e0', events: many.slice(0, 5_000) }], noon)).toHaveLength(1);
  });

  test('is closed to changes of attributes that somebody watches', async () => {
    const app = await appWithEndpoints();
    await database.transaction((tx) => watchAttributes(tx, app, 'w', [{ kind: 'endpoint', name: 'a' }]));
    expect(await shortWay(app, [item('e0', ['1'])], noon)).toHaveLength(1);
    const change = { endpoint: { Attributes: { a: ['2'] } } };
    expect(await shortWay(app, [item('e0', ['2'], change)], noon)).toBeUndefined();
  });
});

describe('endpoints that it remembers', () => {
  const put = (
    one: ReturnType<typeof ingestOf>,
    app: string,
    id: string,
    endpoint?: IngestItem['endpoint'],
  ) => one.put(app, [item('e0', [id], endpoint ? { endpoint } : {})]);

  test('are not looked up again, whether they change or not', async () => {
    const app = await appWithEndpoints();
    const { looks, database: counting } = counted();
    const ingest = ingestOf({ clock, database: counting });
    await put(ingest, app, '1');
    // The first one brings the names that this process does not know.
    await put(ingest, app, '2', { Attributes: { mine: ['1'] } });
    expect(looks).toHaveLength(1);
    for (const [id, value] of ['1', '2', '2', '3'].entries()) {
      await put(ingest, app, `again ${id}`, { Attributes: { mine: [value] }, User: { UserId: 'u0' } });
    }
    expect(looks).toHaveLength(1);
    expect((await endpointOf(app, 'e0')).attributes).toMatchObject({ mine: ['3'], a: ['1'] });
    const last = (await factsOf(app)).at(-1)!.payload;
    expect(last).toMatchObject({ id: 'again 3', userId: 'u0' });
  });

  test('and that others changed: what is stored counts', async () => {
    const app = await appWithEndpoints();
    const ingest = ingestOf({ clock });
    await put(ingest, app, '1');
    const mine = { Attributes: { mine: ['1'] } };
    await put(ingest, app, '2', mine);
    await put(ingest, app, '3', mine);
    const theirs = { Id: 'e0', Attributes: { theirs: ['1'], mine: [] }, User: { UserId: 'new' } };
    await database.transaction((tx) => upsertEndpoints(tx, app, [theirs], { now: noon }));
    await put(ingest, app, '4', mine);
    expect((await endpointOf(app, 'e0')).attributes).toMatchObject({ mine: ['1'], theirs: ['1'] });
    expect((await factsOf(app)).at(-1)!.payload).toMatchObject({ id: '4', userId: 'new' });
    await database.transaction((tx) =>
      upsertEndpoints(tx, app, [{ ...theirs, User: { UserId: 'last' } }], { now: noon }),
    );
    await put(ingest, app, '5');
    expect((await factsOf(app)).at(-1)!.payload).toMatchObject({ id: '5', userId: 'last' });
  });

  test('and that were deleted: made anew', async () => {
    const app = await appWithEndpoints();
    const ingest = ingestOf({ clock });
    await put(ingest, app, '1');
    await put(ingest, app, '2');
    await deleteEndpoint(database, app, 'e0');
    expect(await put(ingest, app, '3')).toMatchObject([{ created: true, events: [accepted] }]);
    expect(await endpointOf(app, 'e0')).toMatchObject({ user_id: null, attributes: {} });
  });

  test('of which changes are watched since: the change is a fact', async () => {
    const app = await appWithEndpoints();
    const ingest = ingestOf({ clock });
    await put(ingest, app, '1');
    await put(ingest, app, '2');
    await database.transaction((tx) => watchAttributes(tx, app, 'w', [{ kind: 'endpoint', name: 'a' }]));
    for (const value of ['2', '3']) await put(ingest, app, `to ${value}`, { Attributes: { a: [value] } });
    const types = (await factsOf(app)).map(({ type }) => type);
    expect(types.filter((type) => type === changedFactType)).toHaveLength(2);
  });

  test('and a stranger who says what they say: goes the long way, where it is judged', async () => {
    const app = await appWithEndpoints();
    const memory = new EndpointMemory();
    const own = { endpoint: { Attributes: { a: ['1'] } } };
    expect(await shortWay(app, [item('e0', ['1'], own)], noon, memory)).toHaveLength(1);
    const guard = { changesOf: () => false, proves: () => false } as unknown as EndpointGuard;
    expect(await shortWay(app, [item('e0', ['2'], { ...own, guard })], noon, memory)).toBeUndefined();
  });
});

describe('others that come between the look and the write', () => {
  /** Runs something right before the statement that writes, once. */
  function interrupted(between: () => Promise<unknown>): Database {
    let done = false;
    const query = async (statement: { name?: string }, values?: unknown[]) => {
      if (!done && statement.name === 'ingest-known-write') {
        done = true;
        await between();
      }
      return database.query(statement as never, values);
    };
    return { ...database, query: query as Database['query'] };
  }

  const change = { endpoint: { Attributes: { mine: ['1'] } } };
  const count = async (table: string, app: string) =>
    (await database.query(`select from ${table} where application_id = $1`, [app])).rowCount;

  test('changing the same endpoint: both changes hold', async () => {
    const app = await appWithEndpoints();
    const others = () =>
      ingestOf({ clock }).put(app, [item('e0', ['2'], { endpoint: { Attributes: { theirs: ['1'] } } })]);
    const ingest = ingestOf({ clock, database: interrupted(others) });
    await ingest.put(app, [item('e1', ['0'], change)]);
    expect(await ingest.put(app, [item('e0', ['1'], change)])).toMatchObject([
      { endpoint: accepted, events: [accepted], replayed: false },
    ]);
    expect((await endpointOf(app, 'e0')).attributes).toMatchObject({ mine: ['1'], theirs: ['1'] });
    expect((await idsOf(app)).sort()).toEqual(['0', '0', '00', '1', '2']);
  });

  test('putting the same event: one fact, and nothing of the second request', async () => {
    const app = await appWithEndpoints();
    const ingest = ingestOf({
      clock,
      database: interrupted(() => ingestOf({ clock }).put(app, [item('e0', ['1'])])),
    });
    await ingest.put(app, [item('e1', ['0'])]);
    expect(await ingest.put(app, [item('e0', ['1'], change)])).toMatchObject([
      { endpoint: accepted, events: [accepted], replayed: true },
    ]);
    expect((await endpointOf(app, 'e0')).attributes).not.toHaveProperty('mine');
    expect(await idsOf(app)).toEqual(['0', '00', '0', '1']);
  });

  test('deleting the application: not found, and nothing is written', async () => {
    const app = await appWithEndpoints();
    const ingest = ingestOf({ clock, database: interrupted(() => deleteApplication(database, app)) });
    await ingest.put(app, [item('e1', ['0'])]);
    const before = await count('events', app);
    await expect(ingest.put(app, [item('e0', ['1'])])).rejects.toMatchObject({ code: 'not_found' });
    expect(await count('events', app)).toBe(before);
  });
});
