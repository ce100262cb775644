import type { AttributeDimension } from '@aws-sdk/client-pinpoint';
import type {
  OracleCampaignCriterion,
  OracleDefinition,
  OracleDimensions,
  OracleEndpoint,
  OracleEvent,
  OracleEventCriterion,
  OracleGroup,
  OracleMessage,
  OracleWorld,
} from './segments-oracle.ts';

/** Random numbers that a seed repeats (mulberry32). */
export interface Random {
  /** 0 ≤ x < 1 */
  next(): number;
  /** 0 … below-1 */
  below(bound: number): number;
  pick<T>(from: readonly T[]): T;
  chance(probability: number): boolean;
}

export function seeded(seed: number): Random {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (bound: number) => Math.floor(next() * bound);
  return {
    next,
    below,
    pick: (from) => from[below(from.length)]!,
    chance: (probability) => next() < probability,
  };
}

/** Names that trip those who use plain objects, patterns or paths. */
const names = [
  'plan',
  'signup',
  '__proto__',
  'constructor',
  'toString',
  'say "hi"',
  'back\\slash',
  'a.b',
  '$var',
  'per%cent_',
  'ünï ☃',
  'DeviceType',
];

const plain = ['gold', 'Gold', 'gol', 'silver', 'iOS', 'Android', '1.0', 'a', 'A', 'ab'];
const nasty = [
  '',
  ' ',
  '__proto__',
  'constructor',
  '"quoted"',
  "it's",
  'back\\slash',
  '100%',
  'a_b',
  'a%b',
  '.*',
  '(',
  '[a-z]+',
  '\\d',
  '$1',
  '^a$',
  '{}',
  'null',
  'true',
  'NaN',
  'Infinity',
  '1e999',
  '00',
  'line\nbreak',
  'tab\there',
  '\u0001',
  '\u2028',
  'é',
  'e\u0301',
  '🛒',
  '👩‍👩‍👧',
  'שלום',
  'x'.repeat(100),
];
/** Instants, and texts that nearly are. */
const dates = [
  '2024-02-29',
  '2023-02-29',
  '2024-02-28T23:59:59.999Z',
  '2024-02-29T00:00:00Z',
  '2024-02-29T10:15Z',
  '2024-02-29T10:15:30.123456Z',
  '2024-02-29T10:15:30',
  '2024-03-01T00:30:00+01:00',
  '2024-02-28T23:30:00-0130',
  '2024-02-29T24:00:00Z',
  '2024-02-29T23:59:60Z',
  '2024-02-29T10:15:30+16:00',
  '2024-02-29 10:15:30',
  ' 2024-02-29',
  '2024-2-9',
  '20240229',
  '٢٠٢٤-٠٢-٢٩',
  'now',
  'infinity',
  'epoch',
  '0000-01-01',
  '0001-01-01',
  '9999-12-31T23:59:59.999Z',
  '1969-12-31T23:59:59.999Z',
  '2025-06-30',
];
const instants = [
  '2024-02-29',
  '2024-02-29T00:00:00Z',
  '2024-02-28T23:59:59.999Z',
  '2024-02-29T10:15:30.123Z',
  '2024-03-01T00:30:00+01:00',
  '1970-01-01',
  '0001-01-01',
  '9999-12-31T23:59:59.999Z',
];
const values = [...plain, ...plain, ...plain, ...nasty, ...dates, ...dates];
const numbers = [0, -0, 1, 2, 2.5, -1, 0.1, 0.1 + 0.2, 1e300, -1e300, 5e-324, 2 ** 53, 2 ** 53 + 2, 1e21];
const channels = ['EMAIL', 'SMS', 'GCM', 'APNS', 'IN_APP'];
const countries = ['DE', 'FR', 'US', 'us'];
const places = [
  [52.5, 13.4],
  [48.9, 2.4],
  [40.7, -74],
  [-33.9, 151.2],
  [0, 179.9],
  [0, -179.9],
  [90, 0],
  [89.9, 180],
] as const;
const demographicNames = ['AppVersion', 'Make', 'Model', 'Platform'] as const;
const dayMs = 86_400_000;

function attributes(random: Random): Map<string, string[]> {
  const map = new Map<string, string[]>();
  for (const name of names) {
    if (random.chance(0.5)) continue;
    const count = random.pick([1, 1, 1, 2, 3]);
    map.set(
      name,
      Array.from({ length: count }, () => random.pick(values)),
    );
  }
  return map;
}

