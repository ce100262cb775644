import { expect, test } from 'vitest';
import {
  type ActivityCells,
  addDifference,
  createActivityCells,
  hasDay,
  mergeDays,
  readDays,
  writeDays,
} from './active-days.ts';

function cellsOf(cells: ActivityCells) {
  return Object.fromEntries(Object.entries(cells).map(([name, some]) => [name, [...some.entries()]]));
}

test('days are kept as bits from the first one on', () => {
  for (const days of [[0], [7], [20_000, 20_001], [20_000, 20_007, 20_008, 20_400], [-3, -1, 0, 5]]) {
    const bits = writeDays(days);
    expect(readDays(days[0]!, bits)).toEqual(days);
    for (let day = days[0]! - 9; day < days.at(-1)! + 20; day++) {
      expect(hasDay(days[0]!, bits, day), `${day}`).toBe(days.includes(day));
    }
  }
});

test('the figures of an actor do not depend on the order in which its days become known', () => {
  let state = 7;
  const upTo = (limit: number) => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((state / 2_147_483_648) * limit);
  };
  for (let round = 0; round < 300; round++) {
    const days = Array.from({ length: 1 + upTo(12) }, () => 20_000 + upTo(60));
    const atOnce = createActivityCells();
    addDifference(atOnce, [], mergeDays([], days));
    const stepwise = createActivityCells();
    let known: number[] = [];
    for (let at = 0; at < days.length; ) {
      const size = 1 + upTo(3);
      const now = mergeDays(known, days.slice(at, at + size));
      if (now.length > known.length) addDifference(stepwise, known, now);
      known = now;
      at += size;
    }
    expect(cellsOf(stepwise), `${days}`).toEqual(cellsOf(atOnce));
  }
});

test('an actor counts by the gap to its day before, by days and weeks after its first, and by its first return', () => {
  const cells = createActivityCells();
  // Sunday, Monday, and a Monday two weeks later.
  addDifference(cells, [], [20_541, 20_542, 20_556]);
  expect(cellsOf(cells)).toEqual({
    activity: [
      { first: 20_541, second: 0, value: 1 },
      { first: 20_542, second: 1, value: 1 },
      { first: 20_556, second: 14, value: 1 },
    ],
    days: [
      { first: 20_541, second: 0, value: 1 },
      { first: 20_541, second: 1, value: 1 },
      { first: 20_541, second: 15, value: 1 },
    ],
    returns: [{ first: 20_541, second: 1, value: 1 }],
    weeks: [
      { first: 2_934, second: 0, value: 1 },
      { first: 2_934, second: 1, value: 1 },
      { first: 2_934, second: 3, value: 1 },
    ],
  });
});
