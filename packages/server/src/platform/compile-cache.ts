import { fork } from 'node:child_process';
import { readdirSync, statSync, writeFileSync } from 'node:fs';
import { getCompileCacheDir } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const limitMs = 60_000;
const sources = fileURLToPath(new URL('..', import.meta.url));

/**
 * The environment in which a new process or thread uses what this one has compiled, from its first file on. Without it
 * each would load the compiler: slower, and some 15 MB more.
 */
export function compileCacheEnvironment(): NodeJS.ProcessEnv {
  const folder = getCompileCacheDir();
  return folder ? { NODE_COMPILE_CACHE: dirname(folder) } : {};
}

/**
 * When sources have changed since it was last done, runs a program that loads all of them and ends: what is started
 * afterwards finds them compiled. Resolves in any case, since everything works without the cache as well.
 */
export async function warmCompileCache(
  program: { file: URL; args: string[] },
  env: NodeJS.ProcessEnv,
): Promise<void> {
  const folder = getCompileCacheDir();
  // A published package holds JavaScript, for which no compiler is needed.
  if (!folder || !import.meta.url.endsWith('.ts')) return;
  const marker = join(folder, 'warm');
  if (changedAt(marker) > newestSource()) return;
  const startedAt = new Date();
  const child = fork(program.file, program.args, {
    env: { ...env, ...compileCacheEnvironment() },
    stdio: 'ignore',
    timeout: limitMs,
  });
  const code = await new Promise((resolve) => {
    child.once('exit', resolve);
    child.once('error', resolve);
  });
  if (code === 0) writeFileSync(marker, startedAt.toISOString());
}

function changedAt(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

function newestSource(): number {
  const files = readdirSync(sources, { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  );
  return Math.max(...files.map((entry) => changedAt(join(entry.parentPath, entry.name))));
}
