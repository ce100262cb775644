import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { PinpointClient } from '@aws-sdk/client-pinpoint';
import { endWithUs } from './children.ts';
import { freePort } from './ports.ts';
import { processTree } from './processes.ts';

const program = fileURLToPath(new URL('../../packages/server/src/main.ts', import.meta.url));
/** The first access key of every server of a bench. */
export const benchKey = { id: 'BENCHACCESSKEY', secret: 'bench-secret-access-key' };
const startLimitMs = 60_000;

/** The real program: every role, on a database of the bench. */
export interface BenchServer {
  url: string;
  client: PinpointClient;
  /** Folder in which `s3://bucket/key` is `bucket/key`. */
  objects: string;
  /** Process id of a role. */
  pid(role: 'api' | 'worker'): Promise<number>;
  /** GET of our own API. */
  get<T>(path: string): Promise<T>;
  stop(): Promise<void>;
}

/** Starts `postrider start` and waits until it is ready. */
export async function startServer(options: {
  databaseUrl: string;
  directory: string;
  env?: Record<string, string>;
}): Promise<BenchServer> {
  const port = await freePort();
  const dataDir = join(options.directory, 'data');
  const child = spawn(process.execPath, [program, 'start'], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      POSTRIDER_HOST: '127.0.0.1',
      POSTRIDER_PORT: String(port),
      POSTRIDER_DATA_DIR: dataDir,
      POSTRIDER_DATABASE_URL: options.databaseUrl,
      POSTRIDER_MASTER_KEY: randomBytes(32).toString('hex'),
      POSTRIDER_ACCESS_KEY_ID: benchKey.id,
      POSTRIDER_SECRET_ACCESS_KEY: benchKey.secret,
      POSTRIDER_LOG_LEVEL: 'warn',
      POSTRIDER_ALLOW_PRIVATE_HOSTS: 'on',
      POSTRIDER_DEMO: 'off',
      ...options.env,
    },
  });
  endWithUs(child);
  let output = '';
  const keep = (chunk: Buffer) => {
    output = (output + chunk.toString()).slice(-4_000);
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  const ended = once(child, 'exit');
  const url = `http://127.0.0.1:${port}`;
  try {
    await untilReady(url, () => child.exitCode !== null);
  } catch (error) {
    child.kill('SIGKILL');
    throw new Error(`${(error as Error).message}; it printed:\n${output}`);
  }
  const client = new PinpointClient({
    endpoint: url,
    region: 'us-east-1',
    credentials: { accessKeyId: benchKey.id, secretAccessKey: benchKey.secret },
    maxAttempts: 1,
    requestHandler: { httpAgent: { keepAlive: true, maxSockets: 100 } },
  });
  const authorization = `Basic ${Buffer.from(`${benchKey.id}:${benchKey.secret}`).toString('base64')}`;
  return {
    url,
    client,
    objects: join(dataDir, 'objects'),
    async pid(role) {
      const tree = await processTree(child.pid!);
      const found = tree.find((info) => info.command.endsWith(`start --role ${role}`));
      if (!found) throw new Error(`no process of the role ${role}: ${JSON.stringify(tree)}`);
      return found.pid;
    },
    async get<T>(path: string) {
      const response = await fetch(url + path, { headers: { authorization } });
      if (!response.ok) throw new Error(`GET ${path}: ${response.status} ${await response.text()}`);
      return (await response.json()) as T;
    },
    async stop() {
      client.destroy();
      child.kill('SIGTERM');
      await ended;
    },
  };
}

async function untilReady(url: string, ended: () => boolean): Promise<void> {
  const until = performance.now() + startLimitMs;
  while (performance.now() < until) {
    if (ended()) throw new Error('the server ended while starting');
    const ready = await fetch(`${url}/health/ready`).then(
      (response) => response.ok,
      () => false,
    );
    if (ready) return;
    await sleep(20);
  }
  throw new Error(`the server was not ready within ${startLimitMs} ms`);
}
