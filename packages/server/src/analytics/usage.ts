import type { Queryable } from '../platform/database.ts';
import { dayName, dayNumber } from './calendar.ts';
import { type DayRange, eachDay, readRange, share } from './days.ts';
import { type RollupRow, selectLiveRollup } from './rollup.sql.ts';
import {
  type ActivityCell,
  type CountRow,
  selectActivity,
  selectDistinctActors,
  selectEventCounts,
  selectSessionHours,
  selectUsageCounts,
} from './usage.sql.ts';

/** Days of "monthly active", the day itself included. */
const monthDays = 30;

/** One more than any window below spans, so that all longer gaps lie outside of it. */
const longestGap = 31;

/** Use on one day of the application's time zone. docs/analytics.md defines each figure; `null` is a share of nothing. */
export interface UsageDay {
  /** `2026-11-21` */
  day: string;
  /** Distinct endpoints that put an event on the day. */
  activeEndpoints: number;
  /** Distinct users that an event of the day named. */
  activeUsers: number;
  /** Distinct on the day or the 29 days before it. */
  monthlyActiveEndpoints: number;
  monthlyActiveUsers: number;
  /** Whose first active day it is. */
  newEndpoints: number;
  newUsers: number;
  /** activeEndpoints / monthlyActiveEndpoints. */
  stickyFactor: number | null;
  /** activeUsers / monthlyActiveUsers. */
  userStickyFactor: number | null;
  /** Sessions that began on the day; one that goes on within five seconds is not another one. */
  sessions: number;
  sessionsPerEndpoint: number | null;
  /** Sessions whose start named a user / activeUsers. */
  sessionsPerUser: number | null;
  /** Milliseconds. */
  averageSessionMs: number | null;
  signIns: number;
  signUps: number;
  authFailures: number;
}

const signIn = '_userauth.sign_in';
const signUp = '_userauth.sign_up';
const authFailure = '_userauth.auth_fail';

/** The rollup that answers questions about an application; undefined when no event has ever come. */
export async function liveRollup(db: Queryable, applicationId: string): Promise<RollupRow | undefined> {
  const { rows } = await db.query<RollupRow>(selectLiveRollup(applicationId));
  return rows[0];
}

/**
 * Usage of each day of a range, also of days without any.
 * @throws CallerError bad_request
 */
export async function usage(db: Queryable, applicationId: string, range: DayRange): Promise<UsageDay[]> {
  const days = readRange(range);
  const rollup = await liveRollup(db, applicationId);
  const active = await readActivity(db, rollup, days.from - monthDays + 1, days.to);
  const counts = await readCounts(db, rollup, days);
  return eachDay(days, (day) => {
    const count = (measure: string, key = '') => counts.get(`${measure} ${day} ${key}`) ?? 0;
    const activeEndpoints = active.on('e', day);
    const activeUsers = active.on('u', day);
    const monthlyActiveEndpoints = active.distinct('e', day - monthDays + 1, day);
    const monthlyActiveUsers = active.distinct('u', day - monthDays + 1, day);
    const sessions = count('session');
    return {
      day: dayName(day),
      activeEndpoints,
      activeUsers,
      monthlyActiveEndpoints,
      monthlyActiveUsers,
      newEndpoints: active.firsts('e', day),
      newUsers: active.firsts('u', day),
      stickyFactor: share(activeEndpoints, monthlyActiveEndpoints),
      userStickyFactor: share(activeUsers, monthlyActiveUsers),
      sessions,
      sessionsPerEndpoint: share(sessions, activeEndpoints),
      sessionsPerUser: share(count('user_session'), activeUsers),
      averageSessionMs: share(count('session_ms'), count('timed_session')),
      signIns: count('event', signIn),
      signUps: count('event', signUp),
      authFailures: count('event', authFailure),
    };
  });
}

export interface UsageMonth {
  /** `2026-11` */
  month: string;
  /** Distinct in the calendar month. */
  activeEndpoints: number;
  activeUsers: number;
  newEndpoints: number;
  newUsers: number;
  sessions: number;
}

/** Usage of each calendar month that the range touches, the whole month each. @throws CallerError bad_request */
export async function usageByMonth(
  db: Queryable,
  applicationId: string,
  range: DayRange,
): Promise<UsageMonth[]> {
  const { from, to } = readRange(range);
  const months: { month: string; from: number; to: number }[] = [];
  for (let day = dayNumber(`${dayName(from).slice(0, 7)}-01`)!; day <= to; ) {
    const month = dayName(day).slice(0, 7);
    // The first of the next month is never more than 31 days away.
    const next = dayNumber(`${dayName(day + 31).slice(0, 7)}-01`)!;
    months.push({ month, from: day, to: next - 1 });
    day = next;
  }
  const whole = { from: months[0]!.from, to: months.at(-1)!.to };
  const rollup = await liveRollup(db, applicationId);
  const active = await readActivity(db, rollup, whole.from, whole.to);
  const counts = await readCounts(db, rollup, whole);
  return months.map(({ month, ...days }) => {
    const sum = (of: (day: number) => number) => eachDay(days, of).reduce((total, value) => total + value, 0);
    return {
      month,
      activeEndpoints: active.distinct('e', days.from, days.to),
      activeUsers: active.distinct('u', days.from, days.to),
      newEndpoints: sum((day) => active.firsts('e', day)),
      newUsers: sum((day) => active.firsts('u', day)),
      sessions: sum((day) => counts.get(`session ${day} `) ?? 0),
    };
  });
}

