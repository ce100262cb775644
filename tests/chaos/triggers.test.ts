import { expect, test } from 'vitest';
import { runTriggerChaos } from './triggers.ts';

test('each event triggers each campaign once, repeated by clients and killed in the middle', async () => {
  const events = Number(process.env.CHAOS_TRIGGERS ?? 6_000);
  const report = await runTriggerChaos({ events, print: () => undefined });
  expect(report.violations.slice(0, 10)).toEqual([]);
  expect(report.failed).toBeGreaterThan(0);
  expect(report.repeated).toBeGreaterThanOrEqual(events / 10);
  expect(report.messages + report.capped).toBe(2 * events);
}, 1_800_000);
