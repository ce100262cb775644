import { existsSync } from 'node:fs';
import { type Config, readConfig } from '../platform/config.ts';
import { checkReadiness } from '../platform/health.ts';
import { isDirectoryLocked, lockDirectory } from '../platform/lock.ts';
import { embeddedDirectory, ensureDatabase, runningServerUrl, startPostgres } from '../platform/postgres.ts';
import { loadMasterKey } from '../platform/secrets.ts';
import { prepareDatabase } from '../roles/prepare.ts';
import { openProcess, type ProcessContext } from '../roles/process.ts';

/**
 * Runs a command on the database of this installation: the external one, that of a Postrider which runs on the data
 * directory, or the embedded one, started for the command.
 */
export async function withProcess<T>(
  env: NodeJS.ProcessEnv,
  work: (context: ProcessContext) => Promise<T>,
): Promise<T> {
  const config = readConfig(env);
  if (config.databaseUrl) return onDatabase(config, config.databaseUrl, work);
  const directory = embeddedDirectory(config.dataDir);
  // A command never makes an installation: that would hide a wrong folder.
  if (!existsSync(directory))
    throw new Error(
      `There is no Postrider in ${config.dataDir}: start it there first, or say where it is by POSTRIDER_DATA_DIR or POSTRIDER_DATABASE_URL`,
    );
  if (isDirectoryLocked(config.dataDir)) {
    const url = await runningServerUrl(directory, 'postrider');
    if (!url) throw new Error(`The Postrider on ${config.dataDir} is just starting or stopping; try again`);
    return onDatabase(config, url, work);
  }
  const lock = lockDirectory(config.dataDir);
  try {
    const server = await startPostgres({ directory });
    try {
      await ensureDatabase(server, 'postrider');
      return await onDatabase(config, server.url('postrider'), work);
    } finally {
      await server.stop();
    }
  } finally {
    lock.release();
  }
}

async function onDatabase<T>(
  config: Config,
  databaseUrl: string,
  work: (context: ProcessContext) => Promise<T>,
): Promise<T> {
  const context = openProcess('command', config, { databaseUrl, masterKey: await loadMasterKey(config) });
  try {
    return await work(context);
  } finally {
    await context.database.close();
  }
}

/** For commands that read and write: the schema has to be this program's; a running server is not migrated under. */
export async function withMigrated<T>(
  env: NodeJS.ProcessEnv,
  work: (context: ProcessContext) => Promise<T>,
): Promise<T> {
  return withProcess(env, async (context) => {
    const { rows } = await context.database.query("select to_regclass('schema_migrations') as found");
    if (!rows[0].found) await prepareDatabase(context.database, context.log);
    const { ready, checks } = await checkReadiness(context.database);
    if (!ready)
      throw new Error(`${Object.values(checks).join('; ')} (postrider migrate brings it up to date)`);
    return work(context);
  });
}
