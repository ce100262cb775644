// `npm run docs`: writes the documents that are made from the sources; a test fails when one is out of date.
import { writeFile } from 'node:fs/promises';
import { generatedDocs } from './generated-docs.ts';

for (const [file, text] of await generatedDocs()) await writeFile(file, text);
