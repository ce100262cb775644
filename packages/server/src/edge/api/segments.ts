import type { FastifyInstance } from 'fastify';
import { getApplication, type Principal, recordAudit } from '../../accounts/index.ts';
import {
  countSegment,
  createSegment,
  explainSegment,
  getSegment,
  isMember,
  loadRecipients,
  type SegmentDefinition,
  type Segment as SegmentRow,
  sampleSegment,
  toEndpointResponse,
  updateSegment,
} from '../../audience/index.ts';
import { systemClock } from '../../platform/clock.ts';
import type { Transaction } from '../../platform/database.ts';
import { badMember } from '../../platform/errors.ts';
import type { ApiContext } from './context.ts';
import { appAnd, appParams, described } from './schema.ts';

interface Segment {
  app: string;
  id: string;
}

interface Writing {
  name?: string;
  definition?: SegmentDefinition;
}

const definitionSchema = {
  type: 'object',
  additionalProperties: false,
  properties: { Dimensions: { type: 'object' }, SegmentGroups: { type: 'object' } },
  description:
    '`Dimensions` or `SegmentGroups`, as in CreateSegment; in `Behavior` also `Events` and `Campaigns` (docs/segments.md).',
} as const;

const answer = described(
  '`id`, `name`, `type` (DIMENSIONAL, IMPORT), `version`, `definition`, `createdAt`, `modifiedAt`.',
);

function shown({ id, name, type, version, definition, createdAt, modifiedAt }: SegmentRow) {
  return { id, name, type, version, definition, createdAt, modifiedAt };
}

/** Segments with all that they may ask for. SDKs of Pinpoint do not know our criteria on behaviour; here nothing is lost. */
export function segmentWritingRoutes(api: FastifyInstance, { database, config }: ApiContext): void {
  const tags = ['Segments'];
  const path = '/api/apps/:app/segments';
  const { retentionDays } = config;
  const body = {
    type: 'object',
    additionalProperties: false,
    properties: { name: { type: 'string' }, definition: definitionSchema },
  } as const;
  api.post<{ Params: { app: string }; Body: Writing }>(
    path,
    {
      config: { action: 'postrider:CreateSegment' },
      schema: { tags, summary: 'Make a segment', params: appParams, body, response: { 201: answer } },
    },
    async ({ params: { app }, body: { name, definition }, principal }, reply) => {
      const segment = await database.transaction(async (tx) => {
        await getApplication(tx, app);
        const request = { ...definition, ...(name !== undefined && { Name: name }) };
        const created = await createSegment(tx, app, request, systemClock.now(), { retentionDays });
        await audit(tx, principal, 'postrider:CreateSegment', app, created);
        return created;
      });
      return reply.code(201).send(shown(segment));
    },
  );
  api.get<{ Params: Segment }>(
    `${path}/:id`,
    {
      config: { action: 'postrider:GetSegment' },
      schema: { tags, summary: 'A segment', params: appAnd('id'), response: { 200: answer } },
    },
    async ({ params }) => shown(await getSegment(database, params.app, params.id)),
  );
  api.put<{ Params: Segment; Body: Writing }>(
    `${path}/:id`,
    {
      config: { action: 'postrider:UpdateSegment' },
      schema: {
        tags,
        summary: 'Make the next version of a segment; what is left out stays',
        params: appAnd('id'),
        body,
        response: { 200: answer },
      },
    },
    async ({ params: { app, id }, body: { name, definition }, principal }) => {
      const segment = await database.transaction(async (tx) => {
        const request = { ...definition, ...(name !== undefined && { Name: name }) };
        const updated = await updateSegment(tx, app, id, request, systemClock.now(), { retentionDays });
        await audit(tx, principal, 'postrider:UpdateSegment', app, updated);
        return updated;
      });
      return shown(segment);
    },
  );
}

async function audit(
  tx: Transaction,
  principal: Principal,
  action: string,
  applicationId: string,
  { id, version }: SegmentRow,
): Promise<void> {
  await recordAudit(tx, { principal, action, applicationId, detail: { segmentId: id, version } });
}

/** What Pinpoint never said about a segment: how many, who, and why. */
export function segmentRoutes(api: FastifyInstance, { database, config }: ApiContext): void {
  const { retentionDays } = config;
  const tags = ['Segments'];
  const path = '/api/apps/:app/segments/:id';
  const action = 'postrider:GetSegment';
  api.get<{ Params: Segment }>(
    `${path}/count`,
    {
      config: { action },
      schema: {
        tags,
        summary: 'How many endpoints the segment has now',
        params: appAnd('id'),
        response: {
          200: described(
            '`total`, `messageable`, and both by channel; `warnings` when the log does not go back as far as is asked.',
          ),
        },
      },
    },
    async ({ params }) => countSegment(database, params.app, { segmentId: params.id }, { retentionDays }),
  );
  api.post<{ Params: { app: string }; Body: { definition: SegmentDefinition } }>(
    '/api/apps/:app/segments/count',
    {
      config: { action },
      schema: {
        tags,
        summary: 'How many endpoints a definition has that is not stored',
        params: appParams,
        body: {
          type: 'object',
          required: ['definition'],
          additionalProperties: false,
          properties: {
            definition: definitionSchema,
          },
        },
        response: {
          200: described(
            '`total`, `messageable`, and both by channel; `warnings` when the log does not go back as far as is asked.',
          ),
        },
      },
    },
    async ({ params, body }) =>
      countSegment(database, params.app, { definition: body.definition }, { retentionDays }),
  );
  api.get<{ Params: Segment; Querystring: { limit: number } }>(
    `${path}/sample`,
    {
      config: { action },
      schema: {
        tags,
        summary: 'Some of its members',
        params: appAnd('id'),
        querystring: {
          type: 'object',
          properties: { limit: { type: 'integer', minimum: 1, maximum: 100, default: 10 } },
        },
        response: { 200: described('`items`: endpoints.') },
      },
    },
    async ({ params, query }) => {
      const ids = await sampleSegment(database, params.app, { segmentId: params.id }, query.limit);
      const endpoints = await loadRecipients(database, params.app, ids);
      return { items: endpoints.map((endpoint) => toEndpointResponse(params.app, endpoint)) };
    },
  );
  api.get<{ Params: Segment; Querystring: { endpointId: string } }>(
    `${path}/explain`,
    {
      config: { action },
      schema: {
        tags,
        summary: 'Why is this endpoint in the segment, or out of it?',
        params: appAnd('id'),
        querystring: {
          type: 'object',
          required: ['endpointId'],
          properties: { endpointId: { type: 'string' } },
        },
        response: { 200: described('A tree: each part with its verdict, the value seen and a sentence.') },
      },
    },
    async ({ params, query }) =>
      explainSegment(database, params.app, { segmentId: params.id }, query.endpointId, { retentionDays }),
  );
  api.get<{ Params: Segment; Querystring: { endpointId?: string; userId?: string } }>(
    `${path}/membership`,
    {
      config: { action },
      schema: {
        tags,
        summary: 'Is this endpoint, or an endpoint of this user, in the segment? Made for asking often',
        params: appAnd('id'),
        querystring: {
          type: 'object',
          properties: { endpointId: { type: 'string' }, userId: { type: 'string' } },
        },
        response: { 200: described('`member`: true or false.') },
      },
    },
    async ({ params, query: { endpointId, userId } }) => {
      if ((endpointId === undefined) === (userId === undefined)) {
        throw badMember('querystring', 'expected either endpointId or userId');
      }
      const who = endpointId === undefined ? { userId: userId! } : { endpointId };
      return { member: await isMember(database, params.app, params.id, who) };
    },
  );
}
