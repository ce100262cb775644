import { expect, test } from 'vitest';
import { testDatabase } from '../../../../tests/support/database.ts';
import { hexId } from '../platform/ids.ts';
import { createExportJob } from './exports/job.ts';
import { createImportJob } from './imports/job.ts';
import { addSuppressions, eraseAudience, touchActivity, upsertEndpoints } from './index.ts';
import { createSegment } from './segments/segment.ts';

const database = await testDatabase();

test('erasing an application leaves no row of it in any table of the room, and all rows of others', async () => {
  const apps = [hexId(), hexId()];
  for (const app of apps) {
    const items = Array.from({ length: 300 }, (_, index) => ({
      Id: `${index}`,
      User: { UserId: `${index % 100}` },
    }));
    await database.transaction(async (tx) => {
      await upsertEndpoints(tx, app, items, { now: 1 });
      await touchActivity(tx, app, [{ endpointId: '1', at: 1 }]);
      const { id } = await createSegment(tx, app, { Name: 's', Dimensions: {} } as never, 1);
      await tx.query("insert into segment_endpoints values ($1, $2, '1')", [app, id]);
      await tx.query("insert into segment_users values ($1, $2, '1')", [app, id]);
      await tx.query("insert into import_failures values ($1, 'j', 0, 1, 1, 'r', 'c')", [app]);
      await addSuppressions(tx, app, [{ channel: 'SMS', address: '+1', reason: 'manual' }]);
      await createImportJob(tx, app, { Format: 'CSV', S3Url: 's3://b/k', RoleArn: 'r' }, 1);
      await createExportJob(tx, app, { S3UrlPrefix: 's3://b/k', RoleArn: 'r' }, 1);
    });
  }
  const { rows: tables } = await database.query<{ name: string }>(
    `select table_name as name from information_schema.columns
      where table_schema = 'public' and column_name = 'application_id'`,
  );
  const countOf = async (app: string) => {
    const counts: Record<string, number> = {};
    for (const { name } of tables) {
      const { rows } = await database.query(`select count(*) as n from ${name} where application_id = $1`, [
        app,
      ]);
      if (rows[0].n > 0) counts[name] = rows[0].n;
    }
    return counts;
  };
  const before = await countOf(apps[1]!);
  expect(Object.keys(before).length).toBe(11);
  await eraseAudience(database, apps[0]!);
  expect(await countOf(apps[0]!)).toEqual({});
  expect(await countOf(apps[1]!)).toEqual(before);
});
