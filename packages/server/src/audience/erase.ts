import type { Database } from '../platform/database.ts';

/** Rows that one statement deletes: few enough that others wait only briefly. */
const chunkRows = 10_000;

/**
 * Every table of this room. Jobs come first: a running import finds its row gone with its next chunk, rolls that
 * back and ends.
 */
const tables = [
  'import_jobs',
  'export_jobs',
  'event_imports',
  'import_failures',
  'segment_endpoints',
  'segment_users',
  'segment_versions',
  'segments',
  'imported_events',
  'event_names',
  'suppressions',
  'endpoint_activity',
  'endpoints',
  'users',
];

/** Deletes all of an application's audience, in chunks; when it breaks off, calling it again goes on. */
export async function eraseAudience(database: Database, applicationId: string): Promise<void> {
  for (const table of tables) {
    for (;;) {
      const { rowCount } = await database.query(
        `delete from ${table} where ctid = any(array(
          select ctid from ${table} where application_id = $1 limit ${chunkRows} for update))`,
        [applicationId],
      );
      if ((rowCount ?? 0) < chunkRows) break;
    }
  }
}
