import type { Schedule } from '@aws-sdk/client-pinpoint';
import { badMember, CallerError } from '../../platform/errors.ts';
import { changeEventType, isChangeFilter, readEventFilter } from './trigger-filter.ts';

/** The offsets that the Pinpoint API knows (reference 4.3). */
export const timezones = [
  ...[
    'UTC',
    'UTC+01',
    'UTC+02',
    'UTC+03',
    'UTC+03:30',
    'UTC+04',
    'UTC+04:30',
    'UTC+05',
    'UTC+05:30',
    'UTC+05:45',
  ],
  ...[
    'UTC+06',
    'UTC+06:30',
    'UTC+07',
    'UTC+08',
    'UTC+09',
    'UTC+09:30',
    'UTC+10',
    'UTC+10:30',
    'UTC+11',
    'UTC+12',
  ],
  ...[
    'UTC+13',
    'UTC-02',
    'UTC-03',
    'UTC-04',
    'UTC-05',
    'UTC-06',
    'UTC-07',
    'UTC-08',
    'UTC-09',
    'UTC-10',
    'UTC-11',
  ],
];

const isoPattern =
  /^(\d{4})-(\d{2})-(\d{2})(?:T(\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?(Z|[+-]\d{2}(?::?\d{2})?)?)?$/;

/**
 * Milliseconds since the epoch of an ISO 8601 date or date-time; UTC when it names no offset. Undefined for anything
 * else, also for days that do not exist (`2026-02-30`).
 */
export function parseIsoTime(text: string): number | undefined {
  const match = isoPattern.exec(text);
  if (!match) return undefined;
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map((part) => Number(part ?? 0)) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const at = Date.UTC(
    year,
    month - 1,
    day,
    hour,
    minute,
    second,
    Number((match[7] ?? '0').padEnd(3, '0').slice(0, 3)),
  );
  const date = new Date(at);
  const exists =
    year >= 1970 &&
    date.getUTCMonth() === month - 1 &&
    date.getUTCDate() === day &&
    hour < 24 &&
    minute < 60 &&
    second < 60;
  if (!exists) return undefined;
  const zone = match[8];
  if (!zone || zone === 'Z') return at;
  const [hours, minutes] = [Number(zone.slice(1, 3)), Number(zone.slice(3).replace(':', '') || 0)];
  if (hours > 14 || minutes > 59) return undefined;
  return at - (zone[0] === '-' ? -1 : 1) * (hours * 60 + minutes) * 60_000;
}

/** Is it fetched by clients (GetInAppMessages), which show it at an event, rather than sent? */
export function isInApp(schedule: Pick<Schedule, 'Frequency'> | undefined): boolean {
  return schedule?.Frequency === 'IN_APP_EVENT';
}

/** Is it sent when an event happens, to whom the event is about, and not at a time? */
export function isEventTriggered(schedule: Pick<Schedule, 'Frequency'> | undefined): boolean {
  return schedule?.Frequency === 'EVENT';
}

export interface ScheduleOptions {
  now: number;
  /** False for a start time that was checked when it was set. */
  mustBeAhead: boolean;
  /**
   * How far ahead an event-triggered campaign has to start, in milliseconds (POSTRIDER_EVENT_CAMPAIGN_MIN_LEAD_MS);
   * none, and it may start at once, when absent.
   */
  eventLeadMs?: number | undefined;
}

/** When a campaign with this schedule is due: at once for `IMMEDIATE`. The schedule was checked before. */
export function dueTime(schedule: Schedule, now: number): Date {
  return new Date(schedule.StartTime === 'IMMEDIATE' ? now : parseIsoTime(schedule.StartTime!)!);
}

/**
 * Checks a campaign's schedule.
 * @throws CallerError bad_request, or not_implemented for the kinds of schedule that are not built.
 */
export function checkSchedule(schedule: Schedule | undefined, path: string, options: ScheduleOptions): void {
  if (!schedule) throw badMember(path, 'expected a schedule, at least {"StartTime": "IMMEDIATE"}');
  const { Frequency: frequency, StartTime: startTime, EndTime: endTime, Timezone: timezone } = schedule;
  const inApp = isInApp(schedule);
  if (inApp) checkInAppFilter(schedule.EventFilter, `${path}.EventFilter`);
  else if (isEventTriggered(schedule)) readEventFilter(schedule.EventFilter, `${path}.EventFilter`);
  else if (frequency && frequency !== 'ONCE') {
    throw new CallerError(
      'not_implemented',
      `${path}.Frequency: ${frequency} is not supported yet; use ONCE or EVENT`,
      `${path}.Frequency`,
    );
  }
  if (!inApp && !isEventTriggered(schedule) && schedule.EventFilter)
    throw badMember(`${path}.EventFilter`, 'expected only with the Frequency EVENT or IN_APP_EVENT');
  if (schedule.IsLocalTime) {
    throw new CallerError(
      'not_implemented',
      `${path}.IsLocalTime: starting in each recipient's local time is not supported yet; use false`,
      `${path}.IsLocalTime`,
    );
  }
  if (timezone && !timezones.includes(timezone))
    throw badMember(`${path}.Timezone`, `expected one of ${timezones.join(', ')}`);
  checkQuietTime(schedule.QuietTime, `${path}.QuietTime`);
  const leadMs = isEventTriggered(schedule) ? (options.eventLeadMs ?? 0) : 0;
  const startAt = checkStart(startTime, path, { ...options, leadMs });
  if (endTime === undefined) {
    if (inApp)
      throw badMember(`${path}.EndTime`, 'expected the end: clients show no in-app message that has none');
    return;
  }
  const endAt = parseIsoTime(endTime);
  if (endAt === undefined)
    throw badMember(`${path}.EndTime`, 'expected an ISO 8601 time, like 2026-12-24T18:00:00Z');
  if (options.mustBeAhead && endAt <= startAt)
    throw badMember(`${path}.EndTime`, 'expected a time after StartTime');
}

/** Clients compare the filter with what happens in them: no changes of attributes, which they do not see. */
function checkInAppFilter(filter: Schedule['EventFilter'], path: string): void {
  if (isChangeFilter(readEventFilter(filter, path)))
    throw badMember(
      `${path}.Dimensions.EventType.Values`,
      `expected event types of the client, not ${changeEventType}`,
    );
}

function checkStart(
  startTime: string | undefined,
  path: string,
  options: { now: number; mustBeAhead: boolean; leadMs: number },
): number {
  const { now, mustBeAhead, leadMs } = options;
  const mayBeNow = leadMs === 0 || !mustBeAhead;
  if (startTime === 'IMMEDIATE' && mayBeNow) return now;
  const startAt = startTime === undefined ? undefined : parseIsoTime(startTime);
  if (startAt === undefined)
    throw badMember(
      `${path}.StartTime`,
      `expected ${mayBeNow ? 'IMMEDIATE or ' : ''}an ISO 8601 time, like 2026-12-24T18:00:00Z`,
    );
  if (mustBeAhead && leadMs > 0 && startAt < now + leadMs)
    throw badMember(
      `${path}.StartTime`,
      `expected a time at least ${Math.ceil(leadMs / 1000)} seconds ahead (it is ${new Date(now).toISOString()} now)`,
    );
  if (mustBeAhead && startAt <= now)
    throw badMember(
      `${path}.StartTime`,
      `expected a time in the future (it is ${new Date(now).toISOString()} now) or IMMEDIATE`,
    );
  return startAt;
}

/** Both ends as `HH:MM`, or neither (absent or empty), which means no quiet time. */
export function checkQuietTime(
  quiet: { Start?: string | undefined; End?: string | undefined } | undefined,
  path: string,
): void {
  if (!quiet?.Start && !quiet?.End) return;
  for (const name of ['Start', 'End'] as const) {
    if (!/^([01]\d|2[0-3]):[0-5]\d$/.test(quiet[name] ?? ''))
      throw badMember(`${path}.${name}`, 'expected a time of day as HH:MM, 00:00 to 23:59');
  }
}
