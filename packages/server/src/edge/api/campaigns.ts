import type { FastifyInstance } from 'fastify';
import {
  accountingMembers,
  campaignAccounting,
  listSkippedTriggers,
  skipReasons,
  stopCampaignRun,
  updateCampaign,
} from '../../engagement/index.ts';
import { systemClock } from '../../platform/clock.ts';
import type { Queryable, Transaction } from '../../platform/database.ts';
import type { ApiContext } from './context.ts';
import { appAnd, decodeCursor, described, encodeCursor, isText, pageOf, pageQuery } from './schema.ts';

/** Accounting, and the switches of a running campaign. */
export function campaignRoutes(api: FastifyInstance, { database }: ApiContext): void {
  const tags = ['Campaigns'];
  const path = '/api/apps/:app/campaigns/:id';
  api.get<{ Params: { app: string; id: string }; Querystring: { activity?: string } }>(
    `${path}/accounting`,
    {
      config: { action: 'postrider:GetCampaignAccounting' },
      schema: {
        tags,
        summary: 'Where everybody in the audience is; the numbers add up',
        params: appAnd('id'),
        querystring: {
          type: 'object',
          properties: { activity: { type: 'string', description: 'Only the run of this activity.' } },
        },
        response: { 200: described('audience = the sum of outcomes, reasons and pending.') },
      },
    },
    async ({ params, query }) => campaignAccounting(database, params.app, params.id, query),
  );
  api.get<{
    Params: { app: string; id: string; status: string };
    Querystring: { limit: number; cursor?: string };
  }>(
    `${path}/accounting/:status`,
    {
      config: { action: 'postrider:GetCampaignAccounting' },
      schema: {
        tags,
        summary: 'The people behind one number of the accounting',
        params: appAnd('id', 'status'),
        querystring: { type: 'object', properties: pageQuery },
        response: { 200: pageOf(described('A message without its words.')) },
      },
    },
    async ({ params, query: { limit, cursor } }) => {
      const after = decodeCursor(cursor, isText);
      const page = await accountingMembers(database, params.app, params.id, params.status, { limit, after });
      return { items: page.items, next: page.next === undefined ? null : encodeCursor(page.next) };
    },
  );
  triggerRoute(api, database);
  for (const [word, summary, change] of switches) {
    api.post<{ Params: { app: string; id: string } }>(
      `${path}/${word}`,
      {
        config: { action: `postrider:${word[0]!.toUpperCase()}${word.slice(1)}Campaign` },
        schema: {
          tags,
          summary,
          params: appAnd('id'),
          response: { 200: described('`state` and `stateReason`.') },
        },
      },
      async ({ params }) => {
        const campaign = await database.transaction((tx) => change(tx, params.app, params.id));
        return { state: campaign.state, stateReason: campaign.stateReason };
      },
    );
  }
}

/** Events that could have triggered a campaign and did not. */
function triggerRoute(api: FastifyInstance, database: Queryable): void {
  api.get<{
    Params: { app: string; id: string };
    Querystring: { limit: number; cursor?: string; endpoint?: string; event?: string; reason?: string };
  }>(
    '/api/apps/:app/campaigns/:id/triggers',
    {
      config: { action: 'postrider:ListSkippedTriggers' },
      schema: {
        tags: ['Campaigns'],
        summary: 'Events that did not trigger the campaign though their type is one it waits for, and why',
        params: appAnd('id'),
        querystring: {
          type: 'object',
          properties: {
            ...pageQuery,
            endpoint: { type: 'string', description: 'Only events about this endpoint.' },
            event: { type: 'string', description: "Only the event with this id, the client's." },
            reason: { enum: skipReasons, description: 'Only events with this reason.' },
          },
        },
        response: {
          200: pageOf(described('at, decidedAt, eventId, eventType, endpointId, reason. The latest first.')),
        },
      },
    },
    async ({ params, query: { limit, cursor, endpoint, event, reason } }) => {
      const after = decodeCursor(cursor, isText);
      const filter = { endpointId: endpoint, eventId: event, reason };
      const page = await listSkippedTriggers(database, params.app, params.id, filter, { limit, after });
      return { items: page.items, next: page.next === undefined ? null : encodeCursor(page.next) };
    },
  );
}

type Change = (tx: Transaction, applicationId: string, id: string) => ReturnType<typeof updateCampaign>;

const paused =
  (IsPaused: boolean): Change =>
  (tx, applicationId, id) =>
    updateCampaign(tx, applicationId, id, { IsPaused }, { now: systemClock.now() });

const switches: [string, string, Change][] = [
  ['pause', 'Hold a campaign, also while it runs', paused(true)],
  ['resume', 'Let a held campaign go on where it was', paused(false)],
  [
    'stop',
    'Stop the run in progress for good',
    (tx, applicationId, id) => stopCampaignRun(tx, applicationId, id, { reason: 'Stopped by an operator' }),
  ],
];
