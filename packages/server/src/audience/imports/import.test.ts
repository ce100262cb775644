import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, expect, test } from 'vitest';
import { testDatabase } from '../../../../../tests/support/database.ts';
import { systemClock } from '../../platform/clock.ts';
import { hexId } from '../../platform/ids.ts';
import { silentLog } from '../../platform/log.ts';
import { createFolderObjects } from '../../platform/objects.ts';
import { getEndpoint, getUserEndpoints, toEndpointResponse } from '../index.ts';
import { compileSegment } from '../segments/compile.ts';
import { getSegment } from '../segments/segment.ts';
import { createImportJob, getImportJob, type ImportDefinition, listImportJobs } from './job.ts';
import { runImportJob } from './run.ts';

const database = await testDatabase();
const folder = await mkdtemp(join(tmpdir(), 'import-'));
const objects = createFolderObjects(folder);
afterAll(() => rm(folder, { recursive: true, force: true }));

const dependencies = { database, objects, log: silentLog, clock: systemClock, chunkRows: 7 };
const never = new AbortController().signal;

async function store(key: string, content: string | Buffer): Promise<void> {
  await objects.put('bucket', key, [Buffer.from(content)]);
}

async function importFiles(
  app: string,
  files: Record<string, string | Buffer>,
  definition: Partial<ImportDefinition> = {},
  chunkRows = 7,
) {
  const prefix = hexId();
  for (const [name, content] of Object.entries(files)) await store(`${prefix}/${name}`, content);
  const job = await createImportJob(
    database,
    app,
    { Format: 'CSV', S3Url: `s3://bucket/${prefix}/`, RoleArn: 'r', RegisterEndpoints: true, ...definition },
    Date.now(),
  );
  await runImportJob({ ...dependencies, chunkRows }, app, job.id, never);
  return getImportJob(database, app, job.id);
}

async function ids(app: string): Promise<string[]> {
  const { rows } = await database.query(
    'select id from endpoints where application_id = $1 and segment_id is null order by id',
    [app],
  );
  return rows.map((row) => row.id);
}

async function members(app: string, segmentId: string): Promise<string[]> {
  const { members } = await compileSegment(database, app, { segmentId });
  const { rows } = await database.query(members);
  return rows.map((row) => row.id).sort();
}

async function readObject(url: string): Promise<string> {
  const [, bucket, key] = /^s3:\/\/([^/]+)\/(.*)$/.exec(url)!;
  const blocks: Buffer[] = [];
  for await (const block of await objects.open(bucket!, key!)) blocks.push(block);
  return Buffer.concat(blocks).toString();
}

test('a CSV file with a BOM, CRLF, quotes, repeated and unknown columns', async () => {
  const app = hexId();
  const job = await importFiles(app, {
    'a.csv': Buffer.from(
      [
        '\ufeffChannelType,Address,Id,Attributes.tags,Attributes.tags,Metrics.score,Location.Latitude,Demographic.Make,User.UserId,User.UserAttributes.name,Colour,Attributes.__proto__',
        'EMAIL,jo@example.com,one,a,b,1.5,50.7,x,u-1,"Jo ""the"" Doe, Dr.",red,evil',
        '',
        'SMS,+4917,two,,c,,,"line\r\nbreak",,,,',
        'EMAIL,plain"quote@example.com,three,,,,,,,,,',
        '"EMAIL","last@example.com","four","","","","","","","","",""',
      ].join('\r\n'),
    ),
  });
  expect(job).toMatchObject({
    status: 'COMPLETED',
    processed: 4,
    failures: 0,
    totalPieces: 1,
    completedPieces: 1,
  });
  expect(job.warnings).toEqual(['columns that are not known were left out: Colour']);
  const one = toEndpointResponse(app, (await getEndpoint(database, app, 'one'))!);
  expect(JSON.parse(JSON.stringify(one))).toMatchObject({
    Address: 'jo@example.com',
    Attributes: JSON.parse('{"tags":["a","b"],"__proto__":["evil"]}'),
    Metrics: { score: 1.5 },
    Location: { Latitude: 50.7 },
    User: { UserId: 'u-1', UserAttributes: { name: ['Jo "the" Doe, Dr.'] } },
  });
  expect((await getEndpoint(database, app, 'two'))?.demographic).toEqual({ Make: 'line\r\nbreak' });
  expect((await getEndpoint(database, app, 'three'))?.address).toBe('plain"quote@example.com');
  expect(await ids(app)).toEqual(['four', 'one', 'three', 'two']);
});

