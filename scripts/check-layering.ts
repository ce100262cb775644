// Part of `npm run check`: the rules of the house about imports (ARCHITECTURE.md, "The rooms").
import { checkLayering, readSources } from './layering.ts';

const violations = checkLayering(await readSources());
for (const { file, line, message } of violations) console.error(`${file}:${line} ${message}`);
if (violations.length > 0) process.exit(1);
