import type { FastifyInstance } from 'fastify';
import { getImportJob, type ImportJob, listImportJobs } from '../../audience/index.ts';
import { CallerError } from '../../platform/errors.ts';
import { parseS3Url } from '../../platform/objects.ts';
import type { ApiContext } from './context.ts';
import { type JobParams, jobListRoute, jobQuery, jobView } from './jobs.ts';
import { appAnd, described } from './schema.ts';

/** Import jobs and the rows that they could not import. Jobs are created by the Pinpoint API (CreateImportJob). */
export function importRoutes(api: FastifyInstance, { database, objects }: ApiContext): void {
  const tags = ['Imports and exports'];
  const path = '/api/apps/:app/imports';
  jobListRoute(api, {
    ...{ path, tags, action: 'postrider:ListImports', summary: 'List imports, newest first' },
    item: described('An import without its failures and warnings.'),
    querystring: jobQuery,
    list: (app, page) => listImportJobs(database, app, page),
    view: jobView,
  });
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
