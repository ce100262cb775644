import type { FastifyInstance } from 'fastify';
import { recordAudit, type WebhookSecret } from '../../accounts/index.ts';
import type { ApiContext } from './context.ts';
import { appParams } from './schema.ts';

const secretSchema = {
  type: 'object',
  required: ['secret', 'previous', 'createdAt'],
  properties: {
    secret: { type: 'string', description: 'As Standard Webhooks writes it: `whsec_` and base64.' },
    previous: {
      type: ['string', 'null'],
      description: 'The former one, which signs as well for a day after a change.',
    },
    createdAt: { type: 'string' },
  },
} as const;

/** With what hooks and custom deliveries of an application are signed. */
export function webhookSecretRoutes(api: FastifyInstance, { database, webhookSecrets }: ApiContext): void {
  const tags = ['Webhooks'];
  const path = '/api/apps/:app/webhook-secret';
  const shown = ({ secret, previous, createdAt }: WebhookSecret) => ({
    secret,
    previous,
    createdAt: createdAt.toISOString(),
  });
  api.get<{ Params: { app: string } }>(
    path,
    {
      config: { action: 'postrider:GetWebhookSecret' },
      schema: {
        tags,
        summary: 'The secret that webhooks of the application are signed with',
        description: 'Made when it is first asked for.',
        params: appParams,
        response: { 200: secretSchema },
      },
    },
    async ({ params, principal }) => {
      const secret = await webhookSecrets.get(params.app);
      await recordAudit(database, {
        principal,
        action: 'postrider:GetWebhookSecret',
        applicationId: params.app,
        detail: {},
      });
      return shown(secret);
    },
  );
  api.post<{ Params: { app: string } }>(
    `${path}/rotate`,
    {
      config: { action: 'postrider:RotateWebhookSecret' },
      schema: {
        tags,
        summary: 'Make a new secret',
        description: 'The former one signs as well for a day, so that receivers can change over.',
        params: appParams,
        response: { 200: secretSchema },
      },
    },
    async ({ params, principal }) => shown(await webhookSecrets.rotate(params.app, principal)),
  );
}
