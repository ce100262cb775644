import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { beforeEach, expect, test } from 'vitest';
import { testDatabase } from '../../../../tests/support/database.ts';
import type { Transaction } from '../platform/database.ts';
import { silentLog } from '../platform/log.ts';
import {
  appendFacts,
  createNumberer,
  createSubscriber,
  type FactHandler,
  logLag,
  type StoredFact,
} from './index.ts';

const database = await testDatabase();
await database.query(
  'create table seen (turn bigint generated always as identity, pid int, batch_id uuid, seq int, index int)',
);
const numberer = createNumberer({ database, log: silentLog });

beforeEach(async () => {
  for (const table of [
    'events',
    'event_batches',
    'event_batches_unnumbered',
    'log_subscribers',
    'log_parked_facts',
    'seen',
  ]) {
    await database.query(`delete from ${table}`);
  }
});

let nextIndex = 0;
async function append(count: number): Promise<number[]> {
  const indexes = Array.from({ length: count }, () => nextIndex++);
  const facts = indexes.map((index) => ({ type: 'test.happened', applicationId: 'a', payload: { index } }));
  await database.transaction((tx) => appendFacts(tx, facts));
  return indexes;
}

async function note(tx: Transaction, facts: StoredFact[]): Promise<void> {
  await tx.query(
    'insert into seen (batch_id, seq, index) select * from unnest($1::uuid[], $2::int[], $3::int[])',
    [
      facts.map((fact) => fact.batchId),
      facts.map((fact) => fact.seq),
      facts.map((fact) => fact.payload.index),
    ],
  );
}

async function seenIndexes(): Promise<number[]> {
  const { rows } = await database.query('select index from seen order by turn');
  return rows.map((row) => row.index);
}

function subscribe(handle: FactHandler, options: { maxFacts?: number; name?: string } = {}) {
  return createSubscriber({ database, log: silentLog, name: 'test', handle, retryDelayMs: 1, ...options });
}

test('reads only the types that it asks for, and leaves the others behind', async () => {
  const types = ['event.purchase', 'message.sent', 'event._session.start', 'message.sentry', 'other.thing'];
  await database.transaction((tx) =>
    appendFacts(
      tx,
      types.map((type, index) => ({ type, applicationId: 'a', payload: { index } })),
    ),
  );
  await numberer.drain();
  const subscriber = createSubscriber({
    database,
    log: silentLog,
    name: 'typed',
    handle: note,
    types: ['event.', 'message.sent'],
    maxFacts: 2,
  });
  await subscriber.drain();
  expect(await seenIndexes()).toEqual([0, 1, 2]);
  expect((await logLag(database)).subscribers).toMatchObject([{ name: 'typed', lagPositions: 0 }]);
});

test('a batch that is larger than a transaction may be comes in parts, small batches come together', async () => {
  const sizes: number[] = [];
  const subscriber = subscribe(
    async (tx, facts) => {
      sizes.push(facts.length);
      await note(tx, facts);
    },
    { maxFacts: 100 },
  );
  const expected = [
    ...(await append(250)),
    ...(await append(3)),
    ...(await append(4)),
    ...(await append(99)),
  ];
  await numberer.drain();
  await subscriber.drain();
  expect(await seenIndexes()).toEqual(expected);
  expect(sizes).toEqual([100, 100, 50, 7, 99]);
});

test('a fact that the handler refuses is parked with the error, and everything else goes on', async () => {
  const indexes = await append(1000);
  const poison = new Set([indexes[0]!, indexes[401]!, indexes[402]!, indexes[999]!]);
  let healed = false;
  const subscriber = subscribe(async (tx, facts) => {
    await note(tx, facts);
    const bad = facts.find((fact) => poison.has(Number(fact.payload.index)));
    if (bad && !healed) throw new Error(`cannot digest ${bad.payload.index}`);
  });
  await numberer.drain();
  await subscriber.drain();
  expect(await seenIndexes()).toEqual(indexes.filter((index) => !poison.has(index)));
  const { rows } = await database.query('select fact, error, attempts from log_parked_facts order by seq');
  expect(rows.map((row) => row.fact.payload.index)).toEqual([...poison]);
  for (const row of rows) {
    expect(row.error).toContain(`cannot digest ${row.fact.payload.index}`);
    expect(row.attempts).toBe(3);
  }
  expect((await logLag(database)).subscribers[0]).toMatchObject({ lagPositions: 0, parked: 4 });

  expect(await subscriber.retryParked()).toEqual({ handled: 0, refused: 4 });
  healed = true;
  expect(await subscriber.retryParked()).toEqual({ handled: 4, refused: 0 });
  expect((await seenIndexes()).sort((a, b) => a - b)).toEqual(indexes);
  expect((await logLag(database)).subscribers[0]).toMatchObject({ parked: 0 });
});

test('an error that passes is waited out: nothing is parked', async () => {
  const indexes = await append(10);
  let failures = 0;
  const subscriber = subscribe(async (tx, facts) => {
    await note(tx, facts);
    if (failures++ < 12) throw Object.assign(new Error('deadlock detected'), { code: '40P01' });
  });
  await numberer.drain();
  await subscriber.drain();
  expect(await seenIndexes()).toEqual(indexes);
  expect((await logLag(database)).subscribers[0]).toMatchObject({ parked: 0 });
});