function activity(random: Random, now: number): number | null {
  if (random.chance(0.3)) return null;
  // Some exactly on a boundary, or a millisecond beside it.
  if (random.chance(0.1)) return now - random.pick([1, 7, 14, 30]) * dayMs + random.pick([-1, 0, 1]);
  return now - Math.floor(random.next() * 40 * dayMs);
}

function location(random: Random): Map<string, string | number> {
  const map = new Map<string, string | number>();
  if (random.chance(0.7)) map.set('Country', random.pick(countries));
  const [latitude, longitude] = random.pick(places);
  if (random.chance(0.7)) map.set('Latitude', Math.max(-90, Math.min(90, latitude + random.next() * 2 - 1)));
  if (random.chance(0.7))
    map.set('Longitude', Math.max(-180, Math.min(180, longitude + random.next() * 2 - 1)));
  return map;
}

function endpoint(random: Random, id: string, now: number): OracleEndpoint {
  const demographic = new Map<string, string>();
  for (const name of demographicNames) if (random.chance(0.6)) demographic.set(name, random.pick(plain));
  const metrics = new Map<string, number>();
  for (const name of names) if (random.chance(0.3)) metrics.set(name, random.pick(numbers));
  return {
    id,
    segmentId: null,
    channel: random.chance(0.05) ? null : random.pick(channels),
    userId: random.chance(0.2) ? null : `user-${random.below(2_000)}`,
    attributes: attributes(random),
    metrics,
    demographic,
    location: location(random),
    activeAt: activity(random, now),
  };
}

/** Endpoints, users and imported segments: by endpoint, by user, by both, with members of their own, and empty. */
export function randomWorld(random: Random, count: number, now: number): OracleWorld {
  const endpoints = Array.from({ length: count }, (_, index) => endpoint(random, `endpoint/${index}`, now));
  const users = new Map<string, Map<string, string[]>>();
  for (let user = 0; user < 2_000; user++)
    if (random.chance(0.8)) users.set(`user-${user}`, attributes(random));
  const ids = () => new Set(endpoints.filter(() => random.chance(0.3)).map(({ id }) => id));
  const userIds = () => new Set([...users.keys()].filter(() => random.chance(0.3)));
  const imports: OracleWorld['imports'] = new Map([
    ['import-endpoints', { endpoints: ids(), users: new Set() }],
    ['import-users', { endpoints: new Set(), users: userIds() }],
    ['import-both', { endpoints: ids(), users: userIds() }],
    ['import-own', { endpoints: ids(), users: new Set() }],
    ['import-other', { endpoints: new Set(), users: new Set() }],
    ['import-empty', { endpoints: new Set(), users: new Set() }],
  ]);
  for (const segmentId of ['import-own', 'import-other']) {
    for (let index = 0; index < 100; index++) {
      const own = { ...endpoint(random, `${segmentId}.${index}`, now), segmentId };
      endpoints.push(own);
      imports.get(segmentId)!.endpoints.add(own.id);
    }
  }
  // Listed by another segment as well, which does not make it visible there.
  imports.get('import-endpoints')!.endpoints.add('import-own.0');
  const events = endpoints.flatMap((one) => endpointEvents(random, one, now));
  // Of an endpoint that was deleted since.
  events.push({ ...events[0]!, endpointId: 'deleted' });
  const messages = endpoints.flatMap((one) => endpointMessages(random, one.id, now));
  return { now, endpoints, users, segments: new Map(), imports, events, messages };
}

const eventTypes = ['purchase', '_session.start', 'a.b', '__proto__', "it's", 'message.sent'];
const campaignIds = ['campaign-1', 'campaign-2', '__proto__'];

/** Within 40 days, some exactly where a window begins or a millisecond beside it. */
function moment(random: Random, now: number): number {
  if (random.chance(0.1)) return now - random.pick([1, 2, 7, 14, 30]) * dayMs + random.pick([-1, 0, 1]);
  if (random.chance(0.05)) return Date.parse(random.pick(edges)) + random.pick([-1, 0, 1]);
  return now - Math.floor(random.next() * 40 * dayMs);
}

