import { expect, test } from 'vitest';
import { hexId, uuidDay, uuidTime, uuidv7 } from './ids.ts';

const form = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

test('ids are distinct, have the form of RFC 9562 and sort by their making', () => {
  const ids = Array.from({ length: 20_000 }, () => uuidv7());
  expect(ids.every((id) => form.test(id))).toBe(true);
  expect(new Set(ids).size).toBe(ids.length);
  expect(ids.toSorted()).toEqual(ids);
  expect(new Set(ids.map((id) => id.slice(24))).size).toBe(ids.length);
});

test('an id tells its millisecond and its day', () => {
  const at = Date.now() + 86_400_000;
  const id = uuidv7(at);
  expect(uuidTime(id)).toBe(at);
  expect(uuidDay(id)).toBe(new Date(at).toISOString().slice(0, 10));
});

test('Pinpoint ids are 32 hex characters', () => {
  expect(hexId()).toMatch(/^[0-9a-f]{32}$/);
});
