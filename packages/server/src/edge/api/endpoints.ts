import type { FastifyInstance } from 'fastify';
import { searchEndpoints, toEndpointResponse } from '../../audience/index.ts';
import { badMember } from '../../platform/errors.ts';
import type { ApiContext } from './context.ts';
import { appParams, decodeCursor, described, encodeCursor, isText, pageOf, pageQuery } from './schema.ts';

const filterQuery = {
  ...pageQuery,
  address: { type: 'string', description: 'Exactly this address; e-mail in any case of letters.' },
  userId: { type: 'string' },
  idPrefix: { type: 'string' },
  channel: { type: 'string' },
  status: { enum: ['ACTIVE', 'INACTIVE'] },
  attribute: { type: 'string', description: '`name:value` of a custom attribute.' },
} as const;

interface Filter {
  limit: number;
  cursor?: string;
  address?: string;
  userId?: string;
  idPrefix?: string;
  channel?: string;
  status?: string;
  attribute?: string;
}

/** What Pinpoint never had: looking endpoints up. */
export function endpointRoutes(api: FastifyInstance, { database }: ApiContext): void {
  api.get<{ Params: { app: string }; Querystring: Filter }>(
    '/api/apps/:app/endpoints',
    {
      config: { action: 'postrider:ListEndpoints' },
      schema: {
        tags: ['Audience'],
        summary: 'Search endpoints; all conditions are ANDed',
        params: appParams,
        querystring: { type: 'object', properties: filterQuery },
        response: { 200: pageOf(described('An endpoint, as GetEndpoint of the Pinpoint API answers it.')) },
      },
    },
    async ({ params, query: { cursor, attribute, ...query } }) => {
      const after = decodeCursor(cursor, isText);
      const page = await searchEndpoints(database, params.app, {
        ...query,
        attribute: attributeOf(attribute),
        after,
      });
      return {
        items: page.endpoints.map((endpoint) => toEndpointResponse(params.app, endpoint)),
        next: page.next === undefined ? null : encodeCursor(page.next),
      };
    },
  );
}

function attributeOf(text: string | undefined): { name: string; value: string } | undefined {
  if (text === undefined) return undefined;
  const colon = text.indexOf(':');
  if (colon < 1) throw badMember('querystring.attribute', 'expected name:value');
  return { name: text.slice(0, colon), value: text.slice(colon + 1) };
}
