import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { gunzipSync } from 'node:zlib';
import {
  CreateAppCommand,
  CreateExportJobCommand,
  CreateImportJobCommand,
  CreateSegmentCommand,
  GetExportJobCommand,
  GetExportJobsCommand,
  GetImportJobCommand,
  GetSegmentExportJobsCommand,
  type ImportJobRequest,
} from '@aws-sdk/client-pinpoint';
import { beforeAll, expect, test } from 'vitest';
import { waitFor } from '../support/processes.ts';
import { startProduct } from '../support/product.ts';
import { missing } from '../support/requires.ts';

const product = await startProduct();
const client = product.client();
const RoleArn = 'arn:aws:iam::000000000000:role/x';
const size = 500;
let app: string;
let importId: string;
let segmentId: string;

async function application(): Promise<string> {
  const { ApplicationResponse } = await client.send(
    new CreateAppCommand({ CreateApplicationRequest: { Name: 'jobs' } }),
  );
  return ApplicationResponse!.Id!;
}

async function ended(status: () => Promise<string | undefined>): Promise<string> {
  let last: string | undefined;
  await waitFor(
    'the job',
    async () => {
      last = await status();
      return last === 'COMPLETED' || last === 'FAILED';
    },
    60_000,
  );
  return last!;
}

async function importFile(ApplicationId: string, request: Partial<ImportJobRequest>) {
  const { ImportJobResponse } = await client.send(
    new CreateImportJobCommand({
      ApplicationId,
      ImportJobRequest: { Format: 'CSV', S3Url: 's3://files/in/', RoleArn, ...request },
    }),
  );
  const get = async () =>
    (await client.send(new GetImportJobCommand({ ApplicationId, JobId: ImportJobResponse!.Id! })))
      .ImportJobResponse!;
  await ended(async () => (await get()).JobStatus);
  return get();
}

async function exported(ApplicationId: string, JobId: string) {
  const get = async () =>
    (await client.send(new GetExportJobCommand({ ApplicationId, JobId }))).ExportJobResponse!;
  await ended(async () => (await get()).JobStatus);
  return get();
}

async function exportTo(ApplicationId: string, S3UrlPrefix: string, SegmentId?: string) {
  const { ExportJobResponse } = await client.send(
    new CreateExportJobCommand({ ApplicationId, ExportJobRequest: { RoleArn, S3UrlPrefix, SegmentId } }),
  );
  return exported(ApplicationId, ExportJobResponse!.Id!);
}

interface Page<Item> {
  items: Item[];
  next: string | null;
}
interface File {
  url: string;
  size: number;
  download: string;
}

/** The lines of an export's files, by its own API. */
async function downloaded(ApplicationId: string, id: string): Promise<Record<string, unknown>[]> {
  const { items } = await product.json<Page<File>>(`/api/apps/${ApplicationId}/exports/${id}/files`);
  const endpoints: Record<string, unknown>[] = [];
  for (const { download, size } of items) {
    const content = Buffer.from(await (await product.request(download)).arrayBuffer());
    expect(content.length).toBe(size);
    const lines = gunzipSync(content).toString().split('\n').filter(Boolean);
    endpoints.push(...lines.map((line) => JSON.parse(line)));
  }
  return endpoints;
}

beforeAll(async () => {
  app = await application();
  const rows = Array.from(
    { length: size },
    (_, index) =>
      `EMAIL,p${index}@example.com,e${index},${index % 5 === 0 ? 'gold' : 'free'},${index},u${index % 200},Né ${index % 200}`,
  );
  rows.splice(100, 0, 'PIGEON,x,broken,,,,', 'EMAIL,y@example.com,broken,free,"=1+1, or so",,');
  const header =
    'ChannelType,Address,Id,Attributes.plan,Metrics.n,User.UserId,User.UserAttributes.name,Colour';
  await product.json('/api/objects/files/in/people.csv', {
    method: 'PUT',
    body: `${header}\n${rows.map((row) => `${row},`).join('\n')}\n`,
    headers: { 'content-type': 'text/csv' },
  });
  const job = await importFile(app, { DefineSegment: true, RegisterEndpoints: true, SegmentName: 'people' });
  expect(job).toMatchObject({ JobStatus: 'COMPLETED', TotalProcessed: size + 2, TotalFailures: 2 });
  importId = job.Id!;
  segmentId = job.Definition!.SegmentId!;
});

