import type { FastifyInstance } from 'fastify';
import { loadTemplate } from '../../content/index.ts';
import {
  type ContentByChannel,
  type DirectResult,
  getMessage,
  resendInDoubt,
  searchMessages,
} from '../../messaging/index.ts';
import { badMember } from '../../platform/errors.ts';
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

const maxWaitMs = 30_000;

const recipient = {
  type: 'object',
  additionalProperties: false,
  description: 'An address (its channel is that of the message), or an endpoint of the application.',
  properties: {
    address: { type: 'string', minLength: 1, maxLength: 4096 },
    endpointId: { type: 'string', minLength: 1 },
    substitutions: {
      type: 'object',
      additionalProperties: { type: 'string' },
      description: 'Values of variables.',
    },
  },
} as const;

const newMessage = {
  type: 'object',
  required: ['channel', 'to'],
  additionalProperties: false,
  properties: {
    channel: { enum: ['EMAIL', 'SMS'] },
    to: { type: 'array', minItems: 1, maxItems: 100, items: recipient },
    template: {
      type: 'object',
      required: ['name'],
      additionalProperties: false,
      properties: {
        name: { type: 'string' },
        version: { type: 'string', description: 'The active one when absent.' },
      },
    },
    subject: { type: 'string', maxLength: 998 },
    html: { type: 'string' },
    text: { type: 'string' },
    body: { type: 'string', maxLength: 1600, description: 'Text of an SMS.' },
    from: { type: 'string', maxLength: 320 },
    replyTo: { type: 'array', maxItems: 10, items: { type: 'string', maxLength: 320 } },
    headers: {
      type: 'array',
      maxItems: 15,
      items: {
        type: 'object',
        required: ['name', 'value'],
        additionalProperties: false,
        properties: {
          name: { type: 'string', pattern: '^[!-9;-~]{1,126}$' },
          value: { type: 'string', maxLength: 870 },
        },
      },
    },
    attachments: {
      type: 'array',
      maxItems: 20,
      items: {
        type: 'object',
        required: ['filename', 'contentType', 'dataBase64'],
        additionalProperties: false,
        properties: {
          filename: { type: 'string', minLength: 1, maxLength: 255 },
          contentType: { type: 'string', pattern: '^[\\w.+-]+/[\\w.+-]+$' },
          dataBase64: { type: 'string', pattern: '^[A-Za-z0-9+/]*={0,2}$' },
          contentId: { type: 'string', maxLength: 255 },
        },
      },
    },
    senderId: { type: 'string', maxLength: 11 },
    context: { type: 'object', maxProperties: 20, additionalProperties: { type: 'string', maxLength: 1000 } },
    waitMs: {
      type: 'integer',
      minimum: 0,
      maximum: maxWaitMs,
      default: 5_000,
      description: 'How long to wait for the first attempts; 0 answers as soon as the messages are stored.',
    },
  },
} as const;

interface NewMessage {
  channel: 'EMAIL' | 'SMS';
  to: { address?: string; endpointId?: string; substitutions?: Record<string, string> }[];
  template?: { name: string; version?: string };
  subject?: string;
  html?: string;
  text?: string;
  body?: string;
  from?: string;
  replyTo?: string[];
  headers?: { name: string; value: string }[];
  attachments?: { filename: string; contentType: string; dataBase64: string; contentId?: string }[];
  senderId?: string;
  context?: Record<string, string>;
  waitMs: number;
}

const filterQuery = {
  ...pageQuery,
  address: { type: 'string' },
  endpointId: { type: 'string' },
  campaignId: { type: 'string' },
  status: {
    type: 'string',
    description: '`sent`, `delivered`, `bounced` …, or the reason why a message was held back.',
  },
  from: { type: 'string', description: 'ISO 8601 time, inclusive.' },
  to: { type: 'string', description: 'ISO 8601 time, exclusive.' },
  providerMessageId: { type: 'string' },
} as const;

type Filter = Partial<Record<Exclude<keyof typeof filterQuery, 'limit'>, string>> & { limit: number };

