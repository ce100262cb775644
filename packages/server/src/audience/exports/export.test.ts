import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, expect, test } from 'vitest';
import { testDatabase } from '../../../../../tests/support/database.ts';
import { systemClock } from '../../platform/clock.ts';
import { hexId } from '../../platform/ids.ts';
import { silentLog } from '../../platform/log.ts';
import { createFolderObjects } from '../../platform/objects.ts';
import { createImportJob, getImportJob } from '../imports/job.ts';
import { runImportJob } from '../imports/run.ts';
import { type EndpointItem, upsertEndpoints } from '../index.ts';
import { createSegment } from '../segments/segment.ts';
import { createExportJob, type ExportDefinition, getExportJob } from './job.ts';
import { runExportJob } from './run.ts';

const database = await testDatabase();
const folder = await mkdtemp(join(tmpdir(), 'export-'));
const objects = createFolderObjects(folder);
afterAll(() => rm(folder, { recursive: true, force: true }));

const dependencies = { database, objects, log: silentLog, clock: systemClock };
const never = new AbortController().signal;

async function fill(app: string, count: number): Promise<void> {
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
      ? { User: { UserId: `u${index % 40}`, UserAttributes: { name: [`n${index % 40}`] } } }
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