test('failed rows are named with line and reason; the rest is imported', async () => {
  const app = hexId();
  const job = await importFiles(app, {
    'a.csv': Buffer.concat([
      Buffer.from(
        [
          'ChannelType,Address,Id,Metrics.score,Location.Country',
          'EMAIL,a@example.com,a,1,DE',
          'FAX,b@example.com,b,1,DE',
          'EMAIL,c@example.com,c,many,DE',
          'EMAIL,d@example.com',
          'EMAIL,"e@example.com"x,e,1,DE',
          'EMAIL,"f@example.com,f,1,DE',
          ',,g,1,DE',
          'EMAIL,,,1,DE',
          'EMAIL,h@example.com,h,1,Nowhere at all',
          '',
        ].join('\n'),
      ),
      Buffer.from('EMAIL,\xffi@example.com,i,1,DE\n', 'latin1'),
      Buffer.from('EMAIL,j\0@example.com,j,1,DE\nEMAIL,k@example.com,k,2,DE\n'),
    ]),
  });
  expect(job).toMatchObject({ status: 'COMPLETED', processed: 12, failures: 10 });
  const reasons = job.firstFailures.map((text) => text.replace(/^.*a\.csv, /, '')).sort();
  expect(reasons).toEqual([
    'line 10: $.Location.Country: expected a country code of ISO 3166-1 (`DE`)',
    'line 11: has bytes that are not UTF-8',
    'line 12: $.Address: expected text without U+0000',
    expect.stringMatching(/^line 3: \$\.ChannelType: expected one of PUSH/),
    'line 4: $.Metrics.score: expected a number',
    'line 5: expected 5 values, got 2',
    'line 6: has text after a closing quote',
    'line 7: has a quote that is opened and never closed',
    'line 8: $.Address: a new endpoint needs ChannelType and Address',
    'line 9: a new endpoint needs ChannelType and Address',
  ]);
  expect(await ids(app)).toEqual(['a', 'k']);
  const lines = (await readObject(job.errorFile!)).trimEnd().split('\r\n');
  expect(lines.length).toBe(11);
  expect(lines[1]).toMatch(/^[^,]+\.csv,3,/);
  const { rows } = await database.query('select from import_failures');
  expect(rows.length).toBe(0);
});

test('only the first 100 failures are in the job, all are in the file', async () => {
  const app = hexId();
  const bad = Array.from({ length: 250 }, (_, index) => `FAX,x${index}`).join('\n');
  const job = await importFiles(app, { 'a.csv': `ChannelType,Address\n${bad}\n` });
  expect(job).toMatchObject({ processed: 250, failures: 250, status: 'COMPLETED' });
  expect(job.firstFailures.length).toBe(100);
  expect((await readObject(job.errorFile!)).trimEnd().split('\r\n').length).toBe(251);
});

