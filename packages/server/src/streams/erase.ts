import sql from 'sql-template-tag';
import type { Database } from '../platform/database.ts';
import { deleteRows } from '../platform/delete-rows.ts';

/** Deletes an application's streams with all that waits. */
export async function eraseStreams(database: Database, applicationId: string): Promise<void> {
  // First nobody adds to the queues any more; what was added in between goes with its stream.
  await database.query(sql`update streams set state = 'disabled', state_reason = 'The application is deleted'
    where application_id = ${applicationId}`);
  for (const table of ['stream_slices', 'stream_dead_letters', 'streams']) {
    await deleteRows(database, table, 'application_id', applicationId);
  }
}
