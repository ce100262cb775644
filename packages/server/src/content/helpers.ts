import { dateHelpers } from './date-helpers.ts';
import { numberHelpers } from './number-helpers.ts';
import { stringHelpers } from './string-helpers.ts';
import { isEmpty, single, textOf, type Value } from './values.ts';

/** What a helper may know of the render that calls it. */
export interface HelperCall {
  /** Milliseconds since the epoch. */
  now: number;
  /** No result may be longer. */
  maxChars: number;
}

/** A helper that computes a value: `{{upper x}}`, `(upper x)`. */
export interface ValueHelper {
  /** Fewest and most parameters. */
  params: readonly [number, number];
  /** Which parameters without a value make the result one without a value. */
  needs: 'first' | 'all' | 'none';
  /** A parameter or option that names no variable stands for itself: `inflect n apple apples`, `tz=Europe/Berlin`. */
  bareWords?: { params?: boolean; options?: readonly string[] };
  run(args: readonly Value[], options: ReadonlyMap<string, Value>, call: HelperCall): Value;
}

/** A helper that decides: `{{#eq a b}}…{{else}}…{{/eq}}`, `{{eq a b yes='y' no='n'}}`, `(eq a b)`. */
export interface Condition {
  params: readonly [number, number];
  test(args: readonly Value[], options: ReadonlyMap<string, Value>): boolean;
}

/** Compares as numbers when both are, otherwise as texts; undefined when one has no value. */
function compare(left: Value, right: Value): number | undefined {
  const [a, b] = [textOf(single(left)), textOf(single(right))];
  if (a === undefined || b === undefined) return undefined;
  const [x, y] = [numberOf(a), numberOf(b)];
  if (x !== undefined && y !== undefined) return x - y;
  return a < b ? -1 : a > b ? 1 : 0;
}

function equal(left: Value, right: Value): boolean {
  const [a, b] = [single(left), single(right)];
  // "05" is not "5" unless one of them is written as a number.
  if (typeof a === 'number' || typeof b === 'number') {
    const difference = compare(a, b);
    return difference === undefined ? textOf(a) === textOf(b) : difference === 0;
  }
  return textOf(a) === textOf(b);
}

function numberOf(text: string): number | undefined {
  return /^\s*[-+]?(\d+\.?\d*|\.\d+)\s*$/.test(text) ? Number(text) : undefined;
}

function ordered(accepts: (difference: number) => boolean): Condition {
  return {
    params: [2, 2],
    test: ([a, b]) => {
      const difference = compare(a, b);
      return difference !== undefined && accepts(difference);
    },
  };
}

const present: Condition = {
  params: [1, 1],
  test: ([value], options) => !isEmpty(value) || (value === 0 && !isEmpty(options.get('includeZero'))),
};

export const conditions: ReadonlyMap<string, Condition> = new Map<string, Condition>([
  ['if', present],
  ['unless', { params: [1, 1], test: (args, options) => !present.test(args, options) }],
  ['eq', { params: [2, 2], test: ([a, b]) => equal(a, b) }],
  ['neq', { params: [2, 2], test: ([a, b]) => !equal(a, b) }],
  ['gt', ordered((difference) => difference > 0)],
  ['gte', ordered((difference) => difference >= 0)],
  ['lt', ordered((difference) => difference < 0)],
  ['lte', ordered((difference) => difference <= 0)],
  ['and', { params: [1, 32], test: (args) => args.every((value) => !isEmpty(value)) }],
  ['or', { params: [1, 32], test: (args) => args.some((value) => !isEmpty(value)) }],
  ['not', { params: [1, 1], test: ([value]) => isEmpty(value) }],
]);

export const valueHelpers: ReadonlyMap<string, ValueHelper> = new Map([
  ...stringHelpers,
  ...dateHelpers,
  ...numberHelpers,
]);
