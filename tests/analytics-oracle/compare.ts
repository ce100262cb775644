import type { Answers } from './answers.ts';

/**
 * Where two answers differ, as paths with both values. Numbers may differ in their last digits, as sums of doubles do that
 * are added in another order. Only what the oracle has an opinion about is compared.
 */
export function differences(got: Answers, wanted: Answers): string[] {
  return Object.keys(wanted).flatMap((name) => compare(name, got[name], wanted[name]));
}

function compare(path: string, got: unknown, wanted: unknown): string[] {
  if (typeof got === 'number' && typeof wanted === 'number') {
    const tolerance = 1e-9 * Math.max(1, Math.abs(got), Math.abs(wanted));
    return Math.abs(got - wanted) <= tolerance ? [] : [`${path}: got ${got}, expected ${wanted}`];
  }
  if (typeof got !== 'object' || typeof wanted !== 'object' || got === null || wanted === null) {
    return got === wanted ? [] : [`${path}: got ${JSON.stringify(got)}, expected ${JSON.stringify(wanted)}`];
  }
  const keys = new Set([...Object.keys(got), ...Object.keys(wanted)]);
  return [...keys].flatMap((key) =>
    compare(
      `${path}.${key}`,
      (got as Record<string, unknown>)[key],
      (wanted as Record<string, unknown>)[key],
    ),
  );
}
