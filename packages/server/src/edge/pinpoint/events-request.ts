import { PublicEndpoint$ } from '@aws-sdk/client-pinpoint';
import type { IngestAnswer, IngestEvent, IngestItem, PublicEndpoint } from '../../audience/index.ts';
import { badMember, CallerError } from '../../platform/errors.ts';
import { shapeOf } from '../aws/model.ts';
import { parseTimestamp, parseValue } from '../aws/parse.ts';

/** The body of PutEvents, read item by item. */
export interface EventsRequest {
  items: IngestItem[];
  /** Events in all items, the unreadable ones included. */
  eventCount: number;
  /** By event id, why events of an item cannot be read; the item does not have them. */
  unreadable(place: number): ReadonlyMap<string, IngestAnswer> | undefined;
  /** Why the endpoint of an item cannot be read. */
  endpointRefusal(place: number): IngestAnswer | undefined;
}

type Json = Record<string, unknown>;

const publicEndpoint = shapeOf(PublicEndpoint$);

/**
 * Reads the body of PutEvents (`EventsRequest` of the model). What is wrong with an endpoint or an event becomes its
 * answer, and the others are kept; only a body that is not built like one is refused as a whole.
 * @throws CallerError bad_request that names the member.
 */
export function readEventsRequest(body: unknown): EventsRequest {
  const batch = required(objectAt(body, '$'), 'BatchItem', '$');
  const items: IngestItem[] = [];
  const refusals: (Map<string, IngestAnswer> | undefined)[] = [];
  const endpointRefusals = new Map<number, IngestAnswer>();
  let eventCount = 0;
  for (const endpointId of Object.keys(batch)) {
    const path = `$.BatchItem.${shownKey(endpointId)}`;
    const item = objectAt(batch[endpointId], path);
    const given = required(item, 'Events', path);
    const endpoint = readEndpoint(required(item, 'Endpoint', path));
    if (typeof endpoint === 'string') {
      endpointRefusals.set(items.length, { status: 400, message: endpoint });
    }
    const events: IngestEvent[] = [];
    let unreadable: Map<string, IngestAnswer> | undefined;
    for (const id of Object.keys(given)) {
      eventCount++;
      const event = readEvent(id, given[id]);
      if (typeof event === 'string') {
        unreadable ??= new Map();
        unreadable.set(id, { status: 400, message: event });
      } else events.push(event);
    }
    items.push({ endpointId, events, ...(typeof endpoint === 'string' ? {} : { endpoint }) });
    refusals.push(unreadable);
  }
  return {
    items,
    eventCount,
    endpointRefusal: (place) => endpointRefusals.get(place),
    unreadable: (place) => refusals[place],
  };
}

/** The endpoint, or what is wrong with it. */
function readEndpoint(endpoint: Json): PublicEndpoint | string {
  for (const _ in endpoint) {
    try {
      return parseValue(publicEndpoint, endpoint, 'Endpoint') as PublicEndpoint;
    } catch (error) {
      if (error instanceof CallerError) return error.message;
      throw error;
    }
  }
  return {};
}

class Unreadable extends Error {}

function readEvent(id: string, value: unknown): IngestEvent | string {
  try {
    if (!isObject(value)) return `expected an object, not ${kindOf(value)}`;
    const event: IngestEvent = { id, type: textOf(value, 'EventType'), at: timeOf(value, 'Timestamp', '') };
    const { Attributes: attributes, Metrics: metrics, Session: session } = value;
    if (attributes != null) event.attributes = mapOf(attributes, 'Attributes', 'string');
    if (metrics != null) event.metrics = mapOf(metrics, 'Metrics', 'number');
    if (session != null) event.session = readSession(session);
    const app = readApp(value);
    if (app) event.app = app;
    return event;
  } catch (error) {
    if (error instanceof Unreadable) return error.message;
    throw error;
  }
}

/** A session without an id says nothing; SDKs send an empty one. */
function readSession(value: unknown): IngestEvent['session'] {
  if (!isObject(value)) throw new Unreadable(`Session: expected an object, not ${kindOf(value)}`);
  for (const _ in value) {
    const session: NonNullable<IngestEvent['session']> = { id: textOf(value, 'Id', 'Session.') };
    if (value.StartTimestamp != null) session.startedAt = timeOf(value, 'StartTimestamp', 'Session.');
    if (value.StopTimestamp != null) session.stoppedAt = timeOf(value, 'StopTimestamp', 'Session.');
    if (value.Duration != null) {
      if (typeof value.Duration !== 'number' || !Number.isFinite(value.Duration)) {
        throw new Unreadable(`Session.Duration: expected a number, not ${kindOf(value.Duration)}`);
      }
      session.durationMs = Math.round(value.Duration);
    }
    return session;
  }
  return undefined;
}

const appMembers = [
  ['AppPackageName', 'packageName'],
  ['AppTitle', 'title'],
  ['AppVersionCode', 'versionCode'],
  ['SdkName', 'sdkName'],
  ['ClientSdkVersion', 'sdkVersion'],
] as const;

function readApp(value: Json): IngestEvent['app'] {
  let app: IngestEvent['app'];
  for (const [name, member] of appMembers) {
    if (value[name] == null) continue;
    app ??= {};
    app[member] = textOf(value, name);
  }
  return app;
}

function textOf(from: Json, name: string, path = ''): string {
  const value = from[name];
  if (value == null) throw new Unreadable(`${path}${name}: this member is required`);
  if (typeof value !== 'string') {
    throw new Unreadable(`${path}${name}: expected a string, not ${kindOf(value)}`);
  }
  return value;
}

function timeOf(from: Json, name: string, path: string): number {
  const value = from[name];
  if (value == null) throw new Unreadable(`${path}${name}: this member is required`);
  const at = parseTimestamp(value);
  if (at === undefined) throw new Unreadable(`${path}${name}: expected a time such as 2026-11-21T08:00:00Z`);
  return at;
}

interface ValueTypes {
  string: string;
  number: number;
}

/** A map of which every value has the type; null values count as absent. */
function mapOf<Type extends keyof ValueTypes>(
  value: unknown,
  path: string,
  type: Type,
): Record<string, ValueTypes[Type]> {
  if (!isObject(value)) throw new Unreadable(`${path}: expected an object, not ${kindOf(value)}`);
  let hasNull = false;
  for (const name of Object.keys(value)) {
    const member = value[name];
    if (typeof member === type) continue;
    if (member !== null) {
      throw new Unreadable(`${path}.${shownKey(name)}: expected a ${type}, not ${kindOf(member)}`);
    }
    hasNull = true;
  }
  if (!hasNull) return value as Record<string, ValueTypes[Type]>;
  const kept = Object.assign(Object.create(null), value);
  for (const name of Object.keys(kept)) if (kept[name] === null) delete kept[name];
  return kept;
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function objectAt(value: unknown, path: string): Json {
  if (!isObject(value)) throw badMember(path, `expected an object, not ${kindOf(value)}`);
  return value;
}

function required(from: Json, name: string, path: string): Json {
  const value = Object.hasOwn(from, name) ? from[name] : undefined;
  if (value == null) throw badMember(`${path}.${name}`, 'this member is required');
  return objectAt(value, `${path}.${name}`);
}

function kindOf(value: unknown): string {
  if (value == null) return 'null';
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'object') return 'an object';
  return typeof value === 'string' ? JSON.stringify(shownKey(value)) : String(value);
}

const maxShown = 60;

function shownKey(key: string): string {
  return (key.length > maxShown ? `${key.slice(0, maxShown)}…` : key)
    .toWellFormed()
    .replaceAll('\0', '\ufffd');
}
