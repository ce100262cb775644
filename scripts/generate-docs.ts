// Writes the pages of docs/ that are made from the sources; tests fail when one is out of date.
import { writeFile } from 'node:fs/promises';
import { settingsReference } from '../packages/server/src/platform/config.ts';

await writeFile(new URL('../docs/settings.md', import.meta.url), settingsReference());
