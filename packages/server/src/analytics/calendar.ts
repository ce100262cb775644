import { badMember } from '../platform/errors.ts';

const hourMs = 3_600_000;
const dayMs = 86_400_000;

/** Hours whose offset is kept; more than a rebuild over a few years meets. */
const maxCachedHours = 50_000;
const maxCachedZones = 200;

/** Of an application that never set one. */
export const defaultTimeZone = 'UTC';

/** The days and hours that clocks of a time zone show. Days are counted from 1970-01-01. */
export interface Calendar {
  readonly timeZone: string;
  /** Milliseconds that the clocks are ahead of UTC at an instant (milliseconds since the epoch). */
  offsetMs(at: number): number;
  /** The day that clocks show at an instant. */
  dayOf(at: number): number;
  /** Day, and hour of the day (0–23). */
  hourOf(at: number): { day: number; hour: number };
  /** The first instant of a day: midnight, or where the clocks skip midnight, the end of the gap. */
  startOf(day: number): number;
}

const calendars = new Map<string, Calendar>();

/** @throws RangeError for a name that is no time zone */
export function calendarOf(timeZone: string): Calendar {
  let calendar = calendars.get(timeZone);
  if (!calendar) {
    calendar = createCalendar(timeZone);
    if (calendars.size >= maxCachedZones) calendars.clear();
    calendars.set(timeZone, calendar);
  }
  return calendar;
}

/**
 * A time zone's name, as people set it.
 * @throws CallerError bad_request; an offset (`+02:00`) has no daylight saving time and is refused
 */
export function checkTimeZone(timeZone: unknown, path: string): string {
  const expected = 'the name of a time zone, such as Europe/Berlin';
  if (typeof timeZone !== 'string' || !/^[A-Za-z][A-Za-z0-9_+/-]{1,63}$/.test(timeZone)) {
    throw badMember(path, `expected ${expected}`);
  }
  try {
    new Intl.DateTimeFormat('en-US', { timeZone });
  } catch (error) {
    if (error instanceof RangeError) throw badMember(path, `expected ${expected}`);
    throw error;
  }
  return timeZone;
}

function createCalendar(timeZone: string): Calendar {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone,
    calendar: 'gregory',
    numberingSystem: 'latn',
    hourCycle: 'h23',
    era: 'short',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  });
  const cached = new Map<number, number>();

  function look(at: number): number {
    const parts: Record<string, string> = {};
    for (const { type, value } of format.formatToParts(at)) parts[type] = value;
    const year = parts.era === 'BC' ? 1 - Number(parts.year) : Number(parts.year);
    const local = Date.UTC(
      year,
      Number(parts.month) - 1,
      Number(parts.day),
      Number(parts.hour),
      Number(parts.minute),
      Number(parts.second),
    );
    return local - Math.floor(at / 1000) * 1000;
  }

  function offsetMs(at: number): number {
    if (timeZone === 'UTC') return 0;
    const hour = Math.floor(at / hourMs);
    let offset = cached.get(hour);
    if (offset === undefined) {
      const first = look(hour * hourMs);
      // NaN for an hour in which the clocks are changed: each instant of it is looked up.
      offset = first === look((hour + 1) * hourMs - 1) ? first : Number.NaN;
      if (cached.size >= maxCachedHours) cached.clear();
      cached.set(hour, offset);
    }
    return Number.isNaN(offset) ? look(at) : offset;
  }

  const dayOf = (at: number) => Math.floor((at + offsetMs(at)) / dayMs);
  return {
    timeZone,
    offsetMs,
    dayOf,
    hourOf(at) {
      const local = at + offsetMs(at);
      const day = Math.floor(local / dayMs);
      return { day, hour: Math.floor((local - day * dayMs) / hourMs) };
    },
    startOf(day) {
      // Offsets lie between -12 and +14 hours, so both ends are on the right side; 28 halvings find the millisecond.
      let before = day * dayMs - 15 * hourMs;
      let from = day * dayMs + 15 * hourMs + dayMs;
      while (from - before > 1) {
        const middle = Math.floor((before + from) / 2);
        if (dayOf(middle) >= day) from = middle;
        else before = middle;
      }
      return from;
    },
  };
}

/** `2026-11-21` of a day's number. */
export function dayName(day: number): string {
  return new Date(day * dayMs).toISOString().slice(0, 10);
}

/** The number of `2026-11-21`, undefined for what is no such date. */
export function dayNumber(name: string): number | undefined {
  if (!/^\d{4}-\d\d-\d\d$/.test(name)) return undefined;
  const at = Date.parse(`${name}T00:00:00Z`);
  if (Number.isNaN(at) || dayName(at / dayMs) !== name) return undefined;
  return at / dayMs;
}

/** ISO weekday: 1 is Monday, 7 Sunday. 1970-01-01 was a Thursday. */
export function weekdayOf(day: number): number {
  return ((((day + 3) % 7) + 7) % 7) + 1;
}

/** The number of the week of a day; weeks begin on Monday, 0 is that of 1970-01-01. */
export function weekOf(day: number): number {
  return Math.floor((day + 3) / 7);
}

/** The Monday of a week. */
export function mondayOf(week: number): number {
  return week * 7 - 3;
}
