import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { chown, mkdir, open, readdir, readFile, rename, rm, stat, unlink } from 'node:fs/promises';
import { totalmem } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { type Log, silentLog } from './log.ts';
import { isCluster, type PostgresHost, preparePostgresHost, socketFolder } from './postgres-host.ts';

const run = promisify(execFile);

/** Major version of the embedded server; the folder of its cluster is named by it. */
export const embeddedMajorVersion = 18;

/** Where the cluster of a data directory belongs. */
export function embeddedDirectory(dataDir: string): string {
  return join(dataDir, `postgres-${embeddedMajorVersion}`);
}

/** Restarts that may follow each other without a minute of peace between them. */
const maxRestarts = 10;

/** A PostgreSQL server that this process started and keeps running. */
export interface EmbeddedPostgres {
  /** Connection URL of a database of this server. */
  url(database: string): string;
  /** The server's process id; another one after a crash. */
  readonly pid: number;
  /** Where the cluster really lies. */
  readonly directory: string;
  /** What the operator should know about where and as whom it runs. */
  readonly notices: string[];
  /** The cluster was made by this start. */
  readonly created: boolean;
  stop(): Promise<void>;
}

export interface PostgresOptions {
  /** Of the cluster; made by initdb when it is not there. */
  directory: string;
  /** Beside or instead of the tuned ones. */
  settings?: Record<string, string>;
  log?: Log;
  /** The server crashes again and again and is not started any more. */
  onGiveUp?: (error: Error) => void;
}

/**
 * Starts PostgreSQL on a directory, reachable by a Unix socket that only its user (and root) can open. A server that
 * an earlier process left running there is stopped first; one that dies is started again.
 * The caller sees to it that nobody else does the same on this directory (platform/lock.ts).
 */
export async function startPostgres(options: PostgresOptions): Promise<EmbeddedPostgres> {
  const log = options.log ?? silentLog;
  const host = await preparePostgresHost(options.directory);
  await mkdir(dirname(host.directory), { recursive: true });
  const created = !(await isCluster(host.directory));
  if (created) await initialise(host);
  else await stopLeftover(host.directory, log);
  const sockets = await socketFolder(host);
  const url = (database: string) => socketUrl(sockets, database);
  const settings: Record<string, string> = {
    ...tunedSettings(process.constrainedMemory() || totalmem(), totalmem()),
    listen_addresses: '',
    unix_socket_directories: sockets,
    unix_socket_permissions: '0700',
    ...options.settings,
  };
  const launch = () => launchServer(host, settings, url('postgres'), log);
  const supervised = superviseServer(await launch(), launch, host.directory, log, options.onGiveUp);
  return {
    url,
    directory: host.directory,
    notices: host.notices,
    created,
    get pid() {
      return supervised.current().pid!;
    },
    stop: supervised.stop,
  };
}

/** Keeps a server running until `stop()`: one that ends by itself is launched again, with growing delays. */
function superviseServer(
  first: ChildProcess,
  launch: () => Promise<ChildProcess>,
  directory: string,
  log: Log,
  onGiveUp: ((error: Error) => void) | undefined,
): { current(): ChildProcess; stop(): Promise<void> } {
  let server = first;
  let stopping = false;
  let restarting: Promise<void> = Promise.resolve();
  let restarts = 0;

  const watch = () => {
    const startedAt = performance.now();
    server.once('exit', (code, signal) => {
      if (stopping) return;
      log.error({ code, signal }, 'PostgreSQL ended unexpectedly; starting it again');
      if (performance.now() - startedAt > 60_000) restarts = 0;
      restarting = restart();
    });
  };
  const restart = async () => {
    for (; restarts < maxRestarts; restarts++) {
      const delayMs = restarts === 0 ? 50 : Math.min(10_000, 250 * 2 ** restarts);
      await new Promise((resolve) => setTimeout(resolve, delayMs));
      if (stopping) return;
      try {
        // Its children may outlive it for a moment, and then a new one is refused: hence several attempts.
        await stopLeftover(directory, log);
        server = await launch();
        restarts += 1;
        log.info({ serverPid: server.pid }, 'PostgreSQL runs again');
        return watch();
      } catch (error) {
        log.error({ err: error }, 'PostgreSQL did not start');
      }
    }
    onGiveUp?.(new Error(`PostgreSQL ended ${maxRestarts} times in a row; see ${serverLog(directory)}`));
  };
  watch();
  return {
    current: () => server,
    async stop() {
      stopping = true;
      await restarting;
      await stopProcess(server.pid!, () => server.exitCode === null && server.signalCode === null);
    },
  };
}

