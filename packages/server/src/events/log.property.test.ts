import fc from 'fast-check';
import type pg from 'pg';
import { afterAll, expect, test } from 'vitest';
import { testDatabase } from '../../../../tests/support/database.ts';
import { isConnectionError, openDatabase } from '../platform/database.ts';
import { silentLog } from '../platform/log.ts';
import { appendFacts } from './append.ts';
import { createNumberer } from './numberer.ts';
import { createSubscriber, type FactHandler } from './subscriber.ts';

const database = await testDatabase(20);
await database.query(
  'create table seen (turn bigint generated always as identity, reader text, batch_id uuid, seq int)',
);

const processes = [0, 1].map(() =>
  openDatabase({ url: database.url, maxConnections: 3, applicationName: 'process' }),
);
afterAll(() => Promise.all(processes.map((process) => process.close())));

/**
 * One step of a schedule. Writers keep their transaction open until their own commit or abort, so any number of others
 * append, are numbered and read in between: the writer that sleeps for ten minutes, without the ten minutes.
 */
type Step =
  | { step: 'append'; writer: number; facts: number }
  | { step: 'commit' | 'abort' | 'kill'; writer: number }
  | { step: 'number'; numberers: number[] }
  | { step: 'read'; readers: number[]; crash: boolean };

const writer = fc.nat({ max: 5 });
const some = fc.subarray([0, 1], { minLength: 1 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      step: fc.constant('append' as const),
      writer,
      facts: fc.integer({ min: 1, max: 25 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ step: fc.constant('commit' as const), writer }) },
  { weight: 1, arbitrary: fc.record({ step: fc.constantFrom('abort' as const, 'kill' as const), writer }) },
  { weight: 3, arbitrary: fc.record({ step: fc.constant('number' as const), numberers: some }) },
  {
    weight: 3,
    arbitrary: fc.record({ step: fc.constant('read' as const), readers: some, crash: fc.boolean() }),
  },
);

/** A killed connection also says so by an event. */
const ignore = () => undefined;

interface OpenWriter {
  client: pg.PoolClient;
  batches: Map<string, number>;
}

class Run {
  readonly open = new Map<number, OpenWriter>();
  readonly committed = new Map<string, number>();
  crashNext = false;
  readonly numberers = processes.map((process) => createNumberer({ database: process, log: silentLog }));
  readonly readers = processes.map((process) =>
    createSubscriber({
      database: process,
      log: silentLog,
      name: 'reader',
      handle: this.handler(),
      maxFacts: 7,
    }),
  );

  handler(): FactHandler {
    return async (tx, facts) => {
      for (const fact of facts) {
        await tx.query('insert into seen (reader, batch_id, seq) values ($1, $2, $3)', [
          'reader',
          fact.batchId,
          fact.seq,
        ]);
      }
      if (this.crashNext) {
        this.crashNext = false;
        // Between the effect and the commit the process is gone.
        await tx.query('select pg_terminate_backend(pg_backend_pid())');
      }
    };
  }

  async perform(step: Step): Promise<void> {
    switch (step.step) {
      case 'append':
        return await this.append(step.writer, step.facts);
      case 'commit':
      case 'abort':
      case 'kill':
        return await this.end(step.writer, step.step);
      case 'number':
        await Promise.all(step.numberers.map((index) => this.numberers[index]!.drain()));
        return;
      case 'read':
        this.crashNext = step.crash;
        await Promise.all(
          step.readers.map((index) =>
            this.readers[index]!.drain().catch((error) => {
              if (!isConnectionError(error)) throw error;
            }),
          ),
        );
        this.crashNext = false;
    }
  }

  async append(writer: number, count: number): Promise<void> {
    let open = this.open.get(writer);
    if (!open) {
      open = { client: await database.connect(), batches: new Map() };
      open.client.on('error', ignore);
      await open.client.query('begin');
      this.open.set(writer, open);
    }
    const facts = Array.from({ length: count }, (_, index) => ({
      type: 'test.happened',
      applicationId: `writer-${writer}`,
      payload: { index },
    }));
    const [batchId] = await appendFacts(open.client, facts);
    open.batches.set(batchId!, count);
  }

  async end(writer: number, how: 'commit' | 'abort' | 'kill'): Promise<void> {
    const open = this.open.get(writer);
    if (!open) return;
    this.open.delete(writer);
    if (how === 'kill') {
      await open.client.query('select pg_terminate_backend(pg_backend_pid())').catch(() => undefined);
      open.client.release(new Error('killed'));
      return;
    }
    await open.client.query(how === 'commit' ? 'commit' : 'rollback');
    open.client.off('error', ignore);
    open.client.release();
    if (how === 'commit') for (const [batchId, facts] of open.batches) this.committed.set(batchId, facts);
  }

  /** The sleepers wake up and commit, after everything else was numbered and read. */
  async finish(): Promise<void> {
    await this.perform({ step: 'number', numberers: [0, 1] });
    await this.perform({ step: 'read', readers: [0, 1], crash: false });
    for (const writer of [...this.open.keys()]) await this.end(writer, 'commit');
    await this.perform({ step: 'number', numberers: [1, 0] });
    await this.readers[0]!.drain();
  }

  async clear(): Promise<void> {
    for (const writer of [...this.open.keys()]) await this.end(writer, 'abort');
  }
}

async function empty(): Promise<void> {
  for (const table of ['events', 'event_batches', 'event_batches_unnumbered', 'log_subscribers', 'seen']) {
    await database.query(`delete from ${table}`);
  }
}

test('every committed fact is seen exactly once and in the order of its batch, whatever the order of commits', async () => {
  const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 0x7fffffff));
  console.info(`log property test: SEED=${seed}`);
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
      await empty();
      const run = new Run();
      try {
        for (const one of steps) await run.perform(one);
        await run.finish();
      } finally {
        await run.clear();
      }
      const { rows } = await database.query('select batch_id, seq from seen order by turn');
      const seen = new Map<string, number[]>();
      for (const row of rows) seen.set(row.batch_id, [...(seen.get(row.batch_id) ?? []), row.seq]);
      const expected = [...run.committed].map(([id, count]): [string, number[]] => [
        id,
        [...Array(count).keys()],
      ]);
      expect(new Map([...seen].sort())).toEqual(new Map(expected.sort()));
      // Positions have no gaps, and each batch has one.
      const positions = await database.query(
        'select position, batch_id from event_batches order by position',
      );
      const first = positions.rows[0]?.position ?? 1;
      expect(positions.rows.map((row) => row.position)).toEqual(
        positions.rows.map((_, index) => first + index),
      );
      expect(new Set(positions.rows.map((row) => row.batch_id))).toEqual(new Set(run.committed.keys()));
    }),
    { numRuns: 60, seed },
  );
}, 180_000);
