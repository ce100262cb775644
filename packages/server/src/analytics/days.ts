import { badMember } from '../platform/errors.ts';
import { dayName, dayNumber } from './calendar.ts';

/** Days from `from` to `to`, both included, as dates of the application's time zone (`2026-11-21`). */
export interface DayRange {
  from: string;
  to: string;
}

/** Days that one question may span: ten years and a bit. */
export const maxDays = 3_700;

/**
 * A range as numbers of days.
 * @throws CallerError bad_request for what is no date, for a range that ends before it begins, and for a too long one
 */
export function readRange(range: DayRange): { from: number; to: number } {
  const from = dayNumber(range.from);
  const to = dayNumber(range.to);
  if (from === undefined || from < 0) throw badMember('from', 'expected a date such as 2026-11-21');
  if (to === undefined || to < 0) throw badMember('to', 'expected a date such as 2026-11-21');
  if (to < from) throw badMember('to', 'expected a day that is not before from');
  if (to - from >= maxDays) throw badMember('to', `expected at most ${maxDays} days from from`);
  return { from, to };
}

/** Every day of a range. */
export function eachDay<T>({ from, to }: { from: number; to: number }, make: (day: number) => T): T[] {
  return Array.from({ length: to - from + 1 }, (_, index) => make(from + index));
}

export { dayName };

/** `null` for a share of nothing. */
export function share(part: number, whole: number): number | null {
  return whole > 0 ? part / whole : null;
}
