import type { IngestEvent, IngestItem } from '../../packages/server/src/audience/index.ts';
import type { Random } from './random.ts';

/** What happens in one application, in the order of arrival. Times in milliseconds since the epoch. */
export interface History {
  app: string;
  timeZone: string;
  /** Index of the slice before which the time zone is set; later ones make a rebuild. */
  zoneSlice: number;
  /** By slice, the requests that arrive in it, one after the other. */
  puts: IngestItem[][][];
  /** By slice, endpoints that are deleted after its requests. */
  deletions: string[][];
  /** Slice after which the whole application is deleted. */
  deletedSlice: number | undefined;
  campaigns: string[];
  dispatches: RandomDispatch[];
  messages: RandomMessage[];
}

export interface RandomDispatch {
  kind: 'campaign' | 'direct' | 'test';
  campaignId: string | undefined;
  slice: number;
  /** Treatments of which the run has an activity. */
  activities: string[];
}

export interface RandomMessage {
  dispatch: number;
  channel: 'EMAIL' | 'SMS';
  address: string;
  endpointId: string | undefined;
  treatmentId: string | undefined;
  facts: { slice: number; at: number; type: string; payload: Record<string, unknown> }[];
}

export const dayMs = 86_400_000;
const hourMs = 3_600_000;
const firstAt = Date.UTC(2026, 8, 9, 1);

/** When requests arrive: twice every five days, ten hours apart, now and then over midnight. */
export const sliceTimes: readonly number[] = Array.from(
  { length: 28 },
  (_, index) =>
    firstAt +
    Math.floor(index / 2) * 5 * dayMs +
    (index % 2) * 10 * hourMs +
    ((Math.floor(index / 2) * 7) % 24) * hourMs,
);
export const historyStart = firstAt - 12 * dayMs;
export const historyEnd = sliceTimes.at(-1)!;

/** Zones whose clocks are changed in the time of the histories are among them, also by half an hour. */
const timeZones = [
  'UTC',
  'Europe/Berlin',
  'America/New_York',
  'America/St_Johns',
  'Asia/Kolkata',
  'Asia/Kathmandu',
  'Pacific/Auckland',
  'Pacific/Chatham',
  'Australia/Lord_Howe',
  'Pacific/Kiritimati',
  'America/Los_Angeles',
];

export const plainTypes = ['look', 'add', 'buy', 'share'];
const otherTypes = [
  '_userauth.sign_in',
  '_userauth.sign_up',
  '_userauth.auth_fail',
  '_campaign.opened_notification',
];
/** What Pinpoint wrote into its streams: no use of the app. */
export const serviceTypes = ['_email.open', '_SMS.SUCCESS', '_campaign.send'];
const prices = [0, 1, 9.99, 0.1, 19.95, -5, 1e12, 1.1e12, 0.0000005, 123.4567895];
const quantities = [1, 2, 3, 0, 0.5, -1, 1e6];
const currencies = ['EUR', 'usd', 'Usd', 'EURO', '', 'E1R'];
export const colours = ['red', 'blue', 'Blue', 'green', ''];

interface Planned {
  endpointId: string;
  event: IngestEvent;
}

/** A history by the generator's seed alone. */
export function randomHistory(random: Random, index: number): History {
  const app = `app${String(index).padStart(3, '0')}`.padEnd(32, '0');
  const endpoints = Array.from({ length: random.between(2, 7) }, (_, number) => `e${number}`);
  const history: History = {
    app,
    timeZone: random.pick(timeZones),
    zoneSlice: random.chance(0.7) ? 0 : random.below(sliceTimes.length),
    puts: sliceTimes.map(() => []),
    deletions: sliceTimes.map(() => endpoints.filter(() => random.chance(0.01))),
    deletedSlice: random.chance(0.04) ? random.between(5, sliceTimes.length - 1) : undefined,
    campaigns: Array.from({ length: random.below(3) }, (_, number) => `c${number}`),
    dispatches: [],
    messages: [],
  };
  planMessages(random, history, endpoints);
  const planned = endpoints.flatMap((endpointId) => [
    ...sessions(random, endpointId),
    ...singleEvents(random, endpointId),
  ]);
  planEvents(random, history, [...planned, ...reactions(random, history)]);
  return history;
}

