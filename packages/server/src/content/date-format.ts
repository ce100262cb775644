import { fromLocal, offsetMinutes, zoneName } from './time-zone.ts';
import { RenderError } from './values.ts';

// The subset of java.text.SimpleDateFormat (English) that templates use. Week letters (w, W, F, Y) are refused.

const months = [
  'January',
  'February',
  'March',
  'April',
  'May',
  'June',
  'July',
  'August',
  'September',
  'October',
  'November',
  'December',
];
const days = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];

const styles = new Map([
  ['full', 'EEEE, MMMM d, yyyy'],
  ['long', 'MMMM d, yyyy'],
  ['medium', 'MMM d, yyyy'],
  ['short', 'M/d/yy'],
]);

interface Field {
  /** A pattern letter, or '' for fixed text. */
  letter: string;
  count: number;
  text: string;
}

const maxPatternLength = 200;
const maxCached = 200;
const patterns = new Map<string, Field[]>();

/** Reads a pattern (`yyyy-MM-dd'T'HH:mm`) or the name of a style (`full`, `long`, `medium`, `short`). */
export function readPattern(pattern: string): Field[] {
  const cached = patterns.get(pattern);
  if (cached) return cached;
  if (pattern.length > maxPatternLength) {
    throw new RenderError(`a date pattern is longer than ${maxPatternLength} characters`);
  }
  const fields: Field[] = [];
  const source = styles.get(pattern) ?? pattern;
  for (const match of source.matchAll(/([A-Za-z])\1*|'((?:[^']|'')*)'|[^A-Za-z']+|'/g)) {
    const [whole, letter, quoted] = match;
    if (letter !== undefined) {
      if (!'GyMLdDEuaHkKhmsSzZX'.includes(letter)) {
        throw new RenderError(`date pattern "${pattern}": letter ${letter} is not supported`);
      }
      fields.push({ letter, count: whole.length, text: '' });
    } else {
      const text = quoted === undefined ? whole : quoted === '' ? "'" : quoted.replaceAll("''", "'");
      fields.push({ letter: '', count: 0, text });
    }
  }
  if (patterns.size >= maxCached) patterns.clear();
  patterns.set(pattern, fields);
  return fields;
}

/** Writes an instant (milliseconds) in a zone. */
export function formatDate(at: number, fields: readonly Field[], zone: string): string {
  const offset = offsetMinutes(zone, at);
  const local = new Date(at + offset * 60_000);
  let result = '';
  for (const field of fields) {
    result += field.letter === '' ? field.text : formatField(field, at, local, offset, zone);
  }
  return result;
}

function formatField(field: Field, at: number, local: Date, offset: number, zone: string): string {
  const { letter, count } = field;
  const hour = local.getUTCHours();
  const pad = (value: number) => String(value).padStart(count, '0');
  switch (letter) {
    case 'G':
      return 'AD';
    case 'y':
      return count === 2
        ? String(local.getUTCFullYear() % 100).padStart(2, '0')
        : pad(local.getUTCFullYear());
    case 'M':
    case 'L':
      if (count > 3) return months[local.getUTCMonth()]!;
      return count === 3 ? months[local.getUTCMonth()]!.slice(0, 3) : pad(local.getUTCMonth() + 1);
    case 'd':
      return pad(local.getUTCDate());
    case 'D':
      return pad(Math.floor((local.getTime() - Date.UTC(local.getUTCFullYear(), 0, 1)) / 86_400_000) + 1);
    case 'E':
      return count > 3 ? days[local.getUTCDay()]! : days[local.getUTCDay()]!.slice(0, 3);
    case 'u':
      return pad(local.getUTCDay() || 7);
    case 'a':
      return hour < 12 ? 'AM' : 'PM';
    case 'H':
      return pad(hour);
    case 'k':
      return pad(hour || 24);
    case 'K':
      return pad(hour % 12);
    case 'h':
      return pad(hour % 12 || 12);
    case 'm':
      return pad(local.getUTCMinutes());
    case 's':
      return pad(local.getUTCSeconds());
    case 'S':
      return pad(local.getUTCMilliseconds());
    case 'z':
      return zoneName(zone, at);
    default:
      return formatOffset(letter, count, offset);
  }
}

function formatOffset(letter: string, count: number, offset: number): string {
  if (letter === 'X' && offset === 0) return 'Z';
  const sign = offset < 0 ? '-' : '+';
  const hours = String(Math.floor(Math.abs(offset) / 60)).padStart(2, '0');
  const minutes = String(Math.abs(offset) % 60).padStart(2, '0');
  if (letter === 'X' && count === 1) return sign + hours;
  return letter === 'X' && count === 3 ? `${sign}${hours}:${minutes}` : sign + hours + minutes;
}

interface Parsed {
  year: number;
  month: number;
  day: number;
  hour: number;
  afternoon: boolean | undefined;
  minute: number;
  second: number;
  millisecond: number;
  /** Minutes ahead of UTC, when the text names its zone. */
  offset: number | undefined;
  /** A year of two digits is none later than this (20 years ahead of now, as in Java). */
  latestYear: number;
}

