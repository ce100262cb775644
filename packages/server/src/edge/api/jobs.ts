import type { FastifyInstance } from 'fastify';
import type { Job } from '../../audience/index.ts';
import { isoTime } from '../../platform/clock.ts';
import { appParams, decodeCursor, encodeCursor, isText, pageOf, pageQuery } from './schema.ts';

export interface JobParams {
  app: string;
  id: string;
}

/** Where a page of jobs begins: after the one that was made then. */
interface Position {
  createdAt: number;
  id: string;
}

interface JobQuery {
  limit: number;
  cursor?: string;
  segment?: string;
}

/** Query of a list of jobs that are about segments. */
export const jobQuery = {
  type: 'object',
  properties: { ...pageQuery, segment: { type: 'string', description: 'Only the jobs of this segment.' } },
} as const;

/** GET of the jobs of an application, newest first, page by page. */
export function jobListRoute<One extends Position>(
  api: FastifyInstance,
  route: {
    path: string;
    tags: string[];
    action: string;
    summary: string;
    item: object;
    querystring?: object;
    list(app: string, page: { segmentId?: string; after?: Position; limit: number }): Promise<One[]>;
    view(job: One): object;
  },
): void {
  const { path, tags, action, summary, item, list, view } = route;
  const querystring = route.querystring ?? { type: 'object', properties: pageQuery };
  api.get<{ Params: { app: string }; Querystring: JobQuery }>(
    path,
    {
      config: { action },
      schema: { tags, summary, params: appParams, querystring, response: { 200: pageOf(item) } },
    },
    async ({ params, query: { limit, cursor, segment } }) => {
      const after = decodeCursor(cursor, isPosition);
      const found = await list(params.app, { segmentId: segment, after, limit: limit + 1 });
      const items = found.slice(0, limit);
      const { createdAt, id } = items.at(-1) ?? {};
      return { items: items.map(view), next: found.length > limit ? encodeCursor({ createdAt, id }) : null };
    },
  );
}

function isPosition(key: unknown): key is Position {
  const { createdAt, id } = (key ?? {}) as Partial<Position>;
  return Number.isSafeInteger(createdAt) && isText(id);
}

/** What imports and exports show. */
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
