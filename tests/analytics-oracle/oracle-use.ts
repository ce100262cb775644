import type { RawEvent } from './facts.ts';
import type { Range } from './questions.ts';
import type { Rules } from './rules.ts';
import { dateOf, weekOf, type Zone } from './zone.ts';

/** An event that says that somebody used the app, on its day. */
interface Use {
  event: RawEvent;
  day: number;
}

export interface Session {
  endpoint: string;
  begin: number;
  end: number | undefined;
  hasUser: boolean;
  /** False when it goes on with the one before. */
  counts: boolean;
}

export interface Usage {
  rules: Rules;
  zone: Zone;
  uses: Use[];
  all: Use[];
  sessions: Session[];
  /** Days on which each endpoint, and each user, was active. */
  daysOf: { endpoints: Map<string, Set<number>>; users: Map<string, Set<number>> };
}

type Kind = 'endpoints' | 'users';

const service = ['_email.', '_SMS.', '_campaign.send'];

export function usageOf(events: readonly RawEvent[], zone: Zone, rules: Rules): Usage {
  const all = events.map((event) => ({
    event,
    day: zone.at(rules.byArrival ? event.arrived : event.at).day,
  }));
  const uses = all.filter(
    ({ event }) => rules.serviceTypesAreUse || !service.some((start) => event.type.startsWith(start)),
  );
  const endpoints = new Map<string, Set<number>>();
  const users = new Map<string, Set<number>>();
  for (const { event, day } of uses) {
    addDay(endpoints, event.endpoint, day);
    if (event.user !== undefined) addDay(users, event.user, day);
  }
  return { rules, zone, all, uses, sessions: sessionsOf(uses, rules), daysOf: { endpoints, users } };
}

function addDay(map: Map<string, Set<number>>, name: string, day: number): void {
  const days = map.get(name) ?? new Set();
  map.set(name, days.add(day));
}

function sessionsOf(uses: readonly Use[], rules: Rules): Session[] {
  const found: (Session & { id: string })[] = [];
  const about = uses.filter(({ event }) =>
    ['_session.start', '_session.stop', '_session.pause'].includes(event.type),
  );
  for (const [endpoint, own] of Map.groupBy(about, ({ event }) => event.endpoint)) {
    for (const [id, said] of Map.groupBy(own, ({ event }) => event.session ?? `@${event.at}`)) {
      const starts = said.filter(({ event }) => event.type === '_session.start').map(({ event }) => event);
      if (starts.length === 0) continue;
      const ends = said.filter(({ event }) => event.type !== '_session.start').map(({ event }) => event.at);
      found.push({
        endpoint,
        id,
        begin: Math.min(...starts.map(({ at }) => at)),
        end: ends.length === 0 ? undefined : Math.max(...ends),
        hasUser: starts.some(({ user }) => user !== undefined),
        counts: true,
      });
    }
  }
  for (const own of Map.groupBy(found, ({ endpoint }) => endpoint).values()) {
    own.sort((a, b) => a.begin - b.begin || (a.id < b.id ? -1 : 1));
    for (const [index, session] of own.entries()) {
      const before = own[index - 1]?.end;
      if (before === undefined) continue;
      const pause = session.begin - before;
      session.counts = !(pause >= 0 && pause <= rules.pauseMs);
    }
  }
  return found;
}

export function days(range: Range): number[] {
  const [from, to] = [range.from, range.to].map((date) => Date.parse(date) / 86_400_000) as [number, number];
  return Array.from({ length: to - from + 1 }, (_, index) => from + index);
}

export function share(part: number, whole: number): number | null {
  return whole === 0 ? null : part / whole;
}

/** How many were active on at least one of the days from `first` to `last`. */
export function active({ daysOf }: Usage, kind: Kind, first: number, last: number): number {
  return [...daysOf[kind].values()].filter((own) => [...own].some((day) => day >= first && day <= last))
    .length;
}

function news({ daysOf }: Usage, kind: Kind, first: number, last: number): number {
  return [...daysOf[kind].values()].filter((own) => {
    const day = Math.min(...own);
    return day >= first && day <= last;
  }).length;
}

function sessionsOn(usage: Usage, first: number, last: number): Session[] {
  return usage.sessions.filter(({ begin }) => {
    const { day } = usage.zone.at(begin);
    return day >= first && day <= last;
  });
}

