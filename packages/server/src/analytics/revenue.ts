import type { Queryable } from '../platform/database.ts';
import { dayName } from './calendar.ts';
import { type DayRange, readRange, share } from './days.ts';
import { type RevenueRow, selectRevenueByCurrency, selectRevenueByDay } from './revenue.sql.ts';
import { activeInRange, liveRollup, usage } from './usage.ts';

/** What was bought in one currency. docs/analytics.md defines each figure. */
export interface Revenue {
  /** ISO 4217; `XXX` where the event named none. */
  currency: string;
  /** Sum of price times quantity, in units of the currency. */
  revenue: number;
  purchases: number;
  /** Sum of the quantities. */
  units: number;
  /** Distinct endpoints and users that bought in this currency. */
  payingEndpoints: number;
  payingUsers: number;
  /** Per active endpoint or user of the same time, and per paying user. */
  revenuePerEndpoint: number | null;
  revenuePerUser: number | null;
  revenuePerPayingUser: number | null;
  unitsPerEndpoint: number | null;
  purchasesPerEndpoint: number | null;
}

export interface RevenueDay extends Revenue {
  day: string;
}

export interface RevenueReport {
  /** By day and currency; days without a purchase are left out. */
  days: RevenueDay[];
  /** By currency over the whole range, with distinct buyers of the range. */
  totals: Revenue[];
  /** Distinct buyers in any currency. */
  payingEndpoints: number;
  payingUsers: number;
}

/** Purchases of a range. @throws CallerError bad_request */
export async function revenue(db: Queryable, applicationId: string, range: DayRange): Promise<RevenueReport> {
  const { from, to } = readRange(range);
  const rollup = await liveRollup(db, applicationId);
  if (!rollup) return { days: [], totals: [], payingEndpoints: 0, payingUsers: 0 };
  const byDay = await db.query<RevenueRow>(selectRevenueByDay(rollup.id, from, to));
  const byCurrency = await db.query<RevenueRow & { currency: string | null }>(
    selectRevenueByCurrency(rollup.id, from, to),
  );
  const active = new Map(
    (await usage(db, applicationId, range)).map((day) => [
      day.day,
      { endpoints: day.activeEndpoints, users: day.activeUsers },
    ]),
  );
  const activeInAll = await activeInRange(db, applicationId, range);
  const all = byCurrency.rows.find((row) => row.currency === null);
  return {
    days: byDay.rows.map((row) => {
      const day = dayName(row.day);
      return { day, ...revenueOf(row, active.get(day)!) };
    }),
    totals: byCurrency.rows.filter((row) => row.currency !== null).map((row) => revenueOf(row, activeInAll)),
    payingEndpoints: all?.endpoints ?? 0,
    payingUsers: all?.users ?? 0,
  };
}

function revenueOf(row: Omit<RevenueRow, 'day'>, active: { endpoints: number; users: number }): Revenue {
  const amount = Number(row.amount);
  const units = Number(row.units);
  return {
    currency: row.currency,
    revenue: amount,
    purchases: row.purchases,
    units,
    payingEndpoints: row.endpoints,
    payingUsers: row.users,
    revenuePerEndpoint: share(amount, active.endpoints),
    revenuePerUser: share(amount, active.users),
    revenuePerPayingUser: share(amount, row.users),
    unitsPerEndpoint: share(units, active.endpoints),
    purchasesPerEndpoint: share(row.purchases, active.endpoints),
  };
}
