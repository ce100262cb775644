import type { Raw, RawEvent } from './facts.ts';
import type { ExplorerQuestion, Filter, FunnelQuestion, Whose } from './questions.ts';
import type { Rules } from './rules.ts';
import { Zone } from './zone.ts';

function fits(event: RawEvent, filter: Filter, rules: Rules): boolean {
  if (event.type !== filter.eventType) return false;
  for (const { name, values, exclude } of filter.attributes ?? []) {
    const value = event.attributes.get(name);
    if (exclude && value === undefined && rules.absentIsExcluded) return false;
    const has = value !== undefined && values.includes(value);
    if (has === (exclude === true)) return false;
  }
  return (filter.metrics ?? []).every(({ name, operator, value: wanted }) => {
    const value = event.metrics.get(name);
    if (value === undefined) return false;
    const order = Math.sign(value - wanted);
    return {
      equal: order === 0,
      greater: order > 0,
      greater_or_equal: order >= 0,
      less: order < 0,
      less_or_equal: order <= 0,
    }[operator];
  });
}

function within(raw: Raw, question: Whose & { from: number; to: number }): RawEvent[] {
  const belongs = (endpoint: string) => {
    const plans = raw.endpoints.get(endpoint)?.plan ?? [];
    // The segment of every application is that of plan gold.
    if (question.segmentId !== undefined && !plans.includes('gold')) return false;
    return (question.endpointAttributes ?? []).every(({ values }) =>
      values.some((value) => plans.includes(value)),
    );
  };
  return raw.events.filter(
    ({ endpoint, at }) => at >= question.from && at < question.to && belongs(endpoint),
  );
}

/** Steps that an actor has completed: the earliest completion, and the time since the latest one of the step before. */
interface Reached {
  gapMs: number;
}

export function funnelOf(raw: Raw, question: FunnelQuestion, rules: Rules): object[] {
  const { steps, by } = question;
  const actorOf = (event: RawEvent) => (by === 'endpoint' ? event.endpoint : event.user);
  const relevant = within(raw, question).filter((event) => steps.some((step) => fits(event, step, rules)));
  const reached: Reached[][] = steps.map(() => []);
  for (const [actor, events] of Map.groupBy(relevant, actorOf)) {
    if (actor !== undefined) follow(events, question, rules, reached);
  }
  return steps.map(({ eventType }, index) => {
    const count = reached[index]!.length;
    const previous = index === 0 ? undefined : reached[index - 1]!.length;
    const part = (whole: number) => (whole > 0 ? count / whole : null);
    return {
      step: index + 1,
      eventType,
      count,
      share: part(reached[0]!.length),
      shareOfPrevious: part(previous ?? reached[0]!.length),
      dropOff: previous === undefined ? 0 : previous - count,
      medianSeconds:
        index === 0 || count === 0 ? null : median(reached[index]!.map(({ gapMs }) => gapMs)) / 1_000,
    };
  });
}

