// Writes the pages of docs/ that are made from the sources; tests fail when one is out of date.
import { writeFile } from 'node:fs/promises';
import { operationsReference } from '../packages/server/src/edge/pinpoint/reference.ts';
import { settingsReference } from '../packages/server/src/platform/config.ts';

await writeFile(new URL('../docs/settings.md', import.meta.url), settingsReference());
await writeFile(new URL('../docs/operations.md', import.meta.url), operationsReference());
