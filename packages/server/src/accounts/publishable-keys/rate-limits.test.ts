import { expect, test } from 'vitest';
import { RateLimits } from './rate-limits.ts';

let now = 1_790_000_000_000;
const clock = { now: () => now };

test('lets a burst through, then the rate, and says how long to wait', () => {
  const limits = new RateLimits(clock);
  const take = () => limits.take('a', 2);
  expect(Array.from({ length: 7 }, take)).toEqual([0, 0, 0, 0, 0, 0, 500]);
  now += 250;
  expect(take()).toBe(250);
  now += 250;
  expect([take(), take()]).toEqual([0, 500]);
  expect(limits.take('b', 2)).toBe(0);
  now -= 60_000;
  expect(take()).toBeGreaterThan(0);
  now += 120_000;
  expect(Array.from({ length: 7 }, take)).toEqual([0, 0, 0, 0, 0, 0, 500]);
});

test('holds so many names and no more; those in use stay', () => {
  const limits = new RateLimits(clock, { maxBuckets: 100 });
  for (let count = 0; count < 3; count++) limits.take('busy', 1);
  for (let count = 0; count < 1_000; count++) {
    limits.take(`stranger ${count}`, 1);
    if (count % 50 === 0) expect(limits.take('busy', 1)).toBeGreaterThan(0);
  }
  expect(limits.size).toBe(100);
});
