import { jobList } from '../jobs.ts';
import { type JobRunner, startJobs } from '../platform/jobs.ts';
import { registerWorker, type WorkerRegistration } from '../platform/workers.ts';
import { startHttpServer } from './http-server.ts';
import type { ProcessContext, Role } from './process.ts';
import { createStatusHandler } from './status.ts';

/** The role that works in the background: jobs, and whatever else has to go on without a request. */
export function createWorkerRole(context: ProcessContext): Role {
  const { config, database, log, clock } = context;
  const server = startHttpServer({
    port: config.metricsPort ?? 0,
    host: config.metricsPort === undefined ? '127.0.0.1' : undefined,
    handlers: [createStatusHandler(context, () => [])],
    log,
  });
  let registration: WorkerRegistration | undefined;
  let jobs: JobRunner | undefined;
  const start = async () => {
    const port = await server.listening;
    registration = await registerWorker({ database, log, clock, role: 'worker' });
    const { id: workerId } = registration;
    jobs = startJobs({ database, log, workerId, concurrency: config.jobConcurrency, jobs: jobList(context) });
    return { port };
  };
  return {
    ready: start(),
    async drain() {
      await jobs?.stop();
      // Last: until here others must not take over.
      await registration?.stop();
      await server.drain();
    },
  };
}
