import { colours, dayMs, type History, historyEnd, historyStart, plainTypes } from './history.ts';
import type { Random } from './random.ts';
import { dateOf } from './zone.ts';

export interface Range {
  from: string;
  to: string;
}

export interface Filter {
  eventType: string;
  attributes?: { name: string; values: string[]; exclude?: boolean }[];
  metrics?: {
    name: string;
    operator: 'equal' | 'greater' | 'greater_or_equal' | 'less' | 'less_or_equal';
    value: number;
  }[];
}

export interface Whose {
  segmentId?: string;
  endpointAttributes?: { name: string; values: string[] }[];
}

export interface FunnelQuestion extends Whose {
  from: number;
  to: number;
  steps: Filter[];
  windowMs: number;
  by: 'endpoint' | 'user';
}

export interface ExplorerQuestion extends Whose, Filter {
  from: number;
  to: number;
  interval: 'hour' | 'day' | 'all';
  timeZone: string;
  metric?: string;
  groupBy?: string;
  top?: number;
}

export interface AttributionQuestion extends Range {
  campaignId: string;
  after: 'sent' | 'opened';
  windowHours: number;
}

/** Everything that is asked about one application. */
export interface Questions {
  timeZone: string;
  range: Range;
  /** Some days of it. */
  part: Range;
  /** When it is asked. */
  now: number;
  attributions: AttributionQuestion[];
  funnels: FunnelQuestion[];
  explorers: ExplorerQuestion[];
  kpis: { from: number; to: number; timeZone: string };
  campaigns: string[];
}

const firstDay = Math.floor(historyStart / dayMs);
const lastDay = Math.floor(historyEnd / dayMs);

export function randomQuestions(random: Random, history: History, segmentId: string): Questions {
  const { app, timeZone } = history;
  const campaigns = history.campaigns.map((campaign) => `${app}-${campaign}`);
  const days = (): Range => {
    const from = random.between(firstDay - 1, lastDay);
    return { from: dateOf(from), to: dateOf(random.between(from, lastDay + 1)) };
  };
  const instants = () => {
    const from = historyStart + random.below(30) * dayMs + random.pick([0, 1, 3_600_000]);
    return { from, to: from + random.pick([1, 10, 60, 200]) * dayMs };
  };
  const whose = (): Whose => ({
    ...(random.chance(0.15) && { segmentId }),
    ...(random.chance(0.15) && { endpointAttributes: [{ name: 'plan', values: ['free'] }] }),
  });
  return {
    timeZone,
    range: { from: dateOf(firstDay - 3), to: dateOf(lastDay + 35) },
    part: days(),
    now: historyEnd + random.between(-40, 45) * dayMs + random.below(dayMs),
    attributions: campaigns.flatMap((campaignId) =>
      (['sent', 'opened'] as const).map((after) => ({
        campaignId,
        after,
        windowHours: random.pick([1, 24, 24, 240, 720]),
        ...days(),
      })),
    ),
    funnels: Array.from({ length: 3 }, () => ({
      ...instants(),
      ...whose(),
      steps: Array.from({ length: random.between(2, 4) }, () => randomFilter(random)),
      windowMs: random.pick([1, 1_000, 3_600_000, 7 * dayMs, 40 * dayMs]),
      by: random.pick(['endpoint', 'user'] as const),
    })),
    explorers: Array.from({ length: 3 }, () => ({
      ...instants(),
      ...whose(),
      ...randomFilter(random),
      interval: random.pick(['hour', 'day', 'all'] as const),
      timeZone,
      ...(random.chance(0.7) && { metric: 'size' }),
      ...(random.chance(0.5) && { groupBy: 'colour', top: random.between(1, 4) }),
    })).map((question) =>
      question.interval === 'hour'
        ? { ...question, to: Math.min(question.to, question.from + 60 * dayMs) }
        : question,
    ),
    kpis: { ...instants(), timeZone: random.pick(['UTC', timeZone]) },
    campaigns,
  };
}

function randomFilter(random: Random): Filter {
  return {
    eventType: random.pick(plainTypes),
    ...(random.chance(0.4) && {
      attributes: [
        { name: 'colour', values: [random.pick(colours), random.pick(colours)], exclude: random.chance(0.4) },
      ],
    }),
    ...(random.chance(0.3) && {
      metrics: [
        {
          name: 'size',
          operator: random.pick(['equal', 'greater', 'greater_or_equal', 'less', 'less_or_equal'] as const),
          value: random.pick([0, 1, 2, 2.5]),
        },
      ],
    }),
  };
}
