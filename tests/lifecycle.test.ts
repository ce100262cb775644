import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { testDatabase } from './support/database.ts';
import { type RunningPostrider, runPostrider, startPostrider, temporaryFolder } from './support/postrider.ts';
import { isAlive, isRoot, waitFor } from './support/processes.ts';

const status = async (url: string) => (await fetch(url).catch(() => undefined))?.status;

/** Process id of the embedded PostgreSQL. */
async function databasePid(server: RunningPostrider): Promise<number> {
  const file = join(server.dataDir, 'postgres-18', 'postmaster.pid');
  return Number((await readFile(file, 'utf8')).split('\n')[0]);
}

describe('a server on its own data directory', () => {
  let dataDir: string;
  beforeAll(async () => {
    dataDir = join(await temporaryFolder(), 'data');
  });

  test('serves, refuses a second one, and ends cleanly on SIGTERM', async () => {
    const server = await startPostrider(dataDir);
    expect(await status(`${server.url}/health/live`)).toBe(200);
    expect(await (await fetch(`${server.url}/health/ready`)).json()).toEqual({
      status: 'ok',
      checks: { database: 'ok', migrations: 'ok' },
    });
    expect(await status(`${server.url}/no/such/page`)).toBe(404);
    const metrics = await (await fetch(`${server.url}/metrics`)).text();
    for (const role of ['api', 'worker'])
      expect(metrics).toMatch(new RegExp(`^process_resident_memory_bytes\\{role="${role}"\\} \\d+$`, 'm'));

    const second = runPostrider(['start'], { POSTRIDER_DATA_DIR: dataDir, POSTRIDER_PORT: '0' });
    expect(await second.ended).toBe(1);
    expect(second.output()).toContain(`in use by another Postrider (process ${server.pid})`);

    const pids = [await databasePid(server), server.roles().api, server.roles().worker];
    expect(await server.end('SIGTERM')).toBe(0);
    expect(pids.map(isAlive)).toEqual([false, false, false]);
  });

  test('makes and prints its first key once, and keys are managed while it runs and while it does not', async () => {
    const server = await startPostrider(dataDir);
    const settings = { POSTRIDER_DATA_DIR: dataDir };
    const command = async (...args: string[]) => {
      const run = runPostrider(args, settings);
      return { code: await run.ended, output: run.output() };
    };
    // The first start was in the test before.
    expect(server.output()).not.toContain('First access key');
    const created = await command('keys', 'create', 'for tests');
    const id = /AWS_ACCESS_KEY_ID=(\S+)\nAWS_SECRET_ACCESS_KEY=\S{40}\n/.exec(created.output)?.[1];
    expect(id).toBeDefined();
    expect((await command('keys', 'list')).output).toMatch(new RegExp(`^${id}\tfor tests\t`, 'm'));
    await server.end('SIGTERM');
    expect(await command('keys', 'revoke', id!)).toEqual({ code: 0, output: `Revoked ${id}.\n` });
    expect((await command('keys', 'list')).output).toMatch(
      new RegExp(`^${id}\tfor tests\t.*\trevoked `, 'm'),
    );
    expect(await command('keys', 'revoke', 'PRAKNONE')).toMatchObject({ code: 1 });
    expect((await command('migrate')).output).toBe('The database is up to date.\n');
  });

  test('killed outright takes its roles along, and the next start finds everything', async () => {
    const killed = await startPostrider(dataDir);
    const pids = [killed.roles().api, killed.roles().worker];
    const leftover = await databasePid(killed);
    await killed.end('SIGKILL');
    await waitFor('the roles to end', () => !pids.some(isAlive));
    const next = await startPostrider(dataDir, { POSTRIDER_PORT: new URL(killed.url).port });
    expect(next.url).toBe(killed.url);
    expect(await databasePid(next)).not.toBe(leftover);
    expect(await status(`${next.url}/health/ready`)).toBe(200);
    expect(next.output()).not.toContain('First access key');
    expect(await next.end('SIGTERM')).toBe(0);
  });

  test('starts a role again that was killed, on the same port, and the database as well', async () => {
    const server = await startPostrider(dataDir);
    const { api, worker } = server.roles();
    process.kill(api, 'SIGKILL');
    process.kill(worker, 'SIGKILL');
    await waitFor('new roles', () => server.roles().api !== api && server.roles().worker !== worker);
    await waitFor('the API', async () => (await status(`${server.url}/health/ready`)) === 200);

    process.kill(await databasePid(server), 'SIGKILL');
    await waitFor(
      'the database to be away',
      async () => (await status(`${server.url}/health/ready`)) !== 200,
    );
    await waitFor('the database', async () => (await status(`${server.url}/health/ready`)) === 200);
    expect(await status(`${server.url}/health/live`)).toBe(200);
    const roles = server.roles();
    expect([roles.api, roles.worker].every(isAlive)).toBe(true);
    expect(await server.end('SIGTERM')).toBe(0);
  });

  test('drains on Ctrl-C, which reaches the whole process group', async () => {
    const server = await startPostrider(dataDir);
    const database = await databasePid(server);
    process.kill(-server.pid, 'SIGINT');
    // npm passes on what the terminal has sent already.
    process.kill(server.pid, 'SIGINT');
    expect(await server.ended).toBe(0);
    expect(server.output().match(/"msg":"drained"/g)).toHaveLength(2);
    expect(isAlive(database)).toBe(false);
  });
});

