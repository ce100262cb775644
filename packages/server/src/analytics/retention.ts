import type { Queryable } from '../platform/database.ts';
import { calendarOf, dayName, defaultTimeZone, mondayOf, weekOf } from './calendar.ts';
import { type DayRange, eachDay, readRange, share } from './days.ts';
import { type CohortCell, selectCohorts } from './usage.sql.ts';
import { liveRollup } from './usage.ts';

/** After how many days it is asked who came back. */
export const retentionDays = [1, 7, 14, 30] as const;

/** Weeks of a weekly cohort at most. */
export const maxCohortWeeks = 53;

/** How many of a cohort came back. All null until the day `after` days after the first one is over. */
export interface Returned {
  after: number;
  /** Active on exactly that day. */
  onDay: number | null;
  onDayShare: number | null;
  /** Active on any day after the first one, up to that day. */
  within: number | null;
  withinShare: number | null;
}

export interface Cohort {
  /** Actors with this first active day. */
  size: number;
  /** After 1, 7, 14 and 30 days. */
  returned: Returned[];
}

export interface RetentionDay {
  day: string;
  endpoints: Cohort;
  users: Cohort;
}

export interface Retention {
  days: RetentionDay[];
  /** Over all cohorts of the range whose day is over; `size` counts those only, and so differs by `after`. */
  total: Record<'endpoints' | 'users', (Returned & { size: number })[]>;
}

/**
 * Who came back, by first active day: one cohort for each day of the range.
 * @param now milliseconds; days that are not over then are not judged
 * @throws CallerError bad_request
 */
export async function retention(
  db: Queryable,
  applicationId: string,
  range: DayRange,
  now: number,
): Promise<Retention> {
  const days = readRange(range);
  const rollup = await liveRollup(db, applicationId);
  const cells = rollup
    ? (await db.query<CohortCell>(selectCohorts(rollup.id, ['d', 'r'], days, Math.max(...retentionDays))))
        .rows
    : [];
  const actors = new Map<string, number>();
  for (const { kind, figure, first, after, actors: count } of cells) {
    actors.set(`${kind}${figure} ${first} ${after}`, count);
  }
  const today = calendarOf(rollup?.timeZone ?? defaultTimeZone).dayOf(now);
  const cohort = (kind: 'e' | 'u', day: number): Cohort => {
    const on = (after: number) => actors.get(`${kind}d ${day} ${after}`) ?? 0;
    const size = on(0);
    return {
      size,
      returned: retentionDays.map((after) => {
        if (day + after >= today) return notYet(after);
        let within = 0;
        for (let d = 1; d <= after; d++) within += actors.get(`${kind}r ${day} ${d}`) ?? 0;
        return returnedOf(after, size, on(after), within);
      }),
    };
  };
  const all = eachDay(days, (day) => ({
    day: dayName(day),
    endpoints: cohort('e', day),
    users: cohort('u', day),
  }));
  return {
    days: all,
    total: {
      endpoints: totalOf(all.map((day) => day.endpoints)),
      users: totalOf(all.map((day) => day.users)),
    },
  };
}

function notYet(after: number): Returned {
  return { after, onDay: null, onDayShare: null, within: null, withinShare: null };
}

function returnedOf(after: number, size: number, onDay: number, within: number): Returned {
  return { after, onDay, onDayShare: share(onDay, size), within, withinShare: share(within, size) };
}

function totalOf(cohorts: readonly Cohort[]): (Returned & { size: number })[] {
  return retentionDays.map((after, index) => {
    const judged = cohorts.filter((cohort) => cohort.returned[index]!.onDay !== null);
    if (judged.length === 0) return { ...notYet(after), size: 0 };
    const sum = (of: (cohort: Cohort) => number) => judged.reduce((total, cohort) => total + of(cohort), 0);
    const size = sum((cohort) => cohort.size);
    const onDay = sum((cohort) => cohort.returned[index]!.onDay!);
    const within = sum((cohort) => cohort.returned[index]!.within!);
    return { ...returnedOf(after, size, onDay, within), size };
  });
}

export interface WeeklyCohort {
  /** The Monday of the week. */
  week: string;
  endpoints: WeeklyActive;
  users: WeeklyActive;
}

export interface WeeklyActive {
  /** Actors whose first active day lies in the week, so far. */
  size: number;
  /** Of them, active in the week so many weeks later, beginning with the next one; only weeks that are over. */
  active: number[];
}

/**
 * One cohort for each week (Monday to Sunday) that the range touches, and how many of it were active in the weeks after.
 * @throws CallerError bad_request
 */
export async function weeklyCohorts(
  db: Queryable,
  applicationId: string,
  range: DayRange,
  now: number,
): Promise<WeeklyCohort[]> {
  const days = readRange(range);
  const weeks = { from: weekOf(days.from), to: weekOf(days.to) };
  const rollup = await liveRollup(db, applicationId);
  const cells = rollup
    ? (await db.query<CohortCell>(selectCohorts(rollup.id, ['w'], weeks, maxCohortWeeks))).rows
    : [];
  const actors = new Map<string, number>();
  for (const { kind, first, after, actors: count } of cells) actors.set(`${kind} ${first} ${after}`, count);
  const thisWeek = weekOf(calendarOf(rollup?.timeZone ?? defaultTimeZone).dayOf(now));
  const of = (kind: 'e' | 'u', week: number): WeeklyActive => ({
    size: actors.get(`${kind} ${week} 0`) ?? 0,
    active: Array.from(
      { length: Math.max(0, Math.min(thisWeek - 1 - week, maxCohortWeeks)) },
      (_, index) => actors.get(`${kind} ${week} ${index + 1}`) ?? 0,
    ),
  });
  return eachDay(weeks, (week) => ({
    week: dayName(mondayOf(week)),
    endpoints: of('e', week),
    users: of('u', week),
  }));
}
