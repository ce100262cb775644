import type { FastifyInstance } from 'fastify';
import { getApplication } from '../../accounts/index.ts';
import { getInAppSettings, type InAppSettings, setInAppSettings } from '../../engagement/index.ts';
import { readInAppQuery } from '../pinpoint/in-app.ts';
import type { ApiContext } from './context.ts';
import { appAnd, appParams, described } from './schema.ts';

const settingsSchema = {
  type: 'object',
  required: ['evaluation'],
  additionalProperties: false,
  properties: {
    evaluation: {
      enum: ['client', 'server'],
      description: 'Who decides about quiet time and caps when a request does not say.',
    },
  },
} as const;

/** In-app messages: why somebody is shown a campaign or not, and who evaluates. */
export function inAppRoutes(api: FastifyInstance, { database, inApp }: ApiContext): void {
  const tags = ['In-app'];
  api.get<{ Params: { app: string; endpoint: string } }>(
    '/api/apps/:app/endpoints/:endpoint/in-app',
    {
      config: { action: 'postrider:GetEndpoint' },
      schema: {
        tags,
        summary: 'Why an endpoint is shown each in-app campaign, or not',
        description:
          'Takes the query of GetInAppMessages: `evaluate`, `event-type`, `attribute`, `metric`, `session-id`.',
        params: appAnd('endpoint'),
        response: {
          200: {
            type: 'object',
            required: ['campaigns'],
            properties: {
              campaigns: {
                type: 'array',
                items: described(
                  'campaignId, treatmentId (null: held out), shown, reason (not_started, ended, holdout, not_in_segment, event_mismatch, quiet_time, session_cap, daily_cap, total_cap; null when it is shown).',
                ),
              },
            },
          },
        },
      },
    },
    async ({ params, query }) => {
      const given = Object.entries(query as Record<string, string | string[]>);
      const request = readInAppQuery(new Map(given.map(([name, value]) => [name, [value].flat()])));
      return { campaigns: await inApp.explain(params.app, params.endpoint, request) };
    },
  );
  const path = '/api/apps/:app/in-app-settings';
  api.get<{ Params: { app: string } }>(
    path,
    {
      config: { action: 'postrider:GetInAppSettings' },
      schema: {
        tags,
        summary: 'Settings of in-app messages',
        params: appParams,
        response: { 200: settingsSchema },
      },
    },
    async ({ params }) => {
      await getApplication(database, params.app);
      return getInAppSettings(database, params.app);
    },
  );
  api.put<{ Params: { app: string }; Body: InAppSettings }>(
    path,
    {
      config: { action: 'postrider:UpdateInAppSettings' },
      schema: {
        tags,
        summary: 'Change the settings of in-app messages',
        params: appParams,
        body: settingsSchema,
        response: { 200: settingsSchema },
      },
    },
    async ({ params, body }) => {
      await setInAppSettings(database, params.app, body);
      return body;
    },
  );
}