function endpointEvents(random: Random, { id, userId }: OracleEndpoint, now: number): OracleEvent[] {
  return Array.from({ length: random.pick([0, 0, 1, 1, 2, 3, 5, 12]) }, () => {
    const own = new Map<string, string>();
    const metrics = new Map<string, number>();
    for (const name of names) {
      if (random.chance(0.2)) own.set(name, random.pick(values));
      if (random.chance(0.1)) metrics.set(name, random.pick(numbers));
    }
    return {
      endpointId: id,
      type: random.pick(eventTypes),
      at: moment(random, now),
      attributes: own,
      metrics,
      userId: random.chance(0.4) ? null : random.chance(0.8) ? userId : `user-${random.below(2_000)}`,
    };
  });
}

function endpointMessages(random: Random, endpointId: string, now: number): OracleMessage[] {
  return Array.from({ length: random.pick([0, 0, 0, 1, 1, 2, 4]) }, (_, index) => {
    const sentAt = moment(random, now);
    const later = () => Math.min(now, sentAt + Math.floor(random.next() * 3 * dayMs));
    const facts: OracleMessage['facts'] = [];
    if (random.chance(0.9)) facts.push({ type: 'sent', at: sentAt });
    if (random.chance(0.3)) facts.push({ type: 'delivered', at: later() });
    if (random.chance(0.2))
      facts.push({ type: 'bounced', at: later(), bounce: random.pick(['hard', 'soft']) });
    for (const type of ['opened', 'clicked'])
      for (let times = random.pick([0, 0, 1, 3]); times > 0; times--)
        facts.push({ type, at: later(), machine: random.chance(0.3) });
    return {
      id: `${endpointId}#${index}`,
      endpointId: random.chance(0.02) ? null : endpointId,
      campaignId: random.chance(0.1) ? null : random.pick(campaignIds),
      isTest: random.chance(0.05),
      facts,
    };
  });
}

const edges = ['2026-11-01', '2026-11-11T10:15Z', '2026-11-20'];

/** How often, when and whose, of a criterion on behaviour. */
function behaviour(
  random: Random,
): Pick<OracleEventCriterion, 'Count' | 'DimensionType' | 'Scope' | 'Window'> {
  const windows: OracleEventCriterion['Window'][] = [
    undefined,
    { Last: random.pick([1, 2, 7, 14, 30]), Unit: 'DAYS' },
    { Last: random.pick([1, 24, 48, 168]), Unit: 'HOURS' },
    { Start: edges[random.below(2)]!, End: edges[2]! },
    random.chance(0.5) ? { Start: random.pick(edges) } : { End: random.pick(edges) },
  ];
  const Window = random.pick(windows);
  const counts = [0, 1, 1, 2, 3, 5];
  return {
    ...(random.chance(0.6) && {
      Count: { ComparisonOperator: random.pick(operators), Value: random.pick(counts) },
    }),
    ...(random.chance(0.5) && { DimensionType: random.pick(['INCLUSIVE', 'EXCLUSIVE'] as const) }),
    ...(random.chance(0.5) && { Scope: random.pick(['ENDPOINT', 'USER', 'USER'] as const) }),
    ...(Window && { Window }),
  };
}

function eventCriterion(random: Random): OracleEventCriterion {
  const Values = Array.from({ length: random.pick([1, 1, 2]) }, () => random.pick(eventTypes));
  return {
    EventType: { Values },
    ...(random.chance(0.4) && { Attributes: record(random, () => attributeDimension(random)) }),
    ...(random.chance(0.3) && { Metrics: record(random, () => metricDimension(random)) }),
    ...behaviour(random),
  };
}

function campaignCriterion(random: Random): OracleCampaignCriterion {
  return {
    ...(random.chance(0.7) && { CampaignId: random.pick([...campaignIds, 'none']) }),
    Interaction: random.pick(['SENT', 'DELIVERED', 'OPENED', 'CLICKED'] as const),
    ...behaviour(random),
  };
}

function metricDimension(random: Random) {
  return { ComparisonOperator: random.pick(operators), Value: random.pick(numbers) };
}

