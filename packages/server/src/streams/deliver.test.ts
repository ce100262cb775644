import { expect, test } from 'vitest';
import { deliver } from './deliver.ts';
import {
  type OutgoingRecord,
  type Outlet,
  OutletError,
  type OutletLimits,
  type PutResult,
} from './outlets/outlet.ts';

interface Seen extends Outlet {
  accepted: OutgoingRecord[];
  requests: OutgoingRecord[][];
}

/** An outlet in memory whose verdicts a test decides. */
function outletOf(
  limits: Partial<OutletLimits>,
  judge: (record: OutgoingRecord, request: number) => PutResult = () => 'accepted',
  whole?: (records: readonly OutgoingRecord[], request: number) => void,
): Seen {
  const outlet: Seen = {
    accepted: [],
    requests: [],
    limits: {
      records: 500,
      bytes: 1_000_000,
      recordBytes: 1_000,
      overheadBytes: 0,
      concurrency: 1,
      order: 'key',
      ...limits,
    },
    async put(records) {
      const request = outlet.requests.push([...records]);
      whole?.(records, request);
      return records.map((record) => {
        const result = judge(record, request);
        if (result === 'accepted') outlet.accepted.push(record);
        return result;
      });
    },
    close: async () => undefined,
  };
  return outlet;
}

function records(count: number, keys: number): OutgoingRecord[] {
  return Array.from({ length: count }, (_, n) => ({
    id: `r${n}`,
    key: `k${n % keys}`,
    arrivedAt: n,
    json: JSON.stringify({ n }),
  }));
}

const options = { signal: new AbortController().signal, retryDelayMs: 1 };

function orderKept(outlet: Seen): boolean {
  const last = new Map<string, number>();
  return outlet.accepted.every(({ key, arrivedAt }) => {
    const before = last.get(key) ?? -1;
    last.set(key, arrivedAt);
    return before < arrivedAt;
  });
}

test('only records that failed are sent again, and no record passes an earlier one of its key', async () => {
  const given = records(2_000, 37);
  let state = 1;
  const random = () => {
    state = (state * 16_807) % 2_147_483_647;
    return state / 2_147_483_647;
  };
  const outlet = outletOf({ records: 50, concurrency: 4 }, () =>
    random() < 0.3 ? { failed: 'ProvisionedThroughputExceededException' } : 'accepted',
  );
  const delivery = await deliver(given, outlet, { ...options, attempts: 1_000 });
  expect(delivery.failure).toBeUndefined();
  expect(outlet.accepted.map(({ id }) => id).sort()).toEqual(given.map(({ id }) => id).sort());
  expect(orderKept(outlet)).toBe(true);
  for (const request of outlet.requests) {
    expect(request.length).toBeLessThanOrEqual(50);
    expect(new Set(request.map(({ key }) => key)).size).toBe(request.length);
  }
});

test('a record that fails for good stops its key, not the others, and the set is given up for now', async () => {
  const outlet = outletOf({}, ({ id }) => (id === 'r0' ? { failed: 'throttled' } : 'accepted'));
  const delivery = await deliver(records(20, 2), outlet, { ...options, attempts: 3 });
  expect(delivery.failure).toMatchObject({ reason: 'unavailable', message: 'throttled' });
  // All of the other key; none of this one.
  expect([...delivery.accepted].sort()).toEqual(
    records(20, 2)
      .filter(({ key }) => key === 'k1')
      .map(({ id }) => id)
      .sort(),
  );
});

test('a request that is refused is cut down to the records at fault', async () => {
  const bad = new Set(['r3', 'r4', 'r99', 'r100']);
  const outlet = outletOf({ order: 'request', records: 64 }, undefined, (sent) => {
    const found = sent.find(({ id }) => bad.has(id));
    if (found) throw new OutletError('refused', `${found.id} is not to my taste`);
  });
  const delivery = await deliver(records(200, 5), outlet, options);
  expect(delivery.failure).toBeUndefined();
  expect([...delivery.refused.keys()]).toEqual([...bad]);
  expect(delivery.refused.get('r99')).toBe('r99 is not to my taste');
  expect(delivery.accepted.size).toBe(196);
  expect(outlet.accepted.map(({ arrivedAt }) => arrivedAt)).toEqual(
    outlet.accepted.map(({ arrivedAt }) => arrivedAt).sort((a, b) => a - b),
  );
});

test('an outlet that refuses everything is at fault itself: nothing is put aside', async () => {
  const outlet = outletOf({ order: 'request' }, undefined, () => {
    throw new OutletError('refused', 'no');
  });
  const delivery = await deliver(records(100, 5), outlet, options);
  expect(delivery.refused.size).toBe(0);
  expect(delivery.failure).toMatchObject({ reason: 'unavailable', message: 'every record is refused: no' });
  expect(outlet.requests.length).toBeLessThan(40);
});

test('an outlet that is away ends the attempt at once, and what was taken before is known', async () => {
  const outlet = outletOf({ order: 'request', records: 10 }, undefined, (_, request) => {
    if (request === 3) throw new OutletError('unavailable', 'away', 5_000);
  });
  const delivery = await deliver(records(100, 5), outlet, options);
  expect(delivery.accepted.size).toBe(20);
  expect(delivery.failure).toMatchObject({ retryAfterMs: 5_000 });
  expect(outlet.requests).toHaveLength(3);
});

test('requests stay within their bytes, and a record that is too long is refused without asking', async () => {
  const long = { id: 'long', key: 'k', arrivedAt: 0, json: 'x'.repeat(2_000) };
  const given = Array.from({ length: 10 }, (_, n) => ({
    id: `${n}`,
    key: `${n}`,
    arrivedAt: n,
    json: 'ж'.repeat(200),
  }));
  const outlet = outletOf({ bytes: 900 });
  const delivery = await deliver([long, ...given], outlet, options);
  expect([...delivery.refused.keys()]).toEqual(['long']);
  expect(delivery.accepted.size).toBe(10);
  expect(outlet.requests.map((request) => request.length)).toEqual([2, 2, 2, 2, 2]);
});

test('without an order, requests are full whatever the keys', async () => {
  const outlet = outletOf({ order: 'none', records: 100 });
  await deliver(records(200, 1), outlet, options);
  expect(outlet.requests.map((request) => request.length)).toEqual([100, 100]);
});

test('many records that are too long are refused each, and never taken for the outlet’s fault', async () => {
  const long = Array.from({ length: 30 }, (_, n) => ({
    id: `long${n}`,
    key: `${n}`,
    arrivedAt: n,
    json: 'x'.repeat(2_000),
  }));
  const outlet = outletOf({});
  const first = await deliver([...long, ...records(5, 5)], outlet, options);
  expect(first.failure).toBeUndefined();
  expect([first.refused.size, first.accepted.size]).toEqual([30, 5]);
  expect((await deliver(long, outlet, options)).failure).toBeUndefined();
  const judging = outletOf({ recordBytes: 10_000 }, () => ({ refused: 'too long', tooLong: true }));
  const judged = await deliver(long, judging, options);
  expect([judged.failure, judged.refused.size]).toEqual([undefined, 30]);
});

test('few keys take no more requests than one lane would', async () => {
  const few = outletOf({ concurrency: 4 });
  await deliver(records(400, 40), few, options);
  expect(few.requests.map((request) => request.length)).toEqual(Array(10).fill(40));
  expect(orderKept(few)).toBe(true);
  const many = outletOf({ concurrency: 4, records: 10 });
  await deliver(records(400, 40), many, options);
  expect(many.requests.length).toBeGreaterThan(10);
  expect([many.accepted.length, orderKept(many)]).toEqual([400, true]);
});