describe('a server', () => {
  test('of an ordinary user works as well', async () => {
    const dataDir = join(await temporaryFolder('ordinary'), 'data');
    const server = await startPostrider(dataDir, {}, 'ordinary');
    expect(await status(`${server.url}/health/ready`)).toBe(200);
    expect(server.output()).toContain('First access key');
    const database = await databasePid(server);
    if (isRoot) expect(await readFile(`/proc/${database}/status`, 'utf8')).toMatch(/^Uid:\s+65534\s/m);
    expect(await server.end('SIGTERM')).toBe(0);
    expect(isAlive(database)).toBe(false);
  });

  test('with settings that cannot be used names them and ends', async () => {
    const server = runPostrider(['start'], { POSTRIDER_PORT: 'http', POSTRIDER_DEMO: 'maybe' });
    expect(await server.ended).toBe(1);
    expect(server.output()).toContain('POSTRIDER_PORT: expected a whole number');
    expect(server.output()).toContain('POSTRIDER_DEMO: expected on or off');
  });
});

describe('an external database', () => {
  test('needs the master key, and then serves roles that were started one by one', async () => {
    const database = await testDatabase();
    const shared = {
      POSTRIDER_DATA_DIR: await temporaryFolder(),
      POSTRIDER_DATABASE_URL: database.url,
      POSTRIDER_PORT: '0',
    };
    for (const args of [['start'], ['start', '--role', 'api']]) {
      const refused = runPostrider(args, shared);
      expect(await refused.ended).toBe(1);
      expect(refused.output()).toContain('POSTRIDER_MASTER_KEY');
    }
    const alone = runPostrider(['start', '--role', 'worker'], { POSTRIDER_MASTER_KEY: 'ab'.repeat(32) });
    expect(await alone.ended).toBe(1);
    expect(alone.output()).toContain('needs POSTRIDER_DATABASE_URL');

    const role = runPostrider(['start', '--role', 'worker'], {
      ...shared,
      POSTRIDER_MASTER_KEY: 'ab'.repeat(32),
    });
    await waitFor('the worker', () => /"msg":"ready"/.test(role.output()));
    const port = /"port":(\d+)/.exec(role.output())?.[1];
    expect(await status(`http://127.0.0.1:${port}/health/ready`)).toBe(200);
    const { rows } = await database.query('select role, pid from workers');
    expect(rows).toEqual([{ role: 'worker', pid: role.pid }]);
    expect(await role.end('SIGTERM')).toBe(0);
    expect((await database.query('select from workers')).rows).toEqual([]);
  });
});
