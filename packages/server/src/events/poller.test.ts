import { afterEach, expect, test, vi } from 'vitest';
import { createPoller, type RoundResult } from './poller.ts';

afterEach(() => vi.useRealTimers());

test('a wake begins a round at once, but cuts no rest short', async () => {
  vi.useFakeTimers();
  let rounds = 0;
  let result: RoundResult = 'none';
  const poller = createPoller({
    pollMs: { busy: 10, rest: 100, idle: 1_000 },
    onError: () => undefined,
    round: async () => {
      rounds++;
      return result;
    },
  });
  const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);
  poller.start();
  // Waits of 20, 40, … up to 1,000.
  await pass(10_000);
  const idle = rounds;
  result = 'some';
  poller.wake();
  await pass(0);
  expect(rounds).toBe(idle + 1);
  poller.wake();
  await pass(99);
  expect(rounds).toBe(idle + 1);
  await pass(1);
  expect(rounds).toBe(idle + 2);
  // A stop does not wait for the rest either.
  await poller.stop();
  await pass(1_000);
  expect(rounds).toBe(idle + 2);
});