/** Reads a text by a pattern into an instant; undefined when it does not match. Without a zone in it, it is local to `zone`. */
export function parseDate(
  text: string,
  fields: readonly Field[],
  zone: string,
  now: number,
): number | undefined {
  const parsed: Parsed = {
    year: 1970,
    month: 1,
    day: 1,
    hour: 0,
    afternoon: undefined,
    minute: 0,
    second: 0,
    millisecond: 0,
    offset: undefined,
    latestYear: new Date(now).getUTCFullYear() + 20,
  };
  let at = 0;
  for (const [index, field] of fields.entries()) {
    const next = fields[index + 1];
    const read =
      field.letter === ''
        ? text.startsWith(field.text, at) && field.text.length
        : readField(field, text.slice(at, at + 60), next !== undefined && next.letter !== '', parsed);
    if (read === false) return undefined;
    at += read;
  }
  const hour =
    parsed.afternoon === undefined ? parsed.hour : (parsed.hour % 12) + (parsed.afternoon ? 12 : 0);
  const local = Date.UTC(
    parsed.year,
    parsed.month - 1,
    parsed.day,
    hour,
    parsed.minute,
    parsed.second,
    parsed.millisecond,
  );
  return parsed.offset === undefined ? fromLocal(zone, local) : local - parsed.offset * 60_000;
}

/** Reads one field from the beginning of `text`; returns how many characters it took, or false. */
function readField(field: Field, text: string, adjacent: boolean, parsed: Parsed): number | false {
  const { letter, count } = field;
  if ('zZX'.includes(letter)) return readOffset(text, parsed);
  if (letter === 'a' || letter === 'G') {
    const marker = /^(am|pm|ad|bc)/i.exec(text)?.[0].toLowerCase();
    if (marker === undefined) return false;
    if (letter === 'a') parsed.afternoon = marker === 'pm';
    return 2;
  }
  if (letter === 'E') return /^[A-Za-z]+/.exec(text)?.[0].length ?? false;
  if ((letter === 'M' || letter === 'L') && count >= 3) {
    const name = /^[A-Za-z]{3,}/.exec(text)?.[0].toLowerCase();
    const month = name === undefined ? -1 : months.findIndex((item) => item.toLowerCase().startsWith(name));
    if (month === -1) return false;
    parsed.month = month + 1;
    return name!.length;
  }
  // Digits of neighbouring fields are told apart by the pattern's counts only (`yyyyMMdd`).
  const digits = (adjacent ? new RegExp(`^\\d{1,${count}}`) : /^\d+/).exec(text)?.[0];
  if (digits === undefined) return false;
  setNumber(letter, count, digits, parsed);
  return digits.length;
}

function setNumber(letter: string, count: number, digits: string, parsed: Parsed): void {
  const value = Number(digits);
  if (letter === 'y') {
    const { latestYear } = parsed;
    const shortened = count <= 2 && digits.length === 2;
    parsed.year = shortened ? latestYear - ((((latestYear - value) % 100) + 100) % 100) : value;
  } else if (letter === 'M' || letter === 'L') parsed.month = value;
  else if (letter === 'd') parsed.day = value;
  else if (letter === 'D') parsed.day = value;
  else if (letter === 'H') parsed.hour = value;
  else if (letter === 'k') parsed.hour = value % 24;
  else if (letter === 'K' || letter === 'h') parsed.hour = value % 12;
  else if (letter === 'm') parsed.minute = value;
  else if (letter === 's') parsed.second = value;
  else if (letter === 'S') parsed.millisecond = Math.floor(Number(`0.${digits}`) * 1000);
}

function readOffset(text: string, parsed: Parsed): number | false {
  const match = /^(?:Z|(?:GMT|UTC)?([+-])(\d{2}):?(\d{2})?|GMT|UTC)/.exec(text);
  if (!match) return false;
  const minutes = Number(match[2] ?? 0) * 60 + Number(match[3] ?? 0);
  parsed.offset = match[1] === '-' ? -minutes : minutes;
  return match[0].length;
}

const iso =
  /^(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?\s*(Z|[+-]\d{2}:?\d{2})?)?$/;

/** Reads an ISO 8601 date or time, or milliseconds since the epoch. */
export function parseIsoDate(text: string, zone: string): number | undefined {
  if (/^-?\d{9,15}$/.test(text)) return Number(text);
  const match = iso.exec(text.trim());
  if (!match) return undefined;
  const [, year, month, day, hour = '0', minute = '0', second = '0', fraction = '0', offset] = match;
  const local = Date.UTC(
    Number(year),
    Number(month) - 1,
    Number(day),
    Number(hour),
    Number(minute),
    Number(second),
    Math.floor(Number(`0.${fraction}`) * 1000),
  );
  if (offset === undefined) return fromLocal(zone, local);
  return local - (offset === 'Z' ? 0 : offsetMinutes(offset, local)) * 60_000;
}
