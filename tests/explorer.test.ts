import { describe, expect, test } from 'vitest';
import {
  type ExplorerRow,
  exploreEvents,
  type FunnelRequest,
  listEventNames,
  listEventTypes,
  queryFunnel,
} from '../packages/server/src/analytics/index.ts';
import { appendFacts } from '../packages/server/src/events/index.ts';
import type { Database } from '../packages/server/src/platform/database.ts';
import { hexId } from '../packages/server/src/platform/ids.ts';
import {
  colors,
  funnelOf,
  type HistoryEvent,
  matches,
  randomHistory,
  randomOf,
  randomStep,
  types,
} from './explorer-random.ts';
import { testDatabase } from './support/database.ts';

const database = await testDatabase(4);
const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

/** Around the end of daylight saving time in Berlin and New York. */
const start = Date.parse('2026-10-24T12:00:00Z');
const days = 9;

async function newApplication(db: Database): Promise<string> {
  const id = hexId();
  await db.query('insert into applications (id, name) values ($1, $1)', [id]);
  return id;
}

async function write(applicationId: string, history: readonly HistoryEvent[]): Promise<void> {
  const facts = history.map((event, index) => ({
    type: `event.${event.type}`,
    applicationId,
    occurredAt: event.at,
    endpointId: event.endpointId,
    payload: {
      id: `event-${index}`,
      attributes: event.attributes,
      metrics: event.metrics,
      ...(event.userId !== undefined && { userId: event.userId }),
      ...(event.sessionId !== undefined && { session: { id: event.sessionId } }),
    },
  }));
  if (facts.length > 0) await database.transaction(async (tx) => void (await appendFacts(tx, facts)));
}

describe('random histories', () => {
  test('funnels equal trying every chain of events', async () => {
    let reached = 0;
    for (let seed = 1; seed <= 220; seed++) {
      const random = randomOf(seed * 7919);
      const history = randomHistory(random, start, days);
      const app = await newApplication(database);
      await write(app, history);
      for (let round = 0; round < 3; round++) {
        const steps = Array.from({ length: 2 + random.below(3) }, () => randomStep(random));
        const request = {
          from: start + random.below(2) * random.below(dayMs),
          to: start + days * dayMs - random.below(dayMs),
          windowMs: random.pick([5, hourMs, 6 * hourMs, 2 * dayMs, 30 * dayMs]),
          by: random.pick(['endpoint', 'user'] as const),
        };
        const expected = funnelOf(history, steps, request);
        const answer = await queryFunnel(database, app, { ...request, steps } as FunnelRequest);
        const name = `seed ${seed} round ${round}`;
        expect(
          answer.map(({ count }) => count),
          name,
        ).toEqual(expected.counts);
        for (const [index, { medianSeconds }] of answer.entries()) {
          const median = expected.medians[index]!;
          if (median === null) expect(medianSeconds, name).toBeNull();
          else expect(medianSeconds, name).toBeCloseTo(median, 3);
        }
        if (expected.counts.at(-1)! > 0) reached += 1;
      }
    }
    // Otherwise the funnels would be empty, and equal for that reason.
    expect(reached).toBeGreaterThan(50);
  });

  test('the explorer equals counting one event after the other', async () => {
    for (let seed = 1; seed <= 100; seed++) {
      const random = randomOf(seed * 104_729);
      const history = randomHistory(random, start, days);
      const app = await newApplication(database);
      await write(app, history);
      const filter = randomStep(random);
      const timeZone = random.pick([
        ...['UTC', 'Europe/Berlin', 'America/New_York', 'Asia/Kolkata', 'Australia/Lord_Howe'],
      ]);
      const interval = random.pick(['hour', 'day', 'all'] as const);
      const groupBy = random.pick([undefined, 'color', 'constructor']);
      const top = 1 + random.below(3);
      const range = { from: start, to: start + days * dayMs };
      const request = { ...filter, ...range, timeZone, interval, groupBy, top, metric: 'price' };
      const rows = await exploreEvents(database, app, request as Parameters<typeof exploreEvents>[2]);
      const found = history.filter((event) => matches(event, filter));
      expect(sorted(rows), `seed ${seed}`).toEqual(
        sorted(naiveRows(found, { timeZone, interval, groupBy, top })),
      );
    }
  });
});

