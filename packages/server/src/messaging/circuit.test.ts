import { expect, test } from 'vitest';
import { Circuit } from './circuit.ts';
import type { AttemptResult } from './provider.ts';

const result = (change: Partial<AttemptResult>): AttemptResult => ({
  id: 'm',
  outcome: 'deferred',
  code: 451,
  response: 'x',
  ...change,
});
const accepted = result({ outcome: 'accepted', code: 250 });
const unreachable = result({ code: 0, accountUnusable: true });
const refused = result({});
const unlimited = { waitMs: 0, most: Number.POSITIVE_INFINITY };

test('a broken account rests for longer and longer, and one message shows whether it works again', () => {
  const circuit = new Circuit();
  expect(circuit.admission(0)).toEqual(unlimited);
  circuit.note([unreachable], 0, 1);
  expect(circuit.admission(0)).toEqual({ waitMs: 1_000, most: 0 });
  expect(circuit.tryEnter(999)).toBe(false);
  expect(circuit.admission(1_000)).toEqual({ waitMs: 0, most: 1 });
  expect(circuit.tryEnter(1_000)).toBe(true);
  expect(circuit.tryEnter(1_001)).toBe(false);
  expect(circuit.admission(1_001).most).toBe(0);
  circuit.note([unreachable], 1_100, 1);
  expect(circuit.admission(1_100)).toEqual({ waitMs: 2_000, most: 0 });
  expect(circuit.tryEnter(3_100)).toBe(true);
  circuit.note([accepted], 3_200, 1);
  expect(circuit.admission(3_200)).toEqual(unlimited);
});

test('all connections that break at once are one break, and the pause has an upper bound', () => {
  const circuit = new Circuit();
  for (let connection = 0; connection < 20; connection++) circuit.note([unreachable], connection, 1);
  expect(circuit.admission(20).waitMs).toBe(980);
  let now = 0;
  for (let pause = 0; pause < 30; pause++) {
    now += circuit.admission(now).waitMs;
    expect(circuit.tryEnter(now)).toBe(true);
    circuit.note([unreachable], now, 1);
  }
  expect(circuit.admission(now).waitMs).toBe(30_000);
});

test('a probe that never comes back does not keep the next one waiting for ever', () => {
  const circuit = new Circuit();
  circuit.note([unreachable], 0, 1);
  expect(circuit.tryEnter(1_000)).toBe(true);
  expect(circuit.tryEnter(60_999)).toBe(false);
  expect(circuit.tryEnter(61_000)).toBe(true);
});

test('an account that refuses everybody for now gets a pause for new messages, not for repeats', () => {
  const circuit = new Circuit();
  for (let message = 0; message < 49; message++) circuit.note([refused], 0, 1);
  expect(circuit.closed).toBe(true);
  circuit.note([refused], 0, 0);
  expect(circuit.closed).toBe(true);
  circuit.note([refused], 0, 1);
  expect(circuit.admission(0)).toEqual({ waitMs: 1_000, most: 0 });
  expect(circuit.admission(0, { repeats: true })).toEqual(unlimited);
  // A repeat that is refused again is no news; one that is accepted is.
  circuit.note([refused], 1_500, 0);
  expect(circuit.admission(1_500)).toEqual({ waitMs: 0, most: 1 });
  circuit.note([accepted], 1_500, 0);
  expect(circuit.admission(1_500)).toEqual(unlimited);
});

test('a share of refusals never breaks it, and neither does a refusal of one message', () => {
  const circuit = new Circuit();
  for (let message = 0; message < 1_000; message++)
    circuit.note([message % 10 === 0 ? accepted : refused], 0, 1);
  expect(circuit.closed).toBe(true);
  circuit.note([unreachable], 0, 1);
  circuit.note([refused], 1_000, 1);
  expect(circuit.closed).toBe(true);
});

test('messages of unknown fate break it soon, and a connection that breaks does not mend it', () => {
  const circuit = new Circuit();
  for (let message = 0; message < 5; message++) circuit.note([result({ outcome: 'unknown', code: 0 })], 0, 1);
  expect(circuit.closed).toBe(false);
  const other = new Circuit();
  other.note([unreachable], 0, 1);
  other.note([result({ code: 0 })], 500, 1);
  expect(other.admission(500).waitMs).toBe(500);
});
