import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import {
  attribution,
  calendarOf,
  type DayRange,
  type DemographicDimension,
  dayName,
  demographicDimensions,
  demographics,
  eventCounts,
  getTimeZone,
  heatMap,
  retention,
  revenue,
  setTimeZone,
  usage,
  usageByMonth,
  weeklyCohorts,
} from '../../analytics/index.ts';
import { systemClock } from '../../platform/clock.ts';
import type { Queryable } from '../../platform/database.ts';
import { enqueue } from '../../platform/jobs.ts';
import type { ApiContext } from './context.ts';
import { sendTable } from './csv.ts';
import { appParams, described } from './schema.ts';

const defaultDays = 30;

interface Range {
  from?: string;
  to?: string;
}

const rangeQuery = {
  from: {
    type: 'string',
    description: "First day, as a date of the application's time zone; 29 days before `to` when absent.",
  },
} as const;

/** Rows of a table: the same as JSON and, with `Accept: text/csv`, as CSV. */
export function tableOf(description: string) {
  return {
    200: {
      description,
      content: {
        'application/json': { schema: described(description) },
        'text/csv': { schema: { type: 'string', description: 'The rows, with a row of names (RFC 4180).' } },
      },
    },
  };
}

/** The days that are asked about. @throws CallerError by the function that reads the range */
async function daysOf(db: Queryable, applicationId: string, { from, to }: Range): Promise<DayRange> {
  if (from !== undefined && to !== undefined) return { from, to };
  const { timeZone } = await getTimeZone(db, applicationId);
  const last = to ?? dayName(calendarOf(timeZone).dayOf(systemClock.now()));
  const at = Date.parse(`${last}T00:00:00Z`);
  const first = Number.isNaN(at)
    ? last
    : new Date(at - (defaultDays - 1) * 86_400_000).toISOString().slice(0, 10);
  return { from: from ?? first, to: last };
}

interface Table {
  columns: string[];
  rows: readonly object[];
  /** What JSON has beside the rows. */
  beside?: object;
}

interface Figures {
  path: string;
  summary: string;
  description: string;
  query?: Record<string, object>;
  required?: string[];
  read(db: ApiContext['database'], applicationId: string, days: DayRange, query: never): Promise<Table>;
}

function table(rows: readonly object[], columns: readonly string[], beside?: object): Table {
  return { columns: [...columns], rows, beside };
}

const actors = ['endpoints', 'users'] as const;

const usageColumns = [
  ...[
    'activeEndpoints',
    'activeUsers',
    'monthlyActiveEndpoints',
    'monthlyActiveUsers',
    'newEndpoints',
    'newUsers',
  ],
  ...[
    'stickyFactor',
    'userStickyFactor',
    'sessions',
    'sessionsPerEndpoint',
    'sessionsPerUser',
    'averageSessionMs',
  ],
  ...['signIns', 'signUps', 'authFailures'],
];
const revenueColumns = [
  ...['currency', 'revenue', 'purchases', 'units', 'payingEndpoints', 'payingUsers', 'revenuePerEndpoint'],
  ...['revenuePerUser', 'revenuePerPayingUser', 'unitsPerEndpoint', 'purchasesPerEndpoint'],
];