test('a real export imports as it is: ids, cohorts, dates, status; by content, whatever the name of the file', async () => {
  const app = hexId();
  const endpoint = {
    Id: 'x/1',
    ApplicationId: 'another',
    CohortId: '42',
    CreationDate: '2020-01-02T03:04:05.678Z',
    EffectiveDate: '2021-01-02T03:04:05.678Z',
    EndpointStatus: 'INACTIVE',
    ChannelType: 'APNS',
    Address: 'token',
    OptOut: 'ALL',
    RequestId: 'q',
    Attributes: { plan: ['pro'] },
    Metrics: { m: 1 },
    Demographic: { Platform: 'iOS' },
    Location: { Country: 'USA' },
    User: { UserId: 'u', UserAttributes: { name: ['Jo'] } },
  };
  const bare = {
    Id: 'bare',
    CohortId: '7',
    CreationDate: '2020-01-01T00:00:00.000Z',
    EndpointStatus: 'ACTIVE',
  };
  const lines = `${JSON.stringify(endpoint)}\n${JSON.stringify(bare)}\nnot json\n[1]\n{"Id":1}\n{"Id":"z","Attributes":{"a":[1]}}\n`;
  // Two gzip members one after the other are one file.
  const half = lines.indexOf('\n') + 1;
  const job = await importFiles(
    app,
    {
      'part-0000': Buffer.concat([gzipSync(lines.slice(0, half)), gzipSync(lines.slice(half))]),
      'deeper/plain.jsonl': '{"Id":"y","ChannelType":"SMS","Address":"+1"}',
      'other.csv': 'Id\nfoo\n',
    },
    { Format: 'JSON' },
  );
  expect(job).toMatchObject({
    status: 'COMPLETED',
    processed: 7,
    failures: 4,
    totalPieces: 2,
    completedPieces: 2,
  });
  expect(job.warnings).toEqual(['1 files of another format than JSON were left out']);
  const read = toEndpointResponse(app, (await getEndpoint(database, app, 'x/1'))!);
  expect(JSON.parse(JSON.stringify(read))).toEqual({ ...endpoint, ApplicationId: app });
  expect(await ids(app)).toEqual(['bare', 'x/1', 'y']);
});

test('rows of the same endpoint apply in the order of the file, across chunks and lanes', async () => {
  const app = hexId();
  const rows = Array.from(
    { length: 300 },
    (_, index) => `EMAIL,m${index % 11}@example.com,e${index % 11},${index},v${index}`,
  );
  const job = await importFiles(app, {
    'a.csv': `ChannelType,Address,Id,Metrics.n,Attributes.last\n${rows.join('\n')}`,
  });
  expect(job).toMatchObject({ processed: 300, failures: 0 });
  for (let endpoint = 0; endpoint < 11; endpoint++) {
    const last = Math.floor((299 - endpoint) / 11) * 11 + endpoint;
    expect((await getEndpoint(database, app, `e${endpoint}`))?.metrics).toEqual({ n: last });
  }
});

test('of different endpoints with one address, one stays active, also when they go by different lanes', async () => {
  const app = hexId();
  const rows = Array.from({ length: 200 }, (_, index) => `GCM,t${index % 10},e${index}`);
  await importFiles(app, { 'a.csv': `ChannelType,Address,Id\n${rows.join('\n')}\n` });
  const { rows: active } = await database.query(
    "select address, count(*) from endpoints where application_id = $1 and status = 'ACTIVE' group by 1",
    [app],
  );
  expect(active.length).toBe(10);
  for (const row of active) expect(row.count).toBe(1);
});

test('rows without an id: importing the file again makes no second endpoint', async () => {
  const app = hexId();
  const file = { 'a.csv': 'ChannelType,Address,User.UserId\nSMS,+1,u\nSMS,+2,u\n' };
  await importFiles(app, file);
  await importFiles(app, file);
  expect((await ids(app)).length).toBe(2);
  expect((await getUserEndpoints(database, app, 'u')).length).toBe(2);
});

test('the rule of endpoints per user refuses rows, not the job', async () => {
  const app = hexId();
  const rows = Array.from({ length: 20 }, (_, index) => `EMAIL,${index}@example.com,e${index},u`);
  const job = await importFiles(app, { 'a.csv': `ChannelType,Address,Id,User.UserId\n${rows.join('\n')}` });
  expect(job).toMatchObject({ status: 'COMPLETED', processed: 20, failures: 5 });
  expect(job.firstFailures[0]).toContain('Exceeded maximum endpoint per user count: 15');
  expect((await getUserEndpoints(database, app, 'u')).length).toBe(15);
});

const people =
  'ChannelType,Address,Id,User.UserId\nEMAIL,a@example.com,a,u\nSMS,+1,b,\nEMAIL,c@example.com,c,\n';

