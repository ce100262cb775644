import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { generatedDocs } from '../scripts/generated-docs.ts';

test('the documents that are made from the sources are up to date (npm run docs)', async () => {
  for (const [file, text] of await generatedDocs())
    expect(await readFile(file, 'utf8'), file.pathname).toBe(text);
});
