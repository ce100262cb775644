import type { Database } from './database.ts';
import { programSchemaVersion } from './migrate.ts';

export interface Readiness {
  ready: boolean;
  /** `ok`, or what is wrong, for each thing that is needed to serve requests. */
  checks: Record<string, string>;
}

/** Can this process serve: does the database answer, and has it the schema of this program? */
export async function checkReadiness(database: Database, timeoutMs = 2_000): Promise<Readiness> {
  const expected = await programSchemaVersion();
  let timer: NodeJS.Timeout | undefined;
  const expired = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
  });
  try {
    const query = database.query<{ version: number | null }>(
      'select max(version) as version from schema_migrations',
    );
    const { rows } = await Promise.race([query, expired]);
    const version = rows[0]?.version ?? 0;
    const migrated = version === expected;
    return {
      ready: migrated,
      checks: {
        database: 'ok',
        migrations: migrated ? 'ok' : `the database has version ${version}, this program ${expected}`,
      },
    };
  } catch (error) {
    return { ready: false, checks: { database: (error as Error).message, migrations: 'unknown' } };
  } finally {
    clearTimeout(timer);
  }
}