test.each([
  ['register and define', true, true],
  ['register only', true, false],
  ['define only', false, true],
  ['neither given: registers', undefined, undefined],
])('%s', async (_, RegisterEndpoints, DefineSegment) => {
  const app = hexId();
  const registers = RegisterEndpoints !== false;
  const job = await importFiles(
    app,
    { 'a.csv': people },
    { RegisterEndpoints, DefineSegment, SegmentName: 'S' },
  );
  expect(job).toMatchObject({ status: 'COMPLETED', processed: 3, failures: 0 });
  expect(await ids(app)).toEqual(registers ? ['a', 'b', 'c'] : []);
  if (!DefineSegment) {
    expect(job.segmentId).toBeNull();
    return;
  }
  const segment = await getSegment(database, app, job.segmentId!);
  expect(segment).toMatchObject({
    name: 'S',
    type: 'IMPORT',
    version: 1,
    importDefinition: { Size: 3, ChannelCounts: { EMAIL: 2, SMS: 1 }, Format: 'CSV' },
  });
  const prefix = registers ? '' : `${segment.id}.`;
  expect(await members(app, segment.id)).toEqual(['a', 'b', 'c'].map((id) => prefix + id));
  expect(await getEndpoint(database, app, `${segment.id}.a`)).toBeUndefined();
});

test('SegmentId adds to an imported segment and makes its next version', async () => {
  const app = hexId();
  const first = await importFiles(app, { 'a.csv': people }, { DefineSegment: true });
  const second = await importFiles(
    app,
    { 'b.csv': 'ChannelType,Address,Id\nEMAIL,d@example.com,d\nEMAIL,a@example.com,a\n' },
    { SegmentId: first.segmentId! },
  );
  expect(second.segmentId).toBe(first.segmentId);
  expect(await members(app, first.segmentId!)).toEqual(['a', 'b', 'c', 'd']);
  const segment = await getSegment(database, app, first.segmentId!);
  expect(segment).toMatchObject({ version: 2, importDefinition: { Size: 4 } });
  const jobs = await listImportJobs(database, app, { segmentId: first.segmentId!, limit: 10 });
  expect(jobs.map(({ id }) => id).sort()).toEqual([first.id, second.id].sort());
  await expect(importFiles(app, {}, { SegmentId: hexId() })).rejects.toThrow('not found');
});

test('a file of user ids makes a segment of the endpoints that these users have when it is used', async () => {
  const app = hexId();
  await importFiles(app, { 'a.csv': people });
  const job = await importFiles(
    app,
    { 'u.json': '{"User":{"UserId":"u","UserAttributes":{"tier":["gold"]}}}\n{"User":{"UserId":"later"}}\n' },
    { Format: 'JSON', DefineSegment: true },
  );
  expect(job).toMatchObject({ status: 'COMPLETED', processed: 2, failures: 0 });
  expect(await members(app, job.segmentId!)).toEqual(['a']);
  expect((await getEndpoint(database, app, 'a'))?.userAttributes).toEqual({ tier: ['gold'] });
  await importFiles(app, { 'b.csv': 'ChannelType,Address,Id,User.UserId\nSMS,+7,late,later\n' });
  expect(await members(app, job.segmentId!)).toEqual(['a', 'late']);
  const refused = await importFiles(app, { 'u.csv': 'User.UserId\nu\n' });
  expect(refused.firstFailures[0]).toContain('a user alone can only define a segment');
});

test('a truncated gz: what came before is imported and counted, the job fails and leaves no segment', async () => {
  const app = hexId();
  const rows = Array.from({ length: 5000 }, (_, index) => `EMAIL,${hexId()}@example.com,e${index}`);
  const whole = gzipSync(`ChannelType,Address,Id\n${rows.join('\n')}\n`);
  const job = await importFiles(
    app,
    {
      'a.csv.gz': whole.subarray(0, Math.floor(whole.length / 2)),
      'b.csv': 'ChannelType,Address,Id\nSMS,+1,fine\n',
    },
    { DefineSegment: true },
    100,
  );
  expect(job).toMatchObject({ status: 'FAILED', totalPieces: 2, completedPieces: 1, failedPieces: 1 });
  expect(job.error).toMatch(/a\.csv\.gz: the gzip data is cut off or damaged/);
  expect(job.processed).toBeGreaterThan(1000);
  expect(job.processed).toBeLessThan(4000);
  expect((await ids(app)).length).toBe(job.processed);
  await expect(getSegment(database, app, job.segmentId!)).rejects.toThrow('not found');
});