function attributeDimension(random: Random): AttributeDimension {
  const AttributeType = random.pick([
    'INCLUSIVE',
    'INCLUSIVE',
    'EXCLUSIVE',
    'CONTAINS',
    'BEFORE',
    'AFTER',
    'ON',
    'BETWEEN',
    undefined,
  ] as const);
  const some = (from: readonly string[]) =>
    Array.from({ length: random.pick([1, 1, 2, 5]) }, () => random.pick(from));
  switch (AttributeType) {
    case 'CONTAINS':
      return {
        AttributeType,
        Values: some(values.filter((value) => value !== '')).map((one) => part(random, one)),
      };
    case 'BEFORE':
    case 'AFTER':
    case 'ON':
      return { AttributeType, Values: [random.pick(instants)] };
    case 'BETWEEN':
      return {
        AttributeType,
        Values: [
          random.pick(['0001-01-01', '2024-02-28T23:59:59.999Z']),
          random.pick(['2024-02-29', '2024-03-01', '9999-12-31']),
        ],
      };
    default:
      return { ...(AttributeType && { AttributeType }), Values: some(values) };
  }
}

/** Some part of the text, whole characters only. */
function part(random: Random, text: string): string {
  const characters = [...text];
  const start = random.below(characters.length);
  return characters.slice(start, start + 1 + random.below(characters.length - start)).join('');
}

function record<Value>(random: Random, value: () => Value): Record<string, Value> {
  return Object.fromEntries(
    Array.from({ length: random.pick([1, 1, 2]) }, () => [random.pick(names), value()]),
  );
}

function setDimension<Value extends string>(random: Random, from: readonly Value[]) {
  return {
    DimensionType: random.pick(['INCLUSIVE', 'EXCLUSIVE', undefined] as const),
    Values: Array.from({ length: random.pick([1, 2, 3]) }, () => random.pick(from)),
  };
}

const operators = [
  'GREATER_THAN',
  'GREATER_THAN_OR_EQUAL',
  'LESS_THAN',
  'LESS_THAN_OR_EQUAL',
  'EQUAL',
] as const;

function dimensions(random: Random): OracleDimensions {
  const one: OracleDimensions = {};
  // One or two kinds: more of them select nobody.
  for (let kind = random.pick([0, 1, 1, 1, 2]); kind > 0; kind--) {
    switch (random.below(10)) {
      case 0:
      case 1:
        one.Attributes = record(random, () => attributeDimension(random));
        break;
      case 2:
        one.UserAttributes = record(random, () => attributeDimension(random));
        break;
      case 3:
        one.Metrics = record(random, () => metricDimension(random));
        break;
      case 4:
        one.Demographic = random.chance(0.5)
          ? { Channel: setDimension(random, channels) }
          : { [random.pick([...demographicNames, 'DeviceType'])]: setDimension(random, plain) };
        break;
      case 5: {
        const [Latitude, Longitude] = random.pick(places);
        one.Location = random.chance(0.5)
          ? { Country: setDimension(random, countries) }
          : {
              GPSPoint: {
                Coordinates: { Latitude, Longitude },
                RangeInKilometers: random.pick([undefined, 50, 120.5, 7000, 20_100]),
              },
            };
        break;
      }
      case 6:
        one.Behavior = {
          ...one.Behavior,
          Recency: {
            Duration: random.pick(['HR_24', 'DAY_7', 'DAY_14', 'DAY_30'] as const),
            RecencyType: random.pick(['ACTIVE', 'INACTIVE'] as const),
          },
        };
        break;
      case 7:
        one.Behavior = { ...one.Behavior, Campaigns: [campaignCriterion(random)] };
        break;
      default:
        one.Behavior = {
          ...one.Behavior,
          Events: Array.from({ length: random.pick([1, 1, 2]) }, () => eventCriterion(random)),
        };
    }
  }
  return one;
}

const joins = ['ALL', 'ANY', 'NONE', 'ANY', undefined] as const;

/** A definition over `sources`, the segments that it may be built upon with the number of their versions. */
export function randomDefinition(
  random: Random,
  sources: readonly [id: string, versions: number][],
): OracleDefinition {
  if (random.chance(0.25)) return { Dimensions: dimensions(random) };
  const many = <T>(most: number, make: () => T) => Array.from({ length: random.below(most + 1) }, make);
  const group = (): OracleGroup => ({
    Dimensions: many(3, () => dimensions(random)),
    SourceSegments: many(2, () => {
      const [Id, versions] = random.pick(sources);
      return { Id, Version: random.chance(0.5) ? 1 + random.below(versions) : undefined };
    }),
    SourceType: random.pick(joins),
    Type: random.pick(joins),
  });
  return { SegmentGroups: { Groups: many(3, group), Include: random.pick(joins) } };
}
