import type { ExportJobResponse, ImportJobResponse } from '@aws-sdk/client-pinpoint';
import { authorizeBucket, getApplication, recordAudit } from '../../accounts/index.ts';
import {
  createExportJob,
  createImportJob,
  type ExportJob,
  getExportJob,
  getImportJob,
  getSegment,
  type ImportJob,
  listExportJobs,
  listImportJobs,
} from '../../audience/index.ts';
import { isoTime } from '../../platform/clock.ts';
import type { Transaction } from '../../platform/database.ts';
import { parseS3Url } from '../../platform/objects.ts';
import { decodeToken, type OperationContext, type OperationHandlers, page, pageLimit } from '../aws/index.ts';

/** Import and export jobs: reference sections 2.5 to 2.7. */
export const jobs = {
  async CreateImportJob({ ApplicationId, ImportJobRequest: request }, ctx) {
    await getApplication(ctx.database, ApplicationId);
    checkBucket(ctx, request.S3Url);
    const job = await ctx.database.transaction(async (tx) => {
      const created = await createImportJob(tx, ApplicationId, request, ctx.clock.now());
      await audit(tx, ctx, 'CreateImportJob', ApplicationId, { jobId: created.id, s3Url: request.S3Url });
      return created;
    });
    await wake(ctx, 'run-imports');
    return { ImportJobResponse: toImportResponse(ApplicationId, job) };
  },

  async GetImportJob({ ApplicationId, JobId }, ctx) {
    const job = await getImportJob(ctx.database, ApplicationId, JobId);
    return { ImportJobResponse: toImportResponse(ApplicationId, job) };
  },

  async GetImportJobs({ ApplicationId, ...paging }, ctx) {
    await getApplication(ctx.database, ApplicationId);
    return { ImportJobsResponse: await importPage(ctx, ApplicationId, paging) };
  },

  /** The imports that made the segment or added to it. */
  async GetSegmentImportJobs({ ApplicationId, SegmentId, ...paging }, ctx) {
    await getSegment(ctx.database, ApplicationId, SegmentId);
    return { ImportJobsResponse: await importPage(ctx, ApplicationId, paging, SegmentId) };
  },

  async CreateExportJob({ ApplicationId, ExportJobRequest: request }, ctx) {
    await getApplication(ctx.database, ApplicationId);
    checkBucket(ctx, request.S3UrlPrefix);
    const job = await ctx.database.transaction(async (tx) => {
      const created = await createExportJob(tx, ApplicationId, request, ctx.clock.now());
      const { S3UrlPrefix: s3UrlPrefix, SegmentId: segmentId } = request;
      await audit(tx, ctx, 'CreateExportJob', ApplicationId, { jobId: created.id, s3UrlPrefix, segmentId });
      return created;
    });
    await wake(ctx, 'run-exports');
    return { ExportJobResponse: toExportResponse(ApplicationId, job) };
  },

  async GetExportJob({ ApplicationId, JobId }, ctx) {
    const job = await getExportJob(ctx.database, ApplicationId, JobId);
    return { ExportJobResponse: toExportResponse(ApplicationId, job) };
  },

  async GetExportJobs({ ApplicationId, ...paging }, ctx) {
    await getApplication(ctx.database, ApplicationId);
    return { ExportJobsResponse: await exportPage(ctx, ApplicationId, paging) };
  },

  async GetSegmentExportJobs({ ApplicationId, SegmentId, ...paging }, ctx) {
    await getSegment(ctx.database, ApplicationId, SegmentId);
    return { ExportJobsResponse: await exportPage(ctx, ApplicationId, paging, SegmentId) };
  },
} satisfies OperationHandlers;

/** The job is there; when nobody can be woken, a regular look finds it within a minute. */
async function wake({ services, log }: OperationContext, job: 'run-imports' | 'run-exports'): Promise<void> {
  await services
    .enqueue(job, {})
    .catch((error: unknown) => log().warn({ err: error, job }, 'cannot wake a job'));
}

/** May the caller read and write there? An address that is none is refused with its form, by the room. */
function checkBucket(ctx: OperationContext, url: string): void {
  const parsed = parseS3Url(url);
  if (parsed) authorizeBucket(ctx.principal, parsed.bucket);
}

/** Both move personal data across the border of the server, so who did it is kept. */
async function audit(
  tx: Transaction,
  { principal }: OperationContext,
  operation: string,
  applicationId: string,
  detail: Record<string, unknown>,
): Promise<void> {
  await recordAudit(tx, { principal, action: `mobiletargeting:${operation}`, applicationId, detail });
}

interface Paging {
  PageSize?: string;
  Token?: string;
}

/** Newest first. */
async function importPage(
  { database }: OperationContext,
  applicationId: string,
  paging: Paging,
  segmentId?: string,
) {
  const limit = pageLimit(paging.PageSize);
  const options = { segmentId, after: afterOf(paging), limit: limit + 1 };
  const found = await listImportJobs(database, applicationId, options);
  const { items, nextToken } = page(found, limit, ({ createdAt, id }) => [createdAt, id]);
  return { Item: items.map((job) => toImportResponse(applicationId, job)), NextToken: nextToken };
}

async function exportPage(
  { database }: OperationContext,
  applicationId: string,
  paging: Paging,
  segmentId?: string,
) {
  const limit = pageLimit(paging.PageSize);
  const options = { segmentId, after: afterOf(paging), limit: limit + 1 };
  const found = await listExportJobs(database, applicationId, options);
  const { items, nextToken } = page(found, limit, ({ createdAt, id }) => [createdAt, id]);
  return { Item: items.map((job) => toExportResponse(applicationId, job)), NextToken: nextToken };
}

function afterOf({ Token }: Paging): { createdAt: number; id: string } | undefined {
  if (Token === undefined) return undefined;
  const [createdAt, id] = decodeToken(Token, [0, '']);
  return { createdAt, id };
}

function toImportResponse(applicationId: string, job: ImportJob): ImportJobResponse {
  // The segment exists once the job is done; until then its id would lead nowhere.
  const segment =
    job.segmentId !== null && job.status === 'COMPLETED' ? { SegmentId: job.segmentId } : undefined;
  return { ...common(applicationId, job), Type: 'IMPORT', Definition: { ...job.definition, ...segment } };
}

function toExportResponse(applicationId: string, job: ExportJob): ExportJobResponse {
  return { ...common(applicationId, job), Type: 'EXPORT', Definition: job.definition };
}

function common(applicationId: string, job: Omit<ImportJob, 'definition' | 'warnings' | 'errorFile'>) {
  return {
    ApplicationId: applicationId,
    Id: job.id,
    JobStatus: job.status,
    CreationDate: isoTime(job.createdAt),
    CompletionDate: job.completedAt === null ? undefined : isoTime(job.completedAt),
    TotalPieces: job.totalPieces,
    CompletedPieces: job.completedPieces,
    FailedPieces: job.failedPieces,
    TotalProcessed: job.processed,
    TotalFailures: job.failures,
    Failures: job.error === null ? job.firstFailures : [job.error, ...job.firstFailures].slice(0, 100),
  };
}
