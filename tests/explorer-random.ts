/** Random histories of events, and what explorer and funnel answer about them, worked out one event at a time. */

export interface HistoryEvent {
  endpointId: string;
  userId?: string;
  type: string;
  at: number;
  attributes: Record<string, string>;
  metrics: Record<string, number>;
  sessionId?: string;
}

export interface StepFilter {
  eventType: string;
  attributes?: { name: string; values: string[]; exclude?: boolean }[];
  metrics?: { name: string; operator: string; value: number }[];
}

export function matches(event: HistoryEvent, filter: StepFilter): boolean {
  if (event.type !== filter.eventType) return false;
  for (const { name, values, exclude } of filter.attributes ?? []) {
    const held = Object.hasOwn(event.attributes, name) && values.includes(event.attributes[name]!);
    if (held === (exclude ?? false)) return false;
  }
  for (const { name, operator, value } of filter.metrics ?? []) {
    if (!Object.hasOwn(event.metrics, name)) return false;
    const metric = event.metrics[name]!;
    const holds = {
      equal: metric === value,
      greater: metric > value,
      greater_or_equal: metric >= value,
      less: metric < value,
      less_or_equal: metric <= value,
    }[operator];
    if (!holds) return false;
  }
  return true;
}

interface Placed {
  at: number;
  mask: number;
}

/**
 * Every chain of an actor is tried: from each event of step 1 on, all ways through the later steps. Answers for each
 * step the time of its first completion and of the step before it (the latest that a chain to it goes through).
 */
export function funnelOf(
  history: readonly HistoryEvent[],
  steps: readonly StepFilter[],
  options: { from: number; to: number; windowMs: number; by: 'endpoint' | 'user' },
): { counts: number[]; medians: (number | null)[] } {
  const actors = new Map<string, Placed[]>();
  for (const event of history) {
    if (event.at < options.from || event.at >= options.to) continue;
    const actor = options.by === 'user' ? event.userId : event.endpointId;
    const mask = steps.reduce((bits, step, index) => (matches(event, step) ? bits | (1 << index) : bits), 0);
    if (actor === undefined || mask === 0) continue;
    actors.set(actor, [...(actors.get(actor) ?? []), { at: event.at, mask }]);
  }
  const counts = steps.map(() => 0);
  const gaps: number[][] = steps.map(() => []);
  for (const events of actors.values()) {
    events.sort((a, b) => a.at - b.at || a.mask - b.mask);
    const completions = completionsOf(events, steps.length, options.windowMs);
    completions.forEach((found, index) => {
      if (found.length === 0) return;
      counts[index]! += 1;
      const first = found.reduce((least, { place }) => Math.min(least, place), Number.POSITIVE_INFINITY);
      const chains = found.filter(({ place }) => place === first);
      const previous = Math.max(...chains.map((chain) => chain.previous));
      if (index > 0) gaps[index]!.push((events[first]!.at - previous) / 1000);
    });
  }
  return { counts, medians: gaps.map(median) };
}

/** For each step all pairs of an event that completes it (by its place) and the time of the step before in the same chain. */
function completionsOf(events: readonly Placed[], steps: number, windowMs: number) {
  const found: { place: number; previous: number }[][] = Array.from({ length: steps }, () => []);
  const walk = (index: number, step: number, start: number, previous: number): void => {
    const { at, mask } = events[index]!;
    if ((mask & (1 << step)) === 0 || at > start + windowMs) return;
    found[step]!.push({ place: index, previous });
    if (step + 1 < steps)
      for (let next = index + 1; next < events.length; next++) walk(next, step + 1, start, at);
  };
  events.forEach((event, index) => {
    walk(index, 0, event.at, event.at);
  });
  return found;
}

function median(values: number[]): number | null {
  if (values.length === 0) return null;
  const sorted = values.toSorted((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle)]!) / 2;
}

/** A small generator of its own, so that a failure can be run again by its seed. */
export function randomOf(seed: number) {
  let state = seed >>> 0 || 1;
  const next = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 0x1_0000_0000;
  };
  const below = (limit: number) => Math.floor(next() * limit);
  const pick = <T>(values: readonly T[]): T => values[below(values.length)]!;
  return { next, below, pick };
}

export type Random = ReturnType<typeof randomOf>;

export const types = ['view', 'cart', 'purchase', '__proto__'] as const;
export const colors = ['red', 'green', 'blue', 'constructor'] as const;

/** Few actors, types and moments, so that ties, repeats and windows matter. */
export function randomHistory({ below, pick, next }: Random, start: number, days: number): HistoryEvent[] {
  const actors = 1 + below(6);
  return Array.from({ length: below(60) }, () => {
    const endpoint = below(actors);
    const metrics: Record<string, number> = Object.create(null);
    if (next() < 0.6) metrics.price = below(5);
    const attributes: Record<string, string> = Object.create(null);
    if (next() < 0.7) attributes[pick(['color', 'constructor'])] = pick(colors);
    return {
      endpointId: `endpoint-${endpoint}`,
      ...(next() < 0.7 && { userId: `user-${endpoint % 3}` }),
      type: pick(types),
      at: start + (next() < 0.3 ? below(20) : below(days * 24) * 3_600_000),
      attributes,
      metrics,
      ...(next() < 0.8 && { sessionId: `session-${below(3)}` }),
    };
  });
}

export function randomStep({ pick, next, below }: Random): StepFilter {
  return {
    eventType: pick(types),
    ...(next() < 0.2 && {
      attributes: [
        { name: pick(['color', 'constructor']), values: [pick(colors), pick(colors)], exclude: next() < 0.4 },
      ],
    }),
    ...(next() < 0.2 && {
      metrics: [
        {
          name: 'price',
          operator: pick(['equal', 'greater', 'greater_or_equal', 'less', 'less_or_equal']),
          value: below(5),
        },
      ],
    }),
  };
}
