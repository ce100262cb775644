/** Names and offsets of time zones, from the data that Node carries (Intl). */

const maxCached = 200;
const formats = new Map<string, Intl.DateTimeFormat | undefined>();

const fixedOffset = /^(?:GMT|UTC)?([+-])(\d{1,2})(?::?(\d{2}))?$/;

function formatOf(zone: string, style: 'longOffset' | 'short'): Intl.DateTimeFormat | undefined {
  const key = `${style} ${zone}`;
  if (formats.has(key)) return formats.get(key);
  let format: Intl.DateTimeFormat | undefined;
  try {
    format = new Intl.DateTimeFormat('en-US', { timeZone: zone, timeZoneName: style });
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    // No such zone.
  }
  if (formats.size >= maxCached) formats.clear();
  formats.set(key, format);
  return format;
}

function zonePart(format: Intl.DateTimeFormat, at: number): string {
  return format.formatToParts(at).find((part) => part.type === 'timeZoneName')?.value ?? 'GMT';
}

function fixed(zone: string): number | undefined {
  const match = fixedOffset.exec(zone);
  if (!match) return undefined;
  const minutes = Number(match[2]) * 60 + Number(match[3] ?? 0);
  return match[1] === '-' ? -minutes : minutes;
}

/** Minutes that local time is ahead of UTC at an instant (milliseconds). An unknown zone is UTC, as in Java. */
export function offsetMinutes(zone: string, at: number): number {
  if (zone === 'UTC') return 0;
  const minutes = fixed(zone);
  if (minutes !== undefined) return minutes;
  const format = formatOf(zone, 'longOffset');
  return format ? (fixed(zonePart(format, at)) ?? 0) : 0;
}

/** `PDT`, `GMT+2` …: the short name of a zone at an instant. */
export function zoneName(zone: string, at: number): string {
  if (fixed(zone) !== undefined) return zone;
  const format = formatOf(zone, 'short');
  return format ? zonePart(format, at) : 'UTC';
}

/** The instant at which clocks of the zone show `local` (milliseconds as if it were UTC). */
export function fromLocal(zone: string, local: number): number {
  const first = local - offsetMinutes(zone, local) * 60_000;
  return local - offsetMinutes(zone, first) * 60_000;
}
