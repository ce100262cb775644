import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { compileCacheEnvironment } from '../platform/compile-cache.ts';
import { uuidv7 } from '../platform/ids.ts';
import type { Log } from '../platform/log.ts';
import type { RoleName } from './process.ts';
import { drainLimitMs, type RoleMessage, type SupervisorMessage, workerVariables } from './run.ts';

const program = fileURLToPath(new URL('../main.ts', import.meta.url));

/** Predecessors that a role is told of; the heartbeats of others find any before them. */
const maxEnded = 20;

/** Few arenas: at rest they need less memory so. */
const memoryEnvironment = { MALLOC_ARENA_MAX: '2' };
/** Imports and events make much that dies young: with a nursery of 4 MB half of their time was garbage collection. */
const nurseryMb: Record<RoleName, number> = { api: 16, worker: 8 };

/**
 * A young generation of its own size, collected by the thread that made it: with helpers V8 (of Node 24) moves eight
 * times as much into the old one, which grows by it, and waits for threads that get no processor.
 */
const memoryOptions = (role: RoleName) => [
  `--max-semi-space-size=${nurseryMb[role]}`,
  '--no-parallel-scavenge',
];

/** One process for each role, kept running. */
export interface Supervisor {
  /** Resolves with the port of each role when all of them do their work. Rejects when one ends before. */
  ready: Promise<Record<RoleName, number>>;
  /** The least severe log line that the roles write from now on. */
  setLogLevel(level: string): void;
  /** Lets every role finish what it has begun. */
  drain(): Promise<void>;
  /** Ends them at once. */
  kill(): void;
}

interface Member {
  role: RoleName;
  child: ChildProcess;
  /** Of its HTTP server; undefined while it starts. */
  port: number | undefined;
  startedAt: number;
  restarts: number;
  /** Under which it registers as a worker. */
  workerId: string;
}

/** Forks the roles with this environment; a role that ends by itself is started again, with growing delays. */
export function superviseRoles(options: {
  roles: readonly RoleName[];
  env: NodeJS.ProcessEnv;
  log: Log;
}): Supervisor {
  const { log } = options;
  const env = { ...compileCacheEnvironment(), ...memoryEnvironment, ...options.env };
  let stopping = false;
  const members = new Map<RoleName, Member>();
  /** Worker ids of processes that ended by themselves, until a successor is ready: it frees what they held. */
  const ended = new Map<RoleName, string[]>();
  const started = Promise.withResolvers<Record<RoleName, number>>();
  let allReady = false;

  const tell = (member: Member, message: SupervisorMessage) => {
    // A member that is ending has closed its channel, and its exit is handled anyway.
    if (member.child.connected) member.child.send(message, () => undefined);
  };
  const onReady = (member: Member, port: number) => {
    member.port = port;
    ended.delete(member.role);
    const ports = [...members.values()].map((each) => each.port);
    if (ports.includes(undefined)) return;
    for (const each of members.values())
      tell(each, { type: 'peers', ports: ports.filter((other) => other !== each.port) as number[] });
    if (allReady) return;
    allReady = true;
    started.resolve(
      Object.fromEntries([...members].map(([role, { port }]) => [role, port])) as Record<RoleName, number>,
    );
  };
  const launch = (role: RoleName, restarts: number, port?: number) => {
    const workerId = uuidv7();
    const own = {
      ...env,
      [workerVariables.id]: workerId,
      [workerVariables.ended]: ended.get(role)?.join(' '),
      // A port that was chosen freely is kept over a restart.
      ...(role === 'api' && port ? { POSTRIDER_PORT: String(port) } : {}),
    };
    const child = fork(program, ['start', '--role', role], {
      env: own,
      execArgv: [...process.execArgv, ...memoryOptions(role)],
    });
    const member: Member = { role, child, port: undefined, startedAt: performance.now(), restarts, workerId };
    members.set(role, member);
    child.on('message', (message: RoleMessage) => onReady(member, message.port));
    child.on('error', (error) => log.error({ err: error, process: role }, 'a role could not be started'));
    child.once('exit', (code, signal) => onExit(member, code, signal, port));
  };
  const onExit = (member: Member, code: number | null, signal: string | null, port: number | undefined) => {
    if (stopping) return;
    const { role } = member;
    if (!allReady) {
      started.reject(new Error(`The ${role} role ended with ${signal ?? `code ${code}`} while starting`));
      return;
    }
    ended.set(role, [...(ended.get(role) ?? []), member.workerId].slice(-maxEnded));
    const restarts = performance.now() - member.startedAt > 60_000 ? 0 : member.restarts;
    const delayMs = Math.min(30_000, 250 * 2 ** restarts);
    log.error({ process: role, code, signal, delayMs }, 'a role ended unexpectedly; starting it again');
    setTimeout(() => {
      if (!stopping) launch(role, restarts + 1, member.port ?? port);
    }, delayMs);
  };
  for (const role of options.roles) launch(role, 0);
  return {
    ready: started.promise,
    setLogLevel(level) {
      for (const member of members.values()) tell(member, { type: 'logLevel', level });
    },
    async drain() {
      stopping = true;
      await Promise.all(
        [...members.values()].map((member) => drainMember(member, () => tell(member, { type: 'drain' }))),
      );
    },
    kill() {
      stopping = true;
      for (const { child } of members.values()) child.kill('SIGKILL');
    },
  };
}

/** A role limits its draining itself; one that hangs is ended a little later. */
function drainMember({ child }: Member, tell: () => void): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    const limit = setTimeout(() => child.kill('SIGKILL'), drainLimitMs + 5_000);
    child.once('exit', () => {
      clearTimeout(limit);
      resolve();
    });
    tell();
  });
}