type Row = Omit<ExplorerRow, 'average' | 'averagePerSession'>;

function sorted(rows: readonly (ExplorerRow | Row)[]): Row[] {
  const key = (row: Row) => JSON.stringify([row.time, row.other, row.group]);
  return rows
    .map(({ time, group, other, count, endpoints, users, sessions, sum, min, max }) => ({
      ...{ time, group, other, count, endpoints, users, sessions, sum, min, max },
    }))
    .sort((a, b) => (key(a) < key(b) ? -1 : 1));
}

function naiveRows(
  events: readonly HistoryEvent[],
  options: { timeZone: string; interval: string; groupBy: string | undefined; top: number },
): Row[] {
  const { groupBy, interval } = options;
  const groupValue = ({ attributes }: HistoryEvent) =>
    groupBy !== undefined && Object.hasOwn(attributes, groupBy) ? attributes[groupBy]! : null;
  const frequency = [...Map.groupBy(events, groupValue)].sort(
    ([a, left], [b, right]) =>
      right.length - left.length || (a === null ? 1 : b === null ? -1 : a < b ? -1 : 1),
  );
  const most = new Set(frequency.slice(0, options.top).map(([value]) => value));
  const groups = Map.groupBy(events, (event) => {
    const value = groupValue(event);
    const other = groupBy !== undefined && !most.has(value);
    return JSON.stringify([timeOf(event.at, interval, options.timeZone), other ? null : value, other]);
  });
  return [...groups].map(([key, members]) => {
    const [time, group, other] = JSON.parse(key) as [string | null, string | null, boolean];
    const prices = members.flatMap(({ metrics }) =>
      Object.hasOwn(metrics, 'price') ? [metrics.price!] : [],
    );
    const users = members.flatMap(({ userId }) => userId ?? []);
    const sessions = members.flatMap(({ endpointId, sessionId }) =>
      sessionId === undefined ? [] : [`${endpointId} ${sessionId}`],
    );
    return {
      time,
      group,
      other,
      count: members.length,
      endpoints: new Set(members.map(({ endpointId }) => endpointId)).size,
      users: new Set(users).size,
      sessions: new Set(sessions).size,
      sum: prices.length > 0 ? prices.reduce((sum, price) => sum + price, 0) : null,
      min: prices.length > 0 ? Math.min(...prices) : null,
      max: prices.length > 0 ? Math.max(...prices) : null,
    };
  });
}

/** By what Intl says of the zone, minute by minute: no arithmetic of the product's. */
function timeOf(at: number, interval: string, timeZone: string): string | null {
  if (interval === 'all') return null;
  const format = new Intl.DateTimeFormat('sv-SE', {
    timeZone,
    dateStyle: 'short',
    timeStyle: 'medium',
  });
  if (interval === 'day') return format.format(at).slice(0, 10);
  const local = format.format(at).replace(' ', 'T');
  const offset = (Date.parse(`${local}Z`) - Math.floor(at / 1000) * 1000) / 60_000;
  const two = (number: number) => String(number).padStart(2, '0');
  const zone = `${offset < 0 ? '-' : '+'}${two(Math.floor(Math.abs(offset) / 60))}:${two(Math.abs(offset) % 60)}`;
  return `${local.slice(0, 13)}:00:00${zone}`;
}

test('lists the types of the last 14 days, and what their events can be filtered by', async () => {
  const app = await newApplication(database);
  const now = start + 20 * dayMs;
  const event = (at: number, type: string, color?: string): HistoryEvent => ({
    endpointId: 'one',
    type,
    at,
    attributes: color === undefined ? {} : { color },
    metrics: { price: 1 },
  });
  await write(app, [
    ...[event(now - dayMs, 'view', 'red'), event(now - 2 * dayMs, 'view', 'red')],
    ...[event(now - 3 * dayMs, 'view', 'blue'), event(now - 3 * dayMs, 'cart')],
    event(now - 15 * dayMs, 'purchase'),
  ]);
  expect(await listEventTypes(database, app, now)).toEqual([
    { eventType: 'view', count: 3, lastAt: new Date(now - dayMs) },
    { eventType: 'cart', count: 1, lastAt: new Date(now - 3 * dayMs) },
  ]);
  expect(await listEventNames(database, app, 'view')).toEqual({
    attributes: [
      {
        name: 'color',
        count: 3,
        distinctValues: 2,
        values: [
          { value: 'red', count: 2 },
          { value: 'blue', count: 1 },
        ],
      },
    ],
    metrics: [{ name: 'price', count: 3, distinctValues: 1 }],
  });
});

