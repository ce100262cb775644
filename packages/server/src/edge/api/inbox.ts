import type { FastifyInstance } from 'fastify';
import { clearInbox, getInboxMessage, listInbox } from '../../messaging/index.ts';
import { notFound } from '../../platform/errors.ts';
import type { ApiContext } from './context.ts';
import { type Engagement, reportEngagement } from './engagement.ts';
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
export function inboxRoutes(api: FastifyInstance, context: ApiContext): void {
  const { database } = context;
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
  for (const { word, kind, summary, members } of engagements) {
    api.post<{ Params: { app: string; id: string }; Body: Omit<Engagement, 'kind'> | null }>(
      `/api/apps/:app/inbox/:id/${word}`,
      {
        config: { action: `postrider:${word[0]!.toUpperCase()}${word.slice(1)}InboxMessage` },
        schema: {
          tags,
          summary,
          params: appAnd('id'),
          body: {
            type: ['object', 'null'],
            additionalProperties: false,
            properties: { ...engagementMembers, ...members },
          },
          response: { 204: { type: 'null', description: 'It is in the log.' } },
        },
      },
      async (request, reply) => {
        const { params, body } = request;
        const message = await getInboxMessage(database, params.id);
        if (message?.applicationId !== params.app) throw notFound('Inbox message', params.id);
        await reportEngagement(context, message, { ...body, kind }, request);
        return reply.code(204).send();
      },
    );
  }
}

const engagementMembers = {
  machine: {
    type: 'boolean',
    description: 'A program did it (prefetch, link scanner), not a person; false when absent.',
  },
  userAgent: { type: 'string', maxLength: 500, description: "The request's own when absent." },
  ipAddress: { type: 'string', maxLength: 45, description: "The request's own when absent." },
} as const;

const engagements = [
  { word: 'open', kind: 'opened', summary: 'Open a message as its recipient would', members: {} },
  {
    word: 'click',
    kind: 'clicked',
    summary: 'Click a link of a message as its recipient would',
    members: { url: { type: 'string', maxLength: 2_000, description: 'Where the link leads.' } },
  },
] as const;
