import type { FastifyInstance } from 'fastify';
import { CallerError } from '../../platform/errors.ts';
import {
  type DeadLetter,
  listDeadLetters,
  removeDeadLetters,
  replayDeadLetters,
  type Stream,
  type StreamDefinition,
  streamFields,
} from '../../streams/index.ts';
import type { ApiContext } from './context.ts';
import { appAnd, appParams, decodeCursor, described, encodeCursor, pageOf, pageQuery } from './schema.ts';

const tags = ['Streams'];
const path = '/api/apps/:app/streams';
const byName = appAnd('name');

const settingsWords = Object.entries(streamFields)
  .map(([kind, fields]) => {
    const names = Object.entries(fields).map(
      ([name, field]) =>
        `\`${name}\`${'secret' in field && field.secret ? ' (secret)' : ''}: ${field.description}`,
    );
    return `**${kind}**: ${names.join(' ')}`;
  })
  .join('\n\n');

const definition = {
  type: 'object',
  required: ['destination'],
  additionalProperties: false,
  properties: {
    destination: {
      type: 'string',
      minLength: 1,
      maxLength: 2048,
      description:
        'ARN of a Kinesis or Firehose stream, `https://…`, `nats://host:4222/subject` (`tls://` with TLS), `s3://bucket/prefix` or `file:bucket/prefix`.',
    },
    state: { enum: ['active', 'paused'], default: 'active' },
    settings: {
      type: 'object',
      additionalProperties: true,
      description: `By the kind of destination; those that are not named stay, null removes one.\n\n${settingsWords}`,
    },
  },
} as const;

const stream = described(
  'id, name, kind, destination, settings, secretNames, state (active, paused, disabled) and stateReason; status: waitingFacts, lagSeconds, failingSince, failures, nextAttemptAt, lastError, lastErrorAt, delivered (records), deliveredAt, deadLetters.',
);

const letterIds = {
  type: 'array',
  minItems: 1,
  maxItems: 1000,
  items: { type: 'integer', minimum: 1, maximum: Number.MAX_SAFE_INTEGER },
} as const;

interface Params {
  app: string;
  name: string;
}

/** Streams of an application: outlets of the log, what they have yet to deliver, and what they could not. */
export function streamRoutes(api: FastifyInstance, context: ApiContext): void {
  const { streams, clock } = context;
  const view = ({ oldestWaiting, ...shown }: Stream) => ({
    ...shown,
    lagSeconds: oldestWaiting ? Math.max(0, (clock.now() - oldestWaiting.getTime()) / 1000) : 0,
  });
  api.get<{ Params: { app: string } }>(
    path,
    {
      config: { action: 'postrider:ListStreams' },
      schema: {
        tags,
        summary: 'List streams with their status',
        params: appParams,
        response: { 200: pageOf(stream) },
      },
    },
    async ({ params }) => ({ items: (await streams.list(params.app)).map(view), next: null }),
  );
  api.get<{ Params: Params }>(
    `${path}/:name`,
    {
      config: { action: 'postrider:GetStream' },
      schema: { tags, summary: 'One stream with its status', params: byName, response: { 200: stream } },
    },
    async ({ params }) => view(await streams.get(params.app, params.name)),
  );
  api.put<{ Params: Params; Body: StreamDefinition }>(
    `${path}/:name`,
    {
      config: { action: 'postrider:PutStream' },
      schema: {
        tags,
        summary: 'Make or change a stream',
        description:
          '`default` is the event stream of the Pinpoint API. A new stream begins with what arrives from now on; a stream that is changed is active again and tried at once, and what waits goes to its new destination.',
        params: byName,
        body: definition,
        response: { 200: stream },
      },
    },
    async ({ params, body, principal }) =>
      view(
        await streams.put(params.app, params.name, body, {
          principal,
          action: 'postrider:PutStream',
          path: '$.destination',
        }),
      ),
  );
  api.delete<{ Params: Params }>(
    `${path}/:name`,
    {
      config: { action: 'postrider:DeleteStream' },
      schema: { tags, summary: 'Delete a stream with all that waits', params: byName },
    },
    async ({ params, principal }, reply) => {
      await streams.remove(params.app, params.name, { principal, action: 'postrider:DeleteStream' });
      return reply.code(204).send();
    },
  );
  api.get<{ Params: Params }>(
    `${path}/:name/secret`,
    {
      config: { action: 'postrider:GetStreamSecret' },
      schema: {
        tags,
        summary: "The secret with which a webhook's requests are signed; leaves an audit entry",
        params: byName,
        response: { 200: described('secret: `whsec_…`, as Standard Webhooks has it.') },
      },
    },
    async ({ params, principal }) => ({
      secret: await streams.webhookSecret(params.app, params.name, principal),
    }),
  );
  deadLetterRoutes(api, context);
}

function deadLetterRoutes(api: FastifyInstance, { database, clock }: ApiContext): void {
  const isId = (key: unknown): key is number => Number.isSafeInteger(key);
  api.get<{ Params: Params; Querystring: { limit: number; cursor?: string } }>(
    `${path}/:name/dead-letters`,
    {
      config: { action: 'postrider:ListDeadLetters' },
      schema: {
        tags,
        summary: 'What could not be delivered, oldest first',
        params: byName,
        querystring: { type: 'object', properties: pageQuery },
        response: {
          200: pageOf(
            described(
              'id, error, attempts, parkedAt, replayAt (a replay is asked for), facts (how many), and where they are in the log: day, batchId, fromSeq, toSeq.',
            ),
          ),
        },
      },
    },
    async ({ params, query }) => {
      const page = await listDeadLetters(database, params.app, params.name, {
        limit: query.limit,
        after: decodeCursor(query.cursor, isId),
      });
      const next = page.next === undefined ? null : encodeCursor(page.next);
      return { items: page.items.map(shownLetter), next };
    },
  );
  const chosen = {
    type: ['object', 'null'],
    additionalProperties: false,
    properties: { ids: { ...letterIds, description: 'Absent: all.' } },
  } as const;
  api.post<{ Params: Params; Body: { ids?: number[] } | null }>(
    `${path}/:name/dead-letters/replay`,
    {
      config: { action: 'postrider:ReplayDeadLetters' },
      schema: {
        tags,
        summary: 'Deliver dead letters once more',
        description:
          'They come after what the stream delivers now, so out of order; their record ids are the same as before.',
        params: byName,
        body: chosen,
        response: { 202: described('replayed: how many dead letters.') },
      },
    },
    async ({ params, body }, reply) => {
      const replayed = await replayDeadLetters({ database, clock }, params.app, params.name, body?.ids);
      return reply.code(202).send({ replayed });
    },
  );
  api.delete<{ Params: Params; Querystring: { id?: number } }>(
    `${path}/:name/dead-letters`,
    {
      config: { action: 'postrider:DeleteDeadLetters' },
      schema: {
        tags,
        summary: 'Give dead letters up, all or one',
        params: byName,
        querystring: { type: 'object', properties: { id: letterIds.items } },
      },
    },
    async ({ params, query }, reply) => {
      const ids = query.id === undefined ? undefined : [query.id];
      const removed = await removeDeadLetters(database, params.app, params.name, ids);
      if (ids && removed === 0) throw new CallerError('not_found', `Dead letter ${query.id} not found`);
      return reply.code(204).send();
    },
  );
}

function shownLetter({ position, ...letter }: DeadLetter) {
  return letter;
}
