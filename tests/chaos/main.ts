import { runChaos } from './run.ts';

/** `npm run chaos [-- <seed>]`: twenty kills in the middle of an import and a campaign of 20,000. */
const seed = Number(process.argv[2] ?? Date.now() % 1_000_000);
console.log(`seed ${seed}`);
const report = await runChaos({ seed, recipients: 20_000, kills: 20, print: console.log });
console.log(JSON.stringify({ ...report, violations: report.violations.length }, undefined, 2));
for (const violation of report.violations.slice(0, 50)) console.log(`VIOLATION ${violation}`);
process.exit(report.violations.length > 0 ? 1 : 0);
