import { getApplication } from '../accounts/index.ts';
import type { Queryable } from '../platform/database.ts';
import { badMember } from '../platform/errors.ts';
import { checkTimeZone } from './calendar.ts';
import { type KpiDefinition, type KpiMeasure, type KpiScope, kpiNames } from './kpi-names.ts';
import { type KpiFigures, selectKpis } from './kpis.sql.ts';

const dayMs = 86_400_000;
const defaultDays = 31;

/** Last millisecond of the year 9999. */
const latestTime = 253_402_300_799_999;

/** One row of a KPI: its group, when it is grouped, and the value. */
export interface KpiRow {
  group?: { key: string; value: string };
  value: number;
}

export interface Kpi {
  /** `Key` of the values, such as `UniqueDeliveries`. */
  key: string;
  /** The range, both ends included, in milliseconds. */
  from: number;
  to: number;
  rows: KpiRow[];
}

export interface KpiRequest {
  applicationId: string;
  name: string;
  /** Asks for a KPI of this campaign instead of one of the application. Whether it exists, the caller has checked. */
  campaignId?: string;
  /** Both ends included; the preceding 31 days when absent. */
  from?: number;
  to?: number;
  /** Of dates; UTC when absent, as in Pinpoint. */
  timeZone?: string;
}

/**
 * A KPI as Pinpoint names it, over any range that is kept. A message counts with all that became of it at the moment
 * when it was made, so a rate is never made of two different sets of messages, and exact to the millisecond.
 * @throws CallerError not_found without such an application; bad_request for an unknown name, a range that ends before
 *   it begins, an unknown time zone
 */
export async function queryKpi(db: Queryable, request: KpiRequest, now: number): Promise<Kpi> {
  const { applicationId, campaignId } = request;
  const definition = findKpi(campaignId === undefined ? 'application' : 'campaign', request.name);
  const range = readKpiRange(request, now);
  const timeZone = checkTimeZone(request.timeZone ?? 'UTC', 'timezone');
  await getApplication(db, applicationId);
  const { key, measure, messages, group } = definition;
  if (measure === 'notBuilt') return { key, ...range, rows: [] };
  const { rows } = await db.query<KpiFigures>(
    selectKpis({
      applicationId,
      campaignId,
      messages,
      group,
      from: range.from,
      to: range.to + 1,
      timeZone,
      distinct: measure.startsWith('unique'),
    }),
  );
  return { key, ...range, rows: rows.flatMap((figures) => rowOf(definition, figures)) };
}

/** @throws CallerError bad_request for a name that is no KPI of the scope */
function findKpi(scope: KpiScope, name: string): KpiDefinition {
  const definition = kpiNames[scope].get(name);
  if (definition) return definition;
  throw badMember('kpi-name', `expected one of ${[...kpiNames[scope].keys()].join(', ')}`);
}

/** @throws CallerError bad_request */
function readKpiRange(
  { from, to }: { from?: number; to?: number },
  now: number,
): { from: number; to: number } {
  const end = to ?? Math.max(now, from ?? 0);
  const start = from ?? end - defaultDays * dayMs;
  if (!isTime(start)) throw badMember('start-time', 'expected a time between 1970 and 9999');
  if (!isTime(end)) throw badMember('end-time', 'expected a time between 1970 and 9999');
  if (end < start) throw badMember('end-time', 'expected a time that is not before start-time');
  return { from: start, to: end };
}

function isTime(at: number): boolean {
  return Number.isInteger(at) && at >= 0 && at <= latestTime;
}

const groupKeys = {
  campaign: 'CampaignId',
  activity: 'CampaignActivityId',
  date: 'Date',
  error: 'ErrorCode',
} as const;

/** No row where there is nothing to say: no message, or a rate of nothing. */
function rowOf({ measure, messages, group }: KpiDefinition, figures: KpiFigures): KpiRow[] {
  if (figures.attempted === 0) return [];
  const value = values[measure](figures, messages.startsWith('campaign'));
  if (value === undefined) return [];
  return [{ value, ...(group && { group: { key: groupKeys[group], value: figures.key } }) }];
}

/** Of campaigns' messages, a hard bounce takes the delivery back; of direct ones, any bounce does. */
function delivered({ sent, hardBounced, softBounced }: KpiFigures, campaign: boolean): number {
  return sent - hardBounced - (campaign ? 0 : softBounced);
}

function percent(part: number, whole: number): number | undefined {
  return whole > 0 ? (100 * part) / whole : undefined;
}

const values: Record<KpiMeasure, (figures: KpiFigures, campaign: boolean) => number | undefined> = {
  attempted: (figures) => figures.attempted,
  sent: (figures) => figures.sent,
  delivered,
  deliveryRate: (figures, campaign) => percent(delivered(figures, campaign), figures.sent),
  hardBounced: (figures) => figures.hardBounced,
  hardBounceRate: (figures) => percent(figures.hardBounced, figures.sent),
  softBounced: (figures) => figures.softBounced,
  opens: (figures) => figures.opens,
  openRate: (figures, campaign) => percent(figures.opened, delivered(figures, campaign)),
  uniqueOpens: (figures) => figures.uniqueOpens,
  clicks: (figures) => figures.clicks,
  uniqueClicks: (figures) => figures.uniqueClicks,
  complained: (figures) => figures.complained,
  complaintRate: (figures) => percent(figures.complained, figures.sent),
  uniqueDeliveries: (figures) => figures.uniqueDeliveries,
  errors: (figures) => figures.attempted,
  notBuilt: () => undefined,
};

/** Opens and clicks of an application's messages, or one campaign's, people's and machines' apart. */
export interface Engagement {
  sent: number;
  opens: number;
  opened: number;
  uniqueOpens: number;
  clicks: number;
  uniqueClicks: number;
  machineOpens: number;
  machineClicks: number;
}

/** What Pinpoint has no KPI for: what machines opened and clicked, beside what people did. */
export async function queryEngagement(
  db: Queryable,
  request: Omit<KpiRequest, 'name' | 'timeZone'> & { kind: 'campaign' | 'direct' },
  now: number,
): Promise<Engagement & { from: number; to: number }> {
  const range = readKpiRange(request, now);
  const { applicationId, campaignId } = request;
  const { rows } = await db.query<KpiFigures>(
    selectKpis({
      applicationId,
      campaignId,
      messages: request.kind === 'campaign' ? 'campaignEmail' : 'directEmail',
      from: range.from,
      to: range.to + 1,
      timeZone: 'UTC',
      distinct: true,
    }),
  );
  const none = {
    sent: 0,
    opens: 0,
    opened: 0,
    uniqueOpens: 0,
    clicks: 0,
    uniqueClicks: 0,
    machineOpens: 0,
    machineClicks: 0,
  };
  const figures = rows[0] ?? none;
  const names = Object.keys(none) as (keyof typeof none)[];
  return { ...range, ...(Object.fromEntries(names.map((name) => [name, figures[name]])) as typeof none) };
}
