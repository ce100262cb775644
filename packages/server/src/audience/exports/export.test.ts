import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { gunzipSync } from 'node:zlib';
import { afterAll, expect, test } from 'vitest';
import { testDatabase } from '../../../../../tests/support/database.ts';
import { systemClock } from '../../platform/clock.ts';
import { hexId } from '../../platform/ids.ts';
import { silentLog } from '../../platform/log.ts';
import { createFolderObjects, ObjectError } from '../../platform/objects.ts';
import { createImportJob, getImportJob } from '../imports/job.ts';
import { runImportJob } from '../imports/run.ts';
import { type EndpointItem, upsertEndpoints } from '../index.ts';
import { createSegment, deleteSegment, updateSegment } from '../segments/segment.ts';
import {
  createExportJob,
  type ExportDefinition,
  exportFolder,
  getExportJob,
  listExportFiles,
  pieceName,
} from './job.ts';
import { runExportJob, runWaitingExports } from './run.ts';

const database = await testDatabase();
const folder = await mkdtemp(join(tmpdir(), 'export-'));
const objects = createFolderObjects(folder);
afterAll(() => rm(folder, { recursive: true, force: true }));

const dependencies = { database, objects, log: silentLog, clock: systemClock };
const never = new AbortController().signal;

async function fill(app: string, count: number): Promise<void> {
  const users = Math.max(40, count / 8);
  const items: EndpointItem[] = Array.from({ length: count }, (_, index) => ({
    Id: `e/${index}`,
    ChannelType: index % 3 === 0 ? 'SMS' : 'EMAIL',
    Address: `a${index}`,
    OptOut: index % 10 === 0 ? 'ALL' : 'NONE',
    EndpointStatus: index % 7 === 0 ? 'INACTIVE' : 'ACTIVE',
    EffectiveDate: new Date(Date.UTC(2025, 0, 1) + index * 1234).toISOString(),
    RequestId: index % 2 ? `r${index}` : undefined,
    Attributes: JSON.parse(`{"plan":["p${index % 4}"],"__proto__":["\\u2028\\n\\t\\\\"],"none":[]}`),
    Metrics: { score: index / 7 },
    Demographic: { Locale: 'de_DE' },
    Location: { Country: 'DE', Latitude: 50.5 },
    ...(index % 2
      ? { User: { UserId: `u${index % users}`, UserAttributes: { name: [`n${index % users}`] } } }
      : {}),
  }));
  await database.transaction((tx) => upsertEndpoints(tx, app, items, { now: Date.UTC(2026, 0, 1) }));
}

async function exportTo(app: string, definition: Partial<ExportDefinition> = {}, pieceEndpoints = 1000) {
  const S3UrlPrefix = `s3://bucket/${hexId()}`;
  const job = await createExportJob(database, app, { RoleArn: 'r', S3UrlPrefix, ...definition }, Date.now());
  await runExportJob({ ...dependencies, pieceEndpoints }, app, job.id, never);
  return getExportJob(database, app, job.id);
}

async function endpointsIn(url: string): Promise<{ files: number; endpoints: Record<string, unknown>[] }> {
  const [, bucket, prefix] = /^s3:\/\/([^/]+)\/(.*)$/.exec(url)!;
  const listed = await objects.list(bucket!, `${prefix}/`);
  const endpoints: Record<string, unknown>[] = [];
  for (const { key } of listed) {
    const blocks: Buffer[] = [];
    for await (const block of await objects.open(bucket!, key)) blocks.push(block);
    const lines = gunzipSync(Buffer.concat(blocks)).toString().split('\n').filter(Boolean);
    endpoints.push(...lines.map((line) => JSON.parse(line)));
  }
  return { files: listed.length, endpoints };
}

const without = (app: string, endpoints: Record<string, unknown>[]) =>
  endpoints.map((endpoint) => {
    expect(endpoint.ApplicationId).toBe(app);
    return { ...endpoint, ApplicationId: undefined };
  });