/** Every figure that is asked for by days. docs/analytics.md defines them. */
const figures: Figures[] = [
  {
    path: 'usage',
    summary: 'Active and new endpoints and users, sessions, sign-ins, by day or month',
    description: '`items`: a row for each day or month.',
    query: { by: { type: 'string', enum: ['day', 'month'], default: 'day' } },
    async read(db, app, days, { by }: { by: 'day' | 'month' }) {
      if (by === 'day') return table(await usage(db, app, days), ['day', ...usageColumns]);
      const months = await usageByMonth(db, app, days);
      return table(months, [
        ...['month', 'activeEndpoints', 'activeUsers', 'newEndpoints', 'newUsers', 'sessions'],
      ]);
    },
  },
  {
    path: 'retention',
    summary: 'Who came back 1, 7, 14 and 30 days after the first active day',
    description: '`items`: the cohorts of each day; `total`: all of them together.',
    async read(db, app, days) {
      const { days: cohorts, total } = await retention(db, app, days, systemClock.now());
      const rows = cohorts.flatMap((cohort) =>
        actors.flatMap((kind) =>
          cohort[kind].returned.map((returned) => ({
            ...{ day: cohort.day, kind, size: cohort[kind].size },
            ...returned,
          })),
        ),
      );
      const columns = ['day', 'kind', 'size', 'after', 'onDay', 'onDayShare', 'within', 'withinShare'];
      return { ...table(rows, columns), beside: { items: cohorts, total } };
    },
  },
  {
    path: 'cohorts',
    summary: 'Weekly cohorts: who was active in each later week',
    description: '`items`: a row for each week of first activity.',
    async read(db, app, days) {
      const weeks = await weeklyCohorts(db, app, days, systemClock.now());
      const rows = weeks.flatMap((cohort) =>
        actors.flatMap((kind) =>
          cohort[kind].active.map((active, index) => ({
            ...{ week: cohort.week, kind, size: cohort[kind].size, weeksLater: index + 1, active },
          })),
        ),
      );
      return { ...table(rows, ['week', 'kind', 'size', 'weeksLater', 'active']), beside: { items: weeks } };
    },
  },
  {
    path: 'heat-map',
    summary: 'Sessions by weekday and hour',
    description: '`items`: 168 rows; weekday 1 is Monday.',
    async read(db, app, days) {
      return table(await heatMap(db, app, days), ['weekday', 'hour', 'sessions']);
    },
  },
  {
    path: 'revenue',
    summary: 'Purchases and revenue, by day and currency',
    description:
      '`items`: a row for each day and currency with a purchase; `totals` of the range by currency.',
    async read(db, app, days) {
      const { days: rows, ...beside } = await revenue(db, app, days);
      return table(rows, ['day', ...revenueColumns], beside);
    },
  },
  {
    path: 'attribution',
    summary: 'Sessions and purchases after the messages of a campaign',
    description: 'What followed within the window; as CSV a row for each currency.',
    required: ['campaign'],
    query: {
      campaign: { type: 'string', description: 'Id of the campaign.' },
      after: { type: 'string', enum: ['sent', 'opened'], default: 'sent' },
      windowHours: { type: 'integer', minimum: 1, maximum: 720, default: 24 },
    },
    async read(db, app, days, query: { campaign: string; after: 'sent' | 'opened'; windowHours: number }) {
      const { campaign: campaignId, after, windowHours } = query;
      const { purchases, ...beside } = await attribution(db, app, {
        ...days,
        campaignId,
        after,
        windowHours,
      });
      const none = { currency: null, purchases: 0, revenue: 0, units: 0, payingEndpoints: 0 };
      const rows = (purchases.length > 0 ? purchases : [none]).map((row) => ({ ...beside, ...row }));
      const columns = ['messages', 'endpoints', 'sessions', 'endpointsWithSession'];
      return {
        ...table(rows, [...columns, 'currency', 'purchases', 'revenue', 'units', 'payingEndpoints']),
        beside: { ...beside, purchases, items: purchases },
      };
    },
  },
  {
    path: 'event-counts',
    summary: 'Events of each type by day',
    description: '`items`: a row for each day and type that has events.',
    async read(db, app, days) {
      return table(await eventCounts(db, app, days), ['day', 'type', 'events']);
    },
  },
];

