import type { Queryable } from '../platform/database.ts';
import { badMember } from '../platform/errors.ts';
import {
  type AttributedPurchasesRow,
  type AttributionQuery,
  selectAttributedPurchases,
  selectAttributedSessions,
  selectTouches,
} from './attribution.sql.ts';
import { calendarOf, defaultTimeZone } from './calendar.ts';
import { type DayRange, readRange } from './days.ts';
import { liveRollup } from './usage.ts';

const hourMs = 3_600_000;
const maxWindowHours = 720;
/** Days whose messages one question may be about: each of them is looked at. */
const maxAttributionDays = 92;

export interface AttributionRequest extends DayRange {
  campaignId: string;
  /** From which moment on: when a message was sent, or when a person (no machine) opened it. `sent` when absent. */
  after?: 'sent' | 'opened';
  /** 1–720; 24 when absent. */
  windowHours?: number;
}

export interface Attribution {
  /** Messages that were sent (or times that one was opened) in the range, and the endpoints that got (or opened) them. */
  messages: number;
  endpoints: number;
  /** Sessions that these endpoints began within the window after a message; each counts once, however many preceded it. */
  sessions: number;
  endpointsWithSession: number;
  /** What they bought within it, likewise. */
  purchases: {
    currency: string;
    purchases: number;
    revenue: number;
    units: number;
    payingEndpoints: number;
  }[];
}

/**
 * What endpoints did within some hours after a message of a campaign. A session or a purchase that follows messages of two
 * campaigns counts for both. Reads the log, so it reaches as far back as the log does.
 * @throws CallerError bad_request
 */
export async function attribution(
  db: Queryable,
  applicationId: string,
  request: AttributionRequest,
): Promise<Attribution> {
  const { from, to } = readRange(request);
  if (to - from >= maxAttributionDays)
    throw badMember('to', `expected at most ${maxAttributionDays} days from from`);
  const windowHours = request.windowHours ?? 24;
  if (!(windowHours >= 1 && windowHours <= maxWindowHours)) {
    throw badMember('windowHours', `expected a number from 1 to ${maxWindowHours}`);
  }
  const after = request.after ?? 'sent';
  if (after !== 'sent' && after !== 'opened') throw badMember('after', 'expected sent or opened');
  const rollup = await liveRollup(db, applicationId);
  const calendar = calendarOf(rollup?.timeZone ?? defaultTimeZone);
  const query: AttributionQuery = {
    applicationId,
    campaignId: request.campaignId,
    factType: `message.${after}`,
    from: calendar.startOf(from),
    until: calendar.startOf(to + 1),
    windowMs: Math.round(windowHours * hourMs),
  };
  const touched = await db.query<{ messages: number; endpoints: number }>(selectTouches(query));
  const began = rollup
    ? (await db.query<{ sessions: number; endpoints: number }>(selectAttributedSessions(query, rollup.id)))
        .rows[0]!
    : { sessions: 0, endpoints: 0 };
  const bought = await db.query<AttributedPurchasesRow>(selectAttributedPurchases(query));
  return {
    ...touched.rows[0]!,
    sessions: began.sessions,
    endpointsWithSession: began.endpoints,
    purchases: bought.rows.map((row) => ({
      currency: row.currency,
      purchases: row.purchases,
      revenue: Number(row.amount),
      units: Number(row.units),
      payingEndpoints: row.endpoints,
    })),
  };
}