test('what is exported in several pieces and imported into another application is the same', async () => {
  const first = hexId();
  const second = hexId();
  await fill(first, 256);
  const exported = await exportTo(first, {}, 100);
  expect(exported).toMatchObject({ status: 'COMPLETED', totalPieces: 3, completedPieces: 3, processed: 256 });
  const there = await endpointsIn(exported.definition.S3UrlPrefix);
  expect(there.files).toBe(3);
  expect(there.endpoints.length).toBe(256);
  const request = {
    Format: 'JSON' as const,
    S3Url: exported.definition.S3UrlPrefix,
    RoleArn: 'r',
    RegisterEndpoints: true,
  };
  const { id } = await createImportJob(database, second, request, Date.now());
  await runImportJob(dependencies, second, id, never);
  expect(await getImportJob(database, second, id)).toMatchObject({
    status: 'COMPLETED',
    processed: 256,
    failures: 0,
  });
  const back = await endpointsIn((await exportTo(second)).definition.S3UrlPrefix);
  expect(back.files).toBe(1);
  expect(without(second, back.endpoints)).toEqual(without(first, there.endpoints));
});

test('a segment, dynamic or with members of its own, and an application without endpoints', async () => {
  const app = hexId();
  await fill(app, 60);
  const dimensions = { Location: { Country: { DimensionType: 'INCLUSIVE', Values: ['DE'] } } };
  const segment = await database.transaction((tx) =>
    createSegment(
      tx,
      app,
      {
        Name: 's',
        Dimensions: {
          ...dimensions,
          Demographic: { Channel: { DimensionType: 'INCLUSIVE', Values: ['SMS'] } },
        },
      } as never,
      Date.now(),
    ),
  );
  const exported = await exportTo(app, { SegmentId: segment.id, SegmentVersion: 1 });
  const { endpoints } = await endpointsIn(exported.definition.S3UrlPrefix);
  expect(endpoints.map(({ ChannelType }) => ChannelType)).toEqual(Array(20).fill('SMS'));

  await objects.put('bucket', `${app}.csv`, [
    Buffer.from('ChannelType,Address,Id,User.UserId\nSMS,+1,a,u\n'),
  ]);
  const request = {
    Format: 'CSV' as const,
    S3Url: `s3://bucket/${app}.csv`,
    RoleArn: 'r',
    DefineSegment: true,
  };
  const imported = await createImportJob(database, app, request, Date.now());
  await runImportJob(dependencies, app, imported.id, never);
  const own = await exportTo(app, { SegmentId: imported.segmentId! });
  expect((await endpointsIn(own.definition.S3UrlPrefix)).endpoints).toMatchObject([
    { Id: 'a', Address: '+1', User: { UserId: 'u' } },
  ]);

  const empty = await exportTo(hexId());
  expect(empty).toMatchObject({ status: 'COMPLETED', processed: 0, totalPieces: 1 });
  expect(await endpointsIn(empty.definition.S3UrlPrefix)).toEqual({ files: 1, endpoints: [] });
  await expect(exportTo(app, { SegmentId: hexId() })).rejects.toThrow('not found');
  expect(await exportTo(app, { S3UrlPrefix: 's3://bucket/../x' })).toMatchObject({
    status: 'FAILED',
    error: expect.stringContaining('not allowed in a key'),
  });
});

test('a pause throws the piece away; the next run goes on with it', async () => {
  const app = hexId();
  await fill(app, 50);
  const S3UrlPrefix = `s3://bucket/${app}`;
  const { id } = await createExportJob(database, app, { RoleArn: 'r', S3UrlPrefix }, Date.now());
  const pause = new AbortController();
  const stopping = {
    ...objects,
    put: async (...put: Parameters<typeof objects.put>) => {
      if (put[1].endsWith('2.json.gz')) pause.abort();
      return objects.put(...put);
    },
  };
  const pieceEndpoints = 20;
  expect(
    await runExportJob({ ...dependencies, objects: stopping, pieceEndpoints }, app, id, pause.signal),
  ).toBe('paused');
  expect(await getExportJob(database, app, id)).toMatchObject({ completedPieces: 1, processed: 20 });
  expect((await endpointsIn(S3UrlPrefix)).files).toBe(1);
  expect(await runExportJob({ ...dependencies, pieceEndpoints }, app, id, never)).toBe('completed');
  const { files, endpoints } = await endpointsIn(S3UrlPrefix);
  expect(files).toBe(3);
  expect(new Set(endpoints.map(({ Id }) => Id)).size).toBe(50);
  expect(endpoints.length).toBe(50);
});

