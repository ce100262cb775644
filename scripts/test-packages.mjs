// The Debian packages that tests talk to. As root the missing ones are installed; as an ordinary user they
// are named, and the tests that need them say so when they are skipped (tests/support/requires.ts).
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';

/** Package -> the file that shows it is there. */
const packages = {
  postfix: '/usr/sbin/smtp-sink',
  swaks: '/usr/bin/swaks',
  awscli: '/usr/bin/aws',
  'python3-boto3': '/usr/lib/python3/dist-packages/boto3/__init__.py',
  chromium: '/usr/bin/chromium',
  'nats-server': '/usr/sbin/nats-server',
};

export function installTestPackages() {
  const missing = Object.keys(packages).filter((name) => !existsSync(packages[name]));
  if (missing.length === 0) return;
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) {
    console.error(`Not installed: ${missing.join(', ')}. Tests that need them are skipped by name.`);
    return;
  }
  console.error(`Installing what the tests talk to: ${missing.join(', ')} …`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const options = { env, stdio: ['ignore', 'ignore', 'inherit'] };
  execFileSync('apt-get', ['update', '-qq'], options);
  execFileSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...missing], options);
}
