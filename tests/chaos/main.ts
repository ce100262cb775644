import { runIngestChaos } from './ingest.ts';
import { runChaos } from './run.ts';
import { runTriggerChaos } from './triggers.ts';

/**
 * `npm run chaos [-- <seed>]`: twenty kills in the middle of an import and a campaign of 20,000, and one in the middle of
 * 100,000 events that trigger campaigns, and twenty under 120,000 plain events.
 */
const seed = Number(process.argv[2] ?? Date.now() % 1_000_000);
console.log(`seed ${seed}`);
const report = await runChaos({ seed, recipients: 20_000, kills: 20, print: console.log });
console.log(JSON.stringify({ ...report, violations: report.violations.length }, undefined, 2));
for (const violation of report.violations.slice(0, 50)) console.log(`VIOLATION ${violation}`);
const triggers = await runTriggerChaos({ events: 100_000, print: console.log });
console.log(JSON.stringify({ ...triggers, violations: triggers.violations.length }, undefined, 2));
for (const violation of triggers.violations.slice(0, 50)) console.log(`VIOLATION ${violation}`);
const ingest = await runIngestChaos({ requests: 2_000, kills: 20, print: console.log });
console.log(JSON.stringify({ ...ingest, violations: ingest.violations.length }, undefined, 2));
for (const violation of ingest.violations.slice(0, 50)) console.log(`VIOLATION ${violation}`);
const violations = [report, triggers, ingest].flatMap((one) => one.violations);
process.exit(violations.length > 0 ? 1 : 0);
