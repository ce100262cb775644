import sql from 'sql-template-tag';
import type { Database } from '../platform/database.ts';
import { deleteRows } from '../platform/delete-rows.ts';

/** Tables with an application's rows, beside the dispatches, which go first: a running one makes rows of these. */
const tables = ['send_windows', 'retries', 'messages', 'inbox', 'endpoint_sends'];

/** Deletes all that was said to an application's people, in chunks; when it breaks off, calling it again goes on. */
export async function eraseMessaging(database: Database, applicationId: string): Promise<void> {
  await database.query(sql`
    delete from dispatch_chunks where dispatch_id in (select id from dispatches where application_id = ${applicationId})`);
  await database.query(sql`
    delete from campaign_sends where campaign_id in (
      select distinct campaign_id from dispatches where application_id = ${applicationId} and campaign_id is not null)`);
  await database.query(sql`delete from dispatches where application_id = ${applicationId}`);
  for (const table of tables) await deleteRows(database, table, 'application_id', applicationId);
}
