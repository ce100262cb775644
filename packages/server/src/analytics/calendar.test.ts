import { expect, test } from 'vitest';
import { calendarOf, checkTimeZone, dayName, dayNumber, mondayOf, weekdayOf, weekOf } from './calendar.ts';

const day = (name: string) => dayNumber(name)!;

test('days begin at midnight of the clocks, or at the end of the gap that swallows it', () => {
  const starts: [zone: string, day: string, start: string][] = [
    ['UTC', '2026-03-29', '2026-03-29T00:00:00.000Z'],
    ['Europe/Berlin', '2026-03-29', '2026-03-28T23:00:00.000Z'],
    ['Europe/Berlin', '2026-03-30', '2026-03-29T22:00:00.000Z'],
    ['Asia/Kolkata', '2026-01-01', '2025-12-31T18:30:00.000Z'],
    ['Pacific/Kiritimati', '2026-01-01', '2025-12-31T10:00:00.000Z'],
    ['Pacific/Pago_Pago', '2026-01-01', '2026-01-01T11:00:00.000Z'],
    // Clocks went from 24:00 to 01:00.
    ['America/Sao_Paulo', '2018-11-04', '2018-11-04T03:00:00.000Z'],
    ['Africa/Cairo', '2026-04-24', '2026-04-23T22:00:00.000Z'],
    // An island that skipped a day: the next one begins where it would have begun.
    ['Pacific/Apia', '2011-12-31', '2011-12-30T10:00:00.000Z'],
    ['Pacific/Apia', '2011-12-30', '2011-12-30T10:00:00.000Z'],
  ];
  for (const [zone, name, start] of starts) {
    const calendar = calendarOf(zone);
    const at = calendar.startOf(day(name));
    expect(new Date(at).toISOString(), `${zone} ${name}`).toBe(start);
    expect(calendar.dayOf(at), `${zone} ${name}`).toBeGreaterThanOrEqual(day(name));
    expect(calendar.dayOf(at - 1), `${zone} ${name}`).toBeLessThan(day(name));
  }
});

test('hours are those that clocks show, before, in and after a change and by the millisecond', () => {
  const berlin = calendarOf('Europe/Berlin');
  const shown = (at: string) => {
    const { day, hour } = berlin.hourOf(Date.parse(at));
    return `${dayName(day)} ${hour}`;
  };
  expect(shown('2026-03-29T00:59:59.999Z')).toBe('2026-03-29 1');
  expect(shown('2026-03-29T01:00:00.000Z')).toBe('2026-03-29 3');
  // An hour that clocks show twice.
  expect(shown('2026-10-25T00:30:00Z')).toBe('2026-10-25 2');
  expect(shown('2026-10-25T01:30:00Z')).toBe('2026-10-25 2');
  expect(shown('2026-10-25T22:59:59.999Z')).toBe('2026-10-25 23');
  // Offsets of half hours, quarters and seconds; a change within an hour of UTC.
  const hours: [zone: string, at: string, hour: number][] = [
    ['Asia/Kathmandu', '2026-01-01T18:15:00Z', 0],
    ['Asia/Kathmandu', '2026-01-01T18:14:59.999Z', 23],
    ['Australia/Lord_Howe', '2026-04-04T14:59:59Z', 1],
    ['Australia/Lord_Howe', '2026-04-04T15:00:00Z', 1],
    ['Africa/Monrovia', '1971-01-01T00:44:29Z', 23],
    ['Africa/Monrovia', '1971-01-01T00:44:30Z', 0],
  ];
  for (const [zone, at, hour] of hours) {
    expect(calendarOf(zone).hourOf(Date.parse(at)).hour, `${zone} ${at}`).toBe(hour);
  }
});

test('names of days and weeks', () => {
  expect(day('1970-01-01')).toBe(0);
  expect(dayName(day('2024-02-29'))).toBe('2024-02-29');
  for (const wrong of ['2026-02-29', '2026-13-01', '26-01-01', '2026-1-1', '', 'today']) {
    expect(dayNumber(wrong), wrong).toBeUndefined();
  }
  expect(weekdayOf(day('2026-03-30'))).toBe(1);
  expect(weekdayOf(day('2026-03-29'))).toBe(7);
  expect(weekdayOf(day('1969-12-31'))).toBe(3);
  expect(dayName(mondayOf(weekOf(day('2026-04-05'))))).toBe('2026-03-30');
  expect(weekOf(day('2026-04-06')) - weekOf(day('2026-04-05'))).toBe(1);
});

test('only names of time zones are time zones', () => {
  for (const zone of ['UTC', 'Europe/Berlin', 'America/Argentina/Buenos_Aires', 'Etc/GMT+5']) {
    expect(checkTimeZone(zone, 'timeZone')).toBe(zone);
  }
  for (const wrong of ['+02:00', '', 'Nowhere', 'Europe/', 7, null, undefined, 'a'.repeat(1_000), 'UTC\0']) {
    expect(() => checkTimeZone(wrong, 'timeZone')).toThrow('timeZone: expected the name of a time zone');
  }
});
