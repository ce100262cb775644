import type { AttributeDimension, MetricDimension } from '@aws-sdk/client-pinpoint';
import type { SegmentDefinition } from '../packages/server/src/audience/index.ts';

/** An endpoint as the oracle knows it: plain maps, no SQL anywhere. */
export interface OracleEndpoint {
  id: string;
  /** Set for the own member of an imported segment. */
  segmentId: string | null;
  channel: string | null;
  userId: string | null;
  attributes: Map<string, string[]>;
  metrics: Map<string, number>;
  demographic: Map<string, string>;
  location: Map<string, string | number>;
  activeAt: number | null;
}

/** What an endpoint's app reported. Times in milliseconds. */
export interface OracleEvent {
  endpointId: string;
  type: string;
  at: number;
  attributes: Map<string, string>;
  metrics: Map<string, number>;
  /** The endpoint's user at that time. */
  userId: string | null;
}

/** A message of a campaign (or of none), and what became of it. */
export interface OracleMessage {
  id: string;
  endpointId: string | null;
  campaignId: string | null;
  isTest: boolean;
  facts: { type: string; at: number; bounce?: 'hard' | 'soft'; machine?: boolean }[];
}

export type OracleDefinition = SegmentDefinition;
export type OracleDimensions = NonNullable<SegmentDefinition['Dimensions']>;
export type OracleGroup = NonNullable<NonNullable<SegmentDefinition['SegmentGroups']>['Groups']>[number];
type Behaviours = NonNullable<OracleDimensions['Behavior']>;
export type OracleEventCriterion = NonNullable<Behaviours['Events']>[number];
export type OracleCampaignCriterion = NonNullable<Behaviours['Campaigns']>[number];

export interface OracleWorld {
  now: number;
  endpoints: OracleEndpoint[];
  users: Map<string, Map<string, string[]>>;
  /** Definitions by segment, version 1 first. */
  segments: Map<string, OracleDefinition[]>;
  imports: Map<string, { endpoints: Set<string>; users: Set<string> }>;
  events: OracleEvent[];
  messages: OracleMessage[];
}

type Ids = Set<string>;
type Test = (endpoint: OracleEndpoint) => boolean;

/** Ids of the members of a definition: sets and set operations, straight from docs/segments.md. */
export function members(world: OracleWorld, definition: OracleDefinition): Ids {
  const everybody = wholeApplication(world);
  if (definition.SegmentGroups) {
    const groups = (definition.SegmentGroups.Groups ?? []).map((group) => groupMembers(world, group));
    return combine(definition.SegmentGroups.Include ?? 'ALL', groups, everybody);
  }
  const dimensions = definition.Dimensions ?? {};
  return new Set([...everybody].filter((id) => meetsAll(world, dimensions, find(world, id))));
}

function segmentMembers(world: OracleWorld, id: string, version?: number): Ids {
  const imported = world.imports.get(id);
  if (imported) {
    return select(world, (endpoint) =>
      endpoint.segmentId === null
        ? imported.endpoints.has(endpoint.id) ||
          (endpoint.userId !== null && imported.users.has(endpoint.userId))
        : endpoint.segmentId === id && imported.endpoints.has(endpoint.id),
    );
  }
  const versions = world.segments.get(id)!;
  return members(world, version === undefined ? versions.at(-1)! : versions[version - 1]!);
}

function groupMembers(world: OracleWorld, group: OracleGroup): Ids {
  const everybody = wholeApplication(world);
  const sources = (group.SourceSegments ?? []).map(({ Id, Version }) => segmentMembers(world, Id!, Version));
  const base = combine(group.SourceType ?? 'ALL', sources, everybody);
  const dimensions = group.Dimensions ?? [];
  if (dimensions.length === 0) return base;
  const type = group.Type ?? 'ALL';
  return new Set(
    [...base].filter((id) => {
      const met = dimensions.filter((one) => meetsAll(world, one, find(world, id))).length;
      if (type === 'ALL') return met === dimensions.length;
      return type === 'ANY' ? met > 0 : met === 0;
    }),
  );
}

