import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { embeddedDirectory } from '../../packages/server/src/platform/postgres.ts';
import { isAlive, waitFor } from '../support/processes.ts';

const program = fileURLToPath(new URL('../../packages/server/src/main.ts', import.meta.url));

export const accessKey = { id: 'PRAKCHAOS00000000001', secret: 'chaos-chaos-chaos-chaos-chaos-chaos-chaos' };

/** The whole product on a data directory of its own, which can be killed and started again. */
export class Product {
  readonly url: string;
  readonly #env: NodeJS.ProcessEnv;
  #supervisor: ChildProcess | undefined;
  #output = '';

  constructor(options: { dataDir: string; port: number; env?: Record<string, string> }) {
    this.url = `http://127.0.0.1:${options.port}`;
    this.#env = {
      ...process.env,
      POSTRIDER_DATA_DIR: options.dataDir,
      POSTRIDER_HOST: '127.0.0.1',
      POSTRIDER_PORT: String(options.port),
      POSTRIDER_DEMO: 'off',
      POSTRIDER_LOG_LEVEL: 'warn',
      POSTRIDER_ALLOW_PRIVATE_HOSTS: 'on',
      POSTRIDER_ACCESS_KEY_ID: accessKey.id,
      POSTRIDER_SECRET_ACCESS_KEY: accessKey.secret,
      ...options.env,
    };
  }

  async start(): Promise<void> {
    this.#output = '';
    const child = spawn(process.execPath, [program, 'start'], {
      env: this.#env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#supervisor = child;
    const note = (chunk: Buffer) => {
      this.#output = (this.#output + chunk.toString()).slice(-20_000);
    };
    child.stdout.on('data', note);
    child.stderr.on('data', note);
    await waitFor(
      'the product to be ready',
      async () => {
        if (child.exitCode !== null) throw new Error(`The product ended while starting:\n${this.#output}`);
        return (await this.request('/health/ready').catch(() => undefined))?.ok === true;
      },
      60_000,
    );
  }

  /** What the processes printed last. */
  get output(): string {
    return this.#output;
  }

  /** Ids of the role processes, as children of the supervisor; `worker`, `api`. */
  roles(): { role: string; pid: number }[] {
    const list = execFileSync('ps', ['-o', 'pid=,args=', '--ppid', String(this.#supervisor!.pid)]).toString();
    return list
      .split('\n')
      .map((line) => /^\s*(\d+) .*--role (\w+)/.exec(line))
      .flatMap((match) => (match ? [{ pid: Number(match[1]), role: match[2]! }] : []));
  }

  /** `kill -9` of one role; the supervisor starts it again. */
  killRole(role: string): void {
    for (const member of this.roles()) if (member.role === role) kill(member.pid);
  }

  /** `kill -9` of the supervisor and its roles; PostgreSQL stays behind and must be adopted or stopped. */
  async killAll(): Promise<void> {
    const members = this.roles();
    const supervisor = this.#supervisor!;
    const gone = new Promise((resolve) => supervisor.once('exit', resolve));
    supervisor.kill('SIGKILL');
    for (const { pid } of members) kill(pid);
    await gone;
  }

  /** `kill -9` of everything, PostgreSQL and its processes included. */
  async killEverything(): Promise<void> {
    const directory = embeddedDirectory(this.#env.POSTRIDER_DATA_DIR!);
    const postmaster = Number(readFileSync(join(directory, 'postmaster.pid'), 'utf8').split('\n')[0]);
    const servers = execFileSync('ps', ['-o', 'pid=', '--ppid', String(postmaster)]).toString();
    await this.killAll();
    for (const pid of [postmaster, ...servers.trim().split(/\s+/).map(Number)]) kill(pid);
    await waitFor('PostgreSQL to be gone', () => !isAlive(postmaster));
  }

  async stop(): Promise<number | null> {
    const supervisor = this.#supervisor!;
    if (supervisor.exitCode !== null) return supervisor.exitCode;
    const code = new Promise<number | null>((resolve) => supervisor.once('exit', resolve));
    supervisor.kill('SIGTERM');
    return await code;
  }

  request(path: string, init: RequestInit = {}): Promise<Response> {
    const authorization = `Basic ${Buffer.from(`${accessKey.id}:${accessKey.secret}`).toString('base64')}`;
    return fetch(this.url + path, {
      ...init,
      headers: { authorization, ...init.headers },
      signal: AbortSignal.timeout(10_000),
    });
  }

  async json<T>(path: string, init?: RequestInit): Promise<T> {
    const response = await this.request(path, init);
    if (!response.ok) throw new Error(`${path} answered ${response.status}: ${await response.text()}`);
    return (await response.json()) as T;
  }
}

/** Starts the mail server of `sink.ts`, which writes into `file` what it does. */
export async function startSink(
  file: string,
  options: { shareRefused?: number; delayMs?: number } = {},
): Promise<{ port: number; stop(): void }> {
  const program = fileURLToPath(new URL('./sink.ts', import.meta.url));
  const { shareRefused = 0, delayMs = 0 } = options;
  const child = spawn(process.execPath, [program, file, String(shareRefused), String(delayMs)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [port] = (await once(child.stdout, 'data')) as [Buffer];
  return { port: Number(port.toString()), stop: () => void child.kill('SIGKILL') };
}

/** A port that nobody listens on at the moment. */
export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended by itself in this moment.
  }
}