test('nothing there, nothing in it, nothing known, lines without end', async () => {
  const app = hexId();
  const nothing = await importFiles(app, {}, { S3Url: 's3://no-such-bucket/some/folder/' });
  expect(nothing).toMatchObject({ status: 'FAILED', processed: 0 });
  expect(nothing.error).toContain(join(folder, 'no-such-bucket'));
  expect(await importFiles(app, { 'a.csv': '' })).toMatchObject({ status: 'COMPLETED', processed: 0 });
  const foreign = await importFiles(app, { 'a.csv': 'name;mail\nJo;jo@example.com\n' });
  expect(foreign.status).toBe('FAILED');
  expect(foreign.error).toMatch(/a\.csv: the first line names no column of an endpoint .*name;mail/);
  const long = await importFiles(
    app,
    {
      'a.csv': `ChannelType,Address,Id\nSMS,${'x'.repeat(3_000_000)},a\nSMS,+1,b\nSMS,"+2\n${'SMS,+3,c\n'.repeat(20_000)}SMS,+4,d\n`,
    },
    {},
    1000,
  );
  expect(long).toMatchObject({ status: 'COMPLETED', processed: 20_004, failures: 2 });
  expect(long.firstFailures.map((text) => text.replace(/^.*, line/, 'line'))).toEqual([
    'line 2: is longer than 1048576 characters',
    'line 4: has a quote that is opened and never closed',
  ]);
  await expect(importFiles(app, {}, { S3Url: 'https://x' })).rejects.toThrow('$.S3Url: expected an address');
});

test('the signal pauses a job between chunks; the next run finishes it; two runs do not share it', async () => {
  const app = hexId();
  const rows = Array.from({ length: 3000 }, (_, index) => `SMS,+${index},e${index}`);
  await store(`${app}/a.csv`, `ChannelType,Address,Id\n${rows.join('\n')}\n`);
  const request = { Format: 'CSV' as const, S3Url: `s3://bucket/${app}/a.csv`, RoleArn: 'r' };
  const { id } = await createImportJob(database, app, request, Date.now());
  const pause = new AbortController();
  const first = runImportJob(dependencies, app, id, pause.signal);
  while ((await getImportJob(database, app, id)).processed === 0) await new Promise(setImmediate);
  expect(await runImportJob(dependencies, app, id, never)).toBe('busy');
  pause.abort();
  const outcome = await first;
  if (outcome === 'paused') expect(await runImportJob(dependencies, app, id, never)).toBe('completed');
  expect(await getImportJob(database, app, id)).toMatchObject({
    status: 'COMPLETED',
    processed: 3000,
    failures: 0,
  });
  expect((await ids(app)).length).toBe(3000);
  expect(await runImportJob(dependencies, app, id, never)).toBe('busy');
});

test('a file that changes while its import pauses fails it', async () => {
  const app = hexId();
  const content = `ChannelType,Address,Id\n${Array.from({ length: 2000 }, (_, i) => `SMS,+${i},e${i}`).join('\n')}\n`;
  await store(`${app}/a.csv`, content.repeat(5));
  const request = { Format: 'CSV' as const, S3Url: `s3://bucket/${app}/a.csv`, RoleArn: 'r' };
  const { id } = await createImportJob(database, app, request, Date.now());
  const pause = new AbortController();
  const first = runImportJob(dependencies, app, id, pause.signal);
  while ((await getImportJob(database, app, id)).processed === 0) await new Promise(setImmediate);
  pause.abort();
  expect(await first).toBe('paused');
  await writeFile(join(folder, 'bucket', app, 'a.csv'), content);
  expect(await runImportJob(dependencies, app, id, never)).toBe('failed');
  expect((await getImportJob(database, app, id)).error).toContain(
    'the file has changed since the import began',
  );
});