test('an import shows its progress, warnings and failures, and every failed record as CSV', async () => {
  const job = await product.json<Record<string, unknown>>(`/api/apps/${app}/imports/${importId}`);
  expect(job).toMatchObject({
    id: importId,
    status: 'COMPLETED',
    segmentId,
    definition: { S3Url: 's3://files/in/', SegmentName: 'people' },
    progress: { processed: size + 2, failures: 2, totalPieces: 1, completedPieces: 1, failedPieces: 0 },
    error: null,
    warnings: ['columns that are not known were left out: Colour'],
    firstFailures: [expect.stringContaining('line 102'), expect.stringContaining('line 103')],
    errorFile: `s3://postrider-imports/${app}/${importId}/errors.csv`,
    createdAt: expect.stringMatching(/Z$/),
    completedAt: expect.stringMatching(/Z$/),
  });
  const response = await product.request(`/api/apps/${app}/imports/${importId}/errors`);
  expect(response.headers.get('content-type')).toBe('text/csv; charset=utf-8');
  expect(response.headers.get('content-disposition')).toBe(
    `attachment; filename="import-${importId}-errors.csv"`,
  );
  const lines = (await response.text()).trimEnd().split('\r\n');
  expect(lines[0]).toBe('file,line,reason,content');
  expect(lines.slice(1).map((line) => line.split(',')[1])).toEqual(['102', '103']);
  expect(lines[2]).toContain('=1+1, or so');
});

test('imports are listed newest first, in pages, by segment', async () => {
  const failed = await importFile(app, { S3Url: 's3://files/nothing/' });
  const list = (query: string) =>
    product.json<Page<{ id: string; error: string | null; warnings?: unknown }>>(
      `/api/apps/${app}/imports?${query}`,
    );
  const first = await list('limit=1');
  expect(first.items.map(({ id }) => id)).toEqual([failed.Id]);
  expect(first.items[0]!.error).toContain('files');
  const second = await list(`limit=1&cursor=${first.next}`);
  expect(second.items.map(({ id }) => id)).toEqual([importId]);
  expect(second.next).toBeNull();
  expect((await list(`segment=${segmentId}`)).items.map(({ id }) => id)).toEqual([importId]);
  const none = await product.request(`/api/apps/${app}/imports/${failed.Id}/errors`);
  expect(none.status).toBe(404);
  expect(await none.json()).toMatchObject({ detail: `Import ${failed.Id} has no failures` });
  for (const path of ['imports/x', 'imports/x/errors', 'exports/x', 'exports/x/files']) {
    expect((await product.request(`/api/apps/${app}/${path}`)).status).toBe(404);
  }
  const other = await application();
  expect((await product.request(`/api/apps/${other}/imports/${importId}`)).status).toBe(404);
  for (const cursor of ['x', Buffer.from('{"createdAt":"now","id":"x"}').toString('base64url')]) {
    expect((await product.request(`/api/apps/${app}/imports?cursor=${cursor}`)).status).toBe(400);
  }
});

test('what is exported through the worker comes back whole in another application', async () => {
  const job = await exportTo(app, 's3://files/all');
  expect(job).toMatchObject({
    Type: 'EXPORT',
    JobStatus: 'COMPLETED',
    TotalPieces: 1,
    CompletedPieces: 1,
    FailedPieces: 0,
    TotalProcessed: size,
    TotalFailures: 0,
    Definition: { S3UrlPrefix: 's3://files/all', RoleArn },
  });
  const view = await product.json<Record<string, unknown>>(`/api/apps/${app}/exports/${job.Id}`);
  expect(view).toMatchObject({
    status: 'COMPLETED',
    segmentId: null,
    segmentVersion: null,
    progress: { processed: size, total: size, totalPieces: 1, completedPieces: 1 },
  });
  const endpoints = await downloaded(app, job.Id!);
  expect(endpoints.length).toBe(size);
  const { items } = await product.json<Page<File>>(`/api/apps/${app}/exports/${job.Id}/files`);
  expect(items.map(({ url }) => url)).toEqual([`s3://files/all/${app}/${job.Id}/part-000001.json.gz`]);

  const other = await application();
  const back = await importFile(other, { Format: 'JSON', S3Url: 's3://files/all', RegisterEndpoints: true });
  expect(back).toMatchObject({ JobStatus: 'COMPLETED', TotalProcessed: size, TotalFailures: 0 });
  const again = await exportTo(other, 's3://files/again/');
  const same = (await downloaded(other, again.Id!)).map((endpoint) => ({ ...endpoint, ApplicationId: app }));
  expect(same).toEqual(endpoints);
});

