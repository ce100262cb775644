import type { Queryable } from './database.ts';

/**
 * Can Postrider work on this PostgreSQL? Looks at the version and the encoding.
 * @throws Error that says what to change.
 */
export async function checkDatabaseServer(database: Queryable): Promise<void> {
  const { rows } = await database.query<{ version: string; number: number; encoding: string }>(
    `select current_setting('server_version') as version, current_setting('server_version_num')::int as number,
       current_setting('server_encoding') as encoding`,
  );
  const { version, number, encoding } = rows[0]!;
  if (number < 150_000)
    throw new Error(
      `POSTRIDER_DATABASE_URL is a PostgreSQL ${version}; Postrider needs version 15 or newer.`,
    );
  if (encoding !== 'UTF8')
    throw new Error(
      `The database of POSTRIDER_DATABASE_URL has the encoding ${encoding}; Postrider needs one made with: create database … encoding 'UTF8' template template0`,
    );
}
