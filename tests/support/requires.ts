import { existsSync } from 'node:fs';

/** Where Debian puts them. */
export const tools = {
  aws: '/usr/bin/aws',
  boto3: '/usr/lib/python3/dist-packages/boto3/__init__.py',
  'smtp-sink': '/usr/sbin/smtp-sink',
  swaks: '/usr/bin/swaks',
  chromium: '/usr/bin/chromium',
} as const;

/** Which of these tools this machine does not have: for `test.skipIf(missing('aws').length > 0)`. */
export function missing(...names: (keyof typeof tools)[]): string[] {
  return names.filter((name) => !existsSync(tools[name]));
}
