import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  CreateAppCommand,
  CreateExportJobCommand,
  CreateImportJobCommand,
  ForbiddenException,
  GetEndpointCommand,
  GetExportJobCommand,
  GetExportJobsCommand,
  GetImportJobCommand,
  GetImportJobsCommand,
  GetSegmentCommand,
  GetSegmentExportJobsCommand,
  GetSegmentImportJobsCommand,
  type ImportJobRequest,
  NotFoundException,
} from '@aws-sdk/client-pinpoint';
import { afterAll, expect, test } from 'vitest';
import { testDatabase } from '../../../../../tests/support/database.ts';
import { wireServer } from '../../../../../tests/support/wire.ts';
import { runWaitingExports, runWaitingImports } from '../../audience/index.ts';
import { systemClock } from '../../platform/clock.ts';
import { silentLog } from '../../platform/log.ts';
import { createFolderObjects } from '../../platform/objects.ts';

const database = await testDatabase();
const folder = await mkdtemp(join(tmpdir(), 'jobs-'));
const objects = createFolderObjects(folder);
afterAll(() => rm(folder, { recursive: true, force: true }));

/** What the worker does when a job is enqueued, done before the answer. */
const dependencies = { database, objects, log: silentLog, clock: systemClock };
const never = new AbortController().signal;
const server = await wireServer({
  database,
  services: {
    enqueue: async (job) => {
      if (job === 'run-imports') await runWaitingImports(dependencies, never);
      if (job === 'run-exports') await runWaitingExports(dependencies, never);
    },
  },
});
const client = server.client();
const RoleArn = 'arn:aws:iam::1:role/r';

async function application(): Promise<string> {
  const { ApplicationResponse } = await client.send(
    new CreateAppCommand({ CreateApplicationRequest: { Name: 'n' } }),
  );
  return ApplicationResponse!.Id!;
}

async function importJob(ApplicationId: string, request: Partial<ImportJobRequest>) {
  const created = await client.send(
    new CreateImportJobCommand({
      ApplicationId,
      ImportJobRequest: { Format: 'CSV', S3Url: 's3://files/in/', RoleArn, ...request },
    }),
  );
  expect(created.$metadata.httpStatusCode).toBe(201);
  expect(created.ImportJobResponse?.JobStatus).toBe('CREATED');
  const JobId = created.ImportJobResponse!.Id!;
  const { ImportJobResponse } = await client.send(new GetImportJobCommand({ ApplicationId, JobId }));
  return ImportJobResponse!;
}

test('import, segment and export by the jobs of the API', async () => {
  const app = await application();
  const rows = 'ChannelType,Address,Id\nEMAIL,a@example.com,a\nFAX,1,b\nSMS,+1,c\n';
  await objects.put('files', 'in/one.csv', [Buffer.from(rows)]);
  const job = await importJob(app, { RegisterEndpoints: true, DefineSegment: true, SegmentName: 'people' });
  expect(job).toMatchObject({
    ApplicationId: app,
    Type: 'IMPORT',
    JobStatus: 'COMPLETED',
    TotalPieces: 1,
    CompletedPieces: 1,
    FailedPieces: 0,
    TotalProcessed: 3,
    TotalFailures: 1,
    Definition: { Format: 'CSV', S3Url: 's3://files/in/', RoleArn, SegmentName: 'people' },
  });
  expect(job.Failures).toEqual([
    expect.stringMatching(/^in\/one\.csv, line 3: \$\.ChannelType: expected one of/),
  ]);
  expect(job.CompletionDate! >= job.CreationDate!).toBe(true);
  const SegmentId = job.Definition!.SegmentId!;
  const { SegmentResponse } = await client.send(new GetSegmentCommand({ ApplicationId: app, SegmentId }));
  expect(SegmentResponse).toMatchObject({
    Name: 'people',
    SegmentType: 'IMPORT',
    Version: 1,
    ImportDefinition: { Size: 2, ChannelCounts: { EMAIL: 1, SMS: 1 }, Format: 'CSV', RoleArn },
  });
  const of = { ApplicationId: app, SegmentId };
  const imports = await client.send(new GetSegmentImportJobsCommand(of));
  expect(imports.ImportJobsResponse!.Item!.map(({ Id }) => Id)).toEqual([job.Id]);

  const created = await client.send(
    new CreateExportJobCommand({
      ApplicationId: app,
      ExportJobRequest: { RoleArn, S3UrlPrefix: 's3://files/out', SegmentId },
    }),
  );
  expect(created.$metadata.httpStatusCode).toBe(202);
  const JobId = created.ExportJobResponse!.Id!;
  const { ExportJobResponse } = await client.send(new GetExportJobCommand({ ApplicationId: app, JobId }));
  expect(ExportJobResponse).toMatchObject({ Type: 'EXPORT', JobStatus: 'COMPLETED', TotalProcessed: 2 });
  const exports = await client.send(new GetSegmentExportJobsCommand(of));
  expect(exports.ExportJobsResponse!.Item!.map(({ Id }) => Id)).toEqual([JobId]);
  const all = await client.send(new GetExportJobsCommand({ ApplicationId: app }));
  expect(all.ExportJobsResponse!.Item!.length).toBe(1);

  const other = await application();
  const back = await importJob(other, { Format: 'JSON', S3Url: 's3://files/out', RegisterEndpoints: true });
  expect(back).toMatchObject({ JobStatus: 'COMPLETED', TotalProcessed: 2, TotalFailures: 0 });
  const read = async (ApplicationId: string) =>
    (await client.send(new GetEndpointCommand({ ApplicationId, EndpointId: 'a' }))).EndpointResponse!;
  expect({ ...(await read(other)), ApplicationId: app }).toEqual(await read(app));
});