/** A store that does something else before (or instead of) writing a piece. */
function storeWith(put: (piece: number, write: () => Promise<unknown>) => Promise<unknown>) {
  return {
    ...objects,
    put: async (...args: Parameters<typeof objects.put>) => {
      const piece = Number(/part-(\d+)\.json\.gz$/.exec(args[1])![1]);
      await put(piece, () => objects.put(...args));
      return (await objects.stat(args[0], args[1]))!;
    },
  };
}

async function newJob(app: string, definition: Partial<ExportDefinition> = {}) {
  const request = { RoleArn: 'r', S3UrlPrefix: `s3://bucket/${app}/`, ...definition };
  return createExportJob(database, app, request, Date.now());
}

const idsOf = (endpoints: Record<string, unknown>[]) => endpoints.map(({ Id }) => Id as string);

/** Attributes of the segment: endpoints with one of these plans (see `fill`). */
const plans = (...Values: string[]) =>
  ({ Dimensions: { Attributes: { plan: { AttributeType: 'INCLUSIVE', Values } } } }) as never;

test('a worker that ends after the object is there and before the row knows: the piece is written anew', async () => {
  const app = hexId();
  await fill(app, 50);
  const { id } = await newJob(app);
  const dying = storeWith(async (piece, write) => {
    await write();
    if (piece === 2) throw new Error('killed');
  });
  const pieces = { ...dependencies, pieceEndpoints: 20, pageEndpoints: 7 };
  await expect(runExportJob({ ...pieces, objects: dying }, app, id, never)).rejects.toThrow('killed');
  expect(await getExportJob(database, app, id)).toMatchObject({
    status: 'PROCESSING',
    total: 50,
    totalPieces: 3,
    completedPieces: 1,
    processed: 20,
  });
  expect((await listExportFiles(objects, app, await getExportJob(database, app, id))).length).toBe(1);
  // Whatever happens in between, no endpoint gets into two pieces, and none falls between two.
  await database.query('delete from endpoints where application_id = $1 and id = any($2)', [
    app,
    ['e/30', 'e/31', 'e/32', 'e/33'],
  ]);
  expect(await runExportJob(pieces, app, id, never)).toBe('completed');
  const { files, endpoints } = await endpointsIn(`s3://bucket/${app}`);
  expect(files).toBe(3);
  expect(endpoints.length).toBe(46);
  expect(new Set(idsOf(endpoints)).size).toBe(46);
  expect(await getExportJob(database, app, id)).toMatchObject({
    status: 'COMPLETED',
    processed: 46,
    failures: 0,
  });
});

test('two workers that both take a job for theirs do not mix their pieces', async () => {
  const app = hexId();
  await fill(app, 50);
  const { id } = await newJob(app);
  const pieces = { ...dependencies, pieceEndpoints: 20 };
  const gate = Promise.withResolvers<void>();
  const stalled = Promise.withResolvers<void>();
  const stalling = storeWith(async (piece, write) => {
    if (piece === 2) {
      stalled.resolve();
      await gate.promise;
    }
    await write();
  });
  const first = runExportJob({ ...pieces, objects: stalling }, app, id, never);
  await stalled.promise;
  expect(await runExportJob(pieces, app, id, never)).toBe('busy');
  await database.query(
    "update export_jobs set leased_until = clock_timestamp() - interval '1 second' where id = $1",
    [id],
  );
  await database.transaction((tx) =>
    upsertEndpoints(tx, app, [{ Id: 'e/350', Metrics: { m: 1 } }], { now: Date.now() }),
  );
  expect(await runExportJob(pieces, app, id, never)).toBe('completed');
  const { endpoints: before } = await endpointsIn(`s3://bucket/${app}`);
  expect(before.length).toBe(51);
  // The first worker wakes up late and writes its piece, without the new endpoint, over that of the second.
  gate.resolve();
  expect(await first).toBe('busy');
  const { files, endpoints } = await endpointsIn(`s3://bucket/${app}`);
  expect(files).toBe(3);
  expect(idsOf(endpoints)).toEqual(idsOf(before).filter((endpoint) => endpoint !== 'e/350'));
  expect(await getExportJob(database, app, id)).toMatchObject({
    status: 'COMPLETED',
    completedPieces: 3,
    processed: 51,
  });
});

