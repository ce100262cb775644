import { hash } from 'node:crypto';
import { payloadText } from '../../events/index.ts';
import { CallerError } from '../../platform/errors.ts';
import type { EndpointGuard } from '../endpoints/guard.ts';
import {
  checkEndpointSize,
  type EndpointChange,
  type EndpointItem,
  type EndpointLimits,
  readEndpointItem,
} from '../endpoints/item.ts';
import { type EventApp, type EventPayload, eventFactType, normaliseEventType } from './event.ts';
import type { EventLimits } from './limits.ts';

/** An endpoint as it comes along with events: PublicEndpoint of the API. */
export type PublicEndpoint = Omit<EndpointItem, 'Id' | 'CohortId' | 'CreationDate'>;

/** An event as its app put it. Times in milliseconds since the epoch. */
export interface IngestEvent {
  /** The client's id of it, unique for its endpoint. */
  id: string;
  type: string;
  /** By the client's clock. */
  at: number;
  attributes?: Readonly<Record<string, string>>;
  metrics?: Readonly<Record<string, number>>;
  session?: { id: string; startedAt?: number; stoppedAt?: number; durationMs?: number };
  app?: EventApp;
  /** Of an archived event: when it first arrived. */
  arrivedAt?: number;
  /** Its user, where the endpoint has none. */
  userId?: string | undefined;
  /** What else is known of it; from an archive. */
  archived?: Record<string, unknown> | undefined;
}

/** One endpoint with its events. */
export interface IngestItem {
  endpointId: string;
  /** Merged into the endpoint by the rules of UpdateEndpoint; absent or empty changes nothing of one that exists. */
  endpoint?: PublicEndpoint;
  events: readonly IngestEvent[];
  source?: EventPayload['source'];
  /** Refused with 403 when the endpoint exists already, unless the item is a replay of one that was accepted. */
  mustBeNew?: boolean;
  /** What the caller may do to the endpoint, when it is a stranger; refused with 403 when it is more. */
  guard?: EndpointGuard;
}

/** An event that can be written as it is. */
export interface PreparedEvent {
  /** The first 16 bytes of a hash of application, endpoint and event id, as a UUID. */
  key: string;
  eventType: string;
  factType: string;
  /** By the client's clock, as far as arrival says that it can be right. */
  occurredAt: number;
  /** The payload as JSON without its last brace, so that the user can be added. */
  payloadHead: string;
  /** Where the endpoint has none. */
  userId: string | undefined;
  attributeNames: readonly string[];
  metricNames: readonly string[];
}

export interface PreparedItem {
  endpointId: string;
  /** What is asked of the endpoint. */
  change: EndpointChange;
  /** The `Endpoint` that asks it, as JSON. */
  endpoint?: string;
  /** Why that cannot be done, when reading it showed it. */
  endpointRefusal: string | undefined;
  mustBeNew: boolean;
  /** Made for an item that is to make an endpoint and has no event by which a repetition would be known. */
  requestKey?: string;
  /** About how much memory it takes. */
  bytes: number;
  /** In the order of the item's events; a text says why the event is refused. */
  events: (PreparedEvent | string)[];
}

export interface PrepareOptions {
  applicationId: string;
  /** When the events arrived. */
  now: number;
  /** Earlier times than this long ago are not believed. */
  retentionMs: number;
  eventLimits: EventLimits;
  endpointLimits: EndpointLimits;
}

/** What an item and an event weigh beside their texts. */
const itemBytes = 500;
const eventBytes = 300;

