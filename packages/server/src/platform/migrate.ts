import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { Database } from './database.ts';

const folder = fileURLToPath(new URL('../../migrations/', import.meta.url));

/** Any constant will do; this one is ours, so that two starting servers migrate one after the other. */
const migrationLock = 7_266_501_893;

/** The database was written by a newer Postrider than this one: nothing is touched. */
export class NewerSchemaError extends Error {}

interface Migration {
  version: number;
  name: string;
}

async function listMigrations(): Promise<Migration[]> {
  const files = (await readdir(folder)).filter((file) => /^\d{4}-[a-z0-9-]+\.sql$/.test(file)).sort();
  return files.map((name) => ({ version: Number(name.slice(0, 4)), name }));
}

/** The newest schema version that this program knows. */
export async function programSchemaVersion(): Promise<number> {
  return (await listMigrations()).at(-1)?.version ?? 0;
}

/**
 * Brings the database to this program's schema, each migration in a transaction of its own, all under one
 * advisory lock. Returns the names of those that ran.
 * @throws NewerSchemaError when the database has a migration that this program does not know.
 */
export async function migrate(database: Database): Promise<string[]> {
  const migrations = await listMigrations();
  const newest = migrations.at(-1)?.version ?? 0;
  const client = await database.connect();
  try {
    await client.query('select pg_advisory_lock($1)', [migrationLock]);
    await client.query(
      'create table if not exists schema_migrations (version int primary key, name text not null, applied_at timestamptz not null default now())',
    );
    const { rows } = await client.query<{ version: number }>('select version from schema_migrations');
    const applied = new Set(rows.map((row) => row.version));
    const unknown = Math.max(0, ...applied);
    if (unknown > newest) {
      throw new NewerSchemaError(
        `The database has schema version ${unknown}, this Postrider knows versions up to ${newest}. Start the newer Postrider that wrote it, or restore a backup.`,
      );
    }
    const ran: string[] = [];
    for (const migration of migrations) {
      if (applied.has(migration.version)) continue;
      const text = await readFile(`${folder}${migration.name}`, 'utf8');
      await client.query('begin');
      try {
        await client.query(text);
        await client.query('insert into schema_migrations (version, name) values ($1, $2)', [
          migration.version,
          migration.name,
        ]);
        await client.query('commit');
      } catch (error) {
        await client.query('rollback');
        throw error;
      }
      ran.push(migration.name);
    }
    return ran;
  } finally {
    await client.query('select pg_advisory_unlock($1)', [migrationLock]).catch(() => undefined);
    client.release();
  }
}
