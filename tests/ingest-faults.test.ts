import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { CreateAppCommand } from '@aws-sdk/client-pinpoint';
import { afterAll, expect, test } from 'vitest';
import { openDatabase } from '../packages/server/src/platform/database.ts';
import { migrate } from '../packages/server/src/platform/migrate.ts';
import { ensureDatabase, startPostgres } from '../packages/server/src/platform/postgres.ts';
import { runIngestChaos } from './chaos/ingest.ts';
import { startProduct } from './support/product.ts';
import { sendSigned } from './support/signed-request.ts';

test('every acknowledged event is in the log once, though the api and PostgreSQL are killed under it', async () => {
  const report = await runIngestChaos({ requests: 120, kills: 4, print: () => undefined });
  expect(report.violations).toEqual([]);
  expect(report.acknowledged).toBe(6 * 120 * 10);
  expect(report.kills).toBe(4);
  expect(report.repeats).toBeGreaterThan(0);
}, 300_000);

test('while the database is away, clients are told to come again, and what they then send is written', async () => {
  const folder = await mkdtemp('/tmp/postrider-ingest-away-');
  await chmod(folder, 0o755);
  const options = {
    directory: join(folder, 'postgres'),
    settings: { fsync: 'off', full_page_writes: 'off' },
  };
  let server = await startPostgres(options);
  afterAll(async () => {
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  });
  await ensureDatabase(server, 'away');
  const url = server.url('away');
  const database = { ...openDatabase({ url, maxConnections: 2, applicationName: 'judge' }), url };
  afterAll(() => database.close());
  await migrate(database);
  const product = await startProduct({}, database);
  const created = await product
    .client()
    .send(new CreateAppCommand({ CreateApplicationRequest: { Name: 'away' } }));
  const app = created.ApplicationResponse!.Id!;
  const put = (id: string) => {
    const Events = { [id]: { EventType: 'x', Timestamp: new Date().toISOString() } };
    return sendSigned(
      {
        method: 'POST',
        path: `/v1/apps/${app}/events`,
        body: JSON.stringify({ BatchItem: { e: { Endpoint: {}, Events } } }),
      },
      { key: product.key, port: Number(new URL(product.url).port) },
    );
  };
  expect((await put('before')).status).toBe(202);
  await server.stop();
  const refused = await put('away');
  expect([refused.status, refused.headers['x-amzn-errortype'], refused.headers['retry-after']]).toEqual([
    500,
    'InternalServerErrorException',
    '1',
  ]);
  server = await startPostgres(options);
  const again = await Promise.all([put('away'), put('before'), put('after')]);
  expect(again.map(({ status }) => status)).toEqual([202, 202, 202]);
  const { rows } = await database.query(
    `select payload ->> 'id' as id from events where application_id = $1 order by batch_id, seq`,
    [app],
  );
  expect(rows.map(({ id }) => id).sort()).toEqual(['after', 'away', 'before']);
}, 120_000);
