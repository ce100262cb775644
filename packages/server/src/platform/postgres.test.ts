import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isRoot, waitFor } from '../../../../tests/support/processes.ts';
import { openDatabase } from './database.ts';
import { type EmbeddedPostgres, ensureDatabase, startPostgres } from './postgres.ts';

let folder: string;
const placed: string[] = [];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'postrider-postgres-'));
  if (isRoot) await chmod(folder, 0o755);
});
afterAll(async () => {
  await rm(folder, { recursive: true });
  for (const path of placed) await rm(path, { recursive: true, force: true });
});

async function query(server: EmbeddedPostgres, text: string) {
  const database = openDatabase({ url: server.url('postgres'), maxConnections: 1, applicationName: 'tests' });
  try {
    return (await database.query(text)).rows;
  } finally {
    await database.close();
  }
}

/** A process of its own that starts PostgreSQL and then waits to be killed. */
function startElsewhere(directory: string): ChildProcess {
  const program = `
    import { startPostgres } from ${JSON.stringify(new URL('./postgres.ts', import.meta.url).href)};
    const server = await startPostgres({ directory: ${JSON.stringify(directory)} });
    console.log('started', server.pid);
    setInterval(() => undefined, 1000);
  `;
  return spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

const isAlive = (pid: number) => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

describe('a cluster', () => {
  let directory: string;
  beforeAll(() => {
    directory = join(folder, 'data', 'postgres-18');
  });

  test('is made with the locale and durability that the program needs, and keeps its data', async () => {
    const first = await startPostgres({ directory });
    try {
      await ensureDatabase(first, 'postrider');
      await ensureDatabase(first, 'postrider');
      const settings = await query(
        first,
        `select datlocprovider as provider, datlocale as locale, pg_encoding_to_char(encoding) as encoding,
           current_setting('fsync') as fsync, current_setting('synchronous_commit') as commits,
           current_setting('listen_addresses') as listens
         from pg_database where datname = 'postrider'`,
      );
      expect(settings).toEqual([
        { provider: 'b', locale: 'C.UTF-8', encoding: 'UTF8', fsync: 'on', commits: 'on', listens: '' },
      ]);
      await query(first, 'create table kept as select 42 as answer');
    } finally {
      await first.stop();
    }
    expect(isAlive(first.pid)).toBe(false);
    const second = await startPostgres({ directory });
    try {
      expect(await query(second, 'select answer from kept')).toEqual([{ answer: 42 }]);
    } finally {
      await second.stop();
    }
    expect((await stat(directory)).mode & 0o777).toBe(0o700);
  });

  test('whose starter was killed is stopped and started anew', async () => {
    const starter = startElsewhere(directory);
    const [chunk] = (await new Promise((resolve) =>
      starter.stdout!.once('data', (data) => resolve([data])),
    )) as [Buffer];
    const leftover = Number(/started (\d+)/.exec(chunk.toString())?.[1]);
    starter.kill('SIGKILL');
    expect(isAlive(leftover)).toBe(true);
    const server = await startPostgres({ directory });
    try {
      expect(server.pid).not.toBe(leftover);
      expect(await query(server, 'select 1 as one')).toEqual([{ one: 1 }]);
    } finally {
      await server.stop();
    }
  });

  test('with the lock file of a process that is not PostgreSQL starts', async () => {
    const sockets = JSON.stringify(directory);
    await writeFile(join(directory, 'postmaster.pid'), `${process.pid}\n${sockets}\n0\n5432\n`);
    const server = await startPostgres({ directory });
    await server.stop();
    expect(isAlive(process.pid)).toBe(true);
  });

  test('whose server dies is started again', async () => {
    const server = await startPostgres({ directory });
    try {
      const before = server.pid;
      await query(server, 'create table survived as select 1 as one');
      process.kill(before, 'SIGKILL');
      await waitFor('a new server', () => server.pid !== before);
      expect(await query(server, 'select one from survived')).toEqual([{ one: 1 }]);
    } finally {
      await server.stop();
    }
    expect(isAlive(server.pid)).toBe(false);
  });

  test('that cannot start says what the server printed', async () => {
    const settings = { shared_buffers: '1kB' };
    await expect(startPostgres({ directory, settings })).rejects.toThrow(/shared_buffers/);
  });
});

test('an initdb that was killed in the middle leaves nothing in the way of the next', async () => {
  const parent = join(folder, 'interrupted');
  const directory = join(parent, 'postgres-18');
  await mkdir(parent);
  const starter = startElsewhere(directory);
  const partial = async () => (await readdir(parent)).find((name) => name.includes('.partial-'));
  await waitFor('initdb at work', async () => {
    const name = await partial();
    return name !== undefined && existsSync(join(parent, name, 'base'));
  });
  const ended = new Promise((resolve) => starter.once('exit', resolve));
  starter.kill('SIGKILL');
  await ended;
  expect(await partial()).toBeDefined();
  const server = await startPostgres({ directory });
  await server.stop();
  expect((await readdir(parent)).sort()).toEqual(['postgres-18']);
});

test('a folder with other files in it is left alone', async () => {
  const directory = join(folder, 'mine', 'postgres-18');
  await mkdir(directory, { recursive: true });
  await writeFile(join(directory, 'thesis.txt'), 'x');
  await expect(startPostgres({ directory })).rejects.toThrow('is not empty and not a database');
  expect(await readFile(join(directory, 'thesis.txt'), 'utf8')).toBe('x');
});

test('a path that is too long for a socket gets a closed folder below /tmp', async () => {
  const directory = join(folder, 'x'.repeat(100), 'postgres-18');
  const server = await startPostgres({ directory });
  try {
    const [row] = await query(server, `select current_setting('unix_socket_directories') as sockets`);
    expect(row.sockets).toMatch(/^\/tmp\/postrider-\d+-[0-9a-f]{12}$/);
    expect((await stat(row.sockets)).mode & 0o777).toBe(0o700);
    placed.push(row.sockets);
  } finally {
    await server.stop();
  }
});

test.runIf(isRoot)(
  'as root, below a closed folder, the cluster is placed in /var/lib/postrider and stays there',
  async () => {
    const closed = join(folder, 'closed');
    await mkdir(closed, { mode: 0o700 });
    const directory = join(closed, 'data', 'postgres-18');
    const first = await startPostgres({ directory });
    await query(first, 'create table kept as select 1 as one');
    await first.stop();
    placed.push(join(first.directory, '..'));
    expect(first.directory).toMatch(/^\/var\/lib\/postrider\/[0-9a-f]{12}\/postgres-18$/);
    expect(first.notices.join()).toContain(first.directory);
    await chmod(closed, 0o755);
    const second = await startPostgres({ directory });
    expect(await query(second, 'select one from kept')).toEqual([{ one: 1 }]);
    await second.stop();
  },
);