test('segments are exported: imported, dynamic on an imported one, and one that nobody is in', async () => {
  const segment = async (plan: string) => {
    const { SegmentResponse } = await client.send(
      new CreateSegmentCommand({
        ApplicationId: app,
        WriteSegmentRequest: {
          Name: plan,
          SegmentGroups: {
            Groups: [
              {
                SourceSegments: [{ Id: segmentId }],
                Dimensions: [{ Attributes: { plan: { AttributeType: 'INCLUSIVE', Values: [plan] } } }],
              },
            ],
          },
        },
      }),
    );
    return SegmentResponse!.Id!;
  };
  const gold = await segment('gold');
  const nobody = await segment('platinum');
  const counts = [];
  for (const id of [segmentId, gold, nobody]) {
    const job = await exportTo(app, 's3://files/segments', id);
    expect(job).toMatchObject({ JobStatus: 'COMPLETED', CompletedPieces: 1 });
    counts.push((await downloaded(app, job.Id!)).length);
    const { ExportJobsResponse } = await client.send(
      new GetSegmentExportJobsCommand({ ApplicationId: app, SegmentId: id }),
    );
    expect(ExportJobsResponse!.Item!.map(({ Id }) => Id)).toEqual([job.Id]);
  }
  expect(counts).toEqual([size, size / 5, 0]);
  const { items } = await product.json<Page<{ segmentId: string; segmentVersion: number }>>(
    `/api/apps/${app}/exports?segment=${gold}`,
  );
  expect(items).toMatchObject([{ segmentId: gold, segmentVersion: 1 }]);
});

test('a token sees an export and its files as its scopes allow', async () => {
  const job = await exportTo(app, 's3://files/scoped');
  const tokenFor = async (buckets: string[]) => {
    const { token } = await product.json<{ token: string }>('/api/tokens', {
      method: 'POST',
      json: { name: 't', scopes: { applications: [app], actions: ['postrider:GetExport'], buckets } },
    });
    return { headers: { authorization: `Bearer ${token}` } };
  };
  const path = `/api/apps/${app}/exports/${job.Id}`;
  const without = await tokenFor(['other']);
  expect((await product.request(path, without)).status).toBe(200);
  expect((await product.request(`${path}/files`, without)).status).toBe(403);
  expect((await product.request(`${path}/files`, await tokenFor(['files']))).status).toBe(200);
  expect((await product.request(`/api/apps/${app}/imports/${importId}`, without)).status).toBe(403);
});

test.skipIf(missing('aws').length > 0)('exports by aws-cli; who made them is in the audit', async () => {
  const aws = async (...words: string[]) => {
    const { stdout } = await promisify(execFile)(
      '/usr/bin/aws',
      ['--endpoint-url', product.url, 'pinpoint', ...words, '--application-id', app],
      { env: product.environment() },
    );
    return JSON.parse(stdout);
  };
  await exportTo(app, 's3://files/earlier');
  const created = await aws(
    'create-export-job',
    '--export-job-request',
    JSON.stringify({ RoleArn, S3UrlPrefix: 's3://files/cli', SegmentId: segmentId, SegmentVersion: 1 }),
  );
  const JobId: string = created.ExportJobResponse.Id;
  await exported(app, JobId);
  const { ExportJobResponse: job } = await aws('get-export-job', '--job-id', JobId);
  expect(job).toMatchObject({
    JobStatus: 'COMPLETED',
    TotalProcessed: size,
    Definition: { SegmentId: segmentId, SegmentVersion: 1 },
  });
  const { ExportJobsResponse: page } = await aws('get-export-jobs', '--page-size', '1');
  expect(page.Item.map(({ Id }: { Id: string }) => Id)).toEqual([JobId]);
  const of = { ApplicationId: app };
  const all = await client.send(new GetExportJobsCommand(of));
  const rest = await client.send(new GetExportJobsCommand({ ...of, Token: page.NextToken }));
  expect(rest.ExportJobsResponse!.Item).toEqual(all.ExportJobsResponse!.Item!.slice(1));
  const { rows } = await product.database.query(
    "select principal from audit_entries where action = 'mobiletargeting:CreateExportJob' and detail ->> 'jobId' = $1",
    [JobId],
  );
  expect(rows).toEqual([{ principal: `access_key:${product.key.id}` }]);
});