test('a run whose job is gone or taken stops in the middle of its piece and leaves nothing behind', async () => {
  const app = hexId();
  await fill(app, 50);
  const { id } = await newJob(app);
  const slow: typeof objects = {
    ...objects,
    async put(bucket, key, content) {
      await database.query('delete from export_jobs where id = $1', [id]);
      // The renewal of the lease finds out, and ends the content.
      await new Promise((resolve) => (content as Readable).once('close', resolve));
      return objects.put(bucket, key, content);
    },
  };
  expect(await runExportJob({ ...dependencies, objects: slow, leaseMs: 60 }, app, id, never)).toBe('busy');
  expect(await objects.list('bucket', `${app}/`)).toEqual([]);
});

test('a store that refuses without reading, while there is much to write', async () => {
  const app = hexId();
  // More than all buffers on the way hold, also when it is compressed.
  const items = Array.from({ length: 5000 }, (_, index) => ({
    Id: `e${index}`,
    Attributes: { noise: [randomBytes(75).toString('base64')] },
  }));
  await database.transaction((tx) => upsertEndpoints(tx, app, items, { now: Date.now() }));
  const { id } = await newJob(app);
  const refusing = storeWith(() => Promise.reject(new ObjectError('bad_name', 'full')));
  expect(await runExportJob({ ...dependencies, objects: refusing, pageEndpoints: 100 }, app, id, never)).toBe(
    'failed',
  );
  expect((await getExportJob(database, app, id)).error).toMatch(/cannot be written in .*: full$/);
});

test('endpoints that come and go while the job runs: each of the others is there once', async () => {
  const app = hexId();
  await fill(app, 200);
  const segment = await database.transaction((tx) =>
    createSegment(tx, app, plans('p0', 'p1', 'p2', 'p3'), Date.now()),
  );
  for (const definition of [{}, { SegmentId: segment.id }]) {
    const S3UrlPrefix = `s3://bucket/${hexId()}`;
    const { id } = await newJob(app, { ...definition, S3UrlPrefix });
    const changing = storeWith(async (piece, write) => {
      // Of those that are still to come and of those that are done, in the piece that is being written and others.
      const gone = [`e/${piece}`, `e/${piece + 20}`, `e/1${piece}`, `e/9${piece}`];
      await database.query('delete from endpoints where application_id = $1 and id = any($2)', [app, gone]);
      await database.transaction((tx) =>
        upsertEndpoints(
          tx,
          app,
          [0, 4, 9].map((digit) => ({ Id: `e/${digit}~${id}${piece}`, Attributes: { plan: ['p1'] } })),
          { now: Date.now() },
        ),
      );
      await write();
    });
    const { rows: before } = await database.query('select id from endpoints where application_id = $1', [
      app,
    ]);
    const run = { ...dependencies, objects: changing, pieceEndpoints: 50, pageEndpoints: 8 };
    expect(await runExportJob(run, app, id, never)).toBe('completed');
    const { rows: after } = await database.query('select id from endpoints where application_id = $1', [app]);
    const known = new Set(before.map((row) => row.id));
    const exported = idsOf((await endpointsIn(S3UrlPrefix)).endpoints);
    expect(new Set(exported).size).toBe(exported.length);
    const missing = after.filter((row) => known.has(row.id) && !exported.includes(row.id));
    expect(missing).toEqual([]);
    expect((await getExportJob(database, app, id)).processed).toBe(exported.length);
  }
});

test('a segment is exported in the version that was the latest when the job was created', async () => {
  const app = hexId();
  await fill(app, 40);
  const now = Date.now();
  const { id: SegmentId } = await database.transaction((tx) => createSegment(tx, app, plans('p1'), now));
  const asItIs = await newJob(app, { SegmentId, S3UrlPrefix: `s3://bucket/${app}/a` });
  await database.transaction((tx) => updateSegment(tx, app, SegmentId, plans('p2', 'p3'), now));
  const latest = await newJob(app, { SegmentId, S3UrlPrefix: `s3://bucket/${app}/b` });
  const named = await newJob(app, { SegmentId, SegmentVersion: 1, S3UrlPrefix: `s3://bucket/${app}/c` });
  for (const { id } of [asItIs, latest, named]) await runExportJob(dependencies, app, id, never);
  expect((await endpointsIn(`s3://bucket/${app}/a`)).endpoints.length).toBe(10);
  expect((await endpointsIn(`s3://bucket/${app}/b`)).endpoints.length).toBe(20);
  expect((await endpointsIn(`s3://bucket/${app}/c`)).endpoints.length).toBe(10);
  await expect(newJob(app, { SegmentId, SegmentVersion: 3 })).rejects.toThrow('not found');
  await expect(newJob(app, { SegmentId, SegmentVersion: 0 })).rejects.toThrow('$.SegmentVersion: expected');
  await expect(newJob(app, { SegmentVersion: 1 })).rejects.toThrow('$.SegmentVersion: expected a SegmentId');
  await expect(newJob(app, { S3UrlPrefix: '/tmp/x' })).rejects.toThrow('$.S3UrlPrefix: expected an address');
});

