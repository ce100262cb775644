import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { DirectoryInUseError, isDirectoryLocked, lockDirectory } from './lock.ts';

const folder = await mkdtemp(join(tmpdir(), 'postrider-lock-'));
afterAll(() => rm(folder, { recursive: true }));

test('a second process is refused by name, and the lock of a killed one is free at once', async () => {
  const directory = join(folder, 'data');
  const program = `
    import { lockDirectory } from ${JSON.stringify(new URL('./lock.ts', import.meta.url).href)};
    lockDirectory(${JSON.stringify(directory)});
    console.log('locked');
    setInterval(() => undefined, 1000);
  `;
  const holder = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await new Promise((resolve) => holder.stdout.once('data', resolve));
  expect(() => lockDirectory(directory)).toThrow(DirectoryInUseError);
  expect(() => lockDirectory(directory)).toThrow(`another Postrider (process ${holder.pid})`);
  expect(isDirectoryLocked(directory)).toBe(true);
  const ended = new Promise((resolve) => holder.once('exit', resolve));
  holder.kill('SIGKILL');
  await ended;
  expect(isDirectoryLocked(directory)).toBe(false);
  lockDirectory(directory).release();
});

test('a left over process id does not count, whoever has the number now', async () => {
  await writeFile(join(folder, 'postrider.pid'), `${process.pid}\n`);
  const lock = lockDirectory(folder);
  expect(isDirectoryLocked(folder)).toBe(true);
  lock.release();
  expect(isDirectoryLocked(folder)).toBe(false);
});
