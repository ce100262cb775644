import type { FastifyInstance } from 'fastify';
import type { NewProviderAccount, ProviderAccountPatch, TestMessage } from '../../messaging/index.ts';
import type { ApiContext } from './context.ts';
import { described, pageOf } from './schema.ts';

const changeable = {
  name: { type: 'string', minLength: 1, maxLength: 200 },
  settings: {
    type: 'object',
    additionalProperties: true,
    description:
      'Members as GET /api/providers lists them; secret ones are stored encrypted and never given out. null removes one.',
  },
  priority: { type: 'integer', minimum: 0, description: 'Lower is tried first.' },
  messagesPerSecond: { type: ['integer', 'null'], minimum: 1 },
  dailyLimit: { type: ['integer', 'null'], minimum: 1 },
} as const;

const byId = { type: 'object', required: ['id'], properties: { id: { type: 'string' } } } as const;
const account = described('An account; of secret settings only the names.');

/** Accounts at providers: made as a draft, tried by a test message, then activated. */
export function accountRoutes(
  api: FastifyInstance,
  { providerAccounts, providers, providerContext }: ApiContext,
): void {
  const tags = ['Provider accounts'];
  const path = '/api/provider-accounts';
  api.get(
    '/api/providers',
    {
      config: { action: 'postrider:ListProviders' },
      schema: {
        tags,
        summary: 'Providers and their settings',
        response: { 200: pageOf(described('A provider.')) },
      },
    },
    async () => ({
      items: providers.map(({ name, channels, fields }) => ({ name, channels, fields })),
      next: null,
    }),
  );
  api.get<{ Querystring: { applicationId?: string } }>(
    path,
    {
      config: { action: 'postrider:ListProviderAccounts' },
      schema: {
        tags,
        summary: 'Accounts in the order in which they are tried',
        querystring: { type: 'object', properties: { applicationId: { type: 'string' } } },
        response: { 200: pageOf(account) },
      },
    },
    async ({ query }) => ({ items: await providerAccounts.list(query.applicationId), next: null }),
  );
  api.post<{ Body: Omit<NewProviderAccount, 'applicationId'> & { applicationId?: string | null } }>(
    path,
    {
      config: { action: 'postrider:CreateProviderAccount' },
      schema: {
        tags,
        summary: 'Make an account, as a draft',
        body: {
          type: 'object',
          required: ['channel', 'provider', 'name'],
          additionalProperties: false,
          properties: {
            ...changeable,
            applicationId: {
              type: ['string', 'null'],
              description: 'null or absent: for every application.',
            },
            channel: { type: 'string' },
            provider: { type: 'string' },
          },
        },
        response: { 201: account },
      },
    },
    async ({ body }, reply) =>
      reply
        .code(201)
        .send(await providerAccounts.create({ ...body, applicationId: body.applicationId ?? null })),
  );
  api.get<{ Params: { id: string } }>(
    `${path}/:id`,
    {
      config: { action: 'postrider:GetProviderAccount' },
      schema: { tags, summary: 'One account', params: byId, response: { 200: account } },
    },
    async ({ params }) => providerAccounts.get(params.id),
  );
  api.patch<{ Params: { id: string }; Body: ProviderAccountPatch }>(
    `${path}/:id`,
    {
      config: { action: 'postrider:UpdateProviderAccount' },
      schema: {
        tags,
        summary: 'Change an account',
        params: byId,
        body: { type: 'object', additionalProperties: false, properties: changeable },
        response: { 200: account },
      },
    },
    async ({ params, body }) => providerAccounts.update(params.id, body),
  );
  api.delete<{ Params: { id: string } }>(
    `${path}/:id`,
    {
      config: { action: 'postrider:DeleteProviderAccount' },
      schema: { tags, summary: 'Delete an account', params: byId },
    },
    async ({ params }, reply) => {
      await providerAccounts.remove(params.id);
      return reply.code(204).send();
    },
  );
  for (const [word, summary] of [
    ['activate', 'Put the account into the route'],
    ['disable', 'Take it out of the route'],
  ] as const) {
    api.post<{ Params: { id: string } }>(
      `${path}/:id/${word}`,
      {
        config: { action: 'postrider:UpdateProviderAccount' },
        schema: { tags, summary, params: byId, response: { 200: account } },
      },
      async ({ params }) => providerAccounts[word](params.id),
    );
  }
  api.post<{ Params: { id: string }; Body: TestMessage }>(
    `${path}/:id/test-send`,
    {
      config: { action: 'postrider:TestProviderAccount' },
      schema: {
        tags,
        summary: 'Send one test message with the account, whatever its state',
        params: byId,
        body: {
          type: 'object',
          required: ['address'],
          additionalProperties: false,
          properties: {
            address: { type: 'string', minLength: 1, maxLength: 2000 },
            from: { type: 'string', maxLength: 500 },
            applicationId: { type: 'string' },
          },
        },
        response: { 200: described("The provider's verdict, with its own words.") },
      },
    },
    async ({ params, body }) => providerAccounts.testSend(params.id, body, providerContext),
  );
}
