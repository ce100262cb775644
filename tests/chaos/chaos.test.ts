import { expect, test } from 'vitest';
import { runChaos } from './run.ts';

test('nothing is lost and nothing is repeated in silence when processes are killed', async () => {
  const seed = Number(process.env.CHAOS_SEED ?? Date.now() % 1_000_000);
  console.log(`chaos seed ${seed}`);
  const report = await runChaos({ seed, recipients: 3_000, kills: 3, print: () => undefined });
  expect(report.violations, `seed ${seed}`).toEqual([]);
  expect(report.kills).toHaveLength(3);
  expect(report.refused).toBeGreaterThan(200);
}, 300_000);