function socketUrl(folder: string, database: string): string {
  return `postgresql://postgres@/${database}?host=${encodeURIComponent(folder)}`;
}

/** URL of a database of the server that another process runs on this directory; undefined when none runs. */
export async function runningServerUrl(directory: string, database: string): Promise<string | undefined> {
  const host = await preparePostgresHost(directory);
  const text = await readFile(join(host.directory, 'postmaster.pid'), 'utf8').catch(whenAbsent);
  // Lines: process, directory, start, port, socket folder, …
  const sockets = text?.split('\n')[4];
  return sockets ? socketUrl(sockets, database) : undefined;
}

/** Makes the database when it is not there. */
export async function ensureDatabase(server: EmbeddedPostgres, name: string): Promise<void> {
  const client = new pg.Client({ connectionString: server.url('postgres') });
  await client.connect();
  try {
    const { rowCount } = await client.query('select from pg_database where datname = $1', [name]);
    if (rowCount === 0) await client.query(`create database ${client.escapeIdentifier(name)}`);
  } finally {
    await client.end();
  }
}

/** Settings for a machine with this much memory. Durability is untouched: an acknowledged commit is on the disk. */
function tunedSettings(availableBytes: number, totalBytes: number): Record<string, string> {
  const memoryMb = Math.min(availableBytes, totalBytes) / 2 ** 20;
  const within = (low: number, high: number, value: number) =>
    Math.round(Math.min(high, Math.max(low, value)));
  return {
    // Pages are taken from the system when they are first used, so a large pool costs nothing at rest.
    shared_buffers: `${within(64, 1024, memoryMb / 8)}MB`,
    work_mem: '16MB',
    maintenance_work_mem: `${within(64, 256, memoryMb / 32)}MB`,
    max_connections: '100',
    // Checkpoints by time and not by volume: rates swing 2 to 3 times with the defaults.
    max_wal_size: '4GB',
    min_wal_size: '256MB',
    checkpoint_timeout: '10min',
    random_page_cost: '1.1',
    jit: 'off',
    // Tables are partitioned by day: a statement over a quarter locks some hundred relations.
    max_locks_per_transaction: '256',
    timezone: 'UTC',
    log_timezone: 'UTC',
    // Errors of statements are the caller's to report; statements carry personal data.
    log_min_messages: 'log',
    log_min_error_statement: 'panic',
    log_checkpoints: 'off',
  };
}

/**
 * initdb into a folder beside, renamed when it is complete: an interrupted one leaves no half cluster under the name
 * of a whole one.
 */
