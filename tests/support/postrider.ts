import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { chmod, chown, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll } from 'vitest';
import { isRoot, waitFor } from './processes.ts';

const main = fileURLToPath(new URL('../../packages/server/src/main.ts', import.meta.url));
const nobody = 65534;

/** `ordinary` is a user without rights: the one who runs the tests, or `nobody` when that is root. */
export type RunAs = 'same' | 'ordinary';

/** A folder of its own for a server of the calling test file, removed after its last test. */
export async function temporaryFolder(as: RunAs = 'same'): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'postrider-'));
  // Below a closed folder of root's, the database would be placed in /var/lib/postrider.
  if (isRoot) await chmod(folder, 0o755);
  if (isRoot && as === 'ordinary') await chown(folder, nobody, nobody);
  afterAll(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  return folder;
}

/** A running command of Postrider. */
export interface PostriderProcess {
  readonly pid: number;
  /** What it has printed so far, both streams. */
  output(): string;
  /** Sends a signal and waits for the end; resolves with the exit code, or the signal's name. */
  end(signal: NodeJS.Signals): Promise<number | string>;
  /** Resolves at the end. */
  readonly ended: Promise<number | string>;
}

/** Runs `postrider <args>` with these settings only: none of the calling process's own reach it. */
export function runPostrider(
  args: string[],
  settings: Record<string, string>,
  as: RunAs = 'same',
): PostriderProcess {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !/^(POSTRIDER_|NODE_|VITEST|PG)/.test(name),
  );
  const [command, ...before] = [...(isRoot && as === 'ordinary' ? becomeNobody() : []), process.execPath];
  const child = spawn(command!, [...before, main, ...args], {
    // A process group of its own, as below a shell: the terminal's Ctrl-C can be imitated.
    detached: true,
    cwd: tmpdir(),
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...Object.fromEntries(inherited), ...settings },
  });
  return watchProcess(child);
}

function watchProcess(child: ChildProcess): PostriderProcess {
  let printed = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (text: string) => {
      printed += text;
    });
  const ended = new Promise<number | string>((resolve) => {
    child.once('close', (code, signal) => resolve(code ?? signal ?? 'unknown'));
  });
  running.add(child);
  child.once('exit', () => running.delete(child));
  return {
    pid: child.pid!,
    output: () => printed,
    end(signal) {
      child.kill(signal);
      return ended;
    },
    ended,
  };
}

/** Servers that a failed test left behind. */
const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGTERM');
});

/** Command that becomes `nobody`; where nobody could not even read the sources, it keeps the right to read. */
function becomeNobody(): string[] {
  const user = ['setpriv', `--reuid=${nobody}`, `--regid=${nobody}`, '--clear-groups'];
  try {
    execFileSync(user[0]!, [...user.slice(1), 'test', '-r', main]);
    return user;
  } catch (error) {
    if ((error as { status?: number }).status !== 1) throw error;
    return [...user, '--inh-caps=+dac_read_search', '--ambient-caps=+dac_read_search'];
  }
}

/** A whole Postrider (all roles) that is ready. */
export interface RunningPostrider extends PostriderProcess {
  /** `http://127.0.0.1:<port>` */
  readonly url: string;
  readonly dataDir: string;
  /** Process ids of its roles. */
  roles(): { api: number; worker: number };
}

/** Starts Postrider on a data directory and a free port, without the demo, and waits until it is ready. */
export async function startPostrider(
  dataDir: string,
  settings: Record<string, string> = {},
  as: RunAs = 'same',
): Promise<RunningPostrider> {
  const started = runPostrider(
    ['start'],
    { POSTRIDER_DATA_DIR: dataDir, POSTRIDER_PORT: '0', POSTRIDER_DEMO: 'off', ...settings },
    as,
  );
  let ended: number | string | undefined;
  started.ended.then((code) => {
    ended = code;
  });
  await waitFor(
    'Postrider to be ready',
    () => {
      if (ended !== undefined) throw new Error(`Postrider ended with ${ended}:\n${started.output()}`);
      return /Postrider is ready/.test(started.output()) && /API +http/.test(started.output());
    },
    60_000,
  );
  const port = /API +http:\/\/\S+:(\d+)/.exec(started.output())?.[1];
  const lastPid = (role: string) => {
    const lines = [...started.output().matchAll(new RegExp(`"role":"${role}","pid":(\\d+)`, 'g'))];
    return Number(lines.at(-1)?.[1]);
  };
  return {
    ...started,
    url: `http://127.0.0.1:${port}`,
    dataDir,
    roles: () => ({ api: lastPid('api'), worker: lastPid('worker') }),
  };
}
