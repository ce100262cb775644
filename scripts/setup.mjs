// Runs before every npm command, on whatever Node the machine has (20 or newer): installs the locked
// dependencies (with them the Node 24 that everything else runs on) when they are missing or out of date.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const stamp = join(root, 'node_modules', '.postrider-lock');
const wanted = createHash('sha256')
  .update(readFileSync(join(root, 'package-lock.json')))
  .digest('hex');

const isInstalled = () => existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted;

if (!isInstalled()) {
  const release = takeLock(join(root, '.setup-lock'));
  try {
    // Another command may have installed while this one waited.
    if (!isInstalled()) install();
  } finally {
    release();
  }
}

if (process.argv.includes('--test')) {
  const { installTestPackages } = await import('./test-packages.mjs');
  installTestPackages();
}

function install() {
  console.error('Installing the locked dependencies (once; again only when package-lock.json changes) …');
  // Also where NODE_ENV=production or npm's own settings would leave some out: one installation serves all commands.
  npm(['ci', '--include=dev', '--include=optional', '--no-audit', '--no-fund', '--loglevel=error'], root);
  ensureNode();
  writeFileSync(stamp, wanted);
}

function npm(args, cwd) {
  // The npm that runs us, or the one on the PATH. What it prints is for people, so it goes to stderr.
  const cli = process.env.npm_execpath;
  const [command, before] = cli?.endsWith('.js') ? [process.execPath, [cli]] : ['npm', []];
  execFileSync(command, [...before, ...args], { cwd, stdio: ['ignore', 2, 2] });
}

/** The `node` package fetches its binary in an install script, which npm may have been told not to run. */
function ensureNode() {
  const binary = join(root, 'node_modules', 'node', 'bin', 'node');
  const link = join(root, 'node_modules', '.bin', 'node');
  if (!existsSync(binary)) {
    const folder = join(root, 'node_modules', 'node');
    execFileSync(process.execPath, ['installArchSpecificPackage.js'], {
      cwd: folder,
      stdio: ['ignore', 2, 2],
    });
  }
  if (!existsSync(link)) {
    mkdirSync(dirname(link), { recursive: true });
    rmSync(link, { force: true });
    symlinkSync('../node/bin/node', link);
  }
  const version = execFileSync(link, ['--version'], { encoding: 'utf8' }).trim();
  if (!version.startsWith('v24.')) throw new Error(`node_modules/.bin/node is ${version}, not Node 24`);
}

/** One installation at a time; a lock whose process has ended does not count. */
function takeLock(file) {
  const limitMs = 15 * 60_000;
  for (let waitedMs = 0; waitedMs < limitMs; waitedMs += 200) {
    try {
      writeFileSync(file, String(process.pid), { flag: 'wx' });
      return () => rmSync(file, { force: true });
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    if (waitedMs === 0) console.error('Waiting for another command that installs the dependencies …');
    // Long enough for a fresh lock to have its process id in it.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
    if (!holderLives(file)) rmSync(file, { force: true });
  }
  throw new Error(`${file} has been held for 15 minutes; remove it when nothing is installing`);
}

function holderLives(file) {
  let pid;
  try {
    pid = Number(readFileSync(file, 'utf8'));
  } catch (error) {
    if (error.code === 'ENOENT') return true;
    throw error;
  }
  try {
    return pid > 0 && process.kill(pid, 0);
  } catch (error) {
    return error.code === 'EPERM';
  }
}
