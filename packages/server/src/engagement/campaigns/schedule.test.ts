import { describe, expect, test } from 'vitest';
import { checkQuietTime, checkSchedule, parseIsoTime } from './schedule.ts';

const now = Date.UTC(2026, 10, 21, 12);

describe('parseIsoTime', () => {
  test.each([
    ['2026-12-24T18:00:00Z', '2026-12-24T18:00:00.000Z'],
    ['2026-12-24T18:00:00.5Z', '2026-12-24T18:00:00.500Z'],
    ['2026-12-24T18:00:00.123456Z', '2026-12-24T18:00:00.123Z'],
    ['2026-12-24T18:00', '2026-12-24T18:00:00.000Z'],
    ['2026-12-24', '2026-12-24T00:00:00.000Z'],
    ['2026-12-24T18:00:00+05:30', '2026-12-24T12:30:00.000Z'],
    ['2026-12-24T18:00:00-0800', '2026-12-25T02:00:00.000Z'],
    ['2026-12-24T18:00:00+01', '2026-12-24T17:00:00.000Z'],
    ['2028-02-29T00:00:00Z', '2028-02-29T00:00:00.000Z'],
  ])('%s', (text, iso) => {
    expect(new Date(parseIsoTime(text)!).toISOString()).toBe(iso);
  });

  test.each([
    '2026-02-30T00:00:00Z',
    '2026-12-24T24:00:00Z',
    '2026-13-01',
    'tomorrow',
    '',
    '1766599200',
    '2026-12-24T18:00:00+15:00',
    '0000-01-01',
    '2026-12-24 18:00',
  ])('refuses %j', (text) => {
    expect(parseIsoTime(text)).toBeUndefined();
  });
});

describe('checkSchedule', () => {
  const check = (schedule: Parameters<typeof checkSchedule>[0]) =>
    checkSchedule(schedule, '$.Schedule', { now, mustBeAhead: true });

  test('takes an immediate start, and one in the future with all members', () => {
    check({ StartTime: 'IMMEDIATE' });
    check({
      StartTime: '2026-11-21T12:00:01Z',
      EndTime: '2026-11-22T12:00:00Z',
      Frequency: 'ONCE',
      IsLocalTime: false,
      Timezone: 'UTC+05:30',
      QuietTime: { Start: '22:00', End: '06:30' },
    });
  });

  test.each([
    ['$.Schedule', undefined, 'bad_request'],
    ['$.Schedule.StartTime', { StartTime: 'NOW' }, 'bad_request'],
    ['$.Schedule.StartTime', { StartTime: '2026-11-21T12:00:00Z' }, 'bad_request'],
    ['$.Schedule.EndTime', { StartTime: 'IMMEDIATE', EndTime: 'later' }, 'bad_request'],
    ['$.Schedule.EndTime', { StartTime: '2026-11-23', EndTime: '2026-11-22' }, 'bad_request'],
    ['$.Schedule.Timezone', { StartTime: 'IMMEDIATE', Timezone: 'Europe/Berlin' }, 'bad_request'],
    ['$.Schedule.QuietTime.End', { StartTime: 'IMMEDIATE', QuietTime: { Start: '22:00' } }, 'bad_request'],
    [
      '$.Schedule.QuietTime.Start',
      { StartTime: 'IMMEDIATE', QuietTime: { Start: '24:00', End: '01:00' } },
      'bad_request',
    ],
    [
      '$.Schedule.EventFilter',
      { StartTime: 'IMMEDIATE', EventFilter: { FilterType: 'SYSTEM', Dimensions: {} } },
      'bad_request',
    ],
    ['$.Schedule.Frequency', { StartTime: 'IMMEDIATE', Frequency: 'DAILY' }, 'not_implemented'],
    ['$.Schedule.EventFilter', { StartTime: 'IMMEDIATE', Frequency: 'EVENT' }, 'bad_request'],
    ['$.Schedule.IsLocalTime', { StartTime: 'IMMEDIATE', IsLocalTime: true }, 'not_implemented'],
  ] as const)('names %s of %j', (member, schedule, code) => {
    expect(() => check(schedule)).toThrow(expect.objectContaining({ code, member }));
  });

  test('does not ask again whether an old start time lies ahead', () => {
    checkSchedule({ StartTime: '2026-11-20' }, '$.Schedule', { now, mustBeAhead: false });
  });
});

test('quiet time is both ends, or neither', () => {
  checkQuietTime(undefined, '$');
  checkQuietTime({}, '$');
  checkQuietTime({ Start: '', End: '' }, '$');
  expect(() => checkQuietTime({ End: '06:00' }, '$.QuietTime')).toThrow('$.QuietTime.Start: expected');
});