/** Reads an item: everything that can be said of it without the database. Never throws for what a caller sent. */
export function prepareItem(item: IngestItem, options: PrepareOptions): PreparedItem {
  const { endpointId, endpoint } = item;
  const prepared: PreparedItem = {
    endpointId,
    change: bareChange(endpointId),
    endpointRefusal: undefined,
    mustBeNew: item.mustBeNew === true,
    bytes: itemBytes,
    events: [],
  };
  try {
    prepared.change = readEndpointItem({}, endpointId, 0, '$', options.endpointLimits);
  } catch (error) {
    // No event can be kept for an endpoint that cannot be.
    prepared.endpointRefusal = callerMessage(error);
    prepared.events = item.events.map(() => prepared.endpointRefusal!);
    return prepared;
  }
  prepared.change.onlyIfNew = true;
  if (endpoint && hasMembers(endpoint)) {
    try {
      prepared.endpoint = checkEndpointSize(endpoint, 'Endpoint', options.endpointLimits);
      prepared.bytes += prepared.endpoint.length;
      prepared.change = readEndpointItem(endpoint, endpointId, 0, 'Endpoint', options.endpointLimits);
      if (item.guard) prepared.change.guard = item.guard;
    } catch (error) {
      prepared.endpointRefusal = callerMessage(error);
    }
  }
  if (item.source === 'archive') {
    // History says what an endpoint was like, so it makes one, and changes none.
    prepared.change.onlyIfNew = true;
    const arrivedAt = item.events[0]?.arrivedAt;
    if (arrivedAt !== undefined)
      Object.assign(prepared.change, { createdAt: arrivedAt, effectiveAt: arrivedAt });
  }
  const keyHead = `${options.applicationId}\n${endpointId.length}\n${endpointId}\n`;
  for (const event of item.events) {
    const read = prepareEvent(event, item.source, keyHead, options);
    prepared.events.push(read);
    prepared.bytes += eventBytes + (typeof read === 'string' ? 0 : read.payloadHead.length);
  }
  return prepared;
}

/** What an event asks of its endpoint: to be there. */
export function bareChange(id: string): EndpointChange {
  return { id, index: 0, onlyIfNew: true };
}

function hasMembers(endpoint: PublicEndpoint): boolean {
  for (const name in endpoint) if (endpoint[name as keyof PublicEndpoint] != null) return true;
  return false;
}

function callerMessage(error: unknown): string {
  if (error instanceof CallerError) return error.message;
  throw error;
}

const maxIdLength = 256;
/** Longest text of an app member or a session's id. */
const maxTextLength = 1_000;

class Refused extends Error {}

function prepareEvent(
  event: IngestEvent,
  source: IngestItem['source'],
  keyHead: string,
  options: PrepareOptions,
): PreparedEvent | string {
  try {
    return readEvent(event, source, keyHead, options);
  } catch (error) {
    if (error instanceof Refused) return error.message;
    throw error;
  }
}

function readEvent(
  event: IngestEvent,
  source: IngestItem['source'],
  keyHead: string,
  options: PrepareOptions,
): PreparedEvent {
  const { eventLimits: limits } = options;
  const eventType = normaliseEventType(event.type);
  if (eventType === '') throw new Refused('EventType: expected a name that is not empty');
  text(eventType, 'EventType', limits.typeLength);
  if (event.id === '') throw new Refused('EventId: expected an id that is not empty');
  let json = `{"id":${text(event.id, 'EventId', maxIdLength)}`;
  const attributeNames = namesOf(event.attributes);
  const metricNames = namesOf(event.metrics);
  if (attributeNames.length + metricNames.length > limits.names) {
    throw new Refused(
      `Attributes, Metrics: expected at most ${limits.names} names together, got ${attributeNames.length + metricNames.length}`,
    );
  }
  if (attributeNames.length > 0) {
    json += `,"attributes":${attributesJson(event.attributes!, attributeNames, limits)}`;
  }
  if (metricNames.length > 0) json += `,"metrics":${metricsJson(event.metrics!, metricNames, limits)}`;
  if (event.session) json += sessionJson(event.session);
  if (event.app) json += appJson(event.app);
  if (source !== undefined) json += `,"source":"${source}"`;
  const occurredAt = believedTime(event.at, event.arrivedAt ?? options.now, options.retentionMs);
  if (occurredAt !== event.at) json += `,"clientTimestamp":${event.at}`;
  if (event.arrivedAt !== undefined) json += `,"arrivedAt":${event.arrivedAt}`;
  if (event.archived) json += `,"archived":${payloadText({ payload: event.archived })}`;
  if (event.userId !== undefined) text(event.userId, 'UserId', maxTextLength);
  if (json.length * 3 > limits.eventBytes && Buffer.byteLength(json) > limits.eventBytes) {
    throw new Refused(
      `expected an event of at most ${limits.eventBytes} bytes, got ${Buffer.byteLength(json)}`,
    );
  }
  return {
    key: keyOf(keyHead + event.id),
    eventType,
    factType: eventFactType(eventType),
    occurredAt,
    payloadHead: json,
    userId: event.userId,
    attributeNames,
    metricNames,
  };
}

/** No client of ours is older; what is said to be is a clock that was never set. */
const earliestBelieved = Date.UTC(2000, 0, 1);

