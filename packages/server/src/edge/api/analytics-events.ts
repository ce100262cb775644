import type { FastifyInstance } from 'fastify';
import {
  calendarOf,
  dayNumber,
  type EventFilter,
  type ExplorerRequest,
  type ExplorerRow,
  exploreEvents,
  type FunnelRequest,
  getTimeZone,
  listEventNames,
  listEventTypes,
  maxSteps,
  maxTop,
  metricOperators,
  queryEngagement,
  queryFunnel,
  queryKpi,
} from '../../analytics/index.ts';
import { getCampaign } from '../../engagement/index.ts';
import { systemClock } from '../../platform/clock.ts';
import { badMember } from '../../platform/errors.ts';
import { tableOf } from './analytics.ts';
import type { ApiContext } from './context.ts';
import { sendTable } from './csv.ts';
import { appAnd, appParams, described } from './schema.ts';

const text = { type: 'string', minLength: 1, maxLength: 1_000 } as const;
const texts = {
  type: 'array',
  minItems: 1,
  maxItems: 100,
  items: { type: 'string', maxLength: 1_000 },
} as const;
const time = {
  type: 'string',
  maxLength: 40,
  description:
    "A time (`2026-11-21T08:00:00Z`), or a date of the application's time zone, which counts whole.",
} as const;

const eventMembers = {
  eventType: { ...text, description: 'As the app called it: `purchase`, `_session.start`.' },
  attributes: {
    type: 'array',
    maxItems: 40,
    description: 'The event has each attribute with one of the values; with `exclude`, with none of them.',
    items: {
      type: 'object',
      required: ['name', 'values'],
      additionalProperties: false,
      properties: { name: text, values: texts, exclude: { type: 'boolean' } },
    },
  },
  metrics: {
    type: 'array',
    maxItems: 40,
    items: {
      type: 'object',
      required: ['name', 'operator', 'value'],
      additionalProperties: false,
      properties: {
        name: text,
        operator: { type: 'string', enum: metricOperators },
        value: { type: 'number' },
      },
    },
  },
} as const;

const endpointMembers = {
  segmentId: { ...text, description: 'Only events of endpoints that are members of this segment now.' },
  endpointAttributes: {
    type: 'array',
    maxItems: 40,
    description: 'Only events of endpoints that have each attribute with one of the values now.',
    items: {
      type: 'object',
      required: ['name', 'values'],
      additionalProperties: false,
      properties: { name: text, values: texts },
    },
  },
} as const;

interface Times {
  from: string;
  to: string;
}

/** The instants of a range whose ends are times or dates; a date as `to` counts whole. @throws CallerError */
function instants({ from, to }: Times, timeZone: string): { from: number; to: number } {
  const at = (value: string, member: 'from' | 'to'): number => {
    const day = dayNumber(value);
    if (day !== undefined) return calendarOf(timeZone).startOf(member === 'to' ? day + 1 : day);
    const isTime = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,3})?)?(Z|[+-]\d\d:\d\d)$/.test(value);
    const instant = isTime ? Date.parse(value) : Number.NaN;
    if (Number.isNaN(instant))
      throw badMember(
        `$.${member}`,
        'expected a date (2026-11-21) or a time with its zone (2026-11-21T08:00:00Z)',
      );
    return instant;
  };
  return { from: at(from, 'from'), to: at(to, 'to') };
}

const explorerColumns = [
  ...['time', 'group', 'other', 'count', 'endpoints', 'users', 'sessions'],
  ...['sum', 'min', 'max', 'average', 'averagePerSession'],
] as const satisfies (keyof ExplorerRow)[];

const funnelColumns = ['step', 'eventType', 'count', 'share', 'shareOfPrevious', 'dropOff', 'medianSeconds'];

/** The events explorer, funnels and KPIs: questions to the log itself, and to what became of messages. */
export function analyticsEventRoutes(api: FastifyInstance, { database }: ApiContext): void {
  explorerRoute(api, database);
  funnelRoute(api, database);
  namesRoutes(api, database);
  kpiRoutes(api, database);
}

