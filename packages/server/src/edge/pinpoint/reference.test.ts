import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { operationModels } from '../aws/model.ts';
import { operationsReference, operationsSummary } from './reference.ts';

test('docs/operations.md is up to date (npm run docs writes it)', async () => {
  const page = await readFile(new URL('../../../../../docs/operations.md', import.meta.url), 'utf8');
  expect(page).toBe(operationsReference());
  for (const name of operationModels.keys()) expect(page.split(`| ${name} |`)).toHaveLength(2);
});

test('the families have as many operations as in the reference of Pinpoint', () => {
  const counts = [...operationsSummary().matchAll(/^\| [A-Z][^|]* \| (\d+) \|/gm)].map((match) =>
    Number(match[1]),
  );
  expect(counts).toEqual([4, 2, 31, 1, 7, 4, 6, 9, 9, 12, 23, 4, 1, 1, 5, 3]);
});
