import { parse } from 'csv-parse/sync';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { csvValues, type FileRecord, readRecords } from './records.ts';

/** The records of a content that arrives in blocks of the sizes given (repeated until the end). */
async function recordsOf(content: Buffer, format: 'CSV' | 'JSON', sizes: number[]): Promise<FileRecord[]> {
  async function* blocks() {
    for (let start = 0, turn = 0; start < content.length; turn++) {
      const size = sizes[turn % sizes.length]!;
      yield content.subarray(start, start + size);
      start += size;
    }
  }
  const records: FileRecord[] = [];
  for await (const batch of readRecords(blocks(), format)) records.push(...batch);
  return records;
}

const sizes = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 5 });
const value = fc.string({
  unit: fc.constantFrom('a', 'é', '🛒', ',', '"', '\n', '\r\n', ' ', ''),
  maxLength: 8,
});

const quoted = (text: string) => `"${text.replaceAll('"', '""')}"`;
/** Quoted where it must be, and sometimes where it need not. */
const written = fc
  .tuple(value, fc.boolean())
  .map(([text, always]) => ({ text, raw: always || /[",\r\n]/.test(text) ? quoted(text) : text }));

test('rows of CSV are what csv-parse reads, however the content is cut into blocks', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(written, { minLength: 2, maxLength: 5 }), { maxLength: 12 }),
      fc.constantFrom('\n', '\r\n'),
      fc.boolean(),
      sizes,
      async (rows, end, lastEnd, blockSizes) => {
        const lines = rows.map((row) => row.map(({ raw }) => raw).join(','));
        const text = `\ufeff${lines.join(end)}${lastEnd ? end : ''}`;
        const records = await recordsOf(Buffer.from(text), 'CSV', blockSizes);
        expect(records.filter(({ error }) => error !== undefined)).toEqual([]);
        const oracle = parse(text, { bom: true, skip_empty_lines: true, relax_column_count: true });
        expect(records.map(({ text }) => csvValues(text))).toEqual(oracle);
        expect(records.map(({ number }) => number)).toEqual(records.map((_, index) => index));
      },
    ),
    { seed: 20261121, numRuns: 300 },
  );
});

test('any bytes give the same records, however they are cut into blocks', async () => {
  const alphabet = fc.constantFrom('"', ',', '\n', '\r', 'x', ' ', '\xff', '\xc3', '\xa9', '{', '}');
  await fc.assert(
    fc.asyncProperty(
      fc.string({ unit: alphabet, maxLength: 60 }),
      fc.constantFrom('CSV' as const, 'JSON' as const),
      sizes,
      async (bytes, format, blockSizes) => {
        const content = Buffer.from(bytes, 'latin1');
        const cut = await recordsOf(content, format, blockSizes);
        expect(cut).toEqual(await recordsOf(content, format, [1_000_000]));
        const lines = cut.map(({ line }) => line);
        expect(lines).toEqual([...lines].sort((a, b) => a - b));
      },
    ),
    { seed: 20261121, numRuns: 500 },
  );
});