function explorerRoute(api: FastifyInstance, database: ApiContext['database']): void {
  api.post<{
    Params: { app: string };
    Body: Omit<ExplorerRequest, 'from' | 'to' | 'timeZone'> & Times & { timeZone?: string };
  }>(
    '/api/apps/:app/analytics/explorer',
    {
      config: { action: 'postrider:GetAnalytics' },
      schema: {
        tags: ['Analytics'],
        summary: 'Count the events of a type: by time, by an attribute, with filters',
        params: appParams,
        body: {
          type: 'object',
          required: ['eventType', 'from', 'to'],
          additionalProperties: false,
          properties: {
            ...eventMembers,
            ...endpointMembers,
            ...{ from: time, to: time },
            timeZone: { ...text, description: "Of days and hours; the application's when absent." },
            interval: { type: 'string', enum: ['hour', 'day', 'all'], default: 'day' },
            metric: { ...text, description: 'Its sum, least, greatest and average are answered.' },
            groupBy: { ...text, description: 'Attribute by whose values the events are grouped.' },
            top: { type: 'integer', minimum: 1, maximum: maxTop, default: 10 },
          },
        },
        response: tableOf('`items`: a row for each time and group that has events.'),
      },
    },
    async (request, reply) => {
      const { params, body } = request;
      const timeZone = body.timeZone ?? (await getTimeZone(database, params.app)).timeZone;
      const range = instants(body, timeZoneOrUtc(timeZone));
      const rows = await exploreEvents(database, params.app, { ...body, ...range, timeZone });
      return sendTable(request, reply, { columns: explorerColumns, rows, answer: { timeZone, items: rows } });
    },
  );
}

/** What is no time zone is refused by the function that is asked with it. */
function timeZoneOrUtc(timeZone: string): string {
  try {
    return calendarOf(timeZone).timeZone;
  } catch (error) {
    if (error instanceof RangeError) return 'UTC';
    throw error;
  }
}

function funnelRoute(api: FastifyInstance, database: ApiContext['database']): void {
  type Body = Omit<FunnelRequest, 'from' | 'to' | 'windowMs'> &
    Times & { steps: EventFilter[]; windowSeconds: number };
  api.post<{ Params: { app: string }; Body: Body }>(
    '/api/apps/:app/analytics/funnels',
    {
      config: { action: 'postrider:GetAnalytics' },
      schema: {
        tags: ['Analytics'],
        summary: 'Who did one thing after the other, and where they stopped',
        params: appParams,
        body: {
          type: 'object',
          required: ['from', 'to', 'steps'],
          additionalProperties: false,
          properties: {
            ...{ from: time, to: time, ...endpointMembers },
            by: { type: 'string', enum: ['endpoint', 'user'], default: 'endpoint' },
            windowSeconds: {
              type: 'number',
              exclusiveMinimum: 0,
              default: 7 * 86_400,
              description:
                'All later steps follow within so many seconds after the first; 7 days when absent.',
            },
            steps: {
              type: 'array',
              minItems: 2,
              maxItems: maxSteps,
              items: {
                type: 'object',
                required: ['eventType'],
                additionalProperties: false,
                properties: eventMembers,
              },
            },
          },
        },
        response: tableOf('`items`: a row for each step.'),
      },
    },
    async (request, reply) => {
      const { params, body } = request;
      const { timeZone } = await getTimeZone(database, params.app);
      const { windowSeconds, ...asked } = body;
      const rows = await queryFunnel(database, params.app, {
        ...asked,
        ...instants(body, timeZone),
        windowMs: Math.round(windowSeconds * 1_000),
      });
      return sendTable(request, reply, { columns: funnelColumns, rows, answer: { items: rows } });
    },
  );
}

