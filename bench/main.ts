// npm run bench [-- [--scale 0.1] [--json file] [name…]]: measures, prints a table, and fails when a ratio is below
// half of its floor.
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { cpus, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Database, openDatabase } from '../packages/server/src/platform/database.ts';
import { migrateJobs } from '../packages/server/src/platform/jobs.ts';
import { silentLog } from '../packages/server/src/platform/log.ts';
import { migrate } from '../packages/server/src/platform/migrate.ts';
import { type EmbeddedPostgres, startPostgres } from '../packages/server/src/platform/postgres.ts';
import type { Bench, BenchContext, Measure } from './bench.ts';
import { benches } from './benches/index.ts';
import { quietCpu } from './support/cpu.ts';

type Verdict = 'reached' | 'below the floor' | 'FAILED';

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { scale: { type: 'string', default: '1' }, json: { type: 'string' } },
});
const scale = Number(options.scale);
if (!(scale > 0 && scale <= 1)) fail(`--scale: expected a number above 0 and up to 1, got ${options.scale}`);
const unknown = positionals.filter((name) => !benches.some((bench) => bench.name === name));
if (unknown.length > 0) {
  fail(
    `no bench is called ${unknown.join(', ')}; there are ${benches.map((bench) => bench.name).join(', ')}`,
  );
}
const chosen = benches.filter((bench) => positionals.length === 0 || positionals.includes(bench.name));

const { measures, errors } = await runAll(chosen);
printTable(measures);
for (const { bench, error } of errors) console.error(`\n${bench.name} did not run:`, error);
if (options.json) await writeFile(options.json, `${JSON.stringify({ scale, measures }, null, 2)}\n`);
const failed = errors.length > 0 || measures.some((measure) => verdict(measure) === 'FAILED');
process.exit(failed ? 1 : 0);

function fail(message: string): never {
  console.error(message);
  process.exit(2);
}

async function runAll(
  chosen: readonly Bench[],
): Promise<{ measures: Measure[]; errors: { bench: Bench; error: unknown }[] }> {
  const directory = await mkdtemp(join(tmpdir(), 'postrider-bench-'));
  // The database server may run as another user, which must get through.
  await chmod(directory, 0o755);
  const server = await startPostgres({ directory: join(directory, 'postgres') });
  const cleanUp = async () => {
    await server.stop();
    await rm(directory, { recursive: true, force: true });
  };
  const interrupted = () => void cleanUp().finally(() => process.exit(130));
  process.once('SIGINT', interrupted);
  process.once('SIGTERM', interrupted);
  const measures: Measure[] = [];
  const errors: { bench: Bench; error: unknown }[] = [];
  console.log(
    `${cpus().length} cores (${cpus()[0]?.model}), ${Math.round(totalmem() / 2 ** 30)} GB, Node ${process.versions.node}, scale ${scale}`,
  );
  try {
    for (const bench of chosen) {
      console.log(`\n${bench.name}: ${bench.description}`);
      try {
        measures.push(...(await runOne(bench, server, join(directory, bench.name))));
      } catch (error) {
        errors.push({ bench, error });
      }
    }
  } finally {
    await cleanUp();
  }
  return { measures, errors };
}

async function runOne(bench: Bench, server: EmbeddedPostgres, directory: string): Promise<Measure[]> {
  await mkdir(directory, { mode: 0o755 });
  const opened: Database[] = [];
  const names: string[] = [];
  const note = (text: string) => console.log(`  ${text}`);
  const context: BenchContext = {
    scale,
    directory,
    note,
    async quiet() {
      const load = await quietCpu();
      if (load >= 0.3) note(`something else uses ${load.toFixed(1)} cores: the figures are worth less`);
    },
    async database() {
      const name = `bench_${randomBytes(6).toString('hex')}`;
      await asAdmin(server, `create database ${name}`);
      names.push(name);
      const url = server.url(name);
      const database = openDatabase({ url, maxConnections: 20, applicationName: 'bench' });
      opened.push(database);
      await migrate(database);
      await migrateJobs(database, silentLog);
      return { ...database, url };
    },
  };
  try {
    return await bench.run(context);
  } finally {
    await Promise.all(opened.map((database) => database.close()));
    for (const name of names) await asAdmin(server, `drop database ${name} with (force)`);
    await rm(directory, { recursive: true, force: true });
  }
}

async function asAdmin(server: EmbeddedPostgres, statement: string): Promise<void> {
  const admin = openDatabase({ url: server.url('postgres'), maxConnections: 1, applicationName: 'bench' });
  try {
    await admin.query(statement);
  } finally {
    await admin.close();
  }
}

function verdict(measure: Measure): Verdict {
  if (measure.ratio >= measure.floor) return 'reached';
  return measure.ratio >= measure.floor / 2 ? 'below the floor' : 'FAILED';
}

function printTable(measures: readonly Measure[]): void {
  const rows = measures.map((measure) => [
    measure.name,
    measure.ratio.toFixed(2),
    measure.floor.toFixed(2),
    verdict(measure),
    measure.subject,
    measure.baseline,
  ]);
  const header = ['measure', 'ratio', 'floor', 'verdict', 'ours', 'reference'];
  const widths = header.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]!.length)),
  );
  const line = (cells: readonly string[]) =>
    cells.map((cell, column) => cell.padEnd(widths[column]!)).join('  ');
  console.log(`\n${line(header)}\n${widths.map((width) => '-'.repeat(width)).join('  ')}`);
  for (const [index, row] of rows.entries()) {
    console.log(line(row));
    const { detail } = measures[index]!;
    if (detail) console.log(`    ${detail}`);
  }
}
