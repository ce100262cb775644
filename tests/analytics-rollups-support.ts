import { beforeAll } from 'vitest';
import {
  activeInRange,
  analyticsRollups,
  eventCounts,
  heatMap,
  retention,
  revenue,
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

// Support of the tests of rollups: an application whose events are facts of the log.
export const database = await testDatabase();
const numberer = createNumberer({ database, log: silentLog });
export const dayMs = 86_400_000;
/** The days that are asked about, and when it is asked. */
export const range = { from: '2026-03-10', to: '2026-05-10' };
export const now = Date.UTC(2026, 4, 1, 12);

beforeAll(async () => {
  await ensurePartitions(database);
});

export async function application(): Promise<string> {
  const id = hexId();
  await database.query('insert into applications (id, name) values ($1, $1)', [id]);
  return id;
}

export function subscriber(maxFacts?: number) {
  return createSubscriber({
    database,
    log: silentLog,
    ...analyticsRollups,
    ...(maxFacts ? { maxFacts } : {}),
    retryDelayMs: 1,
  });
}

export async function append(facts: Fact[]): Promise<void> {
  if (facts.length === 0) return;
  await database.transaction(async (tx) => {
    await appendFacts(tx, facts);
  });
  await numberer.drain();
}

let eventId = 0;

export function event(
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
export async function figures(applicationId: string) {
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
