import { getApplication } from '../accounts/index.ts';
import type { Database, Queryable, Transaction } from '../platform/database.ts';
import { badMember, CallerError } from '../platform/errors.ts';
import { checkTimeZone } from './calendar.ts';
import {
  checkEndpointFilter,
  checkEventFilter,
  checkEventRange,
  checkText,
  type EndpointFilter,
  type EventFilter,
  type EventRange,
  endpointConditions,
} from './event-filter.ts';
import {
  type ExplorerFigures,
  type ExplorerInterval,
  selectEventTypes,
  selectFigures,
  selectNames,
} from './explorer.sql.ts';

const dayMs = 86_400_000;

/** Longest ranges that one question spans, so that an answer stays readable and bounded. */
const longestDays: Record<ExplorerInterval, number> = { hour: 62, day: 3_700, all: 3_700 };

/** Values of an attribute that are told apart in one answer. */
export const maxTop = 50;
const defaultTop = 10;

/** A question that takes longer is given up. */
const timeoutMs = 50_000;

/** What is asked of the events of one type. */
export interface ExplorerRequest extends EventFilter, EndpointFilter, EventRange {
  interval?: ExplorerInterval;
  /** A time zone's name, for days and hours. */
  timeZone: string;
  /** Metric that is summed up. */
  metric?: string;
  /** Attribute by whose values the events are grouped. */
  groupBy?: string;
  /** The most frequent values that are told apart: 1 to 50, 10 when absent. */
  top?: number;
}

/** Figures of one interval and group. */
export interface ExplorerRow extends Omit<ExplorerFigures, 'start' | 'local' | 'value'> {
  /** `2026-11-21`, or for hours `2026-11-21T13:00:00+01:00`; null for the whole range. */
  time: string | null;
  /** The attribute's value: null for events without it, and for the values that are not among the most frequent. */
  group: string | null;
  /** The sum (without a metric, the count) divided by `sessions`; null without sessions. */
  averagePerSession: number | null;
}

/**
 * The events of a type by their own attributes and metrics and by whose they are. Counted from the log itself: exact,
 * also for events that came late. Intervals without events have no row.
 * @throws CallerError bad_request, not_found (application, segment)
 */
export async function exploreEvents(
  database: Database,
  applicationId: string,
  request: ExplorerRequest,
): Promise<ExplorerRow[]> {
  const { interval = 'day', top = defaultTop } = request;
  checkEventFilter(request, '$');
  checkEndpointFilter(request, '$');
  checkEventRange(request, longestDays[interval]);
  checkTimeZone(request.timeZone, '$.timezone');
  if (request.metric !== undefined) checkText(request.metric, '$.metric');
  if (request.groupBy !== undefined) checkText(request.groupBy, '$.groupBy');
  if (!Number.isInteger(top) || top < 1 || top > maxTop)
    throw badMember('$.top', `expected a whole number from 1 to ${maxTop}`);
  await getApplication(database, applicationId);
  const endpoints = await endpointConditions(database, applicationId, request);
  const statement = selectFigures(applicationId, { ...request, interval, top }, endpoints);
  const rows = await bounded(database, async (tx) => (await tx.query<ExplorerFigures>(statement)).rows);
  return rows.map((figures) => rowOf(figures, interval, request.metric !== undefined));
}

function rowOf(figures: ExplorerFigures, interval: ExplorerInterval, hasMetric: boolean): ExplorerRow {
  const { start, local, value, other, ...counts } = figures;
  const whole = hasMetric ? counts.sum : counts.count;
  return {
    time: start === null || local === null ? null : timeOf(start, local, interval),
    group: value,
    other,
    ...counts,
    averagePerSession: counts.sessions > 0 && whole !== null ? whole / counts.sessions : null,
  };
}

/** A day as a date, an hour with its offset from UTC: so an hour that the clocks show twice can be told apart. */
function timeOf(start: number, local: string, interval: ExplorerInterval): string {
  if (interval === 'day') return local.slice(0, 10);
  const offset = Math.round((Date.parse(`${local}Z`) - start) / 60_000);
  const [hours, minutes] = [Math.floor(Math.abs(offset) / 60), Math.abs(offset) % 60];
  const two = (number: number) => String(number).padStart(2, '0');
  return `${local}${offset < 0 ? '-' : '+'}${two(hours)}:${two(minutes)}`;
}

/**
 * A question that asks for a good part of the events reads whole partitions in parallel, not rows in the order of an
 * index (measured: a third of 10 million events in a fifth of the time); rare types still come from the index.
 */
const planning = `set local work_mem = '96MB'; set local random_page_cost = 4;
  set local parallel_setup_cost = 100; set local parallel_tuple_cost = 0.01`;

/**
 * Runs a question over raw events: read only, with room to sort in memory, given up after its time.
 * @throws CallerError bad_request when it takes too long or its numbers leave the range of doubles
 */
export async function bounded<T>(database: Database, work: (tx: Transaction) => Promise<T>): Promise<T> {
  try {
    return await database.transaction(async (tx) => {
      await tx.query(`set transaction read only`);
      await tx.query(`set local statement_timeout = ${timeoutMs}`);
      await tx.query(planning);
      return await work(tx);
    });
  } catch (error) {
    const code = (error as { code?: string } | null)?.code;
    if (code === '57014')
      throw new CallerError(
        'bad_request',
        `The question took longer than ${timeoutMs / 1000} seconds: ask for a shorter range or fewer events`,
      );
    if (code === '22003')
      throw new CallerError('bad_request', 'The metric adds up to more than a number can hold');
    throw error;
  }
}

/** An event type that was seen lately. */
export interface SeenEventType {
  eventType: string;
  count: number;
  /** When the newest one occurred. */
  lastAt: Date;
}

const seenDays = 14;
const maxTypes = 2_000;

/** The types of events of the last 14 days, most frequent first. @throws CallerError not_found */
export async function listEventTypes(
  database: Database,
  applicationId: string,
  now: number,
): Promise<SeenEventType[]> {
  await getApplication(database, applicationId);
  const statement = selectEventTypes(applicationId, now - seenDays * dayMs, maxTypes);
  return await bounded(database, async (tx) => {
    const { rows } = await tx.query<Omit<SeenEventType, 'lastAt'> & { lastAt: number }>(statement);
    return rows.map((row) => ({ ...row, lastAt: new Date(row.lastAt) }));
  });
}

/** An attribute or metric that the newest events of a type have. */
export interface SeenName {
  name: string;
  /** How many of them have it, and with how many different values. */
  count: number;
  distinctValues: number;
  /** The most frequent values, for attributes. */
  values?: { value: string; count: number }[];
}

const nameBounds = { events: 10_000, names: 500, values: 20 };

/**
 * What can be filtered and grouped by: names of attributes and metrics in the newest 10,000 events of a type, with the
 * 20 most frequent values of each attribute.
 * @throws CallerError not_found, bad_request
 */
export async function listEventNames(
  db: Queryable,
  applicationId: string,
  eventType: string,
): Promise<{ attributes: SeenName[]; metrics: SeenName[] }> {
  checkText(eventType, 'eventType');
  await getApplication(db, applicationId);
  const read = async (kind: 'attributes' | 'metrics') =>
    (await db.query<Required<SeenName>>(selectNames(applicationId, eventType, kind, nameBounds))).rows;
  const [attributes, metrics] = [await read('attributes'), await read('metrics')];
  return { attributes, metrics: metrics.map(({ values: _, ...metric }) => metric) };
}