function combine(how: string, sets: Ids[], everybody: Ids): Ids {
  if (sets.length === 0) return everybody;
  const union = new Set(sets.flatMap((set) => [...set]));
  if (how === 'ANY') return union;
  if (how === 'NONE') return new Set([...everybody].filter((id) => !union.has(id)));
  return new Set([...union].filter((id) => sets.every((set) => set.has(id))));
}

function select(world: OracleWorld, test: Test): Ids {
  return new Set(world.endpoints.filter(test).map(({ id }) => id));
}

interface Index {
  byId: Map<string, OracleEndpoint>;
  registered: Ids;
}

const indexes = new WeakMap<OracleWorld, Index>();

function indexOf(world: OracleWorld): Index {
  let index = indexes.get(world);
  if (!index) {
    const registered = select(world, ({ segmentId }) => segmentId === null);
    index = { byId: new Map(world.endpoints.map((endpoint) => [endpoint.id, endpoint])), registered };
    indexes.set(world, index);
  }
  return index;
}

function find(world: OracleWorld, id: string): OracleEndpoint {
  return indexOf(world).byId.get(id)!;
}

function wholeApplication(world: OracleWorld): Ids {
  return indexOf(world).registered;
}

function meetsAll(world: OracleWorld, dimensions: OracleDimensions, endpoint: OracleEndpoint): boolean {
  const user = endpoint.userId === null ? undefined : world.users.get(endpoint.userId);
  const results: boolean[] = [];
  for (const [name, one] of Object.entries(dimensions.Attributes ?? {})) {
    results.push(attribute(endpoint.attributes.get(name) ?? [], one.AttributeType, one.Values!));
  }
  for (const [name, one] of Object.entries(dimensions.UserAttributes ?? {})) {
    results.push(attribute(user?.get(name) ?? [], one.AttributeType, one.Values!));
  }
  for (const [name, one] of Object.entries(dimensions.Metrics ?? {})) {
    results.push(metric(endpoint.metrics.get(name), one.ComparisonOperator!, one.Value!));
  }
  for (const [name, one] of Object.entries(dimensions.Demographic ?? {})) {
    const own = endpoint.demographic.get(name);
    let values = own === undefined ? [] : [own];
    if (name === 'Channel') values = endpoint.channel === null ? [] : [endpoint.channel];
    if (name === 'DeviceType') values = endpoint.attributes.get('DeviceType') ?? [];
    results.push(attribute(values, one.DimensionType, one.Values));
  }
  if (dimensions.Location?.Country) {
    const { DimensionType, Values } = dimensions.Location.Country;
    const country = endpoint.location.get('Country');
    results.push(attribute(country === undefined ? [] : [String(country)], DimensionType, Values!));
  }
  if (dimensions.Location?.GPSPoint) {
    const { Coordinates, RangeInKilometers = 10 } = dimensions.Location.GPSPoint;
    const latitude = endpoint.location.get('Latitude');
    const longitude = endpoint.location.get('Longitude');
    results.push(
      typeof latitude === 'number' &&
        typeof longitude === 'number' &&
        distanceKm(latitude, longitude, Coordinates!.Latitude!, Coordinates!.Longitude!) <= RangeInKilometers,
    );
  }
  const recency = dimensions.Behavior?.Recency;
  if (recency) {
    const days = { HR_24: 1, DAY_7: 7, DAY_14: 14, DAY_30: 30 }[recency.Duration!];
    const active = endpoint.activeAt !== null && endpoint.activeAt >= world.now - days * 86_400_000;
    results.push(active === (recency.RecencyType === 'ACTIVE'));
  }
  for (const criterion of dimensions.Behavior?.Events ?? []) {
    results.push(behaves(world, endpoint, criterion, (one) => eventsOf(world, one, criterion)));
  }
  for (const criterion of dimensions.Behavior?.Campaigns ?? []) {
    results.push(behaves(world, endpoint, criterion, (one) => messagesOf(world, one, criterion)));
  }
  return results.every(Boolean);
}

