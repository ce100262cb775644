import type { FastifyInstance } from 'fastify';
import { fullScopes, listAudit, type Scopes } from '../../accounts/index.ts';
import type { ApiContext } from './context.ts';
import { decodeCursor, described, encodeCursor, isUuid, pageOf, pageQuery } from './schema.ts';

const scopes = {
  type: 'object',
  required: ['applications', 'actions', 'buckets'],
  additionalProperties: false,
  properties: {
    applications: { description: '"*" or ids.' },
    actions: {
      type: 'array',
      items: { type: 'string' },
      description: '"*", `mobiletargeting:GetApp`, `postrider:Get*` …',
    },
    buckets: { description: '"*" or names of object-store buckets.' },
  },
} as const;
const newCredential = {
  type: 'object',
  required: ['name'],
  additionalProperties: false,
  properties: { name: { type: 'string', minLength: 1, maxLength: 128 }, scopes },
} as const;
const byId = { type: 'object', required: ['id'], properties: { id: { type: 'string' } } } as const;

/** Access keys, tokens, and what was done with them. */
export function keyRoutes(api: FastifyInstance, { accessKeys, tokens, database }: ApiContext): void {
  const tags = ['Access'];
  for (const [noun, store, made] of [
    ['key', accessKeys, 'The secret access key; it cannot be read again.'],
    ['token', tokens, 'The token; it cannot be read again.'],
  ] as const) {
    const action = noun === 'key' ? 'AccessKey' : 'Token';
    api.get(
      `/api/${noun}s`,
      {
        config: { action: `postrider:List${action}s` },
        schema: {
          tags,
          summary: `List ${noun}s`,
          response: { 200: pageOf(described(`A ${noun} without its secret.`)) },
        },
      },
      async () => ({ items: await store.list(), next: null }),
    );
    api.post<{ Body: { name: string; scopes?: Scopes } }>(
      `/api/${noun}s`,
      {
        config: { action: `postrider:Create${action}` },
        schema: {
          tags,
          summary: `Make a ${noun}`,
          description: made,
          body: newCredential,
          response: { 201: described(made) },
        },
      },
      async (request, reply) => {
        const { name, scopes: wanted } = request.body;
        reply.code(201).header('cache-control', 'no-store');
        return store.create({ name, scopes: wanted ?? fullScopes, by: request.principal });
      },
    );
    api.delete<{ Params: { id: string } }>(
      `/api/${noun}s/:id`,
      {
        config: { action: `postrider:Revoke${action}` },
        schema: { tags, summary: `Revoke a ${noun}`, params: byId },
      },
      async (request, reply) => {
        await store.revoke(request.params.id, request.principal);
        return reply.code(204).send();
      },
    );
  }
  api.get<{ Querystring: { limit: number; cursor?: string; applicationId?: string } }>(
    '/api/audit',
    {
      config: { action: 'postrider:ListAudit' },
      schema: {
        tags,
        summary: 'Who did what, newest first',
        querystring: { type: 'object', properties: { ...pageQuery, applicationId: { type: 'string' } } },
        response: { 200: pageOf(described('An audit entry.')) },
      },
    },
    async ({ query }) => {
      const before = decodeCursor(query.cursor, isUuid);
      const items = await listAudit(database, {
        applicationId: query.applicationId,
        before,
        limit: query.limit,
      });
      return { items, next: items.length === query.limit ? encodeCursor(items.at(-1)!.id) : null };
    },
  );
}
