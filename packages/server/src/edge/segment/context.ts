import type { IngestEvent, PublicEndpoint } from '../../audience/index.ts';
import { type Json, member, objectOf, textOf } from './message.ts';

/** What a call's context says of device and place, as an endpoint has it. The client's IP address is not kept. */
export function endpointOfContext(context: Json): PublicEndpoint {
  const endpoint: PublicEndpoint = {};
  const demographic = demographicOf(context);
  if (Object.keys(demographic).length > 0) endpoint.Demographic = demographic;
  const location = locationOf(context);
  if (Object.keys(location).length > 0) endpoint.Location = location;
  const push = pushOf(objectOf(context, 'device'));
  return { ...endpoint, ...push };
}

const maxTextLength = 100;

type Demographic = NonNullable<PublicEndpoint['Demographic']>;
type Location = NonNullable<PublicEndpoint['Location']>;
type Draft<T> = { -readonly [Key in keyof T]: T[Key] };

function demographicOf(context: Json): Demographic {
  const [device, os, app] = ['device', 'os', 'app'].map((name) => objectOf(context, name)) as [
    Json,
    Json,
    Json,
  ];
  const demographic: Draft<Demographic> = {};
  const put = (name: keyof Demographic, value: string | undefined) => {
    if (value !== undefined) demographic[name] = short(value);
  };
  put('Make', textOf(device, 'manufacturer'));
  put('Model', textOf(device, 'model'));
  put('Platform', textOf(os, 'name'));
  put('PlatformVersion', textOf(os, 'version'));
  put('AppVersion', textOf(app, 'version'));
  // `en-US` as browsers write it is `en_US` in Pinpoint.
  put('Locale', textOf(context, 'locale')?.replaceAll('-', '_'));
  put('Timezone', textOf(context, 'timezone'));
  return demographic;
}

function locationOf(context: Json): Location {
  const given = objectOf(context, 'location');
  const location: Draft<Location> = {};
  for (const [name, from] of [
    ['City', 'city'],
    ['Region', 'region'],
  ] as const) {
    const value = textOf(given, from);
    if (value !== undefined) location[name] = short(value);
  }
  const country = textOf(given, 'country');
  if (country !== undefined && /^[A-Za-z]{2}$/.test(country)) location.Country = country.toUpperCase();
  const latitude = member(given, 'latitude');
  const longitude = member(given, 'longitude');
  if (typeof latitude === 'number' && Math.abs(latitude) <= 90) location.Latitude = latitude;
  if (typeof longitude === 'number' && Math.abs(longitude) <= 180) location.Longitude = longitude;
  return location;
}

/** The device token that mobile libraries send once they have it. */
function pushOf(device: Json): PublicEndpoint {
  const token = textOf(device, 'token');
  const type = textOf(device, 'type')?.toLowerCase();
  if (token === undefined || token.length > 2000) return {};
  if (type === 'android') return { ChannelType: 'GCM', Address: token };
  if (type === 'ios') return { ChannelType: 'APNS', Address: token };
  return {};
}

/** The program that made the call. */
export function appOfContext(context: Json): NonNullable<IngestEvent['app']> {
  const app = objectOf(context, 'app');
  const library = objectOf(context, 'library');
  const found: NonNullable<IngestEvent['app']> = {};
  for (const [name, value] of [
    ['packageName', textOf(app, 'namespace')],
    ['title', textOf(app, 'name')],
    ['versionCode', textOf(app, 'build')],
    ['sdkName', textOf(library, 'name')],
    ['sdkVersion', textOf(library, 'version')],
  ] as const) {
    if (value !== undefined) found[name] = short(value);
  }
  return found;
}

/** The session that newer libraries count. */
export function sessionOfContext(context: Json): IngestEvent['session'] | undefined {
  const id = member(context, 'sessionId');
  if (typeof id === 'number' && Number.isFinite(id)) return { id: String(id) };
  return typeof id === 'string' && id !== '' ? { id: short(id) } : undefined;
}

function short(text: string): string {
  return text.replaceAll('\0', '').slice(0, maxTextLength).toWellFormed();
}
