import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Bench } from '../bench.ts';
import { endWithUs } from '../support/children.ts';
import { rounded } from '../support/figures.ts';
import { freePort } from '../support/ports.ts';
import { processTree, residentMb } from '../support/processes.ts';

const run = promisify(execFile);
const repository = fileURLToPath(new URL('../..', import.meta.url));
const limitMs = 5 * 60_000;
const startLimitSeconds = 60;
const memoryGoalMb = 120;

export const start: Bench = {
  name: 'start',
  description: 'npm start in a clean clone, from nothing to ready; memory of each role at rest',
  async run(context) {
    const clone = join(context.directory, 'clone');
    await run('git', ['clone', '--quiet', '--no-hardlinks', repository, clone]);
    const port = await freePort();
    await context.quiet();
    const startedAt = performance.now();
    const child = spawn('npm', ['start'], {
      cwd: clone,
      stdio: ['ignore', 'pipe', 'pipe'],
      // A group of its own, so that one signal reaches npm and the server as Ctrl-C would.
      detached: true,
      env: { ...process.env, POSTRIDER_PORT: String(port), POSTRIDER_DEMO: 'off' },
    });
    endWithUs(child);
    let output = '';
    const keep = (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-4_000);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    const ended = once(child, 'exit');
    try {
      const isReady = () =>
        fetch(`http://127.0.0.1:${port}/health/ready`).then(
          (response) => response.ok,
          () => false,
        );
      while (!(await isReady())) {
        if (child.exitCode !== null || performance.now() - startedAt > limitMs) {
          throw new Error(`npm start did not get ready:\n${output}`);
        }
        await sleep(50);
      }
      const seconds = (performance.now() - startedAt) / 1_000;
      await sleep(10_000);
      const roles = (await processTree(child.pid!)).filter((info) => /main\.ts start/.test(info.command));
      const memory = await Promise.all(
        roles.map(async (info) => ({
          role: /--role (\w+)/.exec(info.command)?.[1] ?? 'supervisor',
          mb: await residentMb(info.pid),
        })),
      );
      const largest = memory.reduce((most, one) => (one.mb > most.mb ? one : most));
      return [
        {
          name: 'start',
          ratio: startLimitSeconds / seconds,
          floor: 1,
          subject: `${rounded(seconds)} s from npm start in a clean clone to ready`,
          baseline: `${startLimitSeconds} s allowed`,
        },
        {
          name: 'start memory',
          ratio: memoryGoalMb / largest.mb,
          // Reported against its goal, not judged.
          floor: 0,
          subject: memory.map(({ role, mb }) => `${role} ${rounded(mb)} MB`).join(', '),
          baseline: `${memoryGoalMb} MB as goal`,
        },
      ];
    } finally {
      if (child.exitCode === null) process.kill(-child.pid!, 'SIGINT');
      await ended;
    }
  },
};
