import { createAccessKeys } from './accounts/index.ts';
import { warmCompileCache } from './platform/compile-cache.ts';
import { type Config, configWarnings, readConfig } from './platform/config.ts';
import { lockDirectory } from './platform/lock.ts';
import { createLog, type Log } from './platform/log.ts';
import {
  type EmbeddedPostgres,
  embeddedDirectory,
  ensureDatabase,
  startPostgres,
} from './platform/postgres.ts';
import { loadMasterKey } from './platform/secrets.ts';
import { forgetAllWorkers } from './platform/workers.ts';
import { prepareDatabase } from './roles/prepare.ts';
import { openProcess, roleNames } from './roles/process.ts';
import { type Supervisor, superviseRoles } from './roles/supervisor.ts';

/**
 * `postrider start` without `--role`: the database, then one process for each role, until a signal. Everything that
 * was begun is finished before the database stops.
 */
export async function start(env: NodeJS.ProcessEnv): Promise<void> {
  const config = readConfig(env);
  const log = createLog({ role: 'supervisor', level: config.logLevel });
  for (const warning of configWarnings(env)) log.warn(warning);
  const closing: (() => void | Promise<void>)[] = [];
  let supervisor: Supervisor | undefined;
  const stop = stopOnce(log, closing, () => supervisor);
  process.on('SIGINT', () => stop(0));
  process.on('SIGTERM', () => stop(0));
  process.on('SIGHUP', () => stop(0));
  try {
    const warm = warmCompileCache({ file: new URL('./main.ts', import.meta.url), args: ['warm'] }, env);
    const { databaseUrl, masterKey, embedded } = await openInstallation(config, log, closing, () => stop(1));
    const prepared = await prepareInstallation(config, { databaseUrl, masterKey }, embedded !== undefined);
    await warm;
    if (stop.begun()) return;
    supervisor = superviseRoles({
      roles: roleNames,
      env: { ...env, POSTRIDER_DATABASE_URL: databaseUrl, POSTRIDER_MASTER_KEY: masterKey.toString('hex') },
      log,
    });
    closing.push(() => supervisor?.drain());
    const ports = await supervisor.ready;
    announce(config, ports.api, embedded, prepared.firstKey);
    const { accessKeyId, secretAccessKey } = config;
    const key =
      prepared.firstKey ??
      (accessKeyId && secretAccessKey ? { id: accessKeyId, secret: secretAccessKey } : undefined);
    if (config.demo && embedded && prepared.isNew && key) {
      // What the roles note as information would only tear what the demo shows.
      if (config.logLevel === 'info') supervisor.setLogLevel('warn');
      await (await import('./demo/index.ts')).showDemo(config, ports.api, key, stop.begun);
      supervisor.setLogLevel(config.logLevel);
    }
  } catch (error) {
    // A signal during the start ends it as well; then that is no fault.
    if (stop.begun()) return;
    console.error(`postrider: ${error instanceof Error ? error.message : error}`);
    await stop(1);
  }
}

/**
 * Ends what was opened, in reverse. A second signal does not wait for the roles, unless it comes at once: Ctrl-C below
 * `npm start` arrives twice, from the terminal and from npm.
 */
function stopOnce(
  log: Log,
  closing: (() => void | Promise<void>)[],
  supervisor: () => Supervisor | undefined,
): ((code: number) => Promise<void>) & { begun(): boolean } {
  let begunAt: number | undefined;
  const stop = async (code: number) => {
    if (begunAt !== undefined) {
      if (performance.now() - begunAt > 1_000) supervisor()?.kill();
      return;
    }
    begunAt = performance.now();
    log.debug('stopping');
    for (let close = closing.pop(); close; close = closing.pop()) {
      try {
        await close();
      } catch (error) {
        log.error({ err: error }, 'a part did not stop cleanly');
        code = 1;
      }
    }
    log.debug('stopped');
    process.exit(code);
  };
  return Object.assign(stop, { begun: () => begunAt !== undefined });
}

/** The database (embedded unless a URL is given) and the master key. */
async function openInstallation(
  config: Config,
  log: Log,
  closing: (() => void | Promise<void>)[],
  onGiveUp: () => void,
): Promise<{ databaseUrl: string; masterKey: Buffer; embedded: EmbeddedPostgres | undefined }> {
  if (config.databaseUrl)
    return { databaseUrl: config.databaseUrl, masterKey: await loadMasterKey(config), embedded: undefined };
  const lock = lockDirectory(config.dataDir);
  closing.push(() => lock.release());
  const masterKey = await loadMasterKey(config);
  const starting = startPostgres({
    directory: embeddedDirectory(config.dataDir),
    log,
    onGiveUp: (error) => {
      log.fatal({ err: error }, 'the database cannot be kept running');
      onGiveUp();
    },
  });
  // Known before it runs: a signal while it starts has to stop it as well.
  closing.push(() =>
    starting.then(
      (server) => server.stop(),
      () => undefined,
    ),
  );
  const embedded = await starting;
  for (const notice of embedded.notices) log.info(notice);
  await ensureDatabase(embedded, 'postrider');
  return { databaseUrl: embedded.url('postrider'), masterKey, embedded };
}

interface Prepared {
  /** The access key, when one was made now. */
  firstKey: { id: string; secret: string } | undefined;
  /** Nothing was ever in this database. */
  isNew: boolean;
}

/** Schema and first access key. */
async function prepareInstallation(
  config: Config,
  shared: { databaseUrl: string; masterKey: Buffer },
  isEmbedded: boolean,
): Promise<Prepared> {
  const context = openProcess('command', config, shared);
  try {
    const ran = await prepareDatabase(context.database, context.log);
    // On an embedded database nobody else can be at work, so nothing waits for workers that were killed.
    if (isEmbedded) await forgetAllWorkers(context.database);
    const { accessKeyId, secretAccessKey } = config;
    const given = accessKeyId && secretAccessKey ? { id: accessKeyId, secret: secretAccessKey } : undefined;
    const firstKey = await createAccessKeys(context).ensureFirst(given);
    return { firstKey, isNew: ran.some((name) => name.startsWith('0001-')) };
  } finally {
    await context.database.close();
  }
}

function announce(
  config: Config,
  port: number,
  embedded: EmbeddedPostgres | undefined,
  firstKey: { id: string; secret: string } | undefined,
): void {
  const lines = [
    'Postrider is ready.',
    `  API       http://${config.host ?? 'localhost'}:${port}`,
    `  Database  ${embedded ? `embedded PostgreSQL in ${embedded.directory}` : 'external PostgreSQL'}`,
  ];
  if (firstKey)
    lines.push(
      '  First access key, shown this once:',
      `    AWS_ACCESS_KEY_ID=${firstKey.id}`,
      `    AWS_SECRET_ACCESS_KEY=${firstKey.secret}`,
    );
  console.log(lines.join('\n'));
}
