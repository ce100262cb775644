import { expect, test } from 'vitest';
import { dataOf } from './data.ts';

function data(text: string): string | undefined {
  return dataOf(Buffer.from(text))?.toString();
}

test('a message ends with a line of one dot, whether its last line has an end or not', () => {
  expect(data('A: b\r\n\r\nHello\r\n')).toBe('A: b\r\n\r\nHello\r\n.\r\n');
  expect(data('A: b\r\n\r\nHello')).toBe('A: b\r\n\r\nHello\r\n.\r\n');
});

test('each line that begins with a dot has one more', () => {
  expect(data('.\r\n..\r\na.\r\n.b.\r\n\r\n.')).toBe('..\r\n...\r\na.\r\n..b.\r\n\r\n..\r\n.\r\n');
});

test('bytes beyond ASCII stay as they are', () => {
  const bytes = Buffer.from([0x2e, 0x80, 0x85, 0xa0, 0xff, 0x0d, 0x0a, 0x2e, 0x0c, 0xe2, 0x80, 0xa8, 0x2e]);
  expect(dataOf(bytes)).toEqual(
    Buffer.from([
      ...[0x2e, 0x2e, 0x80, 0x85, 0xa0, 0xff, 0x0d, 0x0a, 0x2e, 0x2e, 0x0c, 0xe2, 0x80, 0xa8, 0x2e],
      ...[0x0d, 0x0a, 0x2e, 0x0d, 0x0a],
    ]),
  );
});

test.each([
  'a\nb\r\n',
  'a\r\n.\n',
  'a\rb',
  'a\r',
  '\n',
  'a\r\r\nb',
  'a\r\n\n.\r\n',
  'a'.repeat(1024 * 1024 + 1),
])('is left to who looks at each byte: a CR or LF by itself, and a long message (%#)', (text) => {
  expect(data(text)).toBeUndefined();
});
