// A worker of its own process, to be killed in the middle of a job: node tests/support/job-worker.ts <database URL>
import { systemClock } from '../../packages/server/src/platform/clock.ts';
import { openDatabase } from '../../packages/server/src/platform/database.ts';
import { startJobs } from '../../packages/server/src/platform/jobs.ts';
import { silentLog } from '../../packages/server/src/platform/log.ts';
import { registerWorker } from '../../packages/server/src/platform/workers.ts';

const database = openDatabase({ url: process.argv[2]!, maxConnections: 5, applicationName: 'job-worker' });
const log = silentLog;
const worker = await registerWorker({ database, log, clock: systemClock, role: 'worker' });
startJobs({
  database,
  log,
  workerId: worker.id,
  concurrency: 1,
  jobs: [
    {
      name: 'carry',
      description: 'Says so and never ends.',
      async run() {
        console.log(`running as ${worker.id}`);
        await new Promise(() => setInterval(() => undefined, 60_000));
      },
    },
  ],
});
