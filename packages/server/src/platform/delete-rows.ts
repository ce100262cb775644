import type { Database } from './database.ts';

/** Rows that one statement deletes: few enough that others wait only briefly. */
const chunkRows = 10_000;

/**
 * Deletes all rows of a table (or of each of its partitions) whose `column` is `value`, in chunks; when it breaks off,
 * calling it again goes on. `table` and `column` are names of this program's schema, never a user's words.
 */
export async function deleteRows(
  database: Database,
  table: string,
  column: string,
  value: string,
): Promise<void> {
  const { rows } = await database.query<{ name: string }>(
    `select coalesce(inhrelid, oid)::regclass::text as name from pg_class left join pg_inherits on inhparent = oid
     where oid = $1::regclass`,
    [table],
  );
  for (const { name } of rows) {
    for (;;) {
      const { rowCount } = await database.query(
        `delete from ${name} where ctid = any(array(
           select ctid from ${name} where ${column} = $1 limit ${chunkRows} for update))`,
        [value],
      );
      if ((rowCount ?? 0) < chunkRows) break;
    }
  }
}