test('a segment that is deleted between two pieces fails the job; what is written stays', async () => {
  const app = hexId();
  await fill(app, 40);
  const { id: SegmentId } = await database.transaction((tx) =>
    createSegment(tx, app, plans('p1', 'p2'), Date.now()),
  );
  const { id } = await newJob(app, { SegmentId });
  const deleting = storeWith(async (_, write) => {
    await write();
    await database.transaction((tx) => deleteSegment(tx, app, SegmentId, Date.now()));
  });
  expect(await runExportJob({ ...dependencies, objects: deleting, pieceEndpoints: 8 }, app, id, never)).toBe(
    'failed',
  );
  expect(await getExportJob(database, app, id)).toMatchObject({
    status: 'FAILED',
    error: expect.stringContaining(`segment ${SegmentId} not found`),
    totalPieces: 3,
    completedPieces: 1,
    failedPieces: 2,
    processed: 8,
    completedAt: expect.any(Number),
  });
});

test('what cannot be written fails the job with the reason and the folder', async () => {
  const app = hexId();
  await fill(app, 3);
  const job = await newJob(app);
  // A folder where the object should be.
  await mkdir(join(folder, 'bucket', app, app, job.id, pieceName(1)), { recursive: true });
  expect(await runExportJob(dependencies, app, job.id, never)).toBe('failed');
  const failed = await getExportJob(database, app, job.id);
  expect(failed).toMatchObject({ status: 'FAILED', completedPieces: 0, failedPieces: 1, processed: 0 });
  const { bucket, prefix } = exportFolder(app, job);
  expect(failed.error).toContain(
    `s3://${bucket}/${prefix}part-000001.json.gz cannot be written in ${folder}/bucket`,
  );
  const named = await exportTo(app, { S3UrlPrefix: 's3://x/' });
  expect(named).toMatchObject({
    status: 'FAILED',
    error: expect.stringContaining(`${folder}: "x" is not a bucket`),
  });
});

test('the status goes the documented way', async () => {
  await database.query('create table walk (id serial, job text, status text)');
  await database.query(`create function write_walk() returns trigger language plpgsql as $$ begin
    insert into walk (job, status) values (new.id, new.status); return null; end $$`);
  await database.query(`create trigger walk after insert or update of status on export_jobs
    for each row execute function write_walk()`);
  const app = hexId();
  await fill(app, 9);
  const done = await exportTo(app, {}, 4);
  const failed = await exportTo(app, { S3UrlPrefix: 's3://bucket/..' }, 4);
  const walk = async (job: string) => {
    const { rows } = await database.query('select status from walk where job = $1 order by id', [job]);
    return rows.map(({ status }) => status).filter((status, index, all) => status !== all[index - 1]);
  };
  const begun = ['CREATED', 'PREPARING_FOR_INITIALIZATION', 'INITIALIZING', 'PROCESSING'];
  expect(await walk(done.id)).toEqual([...begun, 'COMPLETING', 'COMPLETED']);
  expect(await walk(failed.id)).toEqual([...begun, 'FAILING', 'FAILED']);
});

test('waiting jobs are worked off, but never so many at once that other jobs find no hands', async () => {
  const apps = [hexId(), hexId(), hexId(), hexId()];
  const jobs = await Promise.all(apps.map((app) => newJob(app)));
  const lease = (seconds: number) =>
    database.query(
      'update export_jobs set leased_until = clock_timestamp() + make_interval(secs => $2) where application_id = any($1)',
      [apps.slice(0, 2), seconds],
    );
  await lease(60);
  await runWaitingExports(dependencies, never);
  const statuses = async () =>
    Promise.all(apps.map(async (app, index) => (await getExportJob(database, app, jobs[index]!.id)).status));
  expect(await statuses()).toEqual(Array(4).fill('CREATED'));
  await lease(-1);
  await runWaitingExports(dependencies, never);
  expect(await statuses()).toEqual(Array(4).fill('COMPLETED'));
});
