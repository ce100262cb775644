import { describe, expect, test } from 'vitest';
import { checkLayering, readSources } from '../scripts/layering.ts';

const check = (path: string, text: string) =>
  checkLayering(new Map([[`packages/server/src/${path}`, text]])).map(
    ({ line, message }) => `${line}: ${message}`,
  );

test('the sources keep the rules of the house', async () => {
  const files = await readSources();
  expect(files.size).toBeGreaterThan(50);
  expect(checkLayering(files)).toEqual([]);
});

describe('a seeded violation is found:', () => {
  test.each([
    [
      'up the order',
      'events/a.ts',
      "import { x } from '../accounts/index.ts';",
      'events/ may not import accounts/',
    ],
    [
      'up, as a type',
      'audience/b/a.ts',
      "import type { X } from '../../edge/index.ts';",
      'audience/ may not import edge/',
    ],
    [
      'the domain in platform',
      'platform/a.ts',
      "export { x } from '../events/index.ts';",
      'platform/ may not import',
    ],
    [
      'past the entrance',
      'edge/api/a.ts',
      "import { x } from '../../messaging/lane.ts';",
      'entered by its index.ts',
    ],
    [
      'past the entrance, from the top',
      'start.ts',
      "import './events/append.ts';",
      'entered by its index.ts',
    ],
    [
      'a provider that knows more',
      'providers/smtp/a.ts',
      "import { x } from '../../messaging/index.ts';",
      'only messaging/provider.ts',
    ],
    [
      'a provider and events',
      'providers/smtp/a.ts',
      "import { x } from '../../events/index.ts';",
      'only messaging/provider.ts',
    ],
    ['from above the rooms', 'engagement/a.ts', "import { x } from '../start.ts';", 'lies above all rooms'],
    [
      'a dynamic import',
      'content/a.ts',
      "const x = await import('../messaging/index.ts');",
      'content/ may not import messaging/',
    ],
    ['a test', 'events/a.ts', "import { x } from './a.test.ts';", 'does not import tests'],
    [
      'tests of the repository',
      'events/a.ts',
      "import { x } from '../../../../tests/support/database.ts';",
      'leads out',
    ],
    [
      'a connection of its own',
      'messaging/a.ts',
      "import net from 'node:net';",
      'opened by platform/outbound.ts',
    ],
    [
      'over several lines',
      'events/a.ts',
      "import {\n  x,\n  y,\n} from '../accounts/index.ts';",
      '4: events/ may not import',
    ],
  ])('%s', (_, path, text, expected) => {
    expect(check(path, text).join('\n')).toContain(expected);
  });
});

test.each([
  ['events/a.ts', "import { x } from '../platform/clock.ts';\nimport { y } from './b/c.ts';"],
  ['messaging/a.ts', "import { x } from '../events/index.ts';"],
  ['providers/smtp/a.ts', "import type { X } from '../../messaging/provider.ts';"],
  ['edge/api/a.ts', "import { x } from '../aws/arn.ts';\nimport http from 'node:http';"],
  ['start.ts', "import { x } from './edge/aws/index.ts';\nimport { y } from './roles/run.ts';"],
  ['events/a.ts', "// import { x } from '../accounts/index.ts';\n/* import '../edge/index.ts'; */"],
  ['events/a.ts', 'const text = "import { x } from \'../edge/index.ts\'";'],
  ['events/a.test.ts', "import { x } from '../accounts/applications.ts';"],
  ['messaging/a.ts', "import type { Socket } from 'node:net';"],
])('%s may have %j', (path, text) => {
  expect(check(path, text)).toEqual([]);
});