function moment(random: Random): number {
  return historyStart + Math.floor(random.next() * (historyEnd - historyStart));
}

/** Runs of sessions, one soon after the other: just within five seconds, just outside, overlapping, or without an end. */
function sessions(random: Random, endpointId: string): Planned[] {
  const events: Planned[] = [];
  const say = (type: string, at: number, id: string | undefined) =>
    events.push({ endpointId, event: { id: '', type, at, ...(id !== undefined && { session: { id } }) } });
  for (let run = random.below(7); run > 0; run--) {
    let at = moment(random);
    for (let count = random.between(1, 4); count > 0; count--) {
      const id = random.chance(0.1) ? undefined : `s${random.below(40)}`;
      const length = random.pick([0, 1_000, 60_000, 3 * hourMs, 30 * hourMs, -2_000]);
      say(random.chance(0.2) ? '_session_start' : '_session.start', at, id);
      if (random.chance(0.2)) say('_session.resume', at + 10, id);
      if (random.chance(0.2)) say('_session.pause', at + Math.floor(length / 2), id);
      if (random.chance(0.8)) say('_session.stop', at + length, id);
      if (random.chance(0.1)) say('_session.start', at + random.pick([-20_000, 0, 20_000]), id);
      at += length + random.pick([-1, 0, 1, 4_999, 5_000, 5_001, 90_000]);
    }
  }
  return events;
}

function singleEvents(random: Random, endpointId: string): Planned[] {
  const events = Array.from({ length: random.below(25) }, (): Planned => {
    const type = random.chance(0.2)
      ? '_monetization.purchase'
      : random.chance(0.1)
        ? random.pick(serviceTypes)
        : random.pick(random.chance(0.15) ? otherTypes : plainTypes);
    const attributes: Record<string, string> = {};
    const metrics: Record<string, number> = {};
    if (type === '_monetization.purchase') {
      if (random.chance(0.8)) metrics._item_price = random.pick(prices);
      if (random.chance(0.6)) metrics._quantity = random.pick(quantities);
      if (random.chance(0.8)) attributes._currency = random.pick(currencies);
    } else {
      if (random.chance(0.7)) attributes.colour = random.pick(colours);
      if (random.chance(0.6)) metrics.size = random.pick([0, 1, 2, 2.5, -3, 1e9]);
    }
    const session = random.chance(0.5) ? { session: { id: `s${random.below(4)}` } } : {};
    // Many at the same few moments, for funnels: within their windows, and at the very same millisecond.
    const at = random.chance(0.4)
      ? historyStart + random.below(20) * 3 * dayMs + random.pick([0, 0, 1, 1_000, 3_600_000, 3_600_001])
      : moment(random);
    return { endpointId, event: { id: '', type, at, attributes, metrics, ...session } };
  });
  // Some with a companion of the same millisecond.
  const together = events.filter(() => random.chance(0.2));
  return [
    ...events,
    ...together.map(({ event }) => ({ endpointId, event: { ...event, type: random.pick(plainTypes) } })),
  ];
}

/** Purchases and sessions just where windows after messages end. */
function reactions(random: Random, { messages }: History): Planned[] {
  return messages.flatMap(({ endpointId, facts }) =>
    facts.flatMap(({ at }) => {
      if (endpointId === undefined || random.chance(0.5)) return [];
      const then = at + random.pick([1, 24, 240]) * hourMs + random.pick([-1, 0, 0, 1]);
      const type = random.pick(['_session.start', '_monetization.purchase']);
      return [{ endpointId, event: { id: '', type, at: then, metrics: { _item_price: 3 } } }];
    }),
  );
}

/** Which request brings which event: mostly the next, sometimes one of much later; some come twice, some lie about time. */
function planEvents(random: Random, history: History, planned: Planned[]): void {
  for (const [index, { event }] of planned.entries()) {
    event.id = `ev${index}`;
    if (random.chance(0.02)) event.at = random.pick([0, Date.UTC(2100, 0, 1), historyEnd + 40 * dayMs]);
  }
  const bySlice = Map.groupBy(planned, ({ event }) => arrivalSlice(random, event.at));
  for (const slice of sliceTimes.keys()) {
    const arriving = bySlice.get(slice) ?? [];
    if (arriving.length === 0) continue;
    const items = [...Map.groupBy(arriving, ({ endpointId }) => endpointId)].map(
      ([endpointId, events]): IngestItem => ({
        endpointId,
        ...(random.chance(0.3) && { endpoint: randomEndpoint(random) }),
        events: events.map(({ event }) => event),
      }),
    );
    const replay = items.filter(() => random.chance(0.3)).map((item) => lyingReplay(random, item));
    history.puts[slice]!.push(items);
    if (replay.length === 0) continue;
    // Again at once, or ten hours later.
    const again = slice % 2 === 0 && random.chance(0.5) ? slice + 1 : slice;
    history.puts[again]!.push(replay);
  }
}

