import type { ImportJobResponse } from '@aws-sdk/client-pinpoint';
import { authorizeBucket, getApplication } from '../../accounts/index.ts';
import { createImportJob, getImportJob, type ImportJob, listImportJobs } from '../../audience/index.ts';
import { isoTime } from '../../platform/clock.ts';
import { parseS3Url } from '../../platform/objects.ts';
import { decodeToken, type OperationContext, type OperationHandlers, page, pageLimit } from '../aws/index.ts';

/** Import jobs: reference sections 2.5 and 2.7. */
export const jobs = {
  async CreateImportJob({ ApplicationId, ImportJobRequest: request }, ctx) {
    await getApplication(ctx.database, ApplicationId);
    const url = parseS3Url(request.S3Url);
    if (url) authorizeBucket(ctx.principal, url.bucket);
    const job = await createImportJob(ctx.database, ApplicationId, request, ctx.clock.now());
    // Only wakes: when this is lost, a regular look finds the job.
    await ctx.services.enqueue('run-imports', {});
    return { ImportJobResponse: toResponse(ApplicationId, job) };
  },

  async GetImportJob({ ApplicationId, JobId }, ctx) {
    return {
      ImportJobResponse: toResponse(ApplicationId, await getImportJob(ctx.database, ApplicationId, JobId)),
    };
  },

  async GetImportJobs({ ApplicationId, PageSize, Token }, ctx) {
    await getApplication(ctx.database, ApplicationId);
    return { ImportJobsResponse: await importPage(ctx, ApplicationId, { PageSize, Token }) };
  },
} satisfies OperationHandlers;

/** A page of imports, newest first; with `segmentId` those that made or added to that segment. */
export async function importPage(
  { database }: OperationContext,
  applicationId: string,
  { PageSize, Token, segmentId }: { PageSize?: string; Token?: string; segmentId?: string },
) {
  const limit = pageLimit(PageSize);
  const position = Token === undefined ? undefined : decodeToken(Token, [0, '']);
  const after = position && { createdAt: position[0], id: position[1] };
  const found = await listImportJobs(database, applicationId, { segmentId, after, limit: limit + 1 });
  const { items, nextToken } = page(found, limit, ({ createdAt, id }) => [createdAt, id]);
  return { Item: items.map((job) => toResponse(applicationId, job)), NextToken: nextToken };
}

function toResponse(applicationId: string, job: ImportJob): ImportJobResponse {
  return {
    ApplicationId: applicationId,
    Id: job.id,
    Type: 'IMPORT',
    JobStatus: job.status,
    CreationDate: isoTime(job.createdAt),
    CompletionDate: job.completedAt === null ? undefined : isoTime(job.completedAt),
    Definition: job.definition,
    TotalPieces: job.totalPieces,
    CompletedPieces: job.completedPieces,
    FailedPieces: job.failedPieces,
    TotalProcessed: job.processed,
    TotalFailures: job.failures,
    Failures: job.error === null ? job.firstFailures : [job.error, ...job.firstFailures].slice(0, 100),
  };
}
