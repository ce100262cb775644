import { spawn } from 'node:child_process';
import { afterAll, describe, expect, test } from 'vitest';
import { testDatabase } from '../../../../tests/support/database.ts';
import { waitFor } from '../../../../tests/support/processes.ts';
import { systemClock } from './clock.ts';
import { defineJobs, enqueue, type JobDefinition, startJobs } from './jobs.ts';
import { silentLog } from './log.ts';
import { registerWorker, releaseDeadWorkers } from './workers.ts';

const database = await testDatabase();
const log = silentLog;
const stops: (() => Promise<void>)[] = [];
afterAll(async () => {
  for (const stop of stops.reverse()) await stop();
});

async function startWorker(jobs: JobDefinition[], deadAfterMs?: number) {
  const worker = await registerWorker({
    database,
    log,
    clock: systemClock,
    role: 'worker',
    heartbeatMs: 50,
    deadAfterMs,
  });
  const runner = startJobs({ database, log, workerId: worker.id, concurrency: 2, jobs });
  const stop = async () => {
    await runner.stop();
    await worker.stop();
  };
  stops.push(stop);
  return { id: worker.id, stop };
}

describe('jobs', () => {
  test('run with their payload, and those that wait under one key run once', async () => {
    const runs: unknown[] = [];
    await enqueue(database, 'greet', { name: 'first' }, { key: 'greet' });
    await enqueue(database, 'greet', { name: 'second' }, { key: 'greet' });
    await enqueue(database, 'greet', { name: 'later' }, { runAt: new Date(Date.now() + 3_600_000) });
    const { stop } = await startWorker([
      {
        name: 'greet',
        description: 'Greets.',
        async run(payload, { attempt, isLastAttempt }) {
          runs.push([payload, attempt, isLastAttempt]);
        },
      },
    ]);
    await waitFor('the job', () => runs.length > 0);
    await stop();
    expect(runs).toEqual([[{ name: 'second' }, 1, false]]);
  });

  test('that should run at the start do, and a failing one is tried again later', async () => {
    let runs = 0;
    const { stop } = await startWorker([
      {
        name: 'tidy',
        description: 'Fails.',
        atStart: true,
        cron: '0 * * * *',
        async run() {
          runs += 1;
          throw new Error('not today');
        },
      },
    ]);
    await waitFor('the failure', async () => {
      const { rows } = await database.query(
        `select attempts, run_at > now() as later from graphile_worker.jobs where last_error ~ 'not today' and locked_by is null`,
      );
      return rows[0]?.attempts === 1 && rows[0].later;
    });
    await stop();
    expect(runs).toBe(1);
  });

  test('that are running when the worker drains are waited for', async () => {
    let ended = false;
    let started = false;
    await enqueue(database, 'long');
    const { id, stop } = await startWorker([
      {
        name: 'long',
        description: 'Takes a while.',
        async run() {
          started = true;
          await new Promise((resolve) => setTimeout(resolve, 200));
          ended = true;
        },
      },
    ]);
    await waitFor('the job to begin', () => started);
    await stop();
    expect(ended).toBe(true);
    const { rows } = await database.query('select from workers where id = $1', [id]);
    expect(rows).toEqual([]);
  });

  test('have proper, different names', () => {
    const job = { description: '', run: async () => undefined };
    expect(() =>
      defineJobs([
        { name: 'a', ...job },
        { name: 'a', ...job },
      ]),
    ).toThrow('Two jobs are called a');
    expect(() => defineJobs([{ name: 'Bad name', ...job }])).toThrow('is not a name');
  });
});

describe('a worker that is killed', () => {
  test('in a job is forgotten, and another one runs the job again', async () => {
    const victim = spawn(
      process.execPath,
      [new URL('../../../../tests/support/job-worker.ts', import.meta.url).pathname, database.url],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    await enqueue(database, 'carry', { load: 1 }, { queue: 'carriage' });
    const output = await new Promise<string>((resolve) => {
      victim.stdout.once('data', (data: Buffer) => resolve(data.toString()));
    });
    const victimId = /running as (\S+)/.exec(output)?.[1];
    const { rows: locks } = await database.query(
      `select locked_by from graphile_worker.jobs where task_identifier = 'carry'`,
    );
    expect(locks).toEqual([{ locked_by: victimId }]);
    victim.kill('SIGKILL');

    const runs: unknown[] = [];
    const { id } = await startWorker(
      [
        {
          name: 'carry',
          description: 'Carries.',
          async run(payload, { attempt }) {
            runs.push([payload, attempt]);
          },
        },
      ],
      1_000,
    );
    await waitFor('the takeover', () => runs.length > 0);
    expect(runs).toEqual([[{ load: 1 }, 2]]);
    const { rows } = await database.query('select id from workers');
    expect(rows).toEqual([{ id }]);
  });

  test('is not confused with one that lives', async () => {
    const worker = await registerWorker({ database, log, clock: systemClock, role: 'worker' });
    stops.push(() => worker.stop());
    await releaseDeadWorkers(database, 30_000);
    const { rows } = await database.query('select id from workers where id = $1', [worker.id]);
    expect(rows).toHaveLength(1);
  });
});
