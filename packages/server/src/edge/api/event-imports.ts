import type { FastifyInstance } from 'fastify';
import { authorizeBucket, getApplication, recordAudit } from '../../accounts/index.ts';
import {
  createEventImport,
  type EventImport,
  getEventImport,
  listEventImports,
} from '../../audience/index.ts';
import { isoTime } from '../../platform/clock.ts';
import { enqueue } from '../../platform/jobs.ts';
import { parseS3Url } from '../../platform/objects.ts';
import type { ApiContext } from './context.ts';
import { type JobParams, jobListRoute } from './jobs.ts';
import { appAnd, appParams, described } from './schema.ts';

const view = described(
  '`status` CREATED, PROCESSING, COMPLETED or FAILED; `progress` (records, imported, duplicates, failures, files); `warnings`; `firstFailures`; `error` when it, or a file of it, failed.',
);

/** Imports of event archives: newline JSON as Pinpoint streamed it, in the object store. */
export function eventImportRoutes(api: FastifyInstance, { database, log }: ApiContext): void {
  const tags = ['Imports and exports'];
  const path = '/api/apps/:app/event-imports';
  api.post<{ Params: { app: string }; Body: { url: string } }>(
    path,
    {
      config: { action: 'postrider:CreateEventImport' },
      schema: {
        tags,
        summary: 'Import an archive of events',
        description:
          'Reads newline JSON in the record form of Pinpoint event streams, plain or gzip: one object, or all below a prefix. Each record counts once, however often it is in archives that were imported.',
        params: appParams,
        body: {
          type: 'object',
          required: ['url'],
          additionalProperties: false,
          properties: { url: { type: 'string', description: '`s3://bucket/prefix`' } },
        },
        response: { 201: view },
      },
    },
    async (request, reply) => {
      const { params, body, principal } = request;
      const bucket = parseS3Url(body.url)?.bucket;
      if (bucket !== undefined) authorizeBucket(principal, bucket);
      const job = await database.transaction(async (tx) => {
        await getApplication(tx, params.app);
        const created = await createEventImport(tx, params.app, body.url, Date.now());
        await recordAudit(tx, {
          principal,
          action: 'postrider:CreateEventImport',
          applicationId: params.app,
          detail: { import: created.id, url: body.url },
        });
        return created;
      });
      // When nobody can be woken, a regular look finds it within a minute.
      await enqueue(database, 'run-event-imports').catch((error: unknown) =>
        log.warn({ err: error }, 'cannot wake a job'),
      );
      return reply.code(201).send(shown(job));
    },
  );
  jobListRoute(api, {
    ...{ path, tags, action: 'postrider:ListEventImports', summary: 'List imports of events, newest first' },
    item: view,
    list: (app, page) => listEventImports(database, app, page),
    view: shown,
  });
  api.get<{ Params: JobParams }>(
    `${path}/:id`,
    {
      config: { action: 'postrider:GetEventImport' },
      schema: { tags, summary: 'One import of events', params: appAnd('id'), response: { 200: view } },
    },
    async ({ params }) => shown(await getEventImport(database, params.app, params.id)),
  );
}

function shown(job: EventImport) {
  const { id, url, status, error, warnings, firstFailures } = job;
  const { processed, imported, duplicates, failures, totalFiles, completedFiles, failedFiles } = job;
  return {
    id,
    url,
    status,
    progress: { processed, imported, duplicates, failures, totalFiles, completedFiles, failedFiles },
    warnings,
    firstFailures,
    error,
    createdAt: isoTime(job.createdAt),
    completedAt: job.completedAt === null ? null : isoTime(job.completedAt),
  };
}
