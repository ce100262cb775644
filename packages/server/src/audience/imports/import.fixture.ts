import { setTimeout as delay } from 'node:timers/promises';
import { systemClock } from '../../platform/clock.ts';
import { openDatabase } from '../../platform/database.ts';
import { silentLog } from '../../platform/log.ts';
import { createFolderObjects } from '../../platform/objects.ts';
import { runImportJob } from './run.ts';

/** A process that works on one import until it is done: what a test kills. Says `running` when it has begun to. */
const [url, folder, applicationId, jobId] = process.argv.slice(2) as [string, string, string, string];
const database = openDatabase({ url, maxConnections: 4, applicationName: 'import fixture' });
const dependencies = {
  database,
  objects: createFolderObjects(folder),
  log: silentLog,
  clock: systemClock,
  chunkRows: 100,
  leaseMs: 500,
};
console.log('running');
for (let attempt = 0; attempt < 200; attempt++) {
  const outcome = await runImportJob(dependencies, applicationId, jobId, new AbortController().signal);
  // The lease of the process that was killed has to run out first.
  if (outcome !== 'busy') break;
  await delay(50);
}
await database.close();
