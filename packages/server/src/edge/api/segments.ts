import type { FastifyInstance } from 'fastify';
import {
  countSegment,
  explainSegment,
  isMember,
  loadRecipients,
  type SegmentDefinition,
  sampleSegment,
  toEndpointResponse,
} from '../../audience/index.ts';
import { badMember } from '../../platform/errors.ts';
import type { ApiContext } from './context.ts';
import { appAnd, appParams, described } from './schema.ts';

interface Segment {
  app: string;
  id: string;
}

/** What Pinpoint never said about a segment: how many, who, and why. */
export function segmentRoutes(api: FastifyInstance, { database }: ApiContext): void {
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
        response: { 200: described('`total`, `messageable`, and both by channel.') },
      },
    },
    async ({ params }) => countSegment(database, params.app, { segmentId: params.id }),
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
            definition: {
              type: 'object',
              description: '`Dimensions` or `SegmentGroups`, as in CreateSegment.',
            },
          },
        },
        response: { 200: described('`total`, `messageable`, and both by channel.') },
      },
    },
    async ({ params, body }) => countSegment(database, params.app, { definition: body.definition }),
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
      explainSegment(database, params.app, { segmentId: params.id }, query.endpointId),
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
