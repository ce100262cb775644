import { flushCompileCache } from 'node:module';
import { type Config, readConfig } from '../platform/config.ts';
import { untilReachable } from '../platform/database.ts';
import { parseMasterKey } from '../platform/secrets.ts';
import { forgetWorkers } from '../platform/workers.ts';
import { prepareDatabase } from './prepare.ts';
import { openProcess, type ProcessContext, type Role, type RoleName } from './process.ts';

/** From a role to the supervisor that forked it. */
export type RoleMessage = { type: 'ready'; port: number };
/** From the supervisor to a role. */
export type SupervisorMessage =
  | { type: 'drain' }
  | { type: 'peers'; ports: number[] }
  | { type: 'logLevel'; level: string };

/**
 * What a supervisor tells a role by its environment: the id under which it registers as a worker, and the ids of those
 * of its predecessors that ended without saying good-bye.
 */
export const workerVariables = { id: 'POSTRIDER_WORKER_ID', ended: 'POSTRIDER_ENDED_WORKERS' } as const;

/** How long a role may take to finish what it had begun. */
export const drainLimitMs = 30_000;

/**
 * Runs one role until it is told to drain. Below a supervisor (`start` without `--role`) its messages rule and its
 * end is ours; alone, SIGTERM and SIGINT do.
 */
export async function runRole(name: RoleName, env: NodeJS.ProcessEnv): Promise<void> {
  const supervised = process.send !== undefined;
  const config = readConfig(env);
  const context: ProcessContext = {
    ...openProcess(name, config, requireShared(config, name)),
    workerId: supervised ? env[workerVariables.id] : undefined,
  };
  const { log } = context;
  const die = (error: unknown, message: string) => {
    log.fatal({ err: error }, message);
    process.exit(1);
  };
  process.on('uncaughtException', (error) => die(error, 'uncaught error'));
  process.on('unhandledRejection', (error) => die(error, 'unhandled rejection'));

  let peers: readonly number[] = [];
  let creating: Promise<Role> | undefined;
  const drain = drainOnce(context, () => creating);
  process.on('SIGTERM', drain);
  // Ctrl-C reaches the whole process group; below a supervisor it is for the supervisor to say what to do.
  process.on('SIGINT', supervised ? () => undefined : drain);
  process.on('SIGHUP', supervised ? () => undefined : drain);
  // Without its supervisor nobody would stop this process, and the next start could meet it on its port.
  process.on('disconnect', () => die(undefined, 'the supervisor is gone'));
  process.on('message', (message: SupervisorMessage) => {
    if (message.type === 'drain') drain();
    else if (message.type === 'peers') peers = message.ports;
    else log.level = message.level;
  });

  await untilReachable(context.database, 60_000);
  if (!supervised) await prepareDatabase(context.database, log);
  const ended = (supervised && env[workerVariables.ended]?.split(' ').filter(Boolean)) || [];
  if (ended.length > 0) await forgetWorkers(context.database, ended);
  if (drain.begun()) return;
  creating = createRole(name, context, () => peers);
  const { port } = await (await creating).ready;
  log.info({ port }, 'ready');
  process.send?.({ type: 'ready', port } satisfies RoleMessage);
  // Written now and not at the end, which may be a sudden one.
  flushCompileCache();
}

async function createRole(
  name: RoleName,
  context: ProcessContext,
  peers: () => readonly number[],
): Promise<Role> {
  // Each role loads its own part of the program only.
  switch (name) {
    case 'api':
      return (await import('./api.ts')).createApiRole(context, peers);
    case 'worker':
      return (await import('./worker.ts')).createWorkerRole(context);
  }
}

function drainOnce(
  context: ProcessContext,
  creating: () => Promise<Role> | undefined,
): (() => void) & { begun(): boolean } {
  let begun = false;
  const drain = () => {
    if (begun) return;
    begun = true;
    const { log, database } = context;
    const limit = setTimeout(() => {
      log.error(`not drained after ${drainLimitMs} ms; ending anyway`);
      process.exit(1);
    }, drainLimitMs);
    (async () => {
      const role = await creating();
      // What has only half started cannot be stopped.
      await role?.ready;
      await role?.drain();
      await database.close();
      clearTimeout(limit);
      log.info('drained');
      process.exit(0);
    })().catch((error) => {
      log.error({ err: error }, 'draining failed');
      process.exit(1);
    });
  };
  return Object.assign(drain, { begun: () => begun });
}

/** A role of its own has to share database and master key with the others. */
function requireShared(config: Config, name: RoleName): { databaseUrl: string; masterKey: Uint8Array } {
  const { databaseUrl, masterKey } = config;
  if (databaseUrl && masterKey) return { databaseUrl, masterKey: parseMasterKey(masterKey) };
  const missing = [
    databaseUrl ? '' : 'POSTRIDER_DATABASE_URL (an external PostgreSQL)',
    masterKey ? '' : 'POSTRIDER_MASTER_KEY (the same for all)',
  ];
  throw new Error(
    `start --role ${name} runs one part of an installation that shares its database with others, and needs ${missing.filter(Boolean).join(' and ')}. Plain start runs everything in one place.`,
  );
}
