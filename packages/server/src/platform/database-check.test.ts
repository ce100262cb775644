import { expect, test } from 'vitest';
import { testDatabase } from '../../../../tests/support/database.ts';
import type { Queryable } from './database.ts';
import { checkDatabaseServer } from './database-check.ts';

test('the server of the tests is good enough', async () => {
  await checkDatabaseServer(await testDatabase());
});

test.each([
  [{ version: '14.9 (Debian 14.9-1)', number: 140_009, encoding: 'UTF8' }, 'is a PostgreSQL 14.9'],
  [{ version: '16.1', number: 160_001, encoding: 'SQL_ASCII' }, 'has the encoding SQL_ASCII'],
])('%j is refused with what to change', async (row, expected) => {
  // A server of that kind is not at hand; this is what it answers.
  const query = (async () => ({ rows: [row] })) as unknown as Queryable['query'];
  await expect(checkDatabaseServer({ query })).rejects.toThrow(expected);
});
