import { isAppActivity, normaliseEventType } from '../ingest/event.ts';
import type { IngestEvent, PublicEndpoint } from '../ingest/prepare.ts';

/** A record of an archive, in the form that Pinpoint streamed (reference 8.4). */
export interface ArchivedEvent {
  endpointId: string;
  /** What the device said of itself; absent for what is not of an app. */
  endpoint: PublicEndpoint | undefined;
  event: IngestEvent;
}

type Json = Record<string, unknown>;

/** Objects in objects: a record of Pinpoint's has about six. */
const maxDepth = 32;
/** The first years of the first smartphones; earlier arrivals are in seconds, or no times at all. */
const earliestArrival = Date.UTC(2005, 0, 1);

/** What cannot be imported of a record, naming its member. */
export class RecordError extends Error {}

/**
 * Reads one line of an archive.
 * @param identityOf the id of the event, made of what names the record
 * @throws RecordError
 */
export function readArchivedEvent(
  line: string,
  now: number,
  identityOf: (identity: string) => string,
): ArchivedEvent {
  let record: unknown;
  try {
    record = JSON.parse(line);
  } catch (error) {
    throw new RecordError(`is not JSON: ${(error as Error).message.slice(0, 100)}`);
  }
  if (!isObject(record)) throw new RecordError('expected a JSON object');
  const type = textOf(record, 'event_type', true)!;
  const client = objectOf(record, 'client');
  const custom = objectOf(objectOf(record, 'client_context'), 'custom');
  const at = timeOf(record, 'event_timestamp', true)!;
  const arrivedAt = Math.min(timeOf(record, 'arrival_timestamp', false) ?? at, now);
  if (arrivedAt < earliestArrival) {
    throw new RecordError('arrival_timestamp: expected milliseconds since 1970');
  }
  const attributes = attributesOf(objectOf(record, 'attributes'));
  // A stream of ours names its records, so that a repeat is known though it was written anew.
  const recordId = custom.record_id;
  const isApp = isAppActivity(normaliseEventType(type));
  const event: IngestEvent = {
    id: identityOf(
      typeof recordId === 'string' && recordId !== '' ? `id ${recordId}` : `line ${line.trim()}`,
    ),
    type,
    at,
    attributes,
    metrics: metricsOf(objectOf(record, 'metrics')),
    session: sessionOf(objectOf(record, 'session')),
    app: appOf(objectOf(record, 'application')),
    arrivedAt,
    userId: userOf(custom),
    archived: archivedOf(record, isApp),
  };
  return {
    endpointId: textOf(client, 'client_id', true, 'client.')!,
    endpoint: isApp ? endpointOf(record) : undefined,
    event,
  };
}

/** The user: as our own streams say it, or in the endpoint that records of messages carry as JSON text. */
function userOf(custom: Json): string | undefined {
  if (typeof custom.user_id === 'string' && custom.user_id !== '') return custom.user_id;
  if (typeof custom.endpoint !== 'string') return undefined;
  try {
    const endpoint: unknown = JSON.parse(custom.endpoint);
    const user = isObject(endpoint) ? endpoint.User : undefined;
    const userId = isObject(user) ? user.UserId : undefined;
    return typeof userId === 'string' && userId !== '' ? userId : undefined;
  } catch {
    // The text is kept as it is among the attributes of the record; it only names no user.
    return undefined;
  }
}

function endpointOf(record: Json): PublicEndpoint {
  const device = objectOf(record, 'device');
  const platform = objectOf(device, 'platform');
  const application = objectOf(record, 'application');
  const Demographic: Record<string, string> = {};
  const said: [string, unknown][] = [
    ['AppVersion', application.version_name],
    ['Locale', objectOf(device, 'locale').code],
    ['Make', device.make],
    ['Model', device.model],
    ['Platform', platform.name],
    ['PlatformVersion', platform.version],
  ];
  for (const [name, value] of said) if (typeof value === 'string' && value !== '') Demographic[name] = value;
  return Object.keys(Demographic).length > 0 ? { Demographic } : {};
}

