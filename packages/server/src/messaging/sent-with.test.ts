import { expect, test } from 'vitest';
import { smsParts } from './sent-with.ts';

test('counts the parts of a text message as a telephone network does', () => {
  const parts = (text: string) => smsParts(text);
  expect(parts('')).toBe(1);
  expect(parts('a'.repeat(160))).toBe(1);
  expect(parts('a'.repeat(161))).toBe(2);
  expect(parts('a'.repeat(306))).toBe(2);
  expect(parts('a'.repeat(307))).toBe(3);
  expect(parts('€'.repeat(80))).toBe(1);
  // 153 is odd: the last septet of a part stays empty before a character of two.
  expect(parts('€'.repeat(153))).toBe(3);
  expect(parts('ж'.repeat(70))).toBe(1);
  expect(parts('ж'.repeat(71))).toBe(2);
  expect(parts('🙂'.repeat(35))).toBe(1);
  expect(parts('🙂'.repeat(67))).toBe(3);
});
