import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { openDatabase } from '../../packages/server/src/platform/database.ts';
import { migrateJobs } from '../../packages/server/src/platform/jobs.ts';
import { silentLog } from '../../packages/server/src/platform/log.ts';
import { migrate } from '../../packages/server/src/platform/migrate.ts';
import { startPostgres } from '../../packages/server/src/platform/postgres.ts';

declare module 'vitest' {
  interface ProvidedContext {
    postgresUrl: string;
  }
}

/**
 * One PostgreSQL for the whole run, with a migrated template from which each test file makes its database.
 * It does not fsync: what must survive a crash is tested on servers that the test itself starts.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const directory = await mkdtemp('/tmp/postrider-test-');
  // The server may run as another user, which must get through.
  await chmod(directory, 0o755);
  const server = await startPostgres({
    directory: join(directory, 'postgres'),
    settings: {
      fsync: 'off',
      synchronous_commit: 'off',
      full_page_writes: 'off',
      max_connections: '200',
      shared_buffers: '256MB',
    },
  }).catch((error) => rm(directory, { recursive: true, force: true }).then(() => Promise.reject(error)));
  const admin = openDatabase({ url: server.url('postgres'), maxConnections: 1, applicationName: 'tests' });
  await admin.query('create database template_postrider');
  await admin.close();
  const template = openDatabase({
    url: server.url('template_postrider'),
    maxConnections: 2,
    applicationName: 'tests',
  });
  await migrate(template);
  await migrateJobs(template, silentLog);
  await template.close();
  project.provide('postgresUrl', server.url('postgres'));
  return async () => {
    await server.stop();
    await rm(directory, { recursive: true, force: true });
  };
}