/** What no member of an event says: of a message its context, of an app its own context. */
function archivedOf(record: Json, isApp: boolean): Json | undefined {
  const names = isApp ? ['client_context'] : ['client_context', 'facets', 'device'];
  const kept: Json = {};
  for (const name of names) {
    const value = record[name];
    if (!isObject(value)) continue;
    if (isApp && Object.keys(objectOf(value, 'custom')).every((key) => ownContext.has(key))) continue;
    if (!withinDepth(value, maxDepth)) throw new RecordError(`${name}: nests deeper than ${maxDepth} levels`);
    if (Object.keys(value).length > 0) kept[name] = value;
  }
  return Object.keys(kept).length > 0 ? kept : undefined;
}

/** What our own streams put into the context of an app's event. */
const ownContext: ReadonlySet<string> = new Set(['record_id', 'user_id', 'client_timestamp']);

function withinDepth(value: unknown, depth: number): boolean {
  if (typeof value !== 'object' || value === null) return true;
  return depth > 0 && Object.values(value).every((member) => withinDepth(member, depth - 1));
}

/** Values that are no texts are written as texts; the live API takes texts only. */
function attributesOf(given: Json): Record<string, string> | undefined {
  const read: Record<string, string> = Object.create(null);
  for (const name of Object.keys(given)) {
    const value = given[name];
    if (value === null || value === undefined) continue;
    if (typeof value === 'object' && !withinDepth(value, maxDepth)) {
      throw new RecordError(`attributes: nests deeper than ${maxDepth} levels`);
    }
    read[name] = typeof value === 'string' ? value : JSON.stringify(value);
  }
  return read;
}

function metricsOf(given: Json): Record<string, number> | undefined {
  const read: Record<string, number> = Object.create(null);
  for (const name of Object.keys(given)) {
    const value = given[name];
    if (value === null || value === undefined) continue;
    const metric = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
    if (typeof metric !== 'number') throw new RecordError(`metrics.${name.slice(0, 60)}: expected a number`);
    read[name] = metric;
  }
  return read;
}

function sessionOf(given: Json): IngestEvent['session'] {
  const id = textOf(given, 'session_id', false, 'session.');
  if (id === undefined || id === '') return undefined;
  const startedAt = timeOf(given, 'start_timestamp', false, 'session.');
  const stoppedAt = timeOf(given, 'stop_timestamp', false, 'session.');
  const { duration } = given;
  return {
    id,
    ...(startedAt === undefined ? {} : { startedAt }),
    ...(stoppedAt === undefined ? {} : { stoppedAt }),
    ...(typeof duration === 'number' && duration >= 0 ? { durationMs: Math.round(duration) } : {}),
  };
}

function appOf(given: Json): IngestEvent['app'] {
  const sdk = objectOf(given, 'sdk');
  return {
    packageName: textOf(given, 'package_name', false, 'application.'),
    title: textOf(given, 'title', false, 'application.'),
    versionCode: textOf(given, 'version_code', false, 'application.'),
    sdkName: textOf(sdk, 'name', false, 'application.sdk.'),
    sdkVersion: textOf(sdk, 'version', false, 'application.sdk.'),
  };
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function objectOf(from: Json, name: string): Json {
  const value = Object.hasOwn(from, name) ? from[name] : undefined;
  return isObject(value) ? value : {};
}

function textOf(from: Json, name: string, required: boolean, path = ''): string | undefined {
  const value = Object.hasOwn(from, name) ? from[name] : undefined;
  if (value === undefined || value === null || (required && value === '')) {
    if (required) throw new RecordError(`${path}${name}: expected a text`);
    return undefined;
  }
  if (typeof value === 'number') return String(value);
  if (typeof value !== 'string') throw new RecordError(`${path}${name}: expected a text`);
  return value;
}

/** Milliseconds since the epoch, as a number or in digits. */
function timeOf(from: Json, name: string, required: boolean, path = ''): number | undefined {
  const value = Object.hasOwn(from, name) ? from[name] : undefined;
  if (value === undefined || value === null) {
    if (required) throw new RecordError(`${path}${name}: expected milliseconds since 1970`);
    return undefined;
  }
  const at = typeof value === 'string' && /^\d{1,16}$/.test(value) ? Number(value) : value;
  if (typeof at !== 'number' || !Number.isFinite(at) || Math.abs(at) > 8.64e15) {
    throw new RecordError(`${path}${name}: expected milliseconds since 1970`);
  }
  return Math.trunc(at);
}