/**
 * When an event happened: as its client says, unless arrival knows better. Nothing arrives before it happened, and
 * what is older than the log remembers is the work of a wrong clock.
 */
export function believedTime(at: number, arrivedAt: number, retentionMs: number): number {
  if (at > arrivedAt || at < earliestBelieved || at < arrivedAt - retentionMs) return arrivedAt;
  return at;
}

/** The first 16 bytes of the SHA-256 of a text, in the form of a UUID. */
export function keyOf(identity: string): string {
  const hex = hash('sha256', identity);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20, 32)}`;
}

const noNames: readonly string[] = [];

function namesOf(map: Readonly<Record<string, unknown>> | undefined): readonly string[] {
  return map === undefined ? noNames : Object.keys(map);
}

function attributesJson(
  attributes: Readonly<Record<string, string>>,
  names: readonly string[],
  limits: EventLimits,
): string {
  let json = '{';
  for (const name of names) {
    const value = attributes[name]!;
    const member = nameJson(name, 'Attributes', limits);
    json += `${json.length > 1 ? ',' : ''}${member}:${text(value, 'Attributes.', limits.valueLength, name)}`;
  }
  return `${json}}`;
}

function metricsJson(
  metrics: Readonly<Record<string, number>>,
  names: readonly string[],
  limits: EventLimits,
): string {
  let json = '{';
  for (const name of names) {
    const value = metrics[name]!;
    if (!Number.isFinite(value))
      throw new Refused(`Metrics.${shown(name)}: expected a number of ordinary size`);
    json += `${json.length > 1 ? ',' : ''}${nameJson(name, 'Metrics', limits)}:${value}`;
  }
  return `${json}}`;
}

function nameJson(name: string, path: string, limits: EventLimits): string {
  if (name === '') throw new Refused(`${path}: expected names that are not empty`);
  if (name.length > limits.nameLength) {
    throw new Refused(
      `${path}.${shown(name)}: expected a name of at most ${limits.nameLength} characters, got ${name.length}`,
    );
  }
  return text(name, path, limits.nameLength);
}

function sessionJson(session: NonNullable<IngestEvent['session']>): string {
  let json = `,"session":{"id":${text(session.id, 'Session.Id', maxTextLength)}`;
  if (session.startedAt !== undefined) json += `,"startedAt":${session.startedAt}`;
  if (session.stoppedAt !== undefined) json += `,"stoppedAt":${session.stoppedAt}`;
  if (session.durationMs !== undefined) {
    if (!(session.durationMs >= 0 && session.durationMs <= Number.MAX_SAFE_INTEGER)) {
      throw new Refused('Session.Duration: expected milliseconds from 0 on');
    }
    json += `,"durationMs":${session.durationMs}`;
  }
  return `${json}}`;
}

const appMembers = [
  ['packageName', 'AppPackageName'],
  ['title', 'AppTitle'],
  ['versionCode', 'AppVersionCode'],
  ['sdkName', 'SdkName'],
  ['sdkVersion', 'ClientSdkVersion'],
] as const;

function appJson(app: EventApp): string {
  let json = '';
  for (const [member, path] of appMembers) {
    const value = app[member];
    if (value === undefined || value === '') continue;
    json += `${json === '' ? '' : ','}"${member}":${text(value, path, maxTextLength)}`;
  }
  return json === '' ? '' : `,"app":{${json}}`;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what JSON escapes or PostgreSQL cannot hold.
const needsCare = /[\u0000-\u001f"\\\ud800-\udfff]/;

/** A text as JSON; undefined when PostgreSQL cannot hold it. Most need no care. */
function jsonText(value: string): string | undefined {
  if (!needsCare.test(value)) return `"${value}"`;
  return value.includes('\0') || !value.isWellFormed() ? undefined : JSON.stringify(value);
}

/** @param name what stands behind `path` in messages. */
function text(value: string, path: string, maxLength: number, name = ''): string {
  if (value.length > maxLength) {
    throw new Refused(`${path}${shown(name)}: expected at most ${maxLength} characters, got ${value.length}`);
  }
  const json = jsonText(value);
  if (json === undefined) {
    throw new Refused(`${path}${shown(name)}: expected text without U+0000 and without half surrogate pairs`);
  }
  return json;
}

/** A caller's name in a message: short, and never a part of a character. */
function shown(name: string): string {
  return (name.length > 60 ? `${name.slice(0, 60)}…` : name).toWellFormed().replaceAll('\0', '\ufffd');
}
