import type { Database } from '../platform/database.ts';
import { deleteRows } from '../platform/delete-rows.ts';

/** Deletes an application's facts. Batches keep their count, so readers of the log pass over what is gone. */
export async function eraseFacts(database: Database, applicationId: string): Promise<void> {
  for (const table of ['events', 'log_parked_facts']) {
    await deleteRows(database, table, 'application_id', applicationId);
  }
}
