import { expect, test } from 'vitest';
import { testDatabase } from '../../../../tests/support/database.ts';
import { deleteOldRates, leaseRate } from './rate.sql.ts';

const database = await testDatabase();

/** The database's clock. */
async function now(): Promise<number> {
  const { rows } = await database.query<{ ms: number }>(
    'select floor(extract(epoch from clock_timestamp()) * 1000)::bigint as ms',
  );
  return rows[0]!.ms;
}

/** Asks from `workers` sides at once until the database's clock has moved on by `durationMs`. */
async function leaseFor(key: string, perSecond: number, wanted: number, workers: number, durationMs: number) {
  const from = await now();
  let granted = 0;
  await Promise.all(
    Array.from({ length: workers }, async () => {
      while ((await now()) - from < durationMs) {
        const lease = await leaseRate(database, key, perSecond, wanted);
        granted += lease.granted;
        if (lease.granted < wanted)
          await new Promise((resolve) => setTimeout(resolve, Math.min(lease.waitMs, 50)));
      }
    }),
  );
  return { granted, elapsedMs: (await now()) - from };
}

test.each([
  { perSecond: 1000, wanted: 70, workers: 8 },
  { perSecond: 7, wanted: 3, workers: 4 },
  { perSecond: 1, wanted: 1, workers: 3 },
])('$workers workers together get $perSecond a second', async ({ perSecond, wanted, workers }) => {
  const { granted, elapsedMs } = await leaseFor(`rate ${perSecond}`, perSecond, wanted, workers, 2500);
  const burst = Math.ceil(perSecond / 4);
  expect(granted).toBeLessThanOrEqual((perSecond * elapsedMs) / 1000 + 2 * burst);
  // What nobody asked for while the machine was busy elsewhere is lost, so only much less would be a fault.
  expect(granted).toBeGreaterThanOrEqual(Math.max(1, Math.floor(perSecond * 0.75)));
});

test('what is granted is never more than the slices hold, however many ask', async () => {
  const from = await now();
  const leases = await Promise.all(Array.from({ length: 50 }, () => leaseRate(database, 'crowd', 400, 10)));
  const slices = Math.ceil(((await now()) - from) / 250) + 1;
  const granted = leases.reduce((sum, lease) => sum + lease.granted, 0);
  expect(granted).toBeGreaterThanOrEqual(100);
  expect(granted).toBeLessThanOrEqual(100 * slices);
  for (const { granted: part, waitMs } of leases) {
    if (part < 10) expect(waitMs).toBeGreaterThan(0);
    else expect(waitMs).toBe(0);
    expect(waitMs).toBeLessThanOrEqual(250);
  }
});

test('the wait leads to a slice that has room', async () => {
  await leaseRate(database, 'slow', 2, 1);
  for (let i = 0; i < 3; i++) {
    const { granted, waitMs } = await leaseRate(database, 'slow', 2, 1);
    if (granted === 1) continue;
    expect(waitMs).toBeLessThanOrEqual(500);
    await new Promise((resolve) => setTimeout(resolve, waitMs + 5));
    expect(await leaseRate(database, 'slow', 2, 1)).toEqual({ granted: 1, waitMs: 0 });
  }
});

test('a long pause does not save up more than one slice', async () => {
  await leaseRate(database, 'paused', 40, 1);
  await database.query("update rate_slices set slice = slice - 1000, used = 0 where key = 'paused'");
  const { granted } = await leaseRate(database, 'paused', 40, 500);
  expect(granted).toBe(10);
});

test('a rate may change from one call to the next, and nothing wanted costs nothing', async () => {
  expect(await leaseRate(database, 'changes', 4000, 1000)).toEqual({ granted: 1000, waitMs: 0 });
  expect((await leaseRate(database, 'changes', 4, 1000)).granted).toBeLessThanOrEqual(1);
  expect(await leaseRate(database, 'changes', 4, 0)).toEqual({ granted: 0, waitMs: 0 });
});

test('counters that nobody uses are deleted', async () => {
  await leaseRate(database, 'old', 10, 1);
  await leaseRate(database, 'new', 10, 1);
  await database.query("update rate_slices set slice = slice - 4 * 90000 where key = 'old'");
  expect(await deleteOldRates(database)).toBe(1);
  const { rows } = await database.query("select key from rate_slices where key in ('old', 'new')");
  expect(rows).toEqual([{ key: 'new' }]);
});
