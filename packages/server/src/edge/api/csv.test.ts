import { parse } from 'csv-parse/sync';
import type { FastifyRequest } from 'fastify';
import { expect, test } from 'vitest';
import { toCsv, wantsCsv } from './csv.ts';

test('what is written is read back by a reader of CSV', () => {
  const rows = [
    { name: 'plain', count: 1, share: 0.5 },
    { name: 'a "quoted", with comma', count: -2, share: null },
    { name: 'two\nlines\r\nand more', count: 1e21, share: 0 },
    { name: 'ünïcode 🎉', count: 0, share: undefined },
  ];
  const columns = ['name', 'count', 'share'];
  expect(parse(toCsv(columns, rows))).toEqual([
    columns,
    ...rows.map(({ name, count, share }) => [name, String(count), share == null ? '' : String(share)]),
  ]);
});

test('no text is a formula, and numbers stay numbers', () => {
  const texts = ['=1+1', '+1', '-1', '@SUM(A1)', '\t=1', '\r=1', '=HYPERLINK("http://x","y")'];
  const [, ...lines] = parse(
    toCsv(
      ['text', 'number'],
      texts.map((text) => ({ text, number: -1 })),
    ),
  ) as string[][];
  expect(lines).toEqual(texts.map((text) => [`'${text}`, '-1']));
  expect(toCsv(['=cmd()'], [])).toBe("'=cmd()\r\n");
});

test.each([
  [undefined, false],
  ['*/*', false],
  ['application/json', false],
  ['text/csv', true],
  ['TEXT/CSV; charset=utf-8', true],
  ['text/csv;q=0.5, application/json', false],
  ['text/html, text/csv;q=0.9, application/json;q=0.1', true],
  ['text/csv;q=0', false],
])('Accept: %s', (accept, csv) => {
  expect(wantsCsv({ headers: { accept } } as FastifyRequest)).toBe(csv);
});
