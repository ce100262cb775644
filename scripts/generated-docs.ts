import { readFile } from 'node:fs/promises';
import { operationsReference, operationsSummary } from '../packages/server/src/edge/pinpoint/reference.ts';
import { settingsReference } from '../packages/server/src/platform/config.ts';
import { streamRecordsReference } from '../packages/server/src/streams/reference.ts';

const root = new URL('../', import.meta.url);

/** Every document that is made from the sources, by its path: what it should say. */
export async function generatedDocs(): Promise<Map<URL, string>> {
  const readme = new URL('README.md', root);
  const text = await readFile(readme, 'utf8');
  const table = `<!-- operations -->\n${operationsSummary().trim()}\n<!-- /operations -->`;
  return new Map([
    [new URL('docs/settings.md', root), settingsReference()],
    [new URL('docs/operations.md', root), operationsReference()],
    [new URL('docs/stream-records.md', root), streamRecordsReference()],
    [readme, text.replace(/<!-- operations -->[\s\S]*<!-- \/operations -->/, () => table)],
  ]);
}