function arrivalSlice(random: Random, at: number): number {
  const first = sliceTimes.findIndex((time) => time >= at);
  const natural = first < 0 ? random.below(sliceTimes.length) : first;
  return Math.min(sliceTimes.length - 1, natural + random.pick([0, 0, 0, 0, 0, 1, 2, 5, 9]));
}

function randomEndpoint(random: Random): NonNullable<IngestItem['endpoint']> {
  return {
    ...(random.chance(0.7) && { User: { UserId: `u${random.below(4)}` } }),
    ...(random.chance(0.5) && { Attributes: { plan: [random.pick(['gold', 'free'])] } }),
    ...(random.chance(0.3) && { Demographic: { Platform: random.pick(['ios', 'android']) } }),
  };
}

/** The same ids once more, saying something else: nothing of it may count. */
function lyingReplay(random: Random, item: IngestItem): IngestItem {
  return {
    endpointId: item.endpointId,
    ...(random.chance(0.5) && { endpoint: { User: { UserId: 'liar' } } }),
    events: item.events.map((event) => ({ ...event, at: event.at - 2 * dayMs, metrics: { size: 77 } })),
  };
}

function planMessages(random: Random, history: History, endpoints: readonly string[]): void {
  for (let count = random.below(5); count > 0; count--) {
    const campaignId =
      history.campaigns.length > 0 && random.chance(0.7) ? random.pick(history.campaigns) : undefined;
    const dispatch = history.dispatches.push({
      kind: campaignId === undefined ? 'direct' : random.chance(0.1) ? 'test' : 'campaign',
      campaignId,
      slice: random.below(sliceTimes.length - 3),
      activities: ['0', 't1'].filter(() => random.chance(0.7)),
    });
    for (let message = random.below(7); message > 0; message--) {
      history.messages.push(randomMessage(random, history, dispatch - 1, endpoints));
    }
  }
}

function randomMessage(
  random: Random,
  { dispatches }: History,
  dispatch: number,
  endpoints: readonly string[],
): RandomMessage {
  const { slice: first, campaignId } = dispatches[dispatch]!;
  const facts: RandomMessage['facts'] = [];
  const say = (type: string, payload: Record<string, unknown> = {}) => {
    const slice = Math.min(sliceTimes.length - 1, first + random.below(3));
    const [from, to] = [sliceTimes[first]!, sliceTimes[slice]!];
    facts.push({
      slice,
      at: from + Math.floor(random.next() * (to - from)),
      type: `message.${type}`,
      payload,
    });
  };
  if (random.chance(0.2)) say('deferred', { code: 451 });
  if (random.chance(0.8)) say('sent', { attempt: 1 });
  else say(random.pick(['failed', 'in_doubt', 'failed']), { code: random.pick([550, 554, 30_003]) });
  if (random.chance(0.2)) say('delivered');
  if (random.chance(0.15))
    say('bounced', { bounce: random.pick(['hard', 'soft']), code: random.pick([550, 452]) });
  if (random.chance(0.1)) say('complained');
  for (const type of ['opened', 'clicked'])
    for (let times = random.pick([0, 0, 1, 2]); times > 0; times--)
      say(type, { machine: random.chance(0.3) });
  const endpointId = random.chance(0.85) ? random.pick(endpoints) : undefined;
  return {
    dispatch,
    channel: campaignId === undefined && random.chance(0.5) ? 'SMS' : 'EMAIL',
    address: random.pick(['a@example.com', 'A@example.com', 'b@example.com']),
    endpointId,
    treatmentId: campaignId === undefined ? undefined : random.pick(['0', 't1', undefined]),
    facts,
  };
}