function namesRoutes(api: FastifyInstance, database: ApiContext['database']): void {
  const tags = ['Analytics'];
  const config = { action: 'postrider:GetAnalytics' };
  api.get<{ Params: { app: string } }>(
    '/api/apps/:app/analytics/event-types',
    {
      config,
      schema: {
        ...{ tags, summary: 'Types of events of the last 14 days', params: appParams },
        response: tableOf('`items`: a row for each type, the most frequent ones first.'),
      },
    },
    async (request, reply) => {
      const rows = await listEventTypes(database, request.params.app, systemClock.now());
      const columns = ['eventType', 'count', 'lastAt'];
      return sendTable(request, reply, { columns, rows, answer: { items: rows } });
    },
  );
  api.get<{ Params: { app: string; type: string } }>(
    '/api/apps/:app/analytics/event-types/:type',
    {
      config,
      schema: {
        tags,
        summary: 'What events of a type can be filtered and grouped by',
        params: appAnd('type'),
        response: {
          200: described(
            '`attributes` and `metrics` of the newest 10,000 events, with the most frequent values of each attribute.',
          ),
        },
      },
    },
    async ({ params }) => listEventNames(database, params.app, params.type),
  );
}

function kpiRoutes(api: FastifyInstance, database: ApiContext['database']): void {
  const tags = ['Analytics'];
  const config = { action: 'postrider:GetAnalytics' };
  const range = {
    from: { ...time, description: `${time.description} 31 days before \`to\` when absent.` },
    to: { ...time, description: `${time.description} Now when absent.` },
    campaign: { type: 'string', description: 'Id of a campaign: only its messages.' },
  };
  interface Query extends Partial<Times> {
    campaign?: string;
    timeZone?: string;
  }
  async function read(app: string, { campaign, from, to, timeZone: zone }: Query) {
    const timeZone = zone ?? (await getTimeZone(database, app)).timeZone;
    const place = timeZoneOrUtc(timeZone);
    // Both ends of a KPI's range are included.
    const end = to === undefined ? undefined : instants({ from: to, to }, place).to;
    const last = end === undefined ? undefined : end - (dayNumber(to!) === undefined ? 0 : 1);
    const first = from === undefined ? undefined : instants({ from, to: from }, place).from;
    if (campaign !== undefined) await getCampaign(database, app, campaign);
    return { applicationId: app, campaignId: campaign, timeZone, from: first, to: last };
  }
  api.get<{ Params: { app: string; name: string }; Querystring: Query }>(
    '/api/apps/:app/analytics/kpis/:name',
    {
      config,
      schema: {
        ...{
          tags,
          summary: "A KPI by Pinpoint's name, in the application's time zone",
          params: appAnd('name'),
        },
        querystring: { type: 'object', properties: { ...range, timeZone: { type: 'string' } } },
        response: tableOf('`items`: a row for each group, or one.'),
      },
    },
    async (request, reply) => {
      const { app, name } = request.params;
      const asked = await read(app, request.query);
      const kpi = await queryKpi(database, { ...asked, name }, systemClock.now());
      const rows = kpi.rows.map(({ group, value }) => ({ group: group?.value ?? null, value }));
      const head = { name, timeZone: asked.timeZone, from: new Date(kpi.from), to: new Date(kpi.to) };
      return sendTable(request, reply, {
        columns: ['group', 'value'],
        rows,
        answer: { ...head, items: rows },
      });
    },
  );
  api.get<{ Params: { app: string }; Querystring: Query & { kind: 'campaign' | 'direct' } }>(
    '/api/apps/:app/analytics/engagement',
    {
      config,
      schema: {
        ...{ tags, summary: 'Opens and clicks of e-mail, those of machines apart', params: appParams },
        querystring: {
          type: 'object',
          properties: {
            ...range,
            kind: { type: 'string', enum: ['campaign', 'direct'], default: 'campaign' },
          },
        },
        response: tableOf('One row of figures.'),
      },
    },
    async (request, reply) => {
      const asked = await read(request.params.app, request.query);
      const { from, to, ...row } = await queryEngagement(
        database,
        { ...asked, kind: request.query.kind },
        systemClock.now(),
      );
      const answer = { from: new Date(from), to: new Date(to), ...row };
      return sendTable(request, reply, { columns: Object.keys(row), rows: [row], answer });
    },
  );
}
