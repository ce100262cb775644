import { expect, test } from 'vitest';
import { testDatabase } from '../../../../tests/support/database.ts';
import { hexId, uuidv7 } from '../platform/ids.ts';
import {
  addSuppressions,
  listSuppressions,
  removeSuppression,
  type Suppression,
  suppressedAmong,
} from './suppression.ts';

const database = await testDatabase();

test('an address is suppressed in every spelling, on its channel and in its application only', async () => {
  const app = hexId();
  await addSuppressions(database, app, [
    { channel: 'EMAIL', address: ' Jo@Example.COM ', reason: 'bounce', messageId: uuidv7() },
    { channel: 'SMS', address: '+49 (170) 12-34', reason: 'manual' },
    { channel: 'EMAIL', address: 'jo@example.com', reason: 'complaint' },
  ]);
  const among = (channel: string, ...addresses: string[]) =>
    suppressedAmong(database, app, channel, addresses);
  expect(await among('EMAIL', 'JO@example.com', 'other@example.com')).toEqual(new Set(['jo@example.com']));
  expect(await among('SMS', '+491701234', '+491701235')).toEqual(new Set(['+491701234']));
  expect(await among('VOICE', '+491701234')).toEqual(new Set());
  expect(await suppressedAmong(database, hexId(), 'EMAIL', ['jo@example.com'])).toEqual(new Set());
  expect(await among('EMAIL')).toEqual(new Set());
  const { suppressions } = await listSuppressions(database, app, { channel: 'EMAIL' });
  expect(suppressions).toMatchObject([{ address: 'jo@example.com', reason: 'bounce' }]);
  expect(await removeSuppression(database, app, 'EMAIL', 'JO@EXAMPLE.COM')).toBe(true);
  expect(await removeSuppression(database, app, 'EMAIL', 'JO@EXAMPLE.COM')).toBe(false);
  expect(await among('EMAIL', 'jo@example.com')).toEqual(new Set());
});

test('the list is paged by channel and address', async () => {
  const app = hexId();
  const all = Array.from({ length: 25 }, (_, index) => ({
    channel: index % 2 ? 'EMAIL' : 'CUSTOM',
    address: `a${String(index).padStart(2, '0')}`,
    reason: 'manual' as const,
  }));
  await addSuppressions(database, app, all);
  const listed: Suppression[] = [];
  let after: { channel: string; address: string } | undefined;
  do {
    const page = await listSuppressions(database, app, { after, limit: 10 });
    expect(page.suppressions.length).toBeLessThanOrEqual(10);
    listed.push(...page.suppressions);
    after = page.next;
  } while (after);
  expect(listed.map(({ address }) => address).sort()).toEqual(all.map(({ address }) => address));
});
