import { expect, test } from 'vitest';
import { testDatabase } from '../../../../../tests/support/database.ts';
import { appendFacts, type Fact } from '../../events/index.ts';
import { hexId } from '../../platform/ids.ts';
import { compileSegment } from './compile.ts';
import { readCriteria, type SegmentDefinition } from './criteria.ts';
import { explainSegment } from './explain.ts';
import { countSegment } from './membership.ts';
import { createSegment } from './segment.ts';

const database = await testDatabase();
const now = Date.UTC(2026, 10, 21, 12);
const dayMs = 86_400_000;
const purchase = { EventType: { Values: ['purchase'] } };

const read = (behaviour: unknown) => () =>
  readCriteria({ Dimensions: { Behavior: behaviour } } as Parameters<typeof readCriteria>[0]);
const at = '$.Dimensions.Behavior';

test.each<[string, unknown, string]>([
  ['no list', { Events: purchase }, `${at}.Events: expected a list`],
  [
    'an unknown list',
    { Event: [purchase] },
    `${at}.Event: unknown member, expected one of Campaigns, Events, Recency`,
  ],
  [
    'a misspelt member',
    { Events: [{ ...purchase, Windows: {} }] },
    `${at}.Events[0].Windows: unknown member`,
  ],
  ['no type', { Events: [{}] }, `${at}.Events[0].EventType: expected an object`],
  ['an empty list of types', { Events: [{ EventType: { Values: [] } }] }, 'expected at least one event type'],
  [
    'all types but one',
    { Events: [{ EventType: { DimensionType: 'EXCLUSIVE', Values: ['a'] } }] },
    'expected INCLUSIVE',
  ],
  [
    'a part of a count',
    { Events: [{ ...purchase, Count: { Value: 1 } }] },
    `${at}.Events[0].Count.ComparisonOperator`,
  ],
  [
    'a count below 0',
    { Events: [{ ...purchase, Count: { ComparisonOperator: 'EQUAL', Value: -1 } }] },
    'from 0 to 1000000',
  ],
  [
    'half a count',
    { Events: [{ ...purchase, Count: { ComparisonOperator: 'EQUAL', Value: 0.5 } }] },
    'a whole number',
  ],
  [
    'an empty window',
    { Events: [{ ...purchase, Window: {} }] },
    'expected Last with Unit, or Start, End or both',
  ],
  ['two windows', { Events: [{ ...purchase, Window: { Last: 1, Start: '2026-01-01' } }] }, 'not both'],
  ['a window of no time', { Events: [{ ...purchase, Window: { Last: 0 } }] }, 'from 1 to 36500'],
  [
    'a window that ends before',
    { Events: [{ ...purchase, Window: { Start: '2026-02-01', End: '2026-01-01' } }] },
    'a later instant than Start',
  ],
  [
    'a day that is none',
    { Events: [{ ...purchase, Window: { Start: '2026-02-30' } }] },
    `${at}.Events[0].Window.Start: expected a date`,
  ],
  ['another scope', { Events: [{ ...purchase, Scope: 'APP' }] }, 'expected one of ENDPOINT, USER'],
  [
    'an attribute without values',
    { Events: [{ ...purchase, Attributes: { a: {} } }] },
    `${at}.Events[0].Attributes.a.Values`,
  ],
  [
    'another interaction',
    { Campaigns: [{ Interaction: 'READ' }] },
    'expected one of SENT, DELIVERED, OPENED, CLICKED',
  ],
  [
    '21 criteria',
    { Events: Array.from({ length: 20 }, () => purchase), Campaigns: [{ Interaction: 'SENT' }] },
    'expected at most 20 of Events and Campaigns',
  ],
])('%s is refused, with the place', (_, behaviour, message) => {
  expect(read(behaviour)).toThrow(message);
});

async function application(facts: Omit<Fact, 'applicationId'>[], users: Record<string, string | null>) {
  const app = hexId();
  for (const [id, userId] of Object.entries(users)) {
    await database.query(
      `insert into endpoints (application_id, id, cohort, effective_at, channel, user_id) values ($1, $2, 0, now(), 'EMAIL', $3)`,
      [app, id, userId],
    );
  }
  await database.transaction((tx) =>
    appendFacts(
      tx,
      facts.map((fact) => ({ ...fact, applicationId: app })),
    ),
  );
  return app;
}

const bought = (endpointId: string, ago: number, userId?: string) => ({
  type: 'event.purchase',
  endpointId,
  occurredAt: now - ago,
  payload: userId === undefined ? {} : { userId },
});

async function membersOf(app: string, behaviour: object): Promise<string[]> {
  const definition = { Dimensions: { Behavior: behaviour } };
  const { members } = await compileSegment(database, app, { definition }, { now });
  const { rows } = await database.query<{ id: string }>(members);
  return rows.map(({ id }) => id).sort();
}

