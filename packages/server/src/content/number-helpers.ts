import { createHash } from 'node:crypto';
import { randomBytes } from '../platform/ids.ts';
import type { ValueHelper } from './helpers.ts';
import { RenderError, single, textOf, type Value } from './values.ts';

function number(helper: string, value: Value): number {
  const text = textOf(single(value)) ?? '';
  const parsed = text.trim() === '' ? Number.NaN : Number(text);
  if (!Number.isFinite(parsed)) {
    throw new RenderError(`${helper}: "${text.slice(0, 40)}" is not a number`);
  }
  return parsed;
}

/** Eight decimals, as Pinpoint's examples show (`divide 5 2.3` is 2.17391304); hides 0.1 + 0.2. */
function decimal(helper: string, value: number): number {
  if (!Number.isFinite(value)) throw new RenderError(`${helper}: the result is not a number`);
  return Number(value.toFixed(8)) + 0;
}

function arithmetic(helper: string, compute: (a: number, b: number) => number): [string, ValueHelper] {
  return [
    helper,
    {
      params: [2, 2],
      needs: 'all',
      run: ([a, b]) => decimal(helper, compute(number(helper, a), number(helper, b))),
    },
  ];
}

function rounding(helper: string, round: (value: number) => number): [string, ValueHelper] {
  return [
    helper,
    { params: [1, 1], needs: 'first', run: ([value]) => decimal(helper, round(number(helper, value))) },
  ];
}

function onText(helper: string, run: (value: string) => string): [string, ValueHelper] {
  return [helper, { params: [1, 1], needs: 'first', run: ([value]) => run(textOf(value) ?? '') }];
}

function ordinalize(value: number): string {
  const lastTwo = Math.abs(value) % 100;
  const last = lastTwo % 10;
  const suffix = lastTwo >= 11 && lastTwo <= 13 ? 'th' : (['th', 'st', 'nd', 'rd'][last] ?? 'th');
  return `${value}${suffix}`;
}

function hash(algorithm: 'md5' | 'sha256' | 'sha512'): [string, ValueHelper] {
  return onText(algorithm, (value) => createHash(algorithm).update(value, 'utf8').digest('hex'));
}

/** A random UUID (version 4). */
function uuid(): string {
  const bytes = randomBytes(16);
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = bytes.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

export const numberHelpers: ReadonlyMap<string, ValueHelper> = new Map<string, ValueHelper>([
  arithmetic('add', (a, b) => a + b),
  arithmetic('subtract', (a, b) => a - b),
  arithmetic('multiply', (a, b) => a * b),
  arithmetic('divide', (a, b) => a / b),
  arithmetic('modulo', (a, b) => a % b),
  rounding('round', Math.round),
  rounding('ceiling', Math.ceil),
  rounding('floor', Math.floor),
  [
    'ordinalize',
    { params: [1, 1], needs: 'first', run: ([value]) => ordinalize(number('ordinalize', value)) },
  ],
  onText('encode64', (value) => Buffer.from(value, 'utf8').toString('base64')),
  onText('decode64', (value) => Buffer.from(value, 'base64').toString('utf8')),
  hash('md5'),
  hash('sha256'),
  hash('sha512'),
  ['uuid', { params: [0, 0], needs: 'none', run: uuid }],
]);
