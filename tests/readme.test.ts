import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, rm, symlink } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, expect, test } from 'vitest';
import { isRoot, waitFor } from './support/processes.ts';

const run = promisify(execFile);
const repository = fileURLToPath(new URL('../', import.meta.url));
/** What a newcomer's machine has; no aws-cli, no docker, no python. */
const commands = [
  'sh',
  'bash',
  'env',
  'node',
  'npm',
  'npx',
  'git',
  'curl',
  'ls',
  'cat',
  'id',
  'uname',
  'sed',
  'grep',
  'rm',
  'mkdir',
];
const nobody = 65_534;
const folders: string[] = [];

afterAll(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

interface Newcomer {
  clone: string;
  options: { cwd: string; env: Record<string, string>; uid?: number; gid?: number };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A clean clone, a home and a short PATH, for the ordinary user or for this one. */
async function arrive(as: 'ordinary user' | 'this user'): Promise<Newcomer> {
  const folder = await mkdtemp('/tmp/postrider-readme-');
  folders.push(folder);
  await chmod(folder, 0o755);
  const [bin, home, clone] = [join(folder, 'bin'), join(folder, 'home'), join(folder, 'clone')];
  await mkdir(bin);
  await mkdir(home);
  for (const command of commands) {
    const { stdout } = await run('/bin/sh', ['-c', `command -v ${command}`], {
      env: { PATH: machinePath() },
    });
    await symlink(stdout.trim(), join(bin, command));
  }
  await run('git', ['clone', '--quiet', repository, clone]);
  const other = as === 'ordinary user' && isRoot;
  if (other) await run('chown', ['-R', `${nobody}:${nobody}`, home, clone]);
  const env = {
    PATH: bin,
    HOME: home,
    POSTRIDER_PORT: String(await freePort()),
    POSTRIDER_HOST: '127.0.0.1',
  };
  return { clone, options: { cwd: clone, env, ...(other ? { uid: nobody, gid: nobody } : {}) } };
}

/** The PATH without the folders that npm put in front for this repository. */
function machinePath(): string {
  return (process.env.PATH ?? '')
    .split(':')
    .filter((entry) => !entry.includes('node_modules'))
    .join(':');
}

function sh(newcomer: Newcomer, script: string) {
  return run('/bin/sh', ['-ec', script], { ...newcomer.options, maxBuffer: 10_000_000 });
}

/** `npm start` until it says `until`; Ctrl-C ends it. */
async function start(newcomer: Newcomer, block: string, until: string) {
  const child: ChildProcess = spawn('/bin/sh', ['-ec', block], {
    ...newcomer.options,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  child.stdout!.on('data', (chunk) => {
    output += chunk;
  });
  child.stderr!.on('data', (chunk) => {
    output += chunk;
  });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const startedAt = performance.now();
  await waitFor(
    until,
    () => {
      if (child.exitCode !== null) throw new Error(`npm start ended:\n${output}`);
      return output.includes(until);
    },
    240_000,
  ).catch((error) => {
    process.kill(-child.pid!, 'SIGKILL');
    throw new Error(`${error.message}\n${output}`);
  });
  return {
    output: () => output,
    seconds: (performance.now() - startedAt) / 1000,
    async stop() {
      process.kill(-child.pid!, 'SIGINT');
      await ended;
    },
  };
}

/** Runs a block; one that shows what became of the event of the README, until it has become of it. */
async function readUntilSeen(newcomer: Newcomer, script: string): Promise<void> {
  if (!script.includes('/messages?')) {
    const { stdout } = await sh(newcomer, script);
    if (script.includes('/events')) expect(stdout.match(/"StatusCode":202/g)).toHaveLength(2);
    return;
  }
  const seen = [/"eventId":"order-1","status":"delivered"/, /,EUR,(2717\.9,26|899,1),/, /"value":"kayak"/];
  let output = '';
  await waitFor('what the README shows', async () => {
    output = (await sh(newcomer, script)).stdout;
    return seen.every((pattern) => pattern.test(output));
  }).catch((error) => {
    throw new Error(`${error.message}\n${output}`);
  });
}

test.each(isRoot ? (['ordinary user', 'this user'] as const) : (['this user'] as const))(
  'the shell blocks of the README work in a clean clone (%s)',
  async (as) => {
    const newcomer = await arrive(as);
    const readme = await readFile(join(newcomer.clone, 'README.md'), 'utf8');
    const blocks = [...readme.matchAll(/^```sh\n([\s\S]*?)^```/gm)].map(([, block]) => block!.trim());
    const [first, ...others] = blocks;
    expect(first).toBe('npm start');
    const server = await start(newcomer, first!, 'Remove the demo');
    console.log(`README as ${as}: from the clone to the end of the demo in ${server.seconds.toFixed(1)} s`);
    try {
      // Every example that it prints and that needs curl only, in one shell as a newcomer would paste them.
      const printed = server.output();
      const examples = printed
        .slice(printed.indexOf('Try it'), printed.indexOf('The same with aws-cli'))
        .split('\n')
        .slice(1)
        .join('\n');
      expect(examples.match(/^ {2}curl /gm)!.length).toBeGreaterThanOrEqual(8);
      const { stdout } = await sh(newcomer, examples);
      expect(stdout).toContain('"CampaignStatus":"COMPLETED"');
      expect(stdout).toContain('"because"');
      expect(stdout).toMatch(/"status":"(sent|delivered)"/);
      // What the demo says of a week of events is known beforehand.
      expect(printed).toContain(
        '25 purchases, each put twice: 22 delivered, 1 opted_out, 1 suppressed, 1 not_in_segment',
      );
      expect(printed).toContain('340 people came, 260 looked at a product, 200 bought one: 21316.00 EUR');
      expect(stdout).toContain('"reason":"not_in_segment"');
      expect(stdout).toMatch(/"group":"guitar".*"sum":14900/);
      // The README asks to paste the line with the names first.
      const names = /^ *(export URL=.*)$/m.exec(printed)![1]!;
      for (const block of others) await readUntilSeen(newcomer, `${names}\n${block}`);
    } finally {
      await server.stop();
    }
    const again = await start(newcomer, first!, 'Postrider is ready');
    await again.stop();
    expect(again.output()).not.toContain('application');
  },
  300_000,
);
