import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { afterAll, expect, test } from 'vitest';
import { testDatabase } from '../../../../../tests/support/database.ts';
import { hexId } from '../../platform/ids.ts';
import { createFolderObjects } from '../../platform/objects.ts';
import { getSegment } from '../segments/segment.ts';
import { createImportJob, getImportJob } from './job.ts';

const database = await testDatabase();
const folder = await mkdtemp(join(tmpdir(), 'import-kill-'));
const objects = createFolderObjects(folder);
afterAll(() => rm(folder, { recursive: true, force: true }));

const child = fileURLToPath(new URL('import.fixture.ts', import.meta.url));
const kills = 8;

/** Small and seeded, so that a failure can be repeated (mulberry32). */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

test('an import whose process is killed again and again loses nothing and counts nothing twice', async () => {
  const seed = Number(process.env.SEED ?? 20261121);
  const draw = random(seed);
  console.log(`seed ${seed}`);
  const app = hexId();
  // Two files; every tenth row is of an endpoint that comes again later, every hundredth is broken.
  const endpoints = 9_000;
  const rowOf = (file: number, index: number) => {
    if (index % 100 === 7) return `FAX,broken${index},x,1,`;
    const endpoint = index % 10 === 3 ? index % 1_000 : index;
    return `EMAIL,a${endpoint}@example.com,e${endpoint},${file * endpoints + index},u${endpoint % 3_000}`;
  };
  const last = new Map<string, number>();
  for (let file = 0; file < 2; file++) {
    const rows = Array.from({ length: endpoints }, (_, index) => rowOf(file, index));
    for (const [index, row] of rows.entries()) {
      if (!row.startsWith('FAX')) last.set(row.split(',')[2]!, file * endpoints + index);
    }
    const text = `ChannelType,Address,Id,Metrics.row,User.UserId\n${rows.join('\n')}\n`;
    await objects.put('bucket', `${app}/${file}.csv`, [file === 0 ? Buffer.from(text) : gzipSync(text)]);
  }
  const request = {
    Format: 'CSV' as const,
    S3Url: `s3://bucket/${app}/`,
    RoleArn: 'r',
    RegisterEndpoints: true,
    DefineSegment: true,
  };
  const { id } = await createImportJob(database, app, request, Date.now());
  let killed = 0;
  for (;;) {
    const run = spawn(process.execPath, [child, database.url, folder, app, id], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const exited = once(run, 'exit');
    await once(run.stdout, 'data');
    const before = (await getImportJob(database, app, id)).processed;
    if (killed >= kills) {
      await exited;
      break;
    }
    // At a random moment after it has got somewhere, so that the job comes to an end.
    for (let look = 0; look < 500 && run.exitCode === null; look++) {
      const { processed, completedAt } = await getImportJob(database, app, id);
      if (processed > before || completedAt !== null) break;
      await delay(20);
    }
    await delay(draw() * 150);
    run.kill('SIGKILL');
    await exited;
    killed += 1;
  }
  const job = await getImportJob(database, app, id);
  const broken = 2 * (endpoints / 100);
  expect(job).toMatchObject({
    status: 'COMPLETED',
    processed: 2 * endpoints,
    failures: broken,
    totalPieces: 2,
    completedPieces: 2,
    failedPieces: 0,
  });
  const { rows } = await database.query<{ id: string; row: number }>(
    "select id, (metrics->>'row')::int as row from endpoints where application_id = $1",
    [app],
  );
  expect(new Map(rows.map(({ id, row }) => [id, row]))).toEqual(last);
  const segment = await getSegment(database, app, job.segmentId!);
  expect(segment.importDefinition).toMatchObject({ Size: last.size, ChannelCounts: { EMAIL: last.size } });
  expect(segment.version).toBe(1);
  const [, bucket, key] = /^s3:\/\/([^/]+)\/(.*)$/.exec(job.errorFile!)!;
  const blocks: Buffer[] = [];
  for await (const block of await objects.open(bucket!, key!)) blocks.push(block);
  expect(Buffer.concat(blocks).toString().trimEnd().split('\r\n').length).toBe(broken + 1);
});
