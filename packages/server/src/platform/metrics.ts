import { collectDefaultMetrics, Registry } from 'prom-client';

/** The figures of one process in the format of Prometheus; rooms register theirs on `registry`. */
export interface Metrics {
  readonly registry: Registry;
}

/** Each sample carries the role of its process. */
export function createMetrics(role: string): Metrics {
  const registry = new Registry();
  registry.setDefaultLabels({ role });
  collectDefaultMetrics({ register: registry });
  return { registry };
}

/**
 * One page from the pages of several processes: the format allows each metric's header only once, followed by all
 * of its samples.
 */
export function mergeExpositions(pages: string[]): string {
  const families = new Map<string, { header: string[]; samples: string[] }>();
  for (const page of pages) {
    let name = '';
    for (const line of page.split('\n')) {
      if (line === '') continue;
      const header = /^# (?:HELP|TYPE) (\S+)/.exec(line);
      if (header) name = header[1]!;
      const family = families.get(name) ?? { header: [], samples: [] };
      families.set(name, family);
      if (!header) family.samples.push(line);
      else if (!family.header.includes(line)) family.header.push(line);
    }
  }
  const blocks = [...families.values()].map(({ header, samples }) => [...header, ...samples].join('\n'));
  return `${blocks.join('\n\n')}\n`;
}
