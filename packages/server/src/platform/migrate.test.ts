import { expect, test } from 'vitest';
import { testDatabase } from '../../../../tests/support/database.ts';
import { migrate, NewerSchemaError, programSchemaVersion } from './migrate.ts';

const database = await testDatabase();

test('a migrated database has the version of the program, and a second run does nothing', async () => {
  const { rows } = await database.query('select max(version) as version from schema_migrations');
  expect(rows[0].version).toBe(await programSchemaVersion());
  expect(await migrate(database)).toEqual([]);
});

test('a database that a newer program wrote is refused and left as it is', async () => {
  await database.query("insert into schema_migrations (version, name) values (9999, '9999-future.sql')");
  await expect(migrate(database)).rejects.toThrow(NewerSchemaError);
});