test('counts only the endpoints of a segment, or with an attribute', async () => {
  const app = await newApplication(database);
  const insert = `insert into endpoints (application_id, id, cohort, attributes, effective_at)
    select $1, id, 0, attributes::jsonb, now() from unnest($2::text[], $3::text[]) as e(id, attributes)`;
  await database.query(insert, [app, ['a', 'b'], ['{"plan":["gold","old"]}', '{"plan":["free"]}']]);
  await write(
    app,
    ['a', 'a', 'b', 'gone'].map((endpointId) => ({
      ...{ endpointId, type: 'view', at: start },
      ...{ attributes: {}, metrics: {} },
    })),
  );
  const range = {
    from: start,
    to: start + dayMs,
    timeZone: 'UTC',
    interval: 'all' as const,
    eventType: 'view',
  };
  const count = async (extra: object) =>
    (await exploreEvents(database, app, { ...range, ...extra }))[0]?.count;
  expect(await count({})).toBe(4);
  expect(await count({ endpointAttributes: [{ name: 'plan', values: ['gold', 'x'] }] })).toBe(2);
  expect(await count({ endpointAttributes: [{ name: 'plan', values: ['none'] }] })).toBeUndefined();
  await expect(count({ segmentId: 'none' })).rejects.toThrow(/not found/i);
});

test('names what is wrong, and survives numbers at their end', async () => {
  const app = await newApplication(database);
  await write(
    app,
    [1, 2].map((second) => ({
      ...{ endpointId: 'a', type: 'view', at: start + second },
      ...{ attributes: {}, metrics: { price: 1.7e308 } },
    })),
  );
  const good = { from: start, to: start + dayMs, timeZone: 'UTC', eventType: 'view', metric: 'price' };
  const ask = (extra: object) => exploreEvents(database, app, { ...good, ...extra });
  await expect(ask({})).rejects.toThrow(/more than a number can hold/);
  for (const [extra, words] of [
    [{ to: start }, /^to: /],
    [{ to: start + 100 * dayMs, interval: 'hour' }, /^to: expected at most 62 days/],
    [{ timeZone: 'Mars/Olympus' }, /timezone/],
    [{ top: 51, groupBy: 'a' }, /\$\.top/],
    [{ attributes: [{ name: 'a', values: [] }] }, /\$\.attributes\[0\]\.values/],
    [{ attributes: [{ name: 'a\0', values: ['b'] }] }, /\$\.attributes\[0\]\.name/],
    [{ metrics: [{ name: 'a', operator: 'equal', value: Number.NaN }] }, /\$\.metrics\[0\]\.value/],
  ] as const)
    await expect(ask(extra)).rejects.toThrow(words);
  const funnel = { ...good, by: 'endpoint' as const, windowMs: 1_000 };
  await expect(queryFunnel(database, app, { ...funnel, steps: [{ eventType: 'view' }] })).rejects.toThrow(
    /2 to 10 steps/,
  );
  const steps = Array.from({ length: 10 }, () => ({ eventType: 'view' }));
  expect((await queryFunnel(database, app, { ...funnel, steps })).map(({ count }) => count)).toEqual([
    ...[1, 1, 0, 0, 0, 0, 0, 0, 0, 0],
  ]);
});

test('the random histories have what matters', () => {
  const events = Array.from({ length: 20 }, (_, seed) =>
    randomHistory(randomOf(seed + 1), start, days),
  ).flat();
  expect(new Set(events.map(({ type }) => type))).toEqual(new Set(types));
  expect(new Set(events.flatMap(({ attributes }) => Object.values(attributes)))).toEqual(new Set(colors));
});
