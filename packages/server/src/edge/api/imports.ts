import type { FastifyInstance } from 'fastify';
import { getImportJob, type ImportJob, type Job, listImportJobs } from '../../audience/index.ts';
import { isoTime } from '../../platform/clock.ts';
import { CallerError } from '../../platform/errors.ts';
import { parseS3Url } from '../../platform/objects.ts';
import type { ApiContext } from './context.ts';
import {
  appAnd,
  appParams,
  decodeCursor,
  described,
  encodeCursor,
  isText,
  pageOf,
  pageQuery,
} from './schema.ts';

export interface JobParams {
  app: string;
  id: string;
}

export interface JobQuery {
  limit: number;
  cursor?: string;
  segment?: string;
}

export const jobQuery = {
  type: 'object',
  properties: { ...pageQuery, segment: { type: 'string', description: 'Only the jobs of this segment.' } },
} as const;

/** Import jobs and the rows that they could not import. Jobs are created by the Pinpoint API (CreateImportJob). */
export function importRoutes(api: FastifyInstance, { database, objects }: ApiContext): void {
  const tags = ['Imports and exports'];
  const path = '/api/apps/:app/imports';
  api.get<{ Params: { app: string }; Querystring: JobQuery }>(
    path,
    {
      config: { action: 'postrider:ListImports' },
      schema: {
        tags,
        summary: 'List imports, newest first',
        params: appParams,
        querystring: jobQuery,
        response: { 200: pageOf(described('An import without its failures and warnings.')) },
      },
    },
    async ({ params, query }) =>
      jobPage(query, (page) => listImportJobs(database, params.app, page), jobView),
  );
  api.get<{ Params: JobParams }>(
    `${path}/:id`,
    {
      config: { action: 'postrider:GetImport' },
      schema: {
        tags,
        summary: 'One import: how far it is, what it warns of, the first 100 failures',
        params: appAnd('id'),
        response: {
          200: described(
            '`status` and `definition` as in the Pinpoint API; `progress` (records, failures, files); `error` when it failed as a whole; `warnings`; `firstFailures`; `errorFile`, the s3:// address of all failures.',
          ),
        },
      },
    },
    async ({ params }) => {
      const job = await getImportJob(database, params.app, params.id);
      const { warnings, firstFailures, errorFile } = job;
      return { ...jobView(job), warnings, firstFailures, errorFile };
    },
  );
  api.get<{ Params: JobParams }>(
    `${path}/:id/errors`,
    {
      config: { action: 'postrider:GetImport' },
      schema: {
        tags,
        summary: 'Download every failed record: file, line, reason, content (CSV)',
        params: appAnd('id'),
        response: {
          200: { description: 'The file.', content: { 'text/csv': { schema: { type: 'string' } } } },
        },
      },
    },
    async ({ params }, reply) => {
      const job = await getImportJob(database, params.app, params.id);
      const { bucket, key } = errorFileOf(job);
      return reply
        .type('text/csv; charset=utf-8')
        .header('content-disposition', `attachment; filename="import-${job.id}-errors.csv"`)
        .send(await objects.open(bucket, key));
    },
  );
}

/** @throws CallerError not_found when there is no file (yet) */
function errorFileOf(job: ImportJob): { bucket: string; key: string } {
  const file = job.errorFile === null ? undefined : parseS3Url(job.errorFile);
  if (file) return file;
  const why =
    job.completedAt === null ? 'is not finished; its failures become a file at the end' : 'has no failures';
  throw new CallerError('not_found', `Import ${job.id} ${why}`);
}

/** What both kinds of jobs show. */
export function jobView(job: Job & { definition: object }) {
  const { id, status, segmentId, definition, error } = job;
  const { processed, failures, totalPieces, completedPieces, failedPieces } = job;
  return {
    id,
    status,
    segmentId,
    definition,
    progress: { processed, failures, totalPieces, completedPieces, failedPieces },
    error,
    createdAt: isoTime(job.createdAt),
    completedAt: job.completedAt === null ? null : isoTime(job.completedAt),
  };
}

interface Position {
  createdAt: number;
  id: string;
}

function isPosition(key: unknown): key is Position {
  const { createdAt, id } = (key ?? {}) as Partial<Position>;
  return Number.isSafeInteger(createdAt) && isText(id);
}

/** A page of jobs, newest first. */
export async function jobPage<One extends Job, View>(
  { limit, cursor, segment }: JobQuery,
  list: (page: { segmentId?: string; after?: Position; limit: number }) => Promise<One[]>,
  view: (job: One) => View,
): Promise<{ items: View[]; next: string | null }> {
  const found = await list({
    segmentId: segment,
    after: decodeCursor(cursor, isPosition),
    limit: limit + 1,
  });
  const items = found.slice(0, limit);
  const { createdAt, id } = items.at(-1) ?? {};
  return { items: items.map(view), next: found.length > limit ? encodeCursor({ createdAt, id }) : null };
}