function median(numbers: number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 === 1 ? sorted[Math.floor(middle)]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Tries every chain: from each event of the first step on, every event of the next one that may follow. */
function follow(
  found: RawEvent[],
  { steps, windowMs }: FunnelQuestion,
  rules: Rules,
  reached: Reached[][],
): void {
  const stepsOf = (event: RawEvent) => steps.map((step) => fits(event, step, rules));
  const events = found
    .map((event) => ({ at: event.at, fits: stepsOf(event) }))
    .sort((a, b) => a.at - b.at || byHighestStep(a.fits, b.fits));
  // For each step, the places of the events with which some chain ends.
  const ends: Set<number>[] = steps.map(() => new Set());
  const extend = (step: number, place: number, startedAt: number): void => {
    ends[step]!.add(place);
    for (let next = rules.eventServesTwice ? place : place + 1; next < events.length; next++) {
      const { at, fits: isOf } = events[next]!;
      if (at > startedAt + windowMs) break;
      if (rules.strictlyLater && at === events[place]!.at) continue;
      if (isOf[step + 1]) extend(step + 1, next, startedAt);
    }
  };
  for (const [place, { at, fits: isOf }] of events.entries()) if (isOf[0]) extend(0, place, at);
  for (const [step, places] of ends.entries()) {
    if (places.size === 0) return;
    const first = Math.min(...places);
    const before = step === 0 ? first : Math.max(...[...ends[step - 1]!].filter((place) => place < first));
    reached[step]!.push({ gapMs: step === 0 ? 0 : events[first]!.at - (events[before]?.at ?? 0) });
  }
}

/** Of the same millisecond: who is of higher steps comes later. */
function byHighestStep(a: boolean[], b: boolean[]): number {
  for (let step = a.length - 1; step >= 0; step--) if (a[step] !== b[step]) return a[step] ? 1 : -1;
  return 0;
}

export function explorerOf(raw: Raw, question: ExplorerQuestion, rules: Rules): object[] {
  const { interval, metric, groupBy, top = 10 } = question;
  const zone = new Zone(question.timeZone);
  const events = within(raw, question).filter((event) => fits(event, question, rules));
  const groupOf = (event: RawEvent) =>
    groupBy === undefined ? null : (event.attributes.get(groupBy) ?? null);
  const byCountAndValue = (a: [string | null, RawEvent[]], b: [string | null, RawEvent[]]) =>
    b[1].length - a[1].length || (a[0] === null ? 1 : b[0] === null ? -1 : a[0] < b[0] ? -1 : 1);
  const frequent = [...Map.groupBy(events, groupOf)]
    .sort(byCountAndValue)
    .slice(0, top)
    .map(([value]) => value);
  const slots = Map.groupBy(events, ({ at }) => slotOf(zone, interval, at));
  return [...slots]
    .sort(([a], [b]) => (a === b ? 0 : Number(a.split(' ')[0]) - Number(b.split(' ')[0])))
    .flatMap(([slot, own]) => {
      const time = interval === 'all' ? null : slot.split(' ')[1]!;
      const [known, rest] = [
        own.filter((event) => frequent.includes(groupOf(event))),
        own.filter((event) => !frequent.includes(groupOf(event))),
      ];
      const rows = [...Map.groupBy(known, groupOf)]
        .sort(byCountAndValue)
        .map(([group, of]) => ({ time, group, other: false, ...figures(of, metric) }));
      return rest.length === 0
        ? rows
        : [...rows, { time, group: null, other: true, ...figures(rest, metric) }];
    });
}

/** When the interval began, and how it is called. */
function slotOf(zone: Zone, interval: ExplorerQuestion['interval'], at: number): string {
  if (interval === 'all') return '0';
  const local = zone.at(at);
  if (interval === 'day') return `${local.day} ${local.date}`;
  const minutes = Math.floor(at / 60_000) + local.offsetMinutes;
  const begin = at - (((minutes % 60) + 60) % 60) * 60_000 - (((at % 60_000) + 60_000) % 60_000);
  const [hours, rest] = [Math.floor(Math.abs(local.offsetMinutes) / 60), Math.abs(local.offsetMinutes) % 60];
  const two = (number: number) => String(number).padStart(2, '0');
  const offset = `${local.offsetMinutes < 0 ? '-' : '+'}${two(hours)}:${two(rest)}`;
  return `${begin} ${local.date}T${two(local.hour)}:00:00${offset}`;
}

function figures(events: RawEvent[], metric: string | undefined) {
  const values = metric === undefined ? [] : events.flatMap(({ metrics }) => metrics.get(metric) ?? []);
  const distinct = (names: (string | undefined)[]) =>
    new Set(names.filter((name) => name !== undefined)).size;
  const sessions = distinct(
    events.map(({ endpoint, session }) =>
      session === undefined ? undefined : JSON.stringify([endpoint, session]),
    ),
  );
  const sum = values.length === 0 ? null : values.reduce((total, value) => total + value, 0);
  const whole = metric === undefined ? events.length : sum;
  return {
    count: events.length,
    endpoints: distinct(events.map(({ endpoint }) => endpoint)),
    users: distinct(events.map(({ user }) => user)),
    sessions,
    sum,
    min: values.length === 0 ? null : Math.min(...values),
    max: values.length === 0 ? null : Math.max(...values),
    average: sum === null ? null : sum / values.length,
    averagePerSession: sessions > 0 && whole !== null ? whole / sessions : null,
  };
}
