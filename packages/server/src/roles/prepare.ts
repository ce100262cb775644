import { ensurePartitions } from '../events/index.ts';
import type { Database } from '../platform/database.ts';
import { checkDatabaseServer } from '../platform/database-check.ts';
import { migrateJobs } from '../platform/jobs.ts';
import type { Log } from '../platform/log.ts';
import { migrate } from '../platform/migrate.ts';

/** Checks the server and brings the schema up to date. Returns the migrations that ran. */
export async function prepareDatabase(database: Database, log: Log): Promise<string[]> {
  await checkDatabaseServer(database);
  const ran = await migrate(database);
  await migrateJobs(database, log);
  // Before anything is written: what goes to a default partition has to be moved later.
  await ensurePartitions(database);
  return ran;
}