test('lists are paged, newest first', async () => {
  const app = await application();
  const ids: string[] = [];
  for (let index = 0; index < 5; index++)
    ids.unshift((await importJob(app, { S3Url: 's3://files/no/' })).Id!);
  const listed: string[] = [];
  let Token: string | undefined;
  do {
    const { ImportJobsResponse } = await client.send(
      new GetImportJobsCommand({ ApplicationId: app, PageSize: '2', Token }),
    );
    listed.push(...ImportJobsResponse!.Item!.map(({ Id }) => Id!));
    Token = ImportJobsResponse!.NextToken;
  } while (Token);
  expect([...listed].sort()).toEqual([...ids].sort());
  expect(new Set(listed).size).toBe(5);
});

test('a failure says where was looked; wrong requests are refused', async () => {
  const app = await application();
  const failed = await importJob(app, { S3Url: 's3://nowhere/in/' });
  expect(failed).toMatchObject({ JobStatus: 'FAILED', TotalProcessed: 0 });
  expect(failed.Failures![0]).toContain(join(folder, 'nowhere'));
  await expect(importJob(app, { S3Url: 'file:///etc/passwd' })).rejects.toThrow('$.S3Url: expected');
  await expect(importJob(app, { SegmentId: 'f'.repeat(32) })).rejects.toThrow(NotFoundException);
  await expect(importJob('f'.repeat(32), {})).rejects.toThrow(NotFoundException);
  await expect(client.send(new GetImportJobCommand({ ApplicationId: app, JobId: 'x' }))).rejects.toThrow(
    NotFoundException,
  );
  await expect(
    client.send(new GetSegmentImportJobsCommand({ ApplicationId: app, SegmentId: 'x' })),
  ).rejects.toThrow(NotFoundException);
});

test('a key that is bound to buckets may use no others', async () => {
  const app = await application();
  const key = await server.accessKeys.create({
    name: 'bound',
    by: 'system',
    scopes: { applications: '*', actions: ['*'], buckets: ['files'] },
  });
  const bound = server.client(key);
  const request = { Format: 'CSV' as const, RoleArn };
  const ImportJobRequest = { ...request, S3Url: 's3://other/x' };
  await expect(
    bound.send(new CreateImportJobCommand({ ApplicationId: app, ImportJobRequest })),
  ).rejects.toThrow(ForbiddenException);
  await expect(
    bound.send(
      new CreateExportJobCommand({
        ApplicationId: app,
        ExportJobRequest: { RoleArn, S3UrlPrefix: 's3://other/x' },
      }),
    ),
  ).rejects.toThrow(ForbiddenException);
  await bound.send(
    new CreateImportJobCommand({
      ApplicationId: app,
      ImportJobRequest: { ...request, S3Url: 's3://files/x' },
    }),
  );
});

test('a job that was written is answered, also when nobody can be woken for it', async () => {
  const app = await application();
  const silent = await wireServer({
    database,
    services: { enqueue: () => Promise.reject(new Error('no queue')) },
  });
  const { ExportJobResponse } = await silent.client().send(
    new CreateExportJobCommand({
      ApplicationId: app,
      ExportJobRequest: { RoleArn, S3UrlPrefix: 's3://files/later' },
    }),
  );
  expect(ExportJobResponse!.JobStatus).toBe('CREATED');
  await runWaitingExports(dependencies, never);
  const JobId = ExportJobResponse!.Id!;
  const later = await client.send(new GetExportJobCommand({ ApplicationId: app, JobId }));
  expect(later.ExportJobResponse!.JobStatus).toBe('COMPLETED');
});
