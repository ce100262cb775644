import { weekOf } from './calendar.ts';

/** Sorted days, each once. */
export type Days = readonly number[];

/** Bit i (from the lowest of the first byte) stands for firstDay + i. */
export function readDays(firstDay: number, bits: Uint8Array): number[] {
  const days: number[] = [];
  for (let at = 0; at < bits.length; at++) {
    for (let byte = bits[at]!, bit = 0; byte !== 0; byte >>= 1, bit++) {
      if (byte & 1) days.push(firstDay + at * 8 + bit);
    }
  }
  return days;
}

/** The bits of days, from the first one on. */
export function writeDays(days: Days): Buffer {
  const first = days[0]!;
  const bits = Buffer.alloc(((days.at(-1)! - first) >> 3) + 1);
  for (const day of days) {
    const at = day - first;
    bits[at >> 3]! |= 1 << (at & 7);
  }
  return bits;
}

/** Is the day among those that `bits` stand for? */
export function hasDay(firstDay: number, bits: Uint8Array, day: number): boolean {
  const at = day - firstDay;
  return at >= 0 && at >> 3 < bits.length && ((bits[at >> 3]! >> (at & 7)) & 1) === 1;
}

/** `old` with `added`, sorted, each once. */
export function mergeDays(old: Days, added: Iterable<number>): number[] {
  return [...new Set([...old, ...added])].sort((a, b) => a - b);
}

/** Counts cells that are named by two small numbers. */
export class Cells {
  readonly #cells = new Map<number, number>();

  add(first: number, second: number, value: number): void {
    const key = first * 0x1000000 + second;
    this.#cells.set(key, (this.#cells.get(key) ?? 0) + value);
  }

  /** Those that are not zero, in order, so that two writers meet their rows in the same order. */
  *entries(): Iterable<{ first: number; second: number; value: number }> {
    for (const key of [...this.#cells.keys()].sort((a, b) => a - b)) {
      const value = this.#cells.get(key)!;
      if (value === 0) continue;
      const first = Math.floor(key / 0x1000000);
      yield { first, second: key - first * 0x1000000, value };
    }
  }
}

/** What actors of one kind add to the tables of activity and cohorts. */
export interface ActivityCells {
  /** day, gap */
  activity: Cells;
  /** first day, days after it */
  days: Cells;
  /** first day, days until the second active one */
  returns: Cells;
  /** first week, weeks after it */
  weeks: Cells;
}

export function createActivityCells(): ActivityCells {
  return { activity: new Cells(), days: new Cells(), returns: new Cells(), weeks: new Cells() };
}

/**
 * Adds the difference that it makes that an actor's days were `old` and are `now`, which holds all of `old`. Depends on
 * nothing but these two, so days may come in any order.
 */
export function addDifference(cells: ActivityCells, old: Days, now: Days): void {
  if (old.length > 0 && old[0] === now[0]) {
    addLaterDays(cells, old, now);
    return;
  }
  // Everything is counted from the first day.
  if (old.length > 0) addAll(cells, old, -1);
  addAll(cells, now, 1);
}

function addAll(cells: ActivityCells, days: Days, sign: 1 | -1): void {
  const first = days[0]!;
  const firstWeek = weekOf(first);
  let before = first;
  let weekBefore = Number.NaN;
  for (const day of days) {
    cells.activity.add(day, day - before, sign);
    cells.days.add(first, day - first, sign);
    const week = weekOf(day);
    if (week !== weekBefore) cells.weeks.add(firstWeek, week - firstWeek, sign);
    before = day;
    weekBefore = week;
  }
  if (days.length > 1) cells.returns.add(first, days[1]! - first, sign);
}

/** The first day stays: only what lies around each new day changes. */
function addLaterDays(cells: ActivityCells, old: Days, now: Days): void {
  const first = now[0]!;
  const firstWeek = weekOf(first);
  for (let at = 1, oldAt = 1; at < now.length; at++) {
    const day = now[at]!;
    const before = now[at - 1]!;
    const isOld = old[oldAt] === day;
    if (isOld) {
      const oldBefore = old[oldAt - 1]!;
      oldAt++;
      if (oldBefore === before) continue;
      cells.activity.add(day, day - oldBefore, -1);
      cells.activity.add(day, day - before, 1);
      continue;
    }
    cells.activity.add(day, day - before, 1);
    cells.days.add(first, day - first, 1);
    // The first of the new days in a week that had none of the old ones.
    const week = weekOf(day);
    const later = old[oldAt];
    if (weekOf(before) !== week && (later === undefined || weekOf(later) !== week)) {
      cells.weeks.add(firstWeek, week - firstWeek, 1);
    }
  }
  if (old[1] !== now[1]) {
    if (old.length > 1) cells.returns.add(first, old[1]! - first, -1);
    cells.returns.add(first, now[1]! - first, 1);
  }
}
