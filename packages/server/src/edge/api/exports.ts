import type { FastifyInstance } from 'fastify';
import { authorizeBucket } from '../../accounts/index.ts';
import { type ExportJob, getExportJob, listExportFiles, listExportJobs } from '../../audience/index.ts';
import { parseS3Url } from '../../platform/objects.ts';
import type { ApiContext } from './context.ts';
import { type JobParams, jobListRoute, jobQuery, jobView } from './jobs.ts';
import { appAnd, decodeCursor, described, encodeCursor, isText, pageOf, pageQuery } from './schema.ts';

/** Export jobs and their files. Jobs are created by the Pinpoint API (CreateExportJob). */
export function exportRoutes(api: FastifyInstance, { database, objects }: ApiContext): void {
  const tags = ['Imports and exports'];
  const path = '/api/apps/:app/exports';
  jobListRoute(api, {
    ...{ path, tags, action: 'postrider:ListExports', summary: 'List exports, newest first' },
    item: described('An export.'),
    querystring: jobQuery,
    list: (app, page) => listExportJobs(database, app, page),
    view: exportView,
  });
  api.get<{ Params: JobParams }>(
    `${path}/:id`,
    {
      config: { action: 'postrider:GetExport' },
      schema: {
        tags,
        summary: 'One export and how far it is',
        params: appAnd('id'),
        response: {
          200: described(
            '`status` and `definition` as in the Pinpoint API; `progress` (`processed` of `total` endpoints, files); `segmentVersion` that is exported; `error` when it failed.',
          ),
        },
      },
    },
    async ({ params }) => exportView(await getExportJob(database, params.app, params.id)),
  );
  api.get<{ Params: JobParams; Querystring: { limit: number; cursor?: string } }>(
    `${path}/:id/files`,
    {
      config: { action: 'postrider:GetExport' },
      schema: {
        tags,
        summary: 'The files of an export that are written so far',
        params: appAnd('id'),
        querystring: { type: 'object', properties: pageQuery },
        response: {
          200: pageOf(
            described('`url` (s3://…), `size` in bytes, `modifiedAt`, `download`: path below this server.'),
          ),
        },
      },
    },
    async ({ params, principal, query: { limit, cursor } }) => {
      const job = await getExportJob(database, params.app, params.id);
      const { bucket } = parseS3Url(job.definition.S3UrlPrefix)!;
      authorizeBucket(principal, bucket);
      const after = decodeCursor(cursor, isText) ?? '';
      const files = (await listExportFiles(objects, params.app, job)).filter(({ key }) => key > after);
      const items = files.slice(0, limit).map(({ url, key, size, modifiedAt }) => ({
        url,
        size,
        modifiedAt,
        download: `/api/objects/${bucket}/${key.split('/').map(encodeURIComponent).join('/')}`,
      }));
      return { items, next: files.length > limit ? encodeCursor(files[limit - 1]!.key) : null };
    },
  );
}

function exportView(job: ExportJob) {
  const view = jobView(job);
  return {
    ...view,
    segmentVersion: job.segmentVersion,
    progress: { ...view.progress, total: job.total },
  };
}