/** The count, straight from the lists: of the endpoint, or of all endpoints that its user has. */
function behaves(
  world: OracleWorld,
  endpoint: OracleEndpoint,
  criterion: OracleEventCriterion | OracleCampaignCriterion,
  countOf: (endpoint: OracleEndpoint) => number,
): boolean {
  const { Count, DimensionType, Scope } = criterion;
  const whose =
    Scope === 'USER' && endpoint.userId !== null
      ? logOf(world).endpointsOf.get(endpoint.userId)!
      : [endpoint];
  const total = whose.reduce((sum, one) => sum + countOf(one), 0);
  const did = Count ? metric(total, Count.ComparisonOperator, Count.Value) : total > 0;
  return did === (DimensionType !== 'EXCLUSIVE');
}

function eventsOf(world: OracleWorld, endpoint: OracleEndpoint, criterion: OracleEventCriterion): number {
  const { Attributes = {}, EventType, Metrics = {}, Scope } = criterion;
  return (logOf(world).events.get(endpoint.id) ?? []).filter(
    (event) =>
      EventType.Values.includes(event.type) &&
      within(world, criterion, event.at) &&
      (Scope !== 'USER' || event.userId === null || event.userId === endpoint.userId) &&
      meetsFilters(event, Attributes, Metrics),
  ).length;
}

function meetsFilters(
  event: OracleEvent,
  attributes: Record<string, AttributeDimension>,
  metrics: Record<string, MetricDimension>,
): boolean {
  for (const [name, { AttributeType, Values }] of Object.entries(attributes)) {
    const value = event.attributes.get(name);
    if (!attribute(value === undefined ? [] : [value], AttributeType, Values!)) return false;
  }
  return Object.entries(metrics).every(([name, { ComparisonOperator, Value }]) =>
    metric(event.metrics.get(name), ComparisonOperator!, Value!),
  );
}

function messagesOf(
  world: OracleWorld,
  endpoint: OracleEndpoint,
  criterion: OracleCampaignCriterion,
): number {
  const { CampaignId, Interaction } = criterion;
  const wanted = { SENT: 'sent', DELIVERED: 'sent', OPENED: 'opened', CLICKED: 'clicked' }[Interaction];
  return (logOf(world).messages.get(endpoint.id) ?? []).filter((message) => {
    if (message.isTest || message.campaignId === null) return false;
    if (CampaignId !== undefined && message.campaignId !== CampaignId) return false;
    if (Interaction === 'DELIVERED' && message.facts.some(({ bounce }) => bounce === 'hard')) return false;
    return message.facts.some(
      ({ type, at, machine }) => type === wanted && machine !== true && within(world, criterion, at),
    );
  }).length;
}

function within(
  { now }: OracleWorld,
  { Window }: OracleEventCriterion | OracleCampaignCriterion,
  at: number,
): boolean {
  if (!Window) return true;
  if ('Last' in Window) return at >= now - Window.Last * (Window.Unit === 'HOURS' ? 3_600_000 : 86_400_000);
  const { Start, End } = Window;
  return (Start === undefined || at >= instant(Start)!) && (End === undefined || at < instant(End)!);
}

interface Log {
  events: Map<string, OracleEvent[]>;
  messages: Map<string | null, OracleMessage[]>;
  endpointsOf: Map<string | null, OracleEndpoint[]>;
}

const logs = new WeakMap<OracleWorld, Log>();

function logOf(world: OracleWorld): Log {
  const known = logs.get(world);
  if (known) return known;
  const log = {
    events: Map.groupBy(world.events, ({ endpointId }) => endpointId),
    messages: Map.groupBy(world.messages, ({ endpointId }) => endpointId),
    endpointsOf: Map.groupBy(world.endpoints, ({ userId }) => userId),
  };
  logs.set(world, log);
  return log;
}

