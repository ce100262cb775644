import { EventEmitter } from 'node:events';
import {
  type JobHelpers,
  Logger,
  parseCronItems,
  type Runner,
  run,
  runMigrations,
  type TaskList,
  type WorkerEvents,
} from 'graphile-worker';
import type { Database, Queryable } from './database.ts';
import type { Log } from './log.ts';

/** A kind of background work. `jobs.ts` of the program lists them all. */
export interface JobDefinition {
  name: string;
  /** One sentence for the operator. */
  description: string;
  /** When it runs by itself: minute, hour, day, month, weekday, in UTC. */
  cron?: string;
  /** Also once when a worker starts. */
  atStart?: boolean;
  /**
   * May run again at any time (after a crash, or beside a worker that was taken for dead), so its truth and its
   * leases are in rows of its own. Throwing schedules another attempt with growing delays.
   */
  run(payload: unknown, context: JobContext): Promise<void>;
}

export interface JobContext {
  log: Log;
  /** Aborts when the process drains: leave off at the next safe point and throw. */
  signal: AbortSignal;
  /** 1 for the first. */
  attempt: number;
  /** No further attempt follows when this one throws. */
  isLastAttempt: boolean;
}

/** Checks the names of a list of jobs, so that a mistake shows at the start and not when the job is due. */
export function defineJobs(jobs: JobDefinition[]): JobDefinition[] {
  const names = new Set<string>();
  for (const { name } of jobs) {
    if (!/^[a-z][a-z0-9-]*$/.test(name)) throw new Error(`"${name}" is not a name for a job`);
    if (names.has(name)) throw new Error(`Two jobs are called ${name}`);
    names.add(name);
  }
  return jobs;
}

export interface EnqueueOptions {
  /** A job that waits under the same key is replaced, so that many wake-ups make one run. */
  key?: string;
  /** Not before this time. */
  runAt?: Date;
  /** Jobs of one queue run one after the other. Few names only. */
  queue?: string;
  maxAttempts?: number;
}

/**
 * Adds a job. Not inside a transaction that is written for each request: the notification serialises commits
 * (ARCHITECTURE.md, decision 3). Commit first, then enqueue, and let the job find its work in rows.
 */
export async function enqueue(
  database: Queryable,
  name: string,
  payload: Record<string, unknown> = {},
  options: EnqueueOptions = {},
): Promise<void> {
  await database.query(
    `select from graphile_worker.add_job($1, payload => $2::json, queue_name => $3, run_at => $4,
       max_attempts => $5, job_key => $6)`,
    [
      name,
      JSON.stringify(payload),
      options.queue ?? null,
      options.runAt ?? null,
      options.maxAttempts ?? null,
      options.key ?? null,
    ],
  );
}

/** Brings the tables of the job queue up to date. */
export async function migrateJobs(database: Database, log: Log): Promise<void> {
  await runMigrations({ pgPool: database.pool, logger: graphileLogger(log) });
}

export interface JobRunner {
  /** Takes no further job and waits for the running ones; after 10 seconds their signal aborts. */
  stop(): Promise<void>;
}

/** Runs jobs until `stop()`. A runner that gives up (database away for long) is started again. */
export function startJobs(options: {
  database: Database;
  log: Log;
  workerId: string;
  concurrency: number;
  jobs: JobDefinition[];
}): JobRunner {
  const { log } = options;
  let runner: Runner | undefined;
  const stopping = new AbortController();
  const loop = async () => {
    for (let failures = 0; !stopping.signal.aborted; ) {
      try {
        runner = await startRunner(options);
        if (stopping.signal.aborted) await runner.stop();
        failures = 0;
        await runner.promise;
      } catch (error) {
        log.error({ err: error }, 'the job runner stopped');
      }
      failures += 1;
      await pause(Math.min(10_000, 500 * 2 ** failures), stopping.signal);
    }
  };
  const finished = loop();
  return {
    async stop() {
      stopping.abort();
      // Rejects when the runner has just stopped by itself, which is what is wanted.
      await runner?.stop().catch((error) => log.debug({ err: error }, 'the job runner had stopped'));
      await finished;
    },
  };
}

async function startRunner(options: {
  database: Database;
  log: Log;
  workerId: string;
  concurrency: number;
  jobs: JobDefinition[];
}): Promise<Runner> {
  const { database, log, jobs } = options;
  // A runner that gave up may have left jobs locked whose end it could not write; none of them runs any more.
  await database.query('select graphile_worker.force_unlock_workers($1)', [[options.workerId]]);
  const events: WorkerEvents = new EventEmitter();
  // Locks carry the id under which this process is registered, so that others see whose they are.
  events.on('pool:create', ({ workerPool }) => {
    workerPool.id = options.workerId;
  });
  const taskList: TaskList = Object.fromEntries(
    jobs.map((job) => [job.name, (payload, helpers) => runJob(job, payload, helpers, log)]),
  );
  const runner = await run({
    pgPool: database.pool,
    concurrency: options.concurrency,
    taskList,
    parsedCronItems: parseCronItems(
      jobs.flatMap(({ name, cron }) =>
        cron ? [{ task: name, match: cron, options: { jobKey: `cron-${name}` } }] : [],
      ),
    ),
    events,
    logger: graphileLogger(log),
    noHandleSignals: true,
    pollInterval: 2_000,
    gracefulShutdownAbortTimeout: 10_000,
    // With these, an end of a job that cannot be written (database away) stops the runner, which startJobs handles;
    // without, it is an unhandled rejection.
    preset: { worker: { completeJobBatchDelay: 0, failJobBatchDelay: 0 } },
  });
  for (const { name, atStart } of jobs)
    if (atStart) await enqueue(database, name, {}, { key: `start-${name}` });
  return runner;
}

async function runJob(job: JobDefinition, payload: unknown, helpers: JobHelpers, log: Log): Promise<void> {
  const { id, attempts, max_attempts: maxAttempts } = helpers.job;
  await job.run(payload, {
    log: log.child({ job: job.name, jobId: id }),
    signal: helpers.abortSignal,
    attempt: attempts,
    isLastAttempt: attempts >= maxAttempts,
  });
}

function pause(delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, delayMs);
    if (signal.aborted) done();
    else signal.addEventListener('abort', done);
  });
}

/** The queue's own messages; its "info" is about every single job. */
function graphileLogger(log: Log): Logger {
  const levels = { error: 'error', warning: 'warn', info: 'debug', debug: 'trace' } as const;
  return new Logger(() => (level, message) => log[levels[level]]({ component: 'jobs' }, message));
}
