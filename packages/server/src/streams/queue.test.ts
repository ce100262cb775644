import { expect, test } from 'vitest';
import { testDatabase } from '../../../../tests/support/database.ts';
import { createNumberer, ensurePartitions } from '../events/index.ts';
import { hexId } from '../platform/ids.ts';
import { silentLog } from '../platform/log.ts';
import { type FactRange, forbidScans, selectFacts } from './queue.sql.ts';
import { appendEvents } from './runner.test-support.ts';

const database = await testDatabase(20);

test('the facts of slices are found by their batches, however full the day is', async () => {
  await ensurePartitions(database);
  const app = hexId();
  await database.query('insert into applications (id, name) values ($1, $1)', [app]);
  for (let n = 0; n < 60; n++) await appendEvents(database, app, `b${n}`, 700);
  await createNumberer({ database, log: silentLog }).drain();
  const { rows: ranges } = await database.query<FactRange>(
    `select position, day, batch_id as "batchId", 0 as "fromSeq", 2147483647 as "toSeq"
     from event_batches order by position limit 10`,
  );
  await database.transaction(async (tx) => {
    await tx.query(forbidScans);
    const select = selectFacts(app, ranges, 10_000, 16_000_000);
    expect((await tx.query(select)).rowCount).toBe(7_000);
    const { rows } = await tx.query<{ 'QUERY PLAN': string }>({
      text: `explain (analyze, timing off) ${select.text}`,
      values: select.values,
    });
    const plan = rows.map((row) => row['QUERY PLAN']).join('\n');
    expect(plan).toContain('batch_id');
    // What was read of other batches was thrown away here.
    expect(plan).not.toMatch(/Rows Removed by Filter: [1-9]/);
  });
});