function attribute(own: string[], operator = 'INCLUSIVE', values: string[] = []): boolean {
  const some = (test: (value: string, wanted: string) => boolean) =>
    own.some((value) => values.some((wanted) => test(value, wanted)));
  const someInstant = (test: (at: number, first: number, second: number) => boolean) => {
    const [first, second] = values.map((value) => instant(value) ?? Number.NaN);
    return own.map(instant).some((at) => at !== undefined && test(at, first!, second!));
  };
  switch (operator) {
    case 'INCLUSIVE':
      return some((value, wanted) => value === wanted);
    case 'EXCLUSIVE':
      return !some((value, wanted) => value === wanted);
    case 'CONTAINS':
      return some((value, wanted) => value.includes(wanted));
    case 'BEFORE':
      return someInstant((at, first) => at < first);
    case 'AFTER':
      return someInstant((at, first) => at > first);
    case 'BETWEEN':
      return someInstant((at, first, second) => at >= first && at <= second);
    case 'ON':
      return someInstant((at, first) => utcDay(at) === utcDay(first));
    default:
      throw new Error(`The oracle does not know ${operator}`);
  }
}

function utcDay(at: number): number {
  return Math.floor(at / 86_400_000);
}

function metric(own: number | undefined, operator: string, value: number): boolean {
  if (own === undefined) return false;
  const results: Record<string, boolean> = {
    GREATER_THAN: own > value,
    GREATER_THAN_OR_EQUAL: own >= value,
    LESS_THAN: own < value,
    LESS_THAN_OR_EQUAL: own <= value,
    EQUAL: own === value,
  };
  return results[operator]!;
}

/** By the day's own arithmetic instead of a calendar's: days are counted one month after the other. */
function instant(text: string): number | undefined {
  const [date, time, ...more] = text.split('T');
  if (more.length > 0 || !/^[0-9]{4}-[0-9]{2}-[0-9]{2}$/.test(date!)) return undefined;
  const [year, month, day] = date!.split('-').map(Number) as [number, number, number];
  const leap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  const months = [31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
  if (year === 0 || month < 1 || month > 12 || day < 1 || day > months[month - 1]!) return undefined;
  const before = year - 1;
  let days = before * 365 + Math.floor(before / 4) - Math.floor(before / 100) + Math.floor(before / 400);
  for (const length of months.slice(0, month - 1)) days += length;
  const midnight = (days + day - 1 - 719_162) * 86_400_000;
  if (time === undefined) return midnight;
  const zone = /(?:Z|[+-][0-9]{2}:?[0-9]{2})$/.exec(time)?.[0] ?? '';
  const clock = time.slice(0, time.length - zone.length);
  if (!/^[0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,9})?)?$/.test(clock)) return undefined;
  const [hour, minute, second = '0'] = clock.split(':');
  if (Number(hour) > 23 || Number(minute) > 59 || Number(second) >= 60) return undefined;
  const milliseconds = Math.floor(Number(second) * 1000 + 1e-6);
  const local = midnight + (Number(hour) * 60 + Number(minute)) * 60_000 + milliseconds;
  if (zone === '' || zone === 'Z') return local;
  const digits = zone.replaceAll(/[^0-9]/g, '');
  const [hours, minutes] = [Number(digits.slice(0, 2)), Number(digits.slice(2))];
  if (hours > 15 || minutes > 59) return undefined;
  const offset = (hours * 60 + minutes) * 60_000;
  return zone.startsWith('-') ? local + offset : local - offset;
}

/** By the angle between two unit vectors, not by haversines. */
export function distanceKm(
  latitude1: number,
  longitude1: number,
  latitude2: number,
  longitude2: number,
): number {
  const vector = (latitude: number, longitude: number): [number, number, number] => {
    const [phi, lambda] = [(latitude * Math.PI) / 180, (longitude * Math.PI) / 180];
    return [Math.cos(phi) * Math.cos(lambda), Math.cos(phi) * Math.sin(lambda), Math.sin(phi)];
  };
  const [a, b] = [vector(latitude1, longitude1), vector(latitude2, longitude2)];
  const cross = Math.hypot(a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]);
  return 6371.0088 * Math.atan2(cross, a[0] * b[0] + a[1] * b[1] + a[2] * b[2]);
}