test('a SQL error in a handler undoes its effects and is parked like any other', async () => {
  const indexes = await append(3);
  const subscriber = subscribe(async (tx, facts) => {
    await note(tx, facts);
    if (facts.some((fact) => fact.payload.index === indexes[1])) await tx.query('select 1 / 0');
  });
  await numberer.drain();
  await subscriber.drain();
  expect(await seenIndexes()).toEqual([indexes[0], indexes[2]]);
});

test('facts that were erased leave no trace and stop nobody', async () => {
  const [first, , third] = await append(3);
  await database.query("delete from events where (payload->>'index')::int = $1", [first! + 1]);
  const more = await append(2);
  await database.query("delete from events where (payload->>'index')::int = any ($1)", [more]);
  const last = await append(1);
  const subscriber = subscribe(note);
  await numberer.drain();
  await subscriber.drain();
  expect(await seenIndexes()).toEqual([first, third, ...last]);
});

test('the lag counts what is not numbered and not read', async () => {
  const subscriber = subscribe(note);
  await numberer.drain();
  await subscriber.drain();
  await append(1);
  await append(1);
  const before = await logLag(database);
  expect(before).toMatchObject({ unnumberedBatches: 2 });
  await numberer.drain();
  const numbered = await logLag(database);
  expect(numbered).toMatchObject({ unnumberedBatches: 0, unnumberedSeconds: 0, head: before.head + 2 });
  expect(numbered.subscribers).toMatchObject([{ name: 'test', lagPositions: 2 }]);
  expect(numbered.subscribers[0]!.lagSeconds).toBeGreaterThan(0);
  await subscriber.drain();
  expect((await logLag(database)).subscribers).toMatchObject([{ lagPositions: 0, lagSeconds: 0 }]);
});

test('started readers and numberers find new facts by themselves and end when told', async () => {
  const done = Promise.withResolvers<void>();
  const expected = [...(await append(2))];
  const subscriber = subscribe(async (tx, facts) => {
    await note(tx, facts);
    if (facts.some((fact) => fact.payload.index === expected[0]! + 4)) done.resolve();
  });
  const started = createNumberer({ database, log: silentLog, onNumbered: () => subscriber.wake() });
  started.start();
  subscriber.start();
  expected.push(...(await append(2)), ...(await append(1)));
  started.wake();
  await done.promise;
  await started.stop();
  await subscriber.stop();
  expect(await seenIndexes()).toEqual(expected);
});

function startReader(): ChildProcess {
  const fixture = fileURLToPath(new URL('reader.fixture.ts', import.meta.url));
  return spawn(process.execPath, [fixture, database.url], { stdio: ['ignore', 'pipe', 'inherit'] });
}

test('two processes that read, killed again and again, see every fact once', async () => {
  const readers = [startReader(), startReader()];
  await Promise.all(readers.map((reader) => once(reader.stdout!, 'data')));
  let total = 0;
  try {
    for (let turn = 0; turn < 12; turn++) {
      await Promise.all(
        Array.from({ length: 6 }, async (_, index) => {
          const aborts = index === 5;
          const facts = Array.from({ length: 40 + index * 30 }, (_, seq) => ({
            type: 'test.happened',
            applicationId: 'a',
            payload: { index: seq },
          }));
          await database
            .transaction(async (tx) => {
              await appendFacts(tx, facts);
              if (aborts) throw new Error('aborted');
            })
            .catch((error) => {
              if (!aborts) throw error;
            });
          if (!aborts) total += facts.length;
        }),
      );
      const victim = turn % 2;
      readers[victim]!.kill('SIGKILL');
      readers[victim] = startReader();
      await once(readers[victim]!.stdout!, 'data');
    }
    // A reader of the same name in this process waits until the others have done the rest.
    await numberer.drain();
    const { rows: head } = await database.query('select position from log_head');
    for (let look = 0; look < 3000; look++) {
      const { rows } = await database.query("select position from log_subscribers where name = 'reader'");
      if (rows[0]?.position >= head[0].position) break;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  } finally {
    for (const reader of readers) reader.kill('SIGKILL');
  }
  const { rows } = await database.query(
    'select count(*)::int as seen, count(distinct (batch_id, seq))::int as once, count(distinct pid)::int as readers from seen',
  );
  expect(rows[0]).toMatchObject({ seen: total, once: total });
  expect(rows[0].readers).toBeGreaterThan(1);
  const unordered = await database.query(
    'select from (select seq, lag(seq, 1, -1) over (partition by batch_id order by turn) as before from seen) s where seq <> before + 1',
  );
  expect(unordered.rowCount).toBe(0);
});

test('long facts are handed over by few, from one batch as from many', async () => {
  const text = 'long '.repeat(100_000);
  const facts = (count: number) =>
    Array.from({ length: count }, () => ({
      type: 'test.happened',
      applicationId: 'a',
      payload: { index: nextIndex++, text },
    }));
  const first = nextIndex;
  await database.transaction((tx) => appendFacts(tx, facts(40)));
  for (let batch = 0; batch < 20; batch++) await database.transaction((tx) => appendFacts(tx, facts(1)));
  await database.transaction((tx) => appendFacts(tx, facts(100)));
  await numberer.drain();
  let most = 0;
  const subscriber = subscribe(async (tx, given) => {
    most = Math.max(most, given.length);
    await note(tx, given);
  });
  await subscriber.drain();
  expect(await seenIndexes()).toEqual(Array.from({ length: 160 }, (_, index) => first + index));
  expect(most).toBeLessThan(40);
  expect(most).toBeGreaterThan(15);
});