test('a user did what his endpoints did, before they were his too, but not what others did on them', async () => {
  const app = await application(
    [
      bought('phone', dayMs),
      bought('tablet', dayMs, 'ada'),
      bought('shared', dayMs, 'grace'),
      bought('anonymous', dayMs),
      bought('gone', dayMs, 'ada'),
    ],
    { phone: 'ada', tablet: 'ada', shared: 'mary', watch: 'mary', anonymous: null, quiet: null },
  );
  const twice = { ...purchase, Count: { ComparisonOperator: 'EQUAL', Value: 2 }, Scope: 'USER' };
  expect(await membersOf(app, { Events: [twice] })).toEqual(['phone', 'tablet']);
  const never = { ...purchase, DimensionType: 'EXCLUSIVE', Scope: 'USER' };
  expect(await membersOf(app, { Events: [never] })).toEqual(['quiet', 'shared', 'watch']);
  expect(await membersOf(app, { Events: [{ ...purchase, Scope: 'USER' }] })).toEqual([
    'anonymous',
    'phone',
    'tablet',
  ]);
  const definition = { Dimensions: { Behavior: { Events: [twice] } } };
  const explained = await explainSegment(database, app, { definition } as never, 'phone', { now });
  expect(explained.parts[0]!.because).toBe(
    `The endpoint's user did "purchase" 2 times as far back as the log goes, last at ${new Date(now - dayMs).toISOString()}, and exactly 2 are asked for.`,
  );
});

test('windows begin and end to the millisecond', async () => {
  const app = await application(
    [bought('at', 7 * dayMs), bought('before', 7 * dayMs + 1), bought('late', 0)],
    { at: null, before: null, late: null },
  );
  const within = (Window: object) => membersOf(app, { Events: [{ ...purchase, Window }] });
  expect(await within({ Last: 7 })).toEqual(['at', 'late']);
  expect(await within({ Last: 168, Unit: 'HOURS' })).toEqual(['at', 'late']);
  const [Start, End] = [new Date(now - 7 * dayMs - 1), new Date(now - 7 * dayMs)].map((date) =>
    date.toISOString(),
  );
  expect(await within({ Start, End })).toEqual(['before']);
  expect(await within({ End })).toEqual(['before']);
  expect(await within({ Start: End })).toEqual(['at', 'late']);
});

test('what the log does not go back to is refused when written, and said when counted', async () => {
  const app = await application([], {});
  const long: SegmentDefinition = {
    Dimensions: { Behavior: { Events: [{ ...purchase, Window: { Last: 91, Unit: 'DAYS' } }] } },
  };
  const create = (retentionDays: number) =>
    database.transaction((tx) => createSegment(tx, app, long, now, { retentionDays }));
  await expect(create(90)).rejects.toThrow('Events[0].Window: expected a window within the 90 days');
  const { id } = await create(0);
  const counted = await countSegment(database, app, { segmentId: id }, { now, retentionDays: 90 });
  expect(counted.warnings).toEqual([
    '$.Dimensions.Behavior.Events[0].Window begins before the 90 days for which events are kept',
  ]);
  expect(await countSegment(database, app, { segmentId: id }, { now, retentionDays: 91 })).not.toHaveProperty(
    'warnings',
  );
});

test('every comparison with every count, stated and turned round', async () => {
  const facts = [0, 1, 2, 3].flatMap((times) =>
    Array.from({ length: times }, () => bought(`did-${times}`, dayMs)),
  );
  const app = await application(facts, { 'did-0': null, 'did-1': null, 'did-2': null, 'did-3': null });
  const holds: Record<string, (count: number, value: number) => boolean> = {
    GREATER_THAN: (count, value) => count > value,
    GREATER_THAN_OR_EQUAL: (count, value) => count >= value,
    LESS_THAN: (count, value) => count < value,
    LESS_THAN_OR_EQUAL: (count, value) => count <= value,
    EQUAL: (count, value) => count === value,
  };
  for (const [ComparisonOperator, test] of Object.entries(holds)) {
    for (const Value of [0, 1, 2, 3, 4]) {
      for (const DimensionType of ['INCLUSIVE', 'EXCLUSIVE'] as const) {
        const wanted = [0, 1, 2, 3].filter((count) => test(count, Value) === (DimensionType === 'INCLUSIVE'));
        const criterion = { ...purchase, Count: { ComparisonOperator, Value }, DimensionType };
        const got = await membersOf(app, { Events: [criterion] });
        expect(got, JSON.stringify(criterion)).toEqual(wanted.map((count) => `did-${count}`));
      }
    }
  }
});
