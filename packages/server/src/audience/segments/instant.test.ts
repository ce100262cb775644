import fc from 'fast-check';
import { expect, test } from 'vitest';
import { testDatabase } from '../../../../../tests/support/database.ts';
import { parseInstant } from './instant.ts';

const database = await testDatabase();

async function inSql(texts: string[]): Promise<(number | null)[]> {
  const { rows } = await database.query<{ at: number | null }>(
    'select instant_ms(value) as at from unnest($1::text[]) with ordinality as v(value, place) order by place',
    [texts],
  );
  return rows.map(({ at }) => at);
}

test.each([
  ['1970-01-01', 0],
  ['1970-01-01T00:00:00.0019Z', 1],
  ['1969-12-31T23:59:59.9995Z', -1],
  ['2024-02-29', Date.UTC(2024, 1, 29)],
  ['2024-02-29T10:15', Date.UTC(2024, 1, 29, 10, 15)],
  ['2024-02-29T10:15Z', Date.UTC(2024, 1, 29, 10, 15)],
  ['2024-02-29T10:15:30.123456789+01:00', Date.UTC(2024, 1, 29, 9, 15, 30, 123)],
  ['2024-02-29T10:15:30.9999999Z', Date.UTC(2024, 1, 29, 10, 15, 31)],
  ['2024-02-29T00:30-1530', Date.UTC(2024, 1, 29, 16)],
  ['0001-01-01', -62_135_596_800_000],
  ['9999-12-31T23:59:59.999Z', 253_402_300_799_999],
])('%s is an instant, in JavaScript and in SQL', async (text, at) => {
  expect(parseInstant(text)).toBe(at);
  expect(await inSql([text])).toEqual([at]);
});

test('what is none is none in both, and never an error', async () => {
  const texts = [
    ...['', 'now', 'infinity', 'epoch', 'today', '20240229', '2024-2-9', '2024-02-29 10:15', ' 2024-02-29'],
    ...['2024-02-29 ', '2024-02-29\n', '2023-02-29', '1900-02-29', '2024-00-10', '2024-13-01', '2024-04-31'],
    ...['0000-01-01', '-2024-02-29', '+002024-02-29', '12024-02-29', '2024-02-29T', '2024-02-29T24:00Z'],
    ...['2024-02-29T10', '2024-02-29T10:60Z', '2024-02-29T10:15:60Z', '2024-02-29T10:15:30.Z'],
    ...[
      '2024-02-29T10:15:30.1234567890Z',
      '2024-02-29T10:15:30,5Z',
      '2024-02-29T10:15z',
      '2024-02-29t10:15Z',
    ],
    ...['2024-02-29T10:15+1', '2024-02-29T10:15+16:00', '2024-02-29T10:15+01:60', '2024-02-29T10:15+01:00Z'],
    ...['٢٠٢٤-٠٢-٢٩', '2024-02-29T10:15:30 BC', '2024-02-29+01:00', 'NaN', "'; drop table endpoints; --"],
  ];
  expect(texts.map(parseInstant)).toEqual(texts.map(() => undefined));
  expect(await inSql(texts)).toEqual(texts.map(() => null));
});

test('both read any text that is nearly an instant alike', async () => {
  const number = (digits: number) =>
    fc.integer({ min: 0, max: 10 ** digits - 1 }).map((value) => String(value).padStart(digits, '0'));
  const near = (from: number, to: number) =>
    fc.integer({ min: from, max: to }).map((value) => String(value).padStart(2, '0'));
  const date = fc.tuple(number(4), near(0, 13), near(0, 32)).map((parts) => parts.join('-'));
  const zone = fc.oneof(
    fc.constantFrom('', 'Z', 'z', ' '),
    fc
      .tuple(fc.constantFrom('+', '-'), near(0, 17), fc.constantFrom(':', ''), near(0, 61))
      .map((parts) => parts.join('')),
  );
  const fraction = fc.option(
    fc.integer({ min: 0, max: 10 }).chain((digits) => number(digits)),
    { nil: undefined },
  );
  const time = fc
    .tuple(near(0, 25), near(0, 61), fc.option(near(0, 61), { nil: undefined }), fraction)
    .map(([hour, minute, second, part]) => {
      const seconds = second === undefined ? '' : `:${second}${part === undefined ? '' : `.${part}`}`;
      return `${hour}:${minute}${seconds}`;
    });
  const text = fc.oneof(
    date,
    fc.tuple(date, fc.constantFrom('T', 'T', 'T', ' '), time, zone).map((parts) => parts.join('')),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(text, { minLength: 500, maxLength: 500 }), async (texts) => {
      expect(await inSql(texts)).toEqual(texts.map((one) => parseInstant(one) ?? null));
    }),
    { numRuns: 20 },
  );
});
