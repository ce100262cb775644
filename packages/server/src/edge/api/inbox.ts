import type { FastifyInstance } from 'fastify';
import { clearInbox, getInboxMessage, listInbox } from '../../messaging/index.ts';
import { notFound } from '../../platform/errors.ts';
import type { ApiContext } from './context.ts';
import {
  appAnd,
  appParams,
  decodeCursor,
  described,
  encodeCursor,
  isUuid,
  pageOf,
  pageQuery,
} from './schema.ts';

interface Filter {
  limit: number;
  cursor?: string;
  address?: string;
  channel?: 'EMAIL' | 'SMS';
}

/** What the sandbox received. */
export function inboxRoutes(api: FastifyInstance, { database }: ApiContext): void {
  const tags = ['Inbox'];
  api.get<{ Params: { app: string }; Querystring: Filter }>(
    '/api/apps/:app/inbox',
    {
      config: { action: 'postrider:ListInbox' },
      schema: {
        tags,
        summary: 'Messages in the sandbox, newest first',
        params: appParams,
        querystring: {
          type: 'object',
          properties: { ...pageQuery, address: { type: 'string' }, channel: { type: 'string' } },
        },
        response: { 200: pageOf(described('A message without its words.')) },
      },
    },
    async ({ params, query: { cursor, ...query } }) => {
      const before = decodeCursor(cursor, isUuid);
      const page = await listInbox(database, { ...query, applicationId: params.app, before });
      return { items: page.messages, next: page.next === undefined ? null : encodeCursor(page.next) };
    },
  );
  api.get<{ Params: { app: string; id: string } }>(
    '/api/apps/:app/inbox/:id',
    {
      config: { action: 'postrider:GetInboxMessage' },
      schema: {
        tags,
        summary: 'One message of the sandbox, whole',
        params: appAnd('id'),
        response: { 200: described('The message.') },
      },
    },
    async ({ params }) => {
      const message = await getInboxMessage(database, params.id);
      if (message?.applicationId !== params.app) throw notFound('Inbox message', params.id);
      return message;
    },
  );
  api.delete<{ Params: { app: string } }>(
    '/api/apps/:app/inbox',
    {
      config: { action: 'postrider:ClearInbox' },
      schema: { tags, summary: 'Empty the inbox', params: appParams },
    },
    async ({ params }) => ({ deleted: await clearInbox(database, params.app) }),
  );
}