export function dailyUsage(usage: Usage, range: Range): object[] {
  const { rules } = usage;
  return days(range).map((day) => {
    const begun = sessionsOn(usage, day, day);
    const counted = begun.filter(({ counts }) => counts);
    const timed = (session: Session) => session.end !== undefined && session.end >= session.begin;
    const lengths = begun
      .filter(timed)
      .map(({ begin, end }) => Math.min(end! - begin, rules.longestSessionMs))
      .reduce((sum, length) => sum + length, 0);
    const activeEndpoints = active(usage, 'endpoints', day, day);
    const activeUsers = active(usage, 'users', day, day);
    const monthlyActiveEndpoints = active(usage, 'endpoints', day - rules.monthDays + 1, day);
    const monthlyActiveUsers = active(usage, 'users', day - rules.monthDays + 1, day);
    const events = (type: string) =>
      usage.all.filter((use) => use.day === day && use.event.type === type).length;
    return {
      day: dateOf(day),
      activeEndpoints,
      activeUsers,
      monthlyActiveEndpoints,
      monthlyActiveUsers,
      newEndpoints: news(usage, 'endpoints', day, day),
      newUsers: news(usage, 'users', day, day),
      stickyFactor: share(activeEndpoints, monthlyActiveEndpoints),
      userStickyFactor: share(activeUsers, monthlyActiveUsers),
      sessions: counted.length,
      sessionsPerEndpoint: share(counted.length, activeEndpoints),
      sessionsPerUser: share(counted.filter(({ hasUser }) => hasUser).length, activeUsers),
      averageSessionMs: share(lengths, counted.filter(timed).length),
      signIns: events('_userauth.sign_in'),
      signUps: events('_userauth.sign_up'),
      authFailures: events('_userauth.auth_fail'),
    };
  });
}

export function monthlyUsage(usage: Usage, range: Range): object[] {
  const months = [...new Set(days(range).map((day) => dateOf(day).slice(0, 7)))];
  return months.map((month) => {
    const [year, number] = month.split('-').map(Number) as [number, number];
    const first = Date.UTC(year, number - 1, 1) / 86_400_000;
    const last = Date.UTC(year, number, 1) / 86_400_000 - 1;
    return {
      month,
      activeEndpoints: active(usage, 'endpoints', first, last),
      activeUsers: active(usage, 'users', first, last),
      newEndpoints: news(usage, 'endpoints', first, last),
      newUsers: news(usage, 'users', first, last),
      sessions: sessionsOn(usage, first, last).filter(({ counts }) => counts).length,
    };
  });
}

export function weekByHour(usage: Usage, range: Range): object[] {
  const all = days(range);
  const begun = sessionsOn(usage, all[0]!, all.at(-1)!).filter(({ counts }) => counts);
  const rows: object[] = [];
  for (let weekday = 1; weekday <= 7; weekday++) {
    for (let hour = 0; hour < 24; hour++) {
      const sessions = begun.filter(({ begin }) => {
        const local = usage.zone.at(begin);
        return local.hour === hour && new Date(`${local.date}T12:00:00Z`).getUTCDay() === weekday % 7;
      }).length;
      rows.push({ weekday, hour, sessions });
    }
  }
  return rows;
}

export function countsByType(usage: Usage, range: Range): object[] {
  return days(range).flatMap((day) => {
    const types = Map.groupBy(
      usage.all.filter((use) => use.day === day),
      ({ event }) => event.type,
    );
    return [...types]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([type, uses]) => ({ day: dateOf(day), type, events: uses.length }));
  });
}

const afters = [1, 7, 14, 30];

export function retentionOf(usage: Usage, range: Range, now: number): object {
  const today = usage.zone.at(now).day;
  const returned = (after: number, cohorts: Set<number>[], isOver: boolean) => {
    if (!isOver) return { after, onDay: null, onDayShare: null, within: null, withinShare: null };
    const first = (own: Set<number>) => Math.min(...own);
    const onDay = cohorts.filter((own) => own.has(first(own) + after)).length;
    const within = cohorts.filter((own) =>
      [...own].some((day) => day > first(own) && day <= first(own) + after),
    ).length;
    const size = cohorts.length;
    return { after, onDay, onDayShare: share(onDay, size), within, withinShare: share(within, size) };
  };
  const isOver = (day: number, after: number) => day + after + usage.rules.judgedLater < today;
  const starting = (kind: Kind, day: number) =>
    [...usage.daysOf[kind].values()].filter((own) => Math.min(...own) === day);
  const cohort = (kind: Kind, day: number) => {
    const own = starting(kind, day);
    return { size: own.length, returned: afters.map((after) => returned(after, own, isOver(day, after))) };
  };
  const total = (kind: Kind) =>
    afters.map((after) => {
      const judged = days(range).filter((day) => isOver(day, after));
      const all = judged.flatMap((day) => starting(kind, day));
      return { ...returned(after, all, judged.length > 0), size: all.length };
    });
  return {
    days: days(range).map((day) => ({
      day: dateOf(day),
      endpoints: cohort('endpoints', day),
      users: cohort('users', day),
    })),
    total: { endpoints: total('endpoints'), users: total('users') },
  };
}

export function cohortsByWeek(usage: Usage, range: Range, now: number): object[] {
  const shift = usage.rules.weeksBeginOnSunday ? 1 : 0;
  const week = (day: number) => weekOf(day + shift);
  const thisWeek = week(usage.zone.at(now).day);
  const of = (kind: Kind, first: number) => {
    const own = [...usage.daysOf[kind].values()].filter((days) => week(Math.min(...days)) === first);
    const over = Math.max(0, Math.min(53, thisWeek - 1 - first));
    const inWeek = (after: number) =>
      own.filter((days) => [...days].some((day) => week(day) === first + after)).length;
    return { size: own.length, active: Array.from({ length: over }, (_, index) => inWeek(index + 1)) };
  };
  return [...new Set(days(range).map(week))].map((first) => ({
    week: dateOf(first * 7 - 3 - shift),
    endpoints: of('endpoints', first),
    users: of('users', first),
  }));
}
