import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { endWithUs } from './children.ts';

const program = fileURLToPath(new URL('./noop-program.ts', import.meta.url));

/** A node:http server in a process of its own that reads bodies, stores nothing and answers 202. */
export async function startNoopServer(): Promise<{ port: number; stop(): void }> {
  const child = spawn(process.execPath, [program], { stdio: ['ignore', 'pipe', 'inherit'] });
  endWithUs(child);
  const [said] = (await once(child.stdout, 'data')) as [Buffer];
  return { port: Number(said.toString()), stop: () => child.kill('SIGKILL') };
}