/** Distinct endpoints and users that were active on any day of a range, however long. @throws CallerError bad_request */
export async function activeInRange(
  db: Queryable,
  applicationId: string,
  range: DayRange,
): Promise<{ endpoints: number; users: number }> {
  const { from, to } = readRange(range);
  const rollup = await liveRollup(db, applicationId);
  if (!rollup) return { endpoints: 0, users: 0 };
  const { rows } = await db.query<{ kind: string; actors: number }>(
    selectDistinctActors(rollup.id, from, to),
  );
  const of = (kind: string) => rows.find((row) => row.kind === kind)?.actors ?? 0;
  return { endpoints: of('e'), users: of('u') };
}

export interface SessionHour {
  /** 1 is Monday, 7 Sunday. */
  weekday: number;
  /** 0–23 */
  hour: number;
  sessions: number;
}

/** Sessions of a range by weekday and hour at which they began: 168 rows, Monday first. @throws CallerError bad_request */
export async function heatMap(db: Queryable, applicationId: string, range: DayRange): Promise<SessionHour[]> {
  const { from, to } = readRange(range);
  const rollup = await liveRollup(db, applicationId);
  const map = Array.from({ length: 168 }, (_, index) => ({
    weekday: Math.floor(index / 24) + 1,
    hour: index % 24,
    sessions: 0,
  }));
  if (!rollup) return map;
  const { rows } = await db.query<SessionHour>(selectSessionHours(rollup.id, from, to));
  for (const { weekday, hour, sessions } of rows) map[(weekday - 1) * 24 + hour]!.sessions = sessions;
  return map;
}

/** Events of each type and day of a range that had any, by day and type. @throws CallerError bad_request */
export async function eventCounts(
  db: Queryable,
  applicationId: string,
  range: DayRange,
): Promise<{ day: string; type: string; events: number }[]> {
  const { from, to } = readRange(range);
  const rollup = await liveRollup(db, applicationId);
  if (!rollup) return [];
  const { rows } = await db.query<{ day: number; type: string; events: number }>(
    selectEventCounts(rollup.id, from, to),
  );
  return rows.map((row) => ({ ...row, day: dayName(row.day) }));
}

/** Counts of actors by day and gap, and what follows from them. */
export interface Activity {
  on(kind: 'e' | 'u', day: number): number;
  firsts(kind: 'e' | 'u', day: number): number;
  /** Distinct actors of the days from `from` to `to`, at most 31 of them. */
  distinct(kind: 'e' | 'u', from: number, to: number): number;
}

async function readActivity(
  db: Queryable,
  rollup: RollupRow | undefined,
  from: number,
  to: number,
): Promise<Activity> {
  const gaps = longestGap + 1;
  const size = (to - from + 1) * gaps;
  const cells = { e: new Float64Array(size), u: new Float64Array(size) };
  if (rollup) {
    const { rows } = await db.query<ActivityCell>(selectActivity(rollup.id, from, to, longestGap));
    for (const { kind, day, gap, actors } of rows) cells[kind][(day - from) * gaps + gap] = actors;
  }
  const at = (kind: 'e' | 'u', day: number, gap: number) => cells[kind][(day - from) * gaps + gap]!;
  return {
    firsts: (kind, day) => at(kind, day, 0),
    on(kind, day) {
      let actors = 0;
      for (let gap = 0; gap < gaps; gap++) actors += at(kind, day, gap);
      return actors;
    },
    distinct(kind, first, last) {
      let actors = 0;
      for (let day = first; day <= last; day++) {
        actors += at(kind, day, 0);
        for (let gap = day - first + 1; gap < gaps; gap++) actors += at(kind, day, gap);
      }
      return actors;
    },
  };
}

/** By `measure day key`. */
async function readCounts(
  db: Queryable,
  rollup: RollupRow | undefined,
  days: { from: number; to: number },
): Promise<Map<string, number>> {
  if (!rollup) return new Map();
  const { rows } = await db.query<CountRow>(
    selectUsageCounts(rollup.id, days, [signIn, signUp, authFailure]),
  );
  return new Map(rows.map(({ measure, day, key, value }) => [`${measure} ${day} ${key}`, value]));
}
