import type { FastifyInstance } from 'fastify';
import { endpointIdentities } from '../../audience/index.ts';
import { notFound } from '../../platform/errors.ts';
import type { ApiContext } from './context.ts';
import { appAnd, appParams, described, pageOf } from './schema.ts';

interface KeyBody {
  name: string;
  origins?: string[];
  ratePerSecond?: number;
  addressRatePerSecond?: number;
}

const settings = {
  name: { type: 'string', minLength: 1, maxLength: 100 },
  origins: {
    type: 'array',
    items: { type: 'string' },
    minItems: 1,
    maxItems: 100,
    description:
      'Origins of the pages that may use it (`https://app.example.com`); `["*"]` (default) for all.',
  },
  ratePerSecond: {
    type: 'integer',
    minimum: 1,
    maximum: 1_000_000,
    description: 'Requests a second with this key, in each process; default 500.',
  },
  addressRatePerSecond: {
    type: 'integer',
    minimum: 1,
    maximum: 1_000_000,
    description: 'Requests a second from one client address, in each process; default 20.',
  },
} as const;
const shown = described(
  'id (the key), name, origins, ratePerSecond, addressRatePerSecond, createdAt, lastUsedAt, revokedAt.',
);

/** Keys for web pages and apps, and what a customer's backend needs beside them. */
export function publishableKeyRoutes(api: FastifyInstance, context: ApiContext): void {
  keyRoutes(api, context);
  identitySecretRoutes(api, context);
  tokenRoute(api, context);
}

const tags = ['Publishable keys'];

function keyRoutes(api: FastifyInstance, { publishableKeys }: ApiContext): void {
  const path = '/api/apps/:app/publishable-keys';
  api.get<{ Params: { app: string } }>(
    path,
    {
      config: { action: 'postrider:ListPublishableKeys' },
      schema: { tags, summary: 'List publishable keys', params: appParams, response: { 200: pageOf(shown) } },
    },
    async ({ params }) => ({ items: await publishableKeys.list(params.app), next: null }),
  );
  api.post<{ Params: { app: string }; Body: KeyBody }>(
    path,
    {
      config: { action: 'postrider:CreatePublishableKey' },
      schema: {
        tags,
        summary: 'Make a publishable key',
        description:
          'Such a key may stand in a web page or an app: it makes endpoints, and touches those of which it was given the token.',
        params: appParams,
        body: { type: 'object', required: ['name'], additionalProperties: false, properties: settings },
        response: { 201: shown },
      },
    },
    async (request, reply) => {
      reply.code(201);
      return publishableKeys.create(request.params.app, request.body, request.principal);
    },
  );
  api.patch<{ Params: { app: string; key: string }; Body: Partial<KeyBody> }>(
    `${path}/:key`,
    {
      config: { action: 'postrider:UpdatePublishableKey' },
      schema: {
        tags,
        summary: 'Change name, origins or rates of a publishable key',
        params: appAnd('key'),
        body: { type: 'object', additionalProperties: false, properties: settings },
        response: { 200: shown },
      },
    },
    async ({ params, body, principal }) => publishableKeys.update(params.app, params.key, body, principal),
  );
  api.delete<{ Params: { app: string; key: string } }>(
    `${path}/:key`,
    {
      config: { action: 'postrider:RevokePublishableKey' },
      schema: {
        tags,
        summary: 'Revoke a publishable key',
        description: 'The endpoint tokens that were made with it end, too.',
        params: appAnd('key'),
      },
    },
    async (request, reply) => {
      await publishableKeys.revoke(request.params.app, request.params.key, request.principal);
      return reply.code(204).send();
    },
  );
}

function identitySecretRoutes(api: FastifyInstance, { identitySecrets }: ApiContext): void {
  const path = '/api/apps/:app/identity-secrets';
  api.get<{ Params: { app: string } }>(
    path,
    {
      config: { action: 'postrider:ListIdentitySecrets' },
      schema: {
        tags,
        summary: 'List identity secrets',
        params: appParams,
        response: { 200: pageOf(described('id, createdAt; not the secret.')) },
      },
    },
    async ({ params }) => ({ items: await identitySecrets.list(params.app), next: null }),
  );
  api.post<{ Params: { app: string } }>(
    path,
    {
      config: { action: 'postrider:CreateIdentitySecret' },
      schema: {
        tags,
        summary: 'Make an identity secret',
        description:
          'With it your backend proves who its user is: HMAC-SHA256 of the user id, in hex. Several hold at once, so that one can be changed for another.',
        params: appParams,
        response: { 201: described('id, secret; the secret cannot be read again.') },
      },
    },
    async (request, reply) => {
      reply.code(201).header('cache-control', 'no-store');
      return identitySecrets.create(request.params.app, request.principal);
    },
  );
  api.delete<{ Params: { app: string; secret: string } }>(
    `${path}/:secret`,
    {
      config: { action: 'postrider:DeleteIdentitySecret' },
      schema: { tags, summary: 'Delete an identity secret', params: appAnd('secret') },
    },
    async (request, reply) => {
      await identitySecrets.delete(request.params.app, request.params.secret, request.principal);
      return reply.code(204).send();
    },
  );
}

function tokenRoute(api: FastifyInstance, { publishableKeys, database }: ApiContext): void {
  api.post<{ Params: { app: string }; Body: { endpointId: string } }>(
    '/api/apps/:app/endpoint-tokens',
    {
      config: { action: 'postrider:CreateEndpointToken' },
      schema: {
        tags,
        summary: 'Make the token of an endpoint',
        description:
          'For devices whose endpoints were made by your backend or imported: hand it only to the device that the endpoint is.',
        params: appParams,
        body: {
          type: 'object',
          required: ['endpointId'],
          additionalProperties: false,
          properties: { endpointId: { type: 'string', minLength: 1, maxLength: 2000 } },
        },
        response: { 201: described('endpointId, token.') },
      },
    },
    async ({ params, body: { endpointId } }, reply) => {
      const identity = (await endpointIdentities(database, params.app, [endpointId])).get(endpointId);
      if (!identity) throw notFound('Endpoint', endpointId);
      const token = await publishableKeys.issueToken({ applicationId: params.app, endpointId, ...identity });
      reply.code(201).header('cache-control', 'no-store');
      return { endpointId, token };
    },
  );
}