/** Plain sends, and the message log. */
export function messageRoutes(api: FastifyInstance, context: ApiContext): void {
  const { database, pipeline } = context;
  const tags = ['Messages'];
  api.post<{ Params: { app: string }; Body: NewMessage }>(
    '/api/apps/:app/messages',
    {
      config: { action: 'postrider:SendMessage' },
      schema: {
        tags,
        summary: 'Send a message',
        description: 'To up to 100 recipients, with a template or with words given here.',
        params: appParams,
        body: newMessage,
        response: { 202: described('`messages`: one entry for each recipient, in order.') },
      },
    },
    async ({ params, body }, reply) => {
      const results = await pipeline.sendDirect({
        applicationId: params.app,
        recipients: body.to.map((to, index) => recipientOf(body.channel, to, index)),
        content: await contentOf(context, body),
        context: body.context,
        waitMs: body.waitMs,
      });
      return reply.code(202).send({ messages: results.map(shown) });
    },
  );
  api.get<{ Params: { app: string }; Querystring: Filter }>(
    '/api/apps/:app/messages',
    {
      config: { action: 'postrider:ListMessages' },
      schema: {
        tags,
        summary: 'Search the message log, newest first',
        params: appParams,
        querystring: { type: 'object', properties: filterQuery },
        response: { 200: pageOf(described('A message without its words.')) },
      },
    },
    async ({ params, query }) => {
      const { limit, cursor, from, to, ...filter } = query;
      const page = await searchMessages(
        database,
        params.app,
        { ...filter, from: timeOf('from', from), to: timeOf('to', to) },
        { limit, before: decodeCursor(cursor, isUuid) },
      );
      return { items: page.items, next: page.next && encodeCursor(page.next) };
    },
  );
  api.get<{ Params: { app: string; id: string } }>(
    '/api/apps/:app/messages/:id',
    {
      config: { action: 'postrider:GetMessage' },
      schema: {
        tags,
        summary: 'One message with its timeline',
        params: appAnd('id'),
        response: { 200: described('The message.') },
      },
    },
    async ({ params }) => getMessage(database, params.app, params.id),
  );
  api.post<{ Params: { app: string }; Body: { messageIds: string[] } }>(
    '/api/apps/:app/messages/resend',
    {
      config: { action: 'postrider:ResendMessages' },
      schema: {
        tags,
        summary: 'Send campaign messages again that are in doubt',
        params: appParams,
        body: {
          type: 'object',
          required: ['messageIds'],
          additionalProperties: false,
          properties: {
            messageIds: {
              type: 'array',
              minItems: 1,
              maxItems: 1000,
              items: { type: 'string', pattern: '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' },
            },
          },
        },
        response: { 200: described('`messageIds` that are sent again.') },
      },
    },
    async ({ params, body }) => ({
      messageIds: await resendInDoubt(database, pipeline.composing, params.app, body.messageIds),
    }),
  );
}

function recipientOf(channel: 'EMAIL' | 'SMS', to: NewMessage['to'][number], index: number) {
  if ((to.address === undefined) === (to.endpointId === undefined)) {
    throw badMember(`$.to[${index}]`, 'expected either address or endpointId');
  }
  const substitutions =
    to.substitutions &&
    Object.fromEntries(Object.entries(to.substitutions).map(([name, value]) => [name, [value]]));
  return {
    channel,
    address: to.address,
    endpointId: to.endpointId,
    overrides: substitutions && { substitutions },
  };
}

async function contentOf({ database }: ApiContext, body: NewMessage): Promise<ContentByChannel> {
  const { channel, template } = body;
  const words = channel === 'EMAIL' ? (body.html ?? body.text) : body.body;
  if (!template && words === undefined) {
    throw badMember(
      '$',
      channel === 'EMAIL' ? 'expected html, text or template' : 'expected body or template',
    );
  }
  if (channel === 'EMAIL' && !template && body.subject === undefined)
    throw badMember('$.subject', 'expected a subject');
  const stored = template && (await loadTemplate(database, channel, template.name, template.version));
  return {
    [channel]: {
      template: stored && { type: channel, name: stored.name, version: stored.version },
      inline: {
        ...stored?.parts,
        ...definedOf({ subject: body.subject, html: body.html, text: body.text, body: body.body }),
        headers: body.headers ?? stored?.headers,
        attachments: body.attachments,
      },
      defaults: stored?.defaults,
      sender: { from: body.from, replyTo: body.replyTo, senderId: body.senderId },
    },
  };
}

function definedOf<T extends object>(members: T): Partial<T> {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as Partial<T>;
}

function timeOf(name: string, text: string | undefined): Date | undefined {
  if (text === undefined) return undefined;
  const at = new Date(text);
  if (Number.isNaN(at.getTime()) || at.getTime() < 0)
    throw badMember(`querystring.${name}`, 'expected an ISO 8601 time');
  return at;
}

function shown(result: DirectResult) {
  return {
    messageId: result.messageId,
    address: result.address,
    status:
      result.decision === 'sending'
        ? (result.outcome?.slice('message.'.length) ?? 'sending')
        : result.decision,
    detail: result.detail ?? result.result?.response,
    providerMessageId: result.result?.providerMessageId,
  };
}