async function initialise(host: PostgresHost): Promise<void> {
  const { directory, user } = host;
  const parent = dirname(directory);
  const prefix = `${basename(directory)}.partial-`;
  for (const name of await readdir(parent))
    if (name.startsWith(prefix))
      await rm(join(parent, name), { recursive: true, force: true, maxRetries: 5 });
  const left = await readdir(directory).catch(whenAbsent);
  if (left && left.length > 0)
    throw new Error(
      `${directory} is not empty and not a database of PostgreSQL; remove it or set POSTRIDER_DATA_DIR`,
    );
  const partial = join(parent, `${prefix}${randomBytes(6).toString('hex')}`);
  await mkdir(partial, { mode: 0o700 });
  if (user) await chown(partial, user.uid, user.gid);
  const options = ['-D', partial, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--no-instructions'];
  const locale = ['--locale-provider=builtin', '--builtin-locale=C.UTF-8', '--locale=C'];
  await run(join(host.native, 'bin', 'initdb'), [...options, ...locale], { ...user, cwd: '/' }).catch(
    async (error) => {
      await rm(partial, { recursive: true, force: true, maxRetries: 5 });
      throw new Error(`initdb failed: ${String(error.stderr || error.message).trim()}`, { cause: error });
    },
  );
  await rename(partial, directory);
  const folder = await open(parent, 'r');
  await folder.sync().finally(() => folder.close());
}

async function launchServer(
  host: PostgresHost,
  settings: Record<string, string>,
  url: string,
  log: Log,
): Promise<ChildProcess> {
  const output = await openServerLog(host);
  const args = Object.entries(settings).flatMap(([key, value]) => ['-c', `${key}=${value}`]);
  try {
    // Detached: a session of its own, so that Ctrl-C reaches us and not the database.
    const child = spawn(join(host.native, 'bin', 'postgres'), ['-D', host.directory, ...args], {
      ...host.user,
      cwd: '/',
      stdio: ['ignore', output.fd, output.fd],
      detached: true,
    });
    const failed = new Promise<never>((_, reject) => {
      child.once('error', reject);
    });
    await Promise.race([untilReady(url, child, host.directory, log), failed]);
    return child;
  } finally {
    await output.close();
  }
}

const serverLog = (directory: string) => join(directory, 'server.log');

/** What the server prints: little (see tunedSettings); begun anew when it has grown past a megabyte. */
async function openServerLog(host: PostgresHost) {
  const file = serverLog(host.directory);
  const size = await stat(file).then((found) => found.size, whenAbsent);
  if (size !== undefined && size > 2 ** 20) await rename(file, `${file}.1`);
  const handle = await open(file, 'a', 0o600);
  if (host.user) await handle.chown(host.user.uid, host.user.gid);
  return handle;
}

/** Waits for the server to answer. Recovery after a crash may take minutes, so as long as it lives it may. */
async function untilReady(url: string, child: ChildProcess, directory: string, log: Log): Promise<void> {
  const limitMs = 15 * 60_000;
  const startedAt = performance.now();
  let reportAt = 10_000;
  for (;;) {
    if (child.exitCode !== null || child.signalCode !== null) {
      const printed = await readFile(serverLog(directory), 'utf8');
      throw new Error(
        `PostgreSQL ended with ${child.signalCode ?? `code ${child.exitCode}`} while starting:\n${printed.trimEnd().split('\n').slice(-5).join('\n')}`,
      );
    }
    const waitedMs = performance.now() - startedAt;
    const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
    try {
      await client.connect();
      await client.end();
      return;
    } catch (error) {
      if (waitedMs > limitMs) throw new Error('PostgreSQL was not ready within 15 minutes', { cause: error });
      if (waitedMs > reportAt) {
        reportAt += 10_000;
        log.info({ reason: (error as Error).message }, 'waiting for PostgreSQL');
      }
    }
    await new Promise((resolve) => setTimeout(resolve, waitedMs < 2_000 ? 10 : 200));
  }
}

/** Stops a server that an earlier process left behind, and removes a lock file whose process is another by now. */
async function stopLeftover(directory: string, log: Log): Promise<void> {
  const file = join(directory, 'postmaster.pid');
  const text = await readFile(file, 'utf8').catch(whenAbsent);
  if (text === undefined) return;
  const pid = Number(text.split('\n')[0]);
  if (pid > 0 && (await isServerOf(pid, directory))) {
    log.warn({ serverPid: pid }, 'stopping the PostgreSQL that an earlier Postrider left running');
    await stopProcess(pid, () => isAlive(pid));
  }
  await unlink(file).catch(whenAbsent);
}

/** Is this process a PostgreSQL on this directory (and not another one that has got the same number since)? */
async function isServerOf(pid: number, directory: string): Promise<boolean> {
  if (!isAlive(pid)) return false;
  const command =
    process.platform === 'linux'
      ? await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(whenAbsent)
      : (await run('ps', ['-o', 'command=', '-p', String(pid)]).catch(() => undefined))?.stdout;
  return command !== undefined && /postgres/.test(command) && command.includes(directory);
}

/** Fast shutdown, then an immediate one (the next start recovers), then the hard way. */
async function stopProcess(pid: number, isRunning: () => boolean): Promise<void> {
  const steps = [
    ['SIGINT', 30_000],
    ['SIGQUIT', 10_000],
    ['SIGKILL', 10_000],
  ] as const;
  for (const [signal, limitMs] of steps) {
    if (!isRunning()) return;
    sendSignal(pid, signal);
    for (let waitedMs = 0; waitedMs < limitMs; waitedMs += 5) {
      if (!isRunning()) return;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
  throw new Error(`PostgreSQL (process ${pid}) does not stop`);
}

function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EPERM')
      throw new Error(`PostgreSQL (process ${pid}) belongs to another user and cannot be stopped`);
    if (code !== 'ESRCH') throw error;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  // In a container whose first process does not collect the dead, they stay listed as zombies.
  return process.platform !== 'linux' || !isZombie(pid);
}

function isZombie(pid: number): boolean {
  try {
    return /\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch (error) {
    return whenAbsent(error as NodeJS.ErrnoException) === undefined;
  }
}

function whenAbsent(error: NodeJS.ErrnoException): undefined {
  if (error.code === 'ENOENT') return undefined;
  throw error;
}
