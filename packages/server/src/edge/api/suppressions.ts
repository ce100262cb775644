import type { FastifyInstance } from 'fastify';
import { addSuppressions, listSuppressions, removeSuppression } from '../../audience/index.ts';
import { CallerError } from '../../platform/errors.ts';
import type { ApiContext } from './context.ts';
import { appParams, decodeCursor, described, encodeCursor, pageOf, pageQuery } from './schema.ts';

interface Key {
  channel: string;
  address: string;
}

const keyProperties = {
  channel: { enum: ['EMAIL', 'SMS', 'VOICE', 'PUSH'] },
  address: { type: 'string', minLength: 1, maxLength: 4096 },
} as const;

function isKey(key: unknown): key is Key {
  const { channel, address } = (key ?? {}) as Partial<Key>;
  return typeof channel === 'string' && typeof address === 'string' && !address.includes('\0');
}

/** Addresses that must not be written to. */
export function suppressionRoutes(api: FastifyInstance, { database }: ApiContext): void {
  const tags = ['Audience'];
  const path = '/api/apps/:app/suppressions';
  api.get<{ Params: { app: string }; Querystring: { limit: number; cursor?: string; channel?: string } }>(
    path,
    {
      config: { action: 'postrider:ListSuppressions' },
      schema: {
        tags,
        summary: 'List suppressed addresses',
        params: appParams,
        querystring: { type: 'object', properties: { ...pageQuery, channel: keyProperties.channel } },
        response: {
          200: pageOf(
            described('channel, address, reason (bounce, complaint, manual), messageId, createdAt.'),
          ),
        },
      },
    },
    async ({ params, query: { cursor, ...query } }) => {
      const page = await listSuppressions(database, params.app, {
        ...query,
        after: decodeCursor(cursor, isKey),
      });
      return { items: page.suppressions, next: page.next ? encodeCursor(page.next) : null };
    },
  );
  api.post<{ Params: { app: string }; Body: Key }>(
    path,
    {
      config: { action: 'postrider:CreateSuppression' },
      schema: {
        tags,
        summary: 'Suppress an address',
        params: appParams,
        body: {
          type: 'object',
          required: ['channel', 'address'],
          additionalProperties: false,
          properties: keyProperties,
        },
      },
    },
    async ({ params, body }, reply) => {
      await addSuppressions(database, params.app, [{ ...body, reason: 'manual' }]);
      return reply.code(201).send(body);
    },
  );
  api.delete<{ Params: { app: string }; Querystring: Key }>(
    path,
    {
      config: { action: 'postrider:DeleteSuppression' },
      schema: {
        tags,
        summary: 'Take an address off the list',
        params: appParams,
        querystring: { type: 'object', required: ['channel', 'address'], properties: keyProperties },
      },
    },
    async ({ params, query }, reply) => {
      if (!(await removeSuppression(database, params.app, query.channel, query.address))) {
        throw new CallerError('not_found', `${query.address} is not suppressed`);
      }
      return reply.code(204).send();
    },
  );
}
