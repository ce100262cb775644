import { randomInt } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { testDatabase } from '../../../../tests/support/database.ts';
import { createApplication, deleteApplication, eraseDeletedApplications } from '../accounts/index.ts';
import { ensurePartitions, eraseFacts } from '../events/index.ts';
import { systemClock } from '../platform/clock.ts';
import { repeatableTransaction } from '../platform/database.ts';
import { CallerError } from '../platform/errors.ts';
import { uuidv7 } from '../platform/ids.ts';
import { silentLog } from '../platform/log.ts';
import { createFolderObjects } from '../platform/objects.ts';
import { removeAttributes } from './attribute.ts';
import { deleteEndpoint, deleteUserEndpoints } from './endpoints/delete.ts';
import { upsertEndpoints } from './endpoints/upsert.ts';
import { watchAttributes } from './endpoints/watch.ts';
import { eraseAudience } from './erase.ts';
import { createImportJob } from './imports/job.ts';
import { runImportJob } from './imports/run.ts';
import { createIngest } from './ingest/ingest.ts';

const database = await testDatabase(40);
await ensurePartitions(database);
const folder = await mkdtemp(join(tmpdir(), 'concurrency-'));
const objects = createFolderObjects(folder);
afterAll(() => rm(folder, { recursive: true, force: true }));

/** How long everybody works at once. */
const workMs = Number(process.env.CONCURRENCY_MS ?? 4_000);
const pick = (most: number) => randomInt(most);
const some = <T>(count: number, make: () => T): T[] => Array.from({ length: count }, make);

function anEndpoint() {
  const channels = [
    { ChannelType: 'EMAIL', Address: `a${pick(6)}@example.com` },
    { ChannelType: 'GCM', Address: `token ${pick(6)}` },
    {},
  ] as const;
  return {
    ...channels[pick(3)]!,
    ...(pick(3) > 0 ? { User: { UserId: `u${pick(5)}`, UserAttributes: { team: [`t${pick(4)}`] } } } : {}),
    Attributes: { plan: [`p${pick(4)}`], [`name${pick(3)}`]: ['x'] },
    Metrics: { score: pick(5) },
  };
}

test('whatever touches endpoints at once, nobody fails, and each event is there once', async () => {
  const app = (await createApplication(database, 'busy')).id;
  await database.transaction((tx) =>
    watchAttributes(tx, app, 'campaign', [
      { kind: 'endpoint', name: 'plan' },
      { kind: 'user', name: 'team' },
    ]),
  );
  const ingests = some(2, () => createIngest({ database, log: silentLog, endpointsPerUser: 4 }));
  const id = () => `e${pick(12)}`;
  const accepted: string[] = [];
  const operations: (() => Promise<unknown>)[] = [
    ...some(4, () => async () => {
      const items = some(1 + pick(4), () => {
        const eventId = uuidv7();
        return {
          endpointId: id(),
          events: [{ id: eventId, type: `t${pick(50)}`, at: Date.now() }],
          ...(pick(2) > 0 ? { endpoint: anEndpoint() } : {}),
        };
      });
      const results = await ingests[pick(2)]!.put(app, items);
      for (const [place, { events }] of results.entries())
        if (events[0]!.status === 202) accepted.push(items[place]!.events[0]!.id);
    }),
    ...some(
      2,
      () => () =>
        repeatableTransaction(database, (tx) =>
          upsertEndpoints(
            tx,
            app,
            some(1 + pick(5), () => ({ Id: id(), ...anEndpoint() })),
            { now: Date.now(), endpointsPerUser: 4 },
          ),
        ),
    ),
    () => deleteEndpoint(database, app, id()),
    () => deleteUserEndpoints(database, app, `u${pick(5)}`),
    () => removeAttributes(database, app, 'endpoint-custom-attributes', ['name*']),
    () => removeAttributes(database, app, 'endpoint-user-attributes', ['team']),
    async () => {
      const prefix = uuidv7();
      const rows = some(20, () => JSON.stringify({ Id: id(), ...anEndpoint() }));
      await objects.put('bucket', `${prefix}/a.json`, [Buffer.from(rows.join('\n'))]);
      const job = await createImportJob(
        database,
        app,
        { Format: 'JSON', S3Url: `s3://bucket/${prefix}/`, RoleArn: 'r', RegisterEndpoints: true },
        Date.now(),
      );
      const options = { database, objects, log: silentLog, clock: systemClock, chunkRows: 7 };
      await runImportJob(options, app, job.id, new AbortController().signal);
    },
  ];
  const until = Date.now() + workMs;
  const failures: unknown[] = [];
  const worker = async (operation: () => Promise<unknown>) => {
    while (Date.now() < until) {
      try {
        await operation();
      } catch (error) {
        const refused = error instanceof CallerError && error.code !== 'internal';
        if (!refused || error.code === 'unavailable') failures.push(error);
      }
    }
  };
  await Promise.all(operations.map(worker));
  expect(failures).toEqual([]);
  const { rows } = await database.query<{ id: string }>(
    "select payload->>'id' as id from events where application_id = $1 and starts_with(type, 'event.')",
    [app],
  );
  expect(rows.map((row) => row.id).sort()).toEqual(accepted.sort());
  // Deletion while events still come.
  const puts = some(4, async () => {
    for (;;) {
      try {
        await ingests[pick(2)]!.put(app, [
          { endpointId: id(), endpoint: anEndpoint(), events: [{ id: uuidv7(), type: 't', at: Date.now() }] },
        ]);
      } catch (error) {
        return error;
      }
    }
  });
  await deleteApplication(database, app);
  const erasers = [
    { room: 'audience', erase: eraseAudience },
    { room: 'events', erase: eraseFacts },
  ];
  expect(await eraseDeletedApplications({ database, erasers, log: silentLog })).toBe(1);
  expect((await Promise.all(puts)).map((error) => (error as CallerError).code)).toEqual(
    puts.map(() => 'not_found'),
  );
  for (const table of ['endpoints', 'users', 'endpoint_activity', 'events', 'event_names']) {
    const left = await database.query(`select from ${table} where application_id = $1 limit 1`, [app]);
    expect([table, left.rowCount]).toEqual([table, 0]);
  }
  await Promise.all(ingests.map((ingest) => ingest.drain()));
}, 60_000);
