const shape =
  /^(\d{4})-(\d{2})-(\d{2})(?:T(\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?(?:Z|([+-])(\d{2}):?(\d{2}))?)?$/;

/**
 * Milliseconds since the epoch of a date or datetime in ISO 8601: `2026-11-21`, `2026-11-21T10:15Z`,
 * `2026-11-21T10:15:30.123456+01:00`. Without an offset it is UTC, without a time midnight. Undefined for anything
 * else, and for days, hours or offsets that do not exist. The SQL function instant_of() reads the same grammar.
 */
export function parseInstant(text: string): number | undefined {
  const part = shape.exec(text);
  if (!part) return undefined;
  const [year, month, day] = [Number(part[1]), Number(part[2]), Number(part[3])];
  const [hour, minute, second] = [Number(part[4] ?? 0), Number(part[5] ?? 0), Number(part[6] ?? 0)];
  const [offsetHours, offsetMinutes] = [Number(part[9] ?? 0), Number(part[10] ?? 0)];
  if (year === 0 || hour > 23 || minute > 59 || second > 59 || offsetHours > 15 || offsetMinutes > 59) {
    return undefined;
  }
  // setUTCFullYear, since Date.UTC takes the years 0–99 for 1900–1999.
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  if (date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) return undefined;
  // As PostgreSQL: rounded to microseconds; then only whole milliseconds are compared.
  const milliseconds = Math.floor(Math.round(Number(`0.${part[7] ?? '0'}`) * 1e6) / 1000);
  const offsetMs = (offsetHours * 60 + offsetMinutes) * 60_000 * (part[8] === '-' ? -1 : 1);
  return date.getTime() + ((hour * 60 + minute) * 60 + second) * 1000 + milliseconds - offsetMs;
}
