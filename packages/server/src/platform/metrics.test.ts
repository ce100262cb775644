import { Counter } from 'prom-client';
import { expect, test } from 'vitest';
import { createMetrics, mergeExpositions } from './metrics.ts';

test('the pages of two roles become one in which each metric is described once', async () => {
  const pages = [];
  for (const [role, count] of [
    ['api', 2],
    ['worker', 3],
  ] as const) {
    const { registry } = createMetrics(role);
    new Counter({
      name: 'things_total',
      help: 'Things # with a sign.',
      labelNames: ['kind'],
      registers: [registry],
    })
      .labels({ kind: 'a"b\n' })
      .inc(count);
    pages.push(await registry.metrics());
  }
  const merged = mergeExpositions(pages);
  expect(merged.match(/^# TYPE things_total counter$/gm)).toHaveLength(1);
  expect(merged).toContain(
    'things_total{kind="a\\"b\\n",role="api"} 2\nthings_total{kind="a\\"b\\n",role="worker"} 3\n',
  );
  const types = merged.match(/^# TYPE \S+/gm) ?? [];
  expect(new Set(types).size).toBe(types.length);
  expect(merged).toMatch(/^process_resident_memory_bytes\{role="worker"\} \d+$/m);
});
