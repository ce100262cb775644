import { expect, test } from 'vitest';
import { type DispatchPlan, treatmentOf } from './dispatch.ts';
import { retryDelayMs } from './outcome.ts';
import { decide, deliverableAddress, isQuiet, type PolicyFacts, type PolicySubject } from './policy.ts';

const plan: DispatchPlan = {
  treatments: [
    { id: '0', sizePercent: 60, content: { EMAIL: { inline: { subject: 's', html: 'h' } } } },
    {
      id: '1',
      sizePercent: 20,
      content: { EMAIL: { inline: { subject: 't', html: 'h' } }, SMS: { inline: { body: 'b' } } },
    },
  ],
  holdoutPercent: 20,
  limits: {},
};

const subject: PolicySubject = {
  channel: 'EMAIL',
  address: 'Ada@Example.com',
  status: 'ACTIVE',
  optOut: 'NONE',
  cohort: 99,
  timezone: null,
};

function facts(change: Partial<PolicyFacts> = {}): PolicyFacts {
  return {
    disabledChannels: new Set(),
    suppressed: new Set(),
    taken: new Set(),
    now: Date.UTC(2026, 0, 1, 12),
    ...change,
  };
}

const reasonOf = (
  change: Partial<PolicySubject>,
  known?: Partial<PolicyFacts>,
  other: Partial<DispatchPlan> = {},
) => decide({ ...plan, ...other }, { ...subject, ...change }, facts(known)).decision;

test('each question has its reason, and the first no wins', () => {
  expect(reasonOf({})).toBe('sending');
  expect(reasonOf({ channel: null })).toBe('channel_mismatch');
  expect(reasonOf({ channel: 'GCM' })).toBe('channel_mismatch');
  expect(reasonOf({}, { disabledChannels: new Set(['EMAIL']) })).toBe('channel_disabled');
  expect(reasonOf({ address: null })).toBe('address_missing');
  expect(reasonOf({ address: 'nobody' })).toBe('address_invalid');
  expect(reasonOf({ status: 'INACTIVE' })).toBe('inactive');
  expect(reasonOf({ optOut: 'ALL' })).toBe('opted_out');
  expect(reasonOf({ status: 'INACTIVE', optOut: 'ALL' })).toBe('inactive');
  expect(reasonOf({}, { suppressed: new Set(['ada@example.com']) })).toBe('suppressed');
  expect(reasonOf({ cohort: 19 })).toBe('holdout');
  expect(reasonOf({ channel: 'SMS', address: '+4915112345678' })).toBe('channel_mismatch');
  expect(reasonOf({ channel: 'SMS', address: '+4915112345678', cohort: 25 })).toBe('sending');
});

test('an address is written to once in a dispatch, whatever its letters', () => {
  const known = facts();
  expect(decide(plan, subject, known).decision).toBe('sending');
  expect(decide(plan, { ...subject, address: 'ada@example.COM' }, known).decision).toBe('duplicate_address');
});

test('held-out cohorts come first, then the additional treatments, and the default one has the rest', () => {
  const buckets = Array.from({ length: 100 }, (_, cohort) => {
    const treatment = treatmentOf(plan, cohort);
    return treatment === 'holdout' ? treatment : treatment.id;
  });
  expect(buckets.filter((bucket) => bucket === 'holdout')).toHaveLength(20);
  expect(buckets.filter((bucket) => bucket === '1')).toHaveLength(20);
  expect(buckets.filter((bucket) => bucket === '0')).toHaveLength(60);
});

test('quiet time is that of the recipient, may pass midnight, and needs a zone', () => {
  const night = { start: '22:00', end: '07:00' };
  const at = (iso: string) => Date.parse(iso);
  expect(isQuiet(night, 'Europe/Berlin', at('2026-01-01T21:30:00Z'))).toBe(true);
  expect(isQuiet(night, 'Europe/Berlin', at('2026-01-01T06:00:00Z'))).toBe(false);
  expect(isQuiet(night, 'America/New_York', at('2026-01-01T21:30:00Z'))).toBe(false);
  expect(isQuiet(night, null, at('2026-01-01T23:30:00Z'))).toBe(false);
  expect(isQuiet(night, 'Mars/Olympus', at('2026-01-01T23:30:00Z'))).toBe(false);
  const quiet = { quietTime: { start: '00:00', end: '23:59' } };
  expect(reasonOf({ timezone: 'UTC' }, {}, quiet)).toBe('quiet_time');
  expect(reasonOf({}, {}, quiet)).toBe('sending');
});

test('addresses are taken in the form that can be sent to', () => {
  expect(deliverableAddress('SMS', '0049 (151) 123-456')).toBeUndefined();
  expect(deliverableAddress('SMS', '49 (151) 123-45678')).toBe('+4915112345678');
  expect(deliverableAddress('SMS', '+12')).toBeUndefined();
  expect(deliverableAddress('EMAIL', ' jo@example.com ')).toBe('jo@example.com');
  expect(deliverableAddress('EMAIL', 'jo@example.com\r\nRCPT TO:<x@y.z>')).toBeUndefined();
  expect(deliverableAddress('EMAIL', 'a..b@example.com')).toBeUndefined();
  expect(deliverableAddress('EMAIL', 'jürgen@müller.example')).toBe('jürgen@müller.example');
});

test('waits grow, and advice shortens them only at first', () => {
  const wait = (attempt: number, advice?: number) => retryDelayMs(attempt, 60_000, advice, 0.5);
  expect([1, 2, 3, 8, 20].map((attempt) => wait(attempt))).toEqual([
    60_000, 300_000, 600_000, 14_400_000, 14_400_000,
  ]);
  expect(wait(1, 2_000)).toBe(2_000);
  expect(wait(1, 0)).toBe(1_000);
  expect(wait(4, 2_000)).toBe(1_200_000);
  expect(wait(4, 3_600_000)).toBe(3_600_000);
  expect(wait(1, 10 * 3_600_000)).toBe(4 * 3_600_000);
});