/** Usage, retention, revenue, demographics and attribution, and the time zone of all of them. */
export function analyticsRoutes(api: FastifyInstance, { database }: ApiContext): void {
  const tags = ['Analytics'];
  const config = { action: 'postrider:GetAnalytics' };
  for (const { path, summary, description, query = {}, required = [], read } of figures) {
    api.get<{ Params: { app: string }; Querystring: Range }>(
      `/api/apps/:app/analytics/${path}`,
      {
        config,
        schema: {
          ...{ tags, summary, params: appParams, response: tableOf(description) },
          querystring: { type: 'object', required, properties: { ...rangeQuery, ...query } },
        },
      },
      async (request, reply) => {
        const { app } = request.params;
        const days = await daysOf(database, app, request.query);
        const answer = await read(database, app, days, request.query as never);
        return await send(request, reply, answer, { ...days, ...(await zoneOf(database, app)) });
      },
    );
  }
  demographicsRoute(api, database);
  timeZoneRoutes(api, database);
}

async function zoneOf(db: Queryable, applicationId: string): Promise<{ timeZone: string }> {
  const { timeZone } = await getTimeZone(db, applicationId);
  return { timeZone };
}

function send(request: FastifyRequest, reply: FastifyReply, { columns, rows, beside }: Table, head: object) {
  return sendTable(request, reply, { columns, rows, answer: { ...head, items: rows, ...beside } });
}

function demographicsRoute(api: FastifyInstance, database: ApiContext['database']): void {
  interface Query {
    dimension?: DemographicDimension;
    attribute?: string;
    limit: number;
  }
  api.get<{ Params: { app: string }; Querystring: Query }>(
    '/api/apps/:app/analytics/demographics',
    {
      config: { action: 'postrider:GetAnalytics' },
      schema: {
        tags: ['Analytics'],
        summary: 'How the registered endpoints divide by platform, version, country … or an attribute',
        params: appParams,
        querystring: {
          type: 'object',
          properties: {
            dimension: { type: 'string', enum: Object.keys(demographicDimensions) },
            attribute: { type: 'string', description: 'Name of a custom attribute, instead of `dimension`.' },
            limit: { type: 'integer', minimum: 1, maximum: 1_000, default: 100 },
          },
        },
        response: tableOf('`items`: a row for each value, the most frequent ones first.'),
      },
    },
    async (request, reply) => {
      const { values, ...beside } = await demographics(database, request.params.app, request.query);
      const columns = ['value', 'endpoints', 'users', 'endpointShare', 'userShare'];
      return send(request, reply, table(values, columns), beside);
    },
  );
}

function timeZoneRoutes(api: FastifyInstance, database: ApiContext['database']): void {
  const tags = ['Analytics'];
  const path = '/api/apps/:app/analytics/time-zone';
  const response = {
    200: described('`timeZone`, and `rebuildingTo` while figures are rebuilt for another one.'),
  };
  api.get<{ Params: { app: string } }>(
    path,
    {
      config: { action: 'postrider:GetAnalytics' },
      schema: { tags, summary: 'In whose days the figures are', params: appParams, response },
    },
    async ({ params }) => getTimeZone(database, params.app),
  );
  api.put<{ Params: { app: string }; Body: { timeZone: string; forgetDroppedDays?: boolean } }>(
    path,
    {
      config: { action: 'postrider:UpdateAnalytics' },
      schema: {
        tags,
        summary:
          'Set the time zone of all figures; they are rebuilt from the log, the old ones answer until then',
        params: appParams,
        body: {
          type: 'object',
          required: ['timeZone'],
          additionalProperties: false,
          properties: {
            timeZone: { type: 'string', maxLength: 100, examples: ['Europe/Berlin'] },
            forgetDroppedDays: {
              type: 'boolean',
              description:
                'Also when the log no longer holds the first days of the figures, which are lost then; without it 409.',
            },
          },
        },
        response,
      },
    },
    async ({ params, body }) => {
      const set = await setTimeZone(database, params.app, body.timeZone, {
        forgetDroppedDays: body.forgetDroppedDays === true,
      });
      if (set.rebuildingTo !== undefined) await enqueue(database, 'rebuild-analytics', {});
      return set;
    },
  );
}
