import { hostname } from 'node:os';
import type { Clock } from './clock.ts';
import { type Database, isConnectionError, type Queryable } from './database.ts';
import { uuidv7 } from './ids.ts';
import type { Log } from './log.ts';

/** A process that does background work is seen every 5 seconds; after 30 without a sign the others take over. */
export const heartbeatMs = 5_000;
export const deadAfterMs = 30_000;

/** A row of `workers` that stays fresh as long as this process lives. */
export interface WorkerRegistration {
  /** What leases and locks of this process carry. */
  readonly id: string;
  /** Removes the row, so that nobody waits for this process. */
  stop(): Promise<void>;
}

interface RegistrationOptions {
  database: Database;
  log: Log;
  clock: Clock;
  role: string;
  /** A UUID that nobody else uses; made when absent. */
  id?: string;
  /** For tests. */
  heartbeatMs?: number;
  deadAfterMs?: number;
}

/**
 * Registers this process as a worker, keeps the registration fresh, and takes over from workers that died.
 * A worker that was only paused registers again, under the same id.
 */
export async function registerWorker(options: RegistrationOptions): Promise<WorkerRegistration> {
  const { database, log, clock, role } = options;
  const interval = options.heartbeatMs ?? heartbeatMs;
  const deadAfter = options.deadAfterMs ?? deadAfterMs;
  const id = options.id ?? uuidv7(clock.now());
  await beat(database, id, role);
  let beating: Promise<void> = Promise.resolve();
  let lastBeat = clock.now();
  const tick = async () => {
    // After a pause of the whole machine the others look dead as well, until they have beaten once.
    const paused = clock.now() - lastBeat > 3 * interval;
    try {
      await beat(database, id, role);
      lastBeat = clock.now();
      if (paused) return;
      const { workers, jobs } = await releaseDeadWorkers(database, deadAfter);
      if (workers > 0 || jobs > 0) log.warn({ workers, jobs }, 'took over from workers that died');
    } catch (error) {
      const level = isConnectionError(error) ? 'warn' : 'error';
      log[level]({ err: error }, 'worker heartbeat failed; trying again');
    }
  };
  let running = false;
  const timer = setInterval(() => {
    if (running) return;
    running = true;
    beating = tick().finally(() => {
      running = false;
    });
  }, interval);
  return {
    id,
    async stop() {
      clearInterval(timer);
      await beating;
      await forgetWorkers(database, [id]);
    },
  };
}

async function beat(database: Queryable, id: string, role: string): Promise<void> {
  await database.query(
    `insert into workers (id, role, host, pid) values ($1, $2, $3, $4)
     on conflict (id) do update set seen_at = now()`,
    [id, role, hostname(), process.pid],
  );
}

/**
 * Forgets workers that were not seen for `deadAfter` milliseconds and gives their background jobs free. What they
 * leased in tables of other rooms is free as soon as their row is gone. Returns how many of each there were.
 */
export async function releaseDeadWorkers(
  database: Database,
  deadAfter: number,
): Promise<{ workers: number; jobs: number }> {
  return database.transaction(async (tx) => {
    const dead = await tx.query(
      `delete from workers where id in (
         select id from workers where seen_at < now() - $1 * interval '1 ms' for update skip locked
       )`,
      [deadAfter],
    );
    // Also locks of workers whose row somebody else removed. A lock is younger than its worker's last beat only for
    // as long as a heartbeat, so nothing of a living worker is touched.
    const { rows } = await tx.query<{ owner: string; jobs: number }>(
      `select locked_by as owner, count(*) as jobs from graphile_worker.jobs
       where locked_by is not null and locked_at < now() - $1 * interval '1 ms'
         and locked_by not in (select id::text from workers)
       group by locked_by`,
      [deadAfter],
    );
    if (rows.length > 0)
      await tx.query('select graphile_worker.force_unlock_workers($1)', [rows.map((row) => row.owner)]);
    return { workers: dead.rowCount ?? 0, jobs: rows.reduce((sum, row) => sum + row.jobs, 0) };
  });
}

/** These workers ended for certain: what they held is free at once, without waiting for their heartbeats to grow old. */
export async function forgetWorkers(database: Database, ids: readonly string[]): Promise<void> {
  await database.query('select graphile_worker.force_unlock_workers($1)', [ids]);
  await database.query('delete from workers where id = any($1)', [ids]);
}

/** Nothing else can be running on this database (it is embedded and was just started): every worker is forgotten. */
export async function forgetAllWorkers(database: Database): Promise<void> {
  await releaseDeadWorkers(database, 0);
}
