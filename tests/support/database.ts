import { randomBytes } from 'node:crypto';
import { afterAll, inject } from 'vitest';
import { type Database, openDatabase } from '../../packages/server/src/platform/database.ts';

/**
 * A database of its own for the calling test file, migrated and empty, dropped after its last test.
 * Call it at the top of a `describe` or in `beforeAll`.
 */
export async function testDatabase(maxConnections = 10): Promise<Database & { url: string }> {
  const postgresUrl = inject('postgresUrl');
  const name = `test_${randomBytes(6).toString('hex')}`;
  await asAdmin(postgresUrl, `create database ${name} template template_postrider`);
  const url = postgresUrl.replace('/postgres?', `/${name}?`);
  const database = openDatabase({ url, maxConnections, applicationName: 'tests' });
  afterAll(async () => {
    await database.close();
    await asAdmin(postgresUrl, `drop database if exists ${name} with (force)`);
  });
  return { ...database, url };
}

async function asAdmin(postgresUrl: string, statement: string): Promise<void> {
  const admin = openDatabase({ url: postgresUrl, maxConnections: 1, applicationName: 'tests' });
  try {
    await admin.query(statement);
  } finally {
    await admin.close();
  }
}
