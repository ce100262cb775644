import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import {
  kinesisArn,
  listen,
  type Recorder,
  type SeenRecord,
  startRecorder,
} from '../../../../tests/streams-support.ts';
import { testDatabase } from '../../../../tests/support/database.ts';
import { waitFor } from '../../../../tests/support/processes.ts';
import { fullScopes } from '../accounts/index.ts';
import { createNumberer, dropOldPartitions, ensurePartitions } from '../events/index.ts';
import { hexId, uuidv7 } from '../platform/ids.ts';
import { silentLog } from '../platform/log.ts';
import { listDeadLetters, replayDeadLetters } from './dead-letter.ts';
import { eraseStreams } from './erase.ts';
import { createStreamFeed } from './feed.ts';
import { type Outlet, OutletError } from './outlets/outlet.ts';
import { newRoundState, runRound } from './round.ts';
import { appendEvents, registerTestWorker, testRunner, testStreams } from './runner.test-support.ts';
import type { StreamRunner } from './runner.ts';
import { selectStreamById } from './stream.sql.ts';
import { type Stream, type StreamRow, streamHold } from './stream.ts';

const hourMs = 3_600_000;
const by = {
  principal: { kind: 'access_key' as const, id: 'test', name: 'test', scopes: fullScopes },
  action: 'test',
  path: '$.destination',
};

const database = await testDatabase(20);
const numberer = createNumberer({ database, log: silentLog });
const streams = testStreams(database);
let recorder: Recorder;
/** Time only goes forward, also from test to test. */
let offsetMs = 0;
const clock = { now: () => Date.now() + offsetMs };
const running: StreamRunner[] = [];
const children: ChildProcess[] = [];
const folder = await mkdtemp('/tmp/postrider-streams-');
afterAll(() => rm(folder, { recursive: true, force: true }));

beforeEach(async () => {
  await ensurePartitions(database);
  for (const table of [
    'streams',
    'events',
    'event_batches',
    'event_batches_unnumbered',
    'log_subscribers',
    'workers',
  ])
    await database.query(`delete from ${table}`);
  recorder = await startRecorder();
});

afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await Promise.all(running.splice(0).map((runner) => runner.stop()));
});

async function createApplication(): Promise<string> {
  const id = hexId();
  await database.query('insert into applications (id, name) values ($1, $1)', [id]);
  return id;
}

async function put(app: string, destination: string, name = 'default', settings = {}): Promise<Stream> {
  return await streams.put(app, name, { destination, settings }, by);
}

async function start(workerId = uuidv7()): Promise<StreamRunner> {
  await registerTestWorker(database, workerId);
  const runner = testRunner({ database, clock, workerId, awsUrl: recorder.url, folder });
  running.push(runner);
  runner.start();
  return runner;
}

async function append(app: string, prefix: string, count: number, endpoints = 40): Promise<string[]> {
  const ids = await appendEvents(database, app, prefix, count, endpoints, clock);
  await numberer.drain();
  return ids;
}

const idsOf = (records: SeenRecord[]) => records.map(({ attributes }) => attributes.id!);

function inOrder(records: SeenRecord[]): boolean {
  const last = new Map<string, number>();
  return records.every(({ client, attributes }) => {
    const key = `${client.client_id} ${attributes.id!.split('-')[0]}`;
    const n = Number(attributes.n);
    const before = last.get(key) ?? -1;
    last.set(key, n);
    return n > before;
  });
}

async function filesOf(prefix: string): Promise<string[]> {
  const names = await readdir(`${folder}/lake/${prefix}`, { recursive: true });
  return names.filter((name) => name.endsWith('.jsonl'));
}

async function settled(app: string, name = 'default'): Promise<Stream> {
  await waitFor('an empty queue', async () => {
    const { rows } = await database.query(
      'select (select min(position) from log_subscribers) >= (select position from log_head) as read',
    );
    return rows[0].read && (await streams.get(app, name)).waitingFacts === 0;
  });
  return await streams.get(app, name);
}

test('records that Kinesis throttles are sent again, only those, in order for each endpoint', async () => {
  const app = await createApplication();
  const refusals = new Map<string, number>();
  recorder.verdict = ({ attributes }) => {
    const count = refusals.get(attributes.id!) ?? 0;
    refusals.set(attributes.id!, count + 1);
    return Number(attributes.n) % 7 === 3 && count < 2 ? 'ProvisionedThroughputExceededException' : undefined;
  };
  await put(app, kinesisArn);
  await start();
  const ids = [...(await append(app, 'a', 300, 20)), ...(await append(app, 'b', 4_000, 800))];
  const stream = await settled(app);
  expect(recorder.faults).toEqual([]);
  // Each once: what was accepted is not sent again beside what failed.
  expect(idsOf(recorder.accepted).sort()).toEqual([...ids].sort());
  expect(inOrder(recorder.accepted)).toBe(true);
  for (const [id, count] of refusals) expect(count, id).toBe(Number(id.split('-')[1]) % 7 === 3 ? 3 : 1);
  expect(stream).toMatchObject({ delivered: 4_300, failures: 0, deadLetters: 0 });
});

test('an outlet that is down for an hour holds up nobody else, and then gets everything in order', async () => {
  const [down, up] = [await createApplication(), await createApplication()];
  await put(down, kinesisArn);
  const seen: SeenRecord[] = [];
  const hook = await listen((_, body) => {
    seen.push(...(JSON.parse(body.toString()) as { data: { records: SeenRecord[] } }).data.records);
    return { status: 204 };
  });
  await put(up, hook, 'hook');
  const today = new Date(clock.now()).toISOString().slice(0, 10);
  recorder.down = true;
  await start();
  const ids: string[] = [];
  for (let minute = 0; minute < 60; minute += 10) {
    ids.push(...(await append(down, `m${minute}`, 50)));
    const others = await append(up, `m${minute}`, 20);
    await waitFor('the other stream', async () => others.every((id) => idsOf(seen).includes(id)));
    offsetMs += 10 * 60_000;
  }
  await waitFor('failures', async () => (await streams.get(down, 'default')).failures > 3);
  const behind = await streams.get(down, 'default');
  expect(behind).toMatchObject({
    waitingFacts: 300,
    deadLetters: 0,
    lastError: expect.stringContaining('503'),
  });
  expect(clock.now() - behind.oldestWaiting!.getTime()).toBeGreaterThanOrEqual(hourMs);
  // The log is not held up by it as a reader; its days are.
  expect(await streamHold(database, today)).toContain(down);
  const { kept, dropped } = await dropOldPartitions(database, {
    keepDays: 1,
    tables: ['events'],
    clock: { now: () => Date.now() + 5 * 24 * hourMs },
    holdOf: streamHold,
  });
  expect(dropped).not.toContain(`events ${today}`);
  expect(kept.map(({ reason }) => reason).join()).toContain('has not delivered the day');
  recorder.down = false;
  offsetMs += 10 * 60_000;
  await settled(down);
  expect(idsOf(recorder.accepted).sort()).toEqual([...ids].sort());
  expect(inOrder(recorder.accepted)).toBe(true);
});

test('what is stuck for 24 hours is put aside with the error, and a replay delivers it', async () => {
  const app = await createApplication();
  await put(app, kinesisArn);
  recorder.down = true;
  await start();
  const stuck = await append(app, 'old', 120);
  await waitFor('a failure', async () => (await streams.get(app, 'default')).failures > 0);
  offsetMs += 23 * hourMs;
  await waitFor('more failures', async () => (await streams.get(app, 'default')).failures > 1);
  expect(await streams.get(app, 'default')).toMatchObject({ waitingFacts: 120, deadLetters: 0 });
  const young = await append(app, 'young', 30);
  await waitFor('both', async () => (await streams.get(app, 'default')).waitingFacts === 150);
  offsetMs += 2 * hourMs;
  await waitFor('dead letters', async () => (await streams.get(app, 'default')).deadLetters === 120);
  expect(await streams.get(app, 'default')).toMatchObject({ waitingFacts: 30 });
  const { items } = await listDeadLetters(database, app, 'default', { limit: 10 });
  expect(items).toMatchObject([
    { facts: 120, error: expect.stringContaining('tried for 24 hours: kinesis answered 503') },
  ]);
  recorder.down = false;
  offsetMs += hourMs;
  await settled(app);
  expect(idsOf(recorder.accepted).sort()).toEqual([...young].sort());
  expect(await replayDeadLetters({ database, clock }, app, 'default')).toBe(1);
  await waitFor('the replay', async () => (await streams.get(app, 'default')).deadLetters === 0);
  expect(idsOf(recorder.accepted).sort()).toEqual([...young, ...stuck].sort());
});

test('a record that the outlet refuses is put aside by itself, and the rest goes on', async () => {
  const app = await createApplication();
  let healed = false;
  const seen: SeenRecord[] = [];
  const hook = await listen((_, body) => {
    const { records } = (JSON.parse(body.toString()) as { data: { records: SeenRecord[] } }).data;
    if (!healed && records.some(({ attributes }) => attributes.id === 'p-17' || attributes.id === 'p-18'))
      return { status: 422, body: 'I do not like 17' };
    seen.push(...records);
    return { status: 200 };
  });
  await put(app, hook);
  await start();
  const ids = await append(app, 'p', 100);
  await waitFor('the others', async () => seen.length === 98);
  await settled(app);
  expect(idsOf(seen)).toEqual(ids.filter((id) => id !== 'p-17' && id !== 'p-18'));
  const { items } = await listDeadLetters(database, app, 'default', { limit: 10 });
  expect(items).toMatchObject([
    { facts: 1, fromSeq: 17, error: expect.stringContaining('422: I do not like 17') },
    { facts: 1, fromSeq: 18 },
  ]);
  await replayDeadLetters({ database, clock }, app, 'default', [items[0]!.id]);
  await waitFor('the refused replay', async () => {
    const page = await listDeadLetters(database, app, 'default', { limit: 10 });
    return page.items[0]!.attempts === 2 && page.items[0]!.replayAt === null;
  });
  healed = true;
  expect(await replayDeadLetters({ database, clock }, app, 'default')).toBe(2);
  await waitFor('the replay', async () => seen.length === 100);
  await waitFor('no dead letters', async () => (await streams.get(app, 'default')).deadLetters === 0);
});

test('killed between acceptance and cursor: repeated perhaps, never lost', async () => {
  const app = await createApplication();
  await put(app, kinesisArn);
  const ids: string[] = [];
  for (let round = 0; round < 3; round++) {
    const child = spawn(
      process.execPath,
      [fileURLToPath(new URL('./runner.fixture.ts', import.meta.url)), database.url, uuidv7(), recorder.url],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    children.push(child);
    await once(child.stdout!, 'data');
    const before = recorder.accepted.length;
    const kill = 40 + round * 300;
    recorder.verdict = () => {
      // The recorder has it; the worker never hears of it.
      if (recorder.accepted.length - before === kill) child.kill('SIGKILL');
      return undefined;
    };
    ids.push(...(await append(app, `r${round}`, 1_000)));
    await once(child, 'exit');
    // As its supervisor, or the others after 30 seconds, do.
    await database.query('delete from workers');
  }
  recorder.verdict = () => undefined;
  await start();
  await settled(app);
  const firsts = recorder.accepted.filter(
    ({ attributes }, index) =>
      recorder.accepted.findIndex((other) => other.attributes.id === attributes.id) === index,
  );
  expect(idsOf(firsts).sort()).toEqual([...ids].sort());
  expect(inOrder(firsts)).toBe(true);
  const recordIds = new Set(recorder.accepted.map(({ client_context }) => client_context.custom.record_id));
  expect(recordIds.size).toBe(ids.length);
});

test('two workers share the streams, each stream with one of them; one goes and the other has all', async () => {
  const apps = await Promise.all(Array.from({ length: 10 }, createApplication));
  for (const app of apps) await put(app, kinesisArn);
  const ids = [uuidv7(), uuidv7()];
  const [first] = [await start(ids[0]), await start(ids[1])];
  const owners = async () => {
    const { rows } = await database.query('select worker_id as id, count(*) as n from streams group by 1');
    return new Map<string, number>(rows.map(({ id, n }) => [id, n]));
  };
  await waitFor('both to have half', async () => {
    const found = await owners();
    return ids.every((id) => found.get(id) === 5);
  });
  const expected = (await Promise.all(apps.map((app, n) => append(app, `s${n}`, 200)))).flat();
  for (const app of apps) await settled(app);
  expect(idsOf(recorder.accepted).sort()).toEqual([...expected].sort());
  await first!.stop();
  await database.query('delete from workers where id = $1', [ids[0]]);
  await waitFor('one to have all', async () => (await owners()).get(ids[1]!) === 10);
  const more = await append(apps[0]!, 'more', 10);
  await settled(apps[0]!);
  expect(idsOf(recorder.accepted).slice(-10).sort()).toEqual([...more].sort());
});

test('an application that is deleted takes its streams along, while they are at work', async () => {
  const [gone, kept] = [await createApplication(), await createApplication()];
  await put(gone, kinesisArn);
  await put(kept, kinesisArn);
  recorder.down = true;
  await start();
  await append(gone, 'gone', 500);
  const ids = await append(kept, 'kept', 100);
  await waitFor('failures', async () => (await streams.get(gone, 'default')).failures > 0);
  await database.query('delete from applications where id = $1', [gone]);
  await eraseStreams(database, gone);
  recorder.down = false;
  offsetMs += hourMs;
  await settled(kept);
  expect(idsOf(recorder.accepted).sort()).toEqual([...ids].sort());
  for (const table of ['streams', 'stream_slices', 'stream_dead_letters']) {
    const { rows } = await database.query(`select count(*) as n from ${table} where application_id = $1`, [
      gone,
    ]);
    expect(rows[0].n, table).toBe(0);
  }
});

test('files are written by the hour, and a repeat after a crash writes the same ones', async () => {
  const app = await createApplication();
  const { id } = await put(app, 's3://lake/raw', 'files', { gzip: true, flushSeconds: 1 });
  const runner = await start();
  const hour = Math.floor(clock.now() / hourMs) * hourMs;
  const ids = await append(app, 'f', 200);
  await waitFor('the file', async () => {
    offsetMs += 200;
    return (
      (await streams.get(app, 'files')).waitingFacts === 0 &&
      (await streams.get(app, 'files')).delivered === 200
    );
  });
  const day = new Date(hour).toISOString().slice(0, 13).replace(/[-T]/g, '/');
  const within = `${folder}/lake/raw/${day}`;
  const names = await readdir(within);
  expect(names).toEqual([expect.stringMatching(new RegExp(`^${id}-[0-9a-f-]+-0\\.jsonl\\.gz$`))]);
  const read = async () =>
    gunzipSync(await readFile(`${within}/${names[0]}`))
      .toString()
      .trimEnd()
      .split('\n')
      .map((line): SeenRecord => JSON.parse(line));
  expect(idsOf(await read())).toEqual(ids);
  // As if the worker had died before its cursor moved.
  await runner.stop();
  await database.query(
    `insert into stream_slices (stream_id, position, application_id, day, batch_id, facts, arrived_at)
     select $1, b.position, $2, b.day, b.batch_id, b.facts, now() from event_batches b where b.position = (select max(position) from event_batches)`,
    [id, app],
  );
  await start();
  await waitFor('the repeat', async () => {
    offsetMs += 200;
    return (await streams.get(app, 'files')).delivered === 400;
  });
  expect(await readdir(within)).toEqual(names);
  expect(idsOf(await read())).toEqual(ids);
});

test('a busy stream gets its files before their time', async () => {
  const app = await createApplication();
  await put(app, 's3://lake/busy', 'files', { flushSeconds: 900 });
  await start();
  await append(app, 'a', 10);
  for (const part of ['b', 'c']) await append(app, part, 2_500);
  await waitFor('the file', async () => (await streams.get(app, 'files')).delivered === 5_010);
  expect(await filesOf('busy')).toHaveLength(1);
  await append(app, 'd', 10);
  await waitFor('the queue', async () => (await streams.get(app, 'files')).waitingFacts === 10);
  offsetMs += 901_000;
  await waitFor('the rest', async () => (await streams.get(app, 'files')).delivered === 5_020);
  expect(await filesOf('busy')).toHaveLength(2);
});

test('the next window is read while one is on its way, and what failed of it is not lost', async () => {
  const app = await createApplication();
  const stream = await put(app, kinesisArn);
  const runner = await start();
  await append(app, 'x', 100);
  await settled(app);
  await runner.stop();
  const workerId = uuidv7();
  await registerTestWorker(database, workerId);
  const feed = createStreamFeed({ database, log: silentLog, onSlices: () => undefined });
  const ids: string[] = [];
  for (const part of ['a', 'b', 'c']) ids.push(...(await append(app, part, 4_000, 2_000)));
  feed.start();
  await waitFor('the queue', async () => (await streams.get(app, 'default')).waitingFacts === 12_000);
  await feed.stop();
  await database.query('update streams set worker_id = $1', [workerId]);
  const taken: string[] = [];
  let reads = 0;
  const counting: typeof database = {
    ...database,
    transaction(work) {
      reads++;
      return database.transaction(work);
    },
  };
  let down = false;
  const outlet: Outlet = {
    limits: {
      records: 10_000,
      bytes: 1e9,
      recordBytes: 1e9,
      overheadBytes: 0,
      concurrency: 1,
      order: 'request',
    },
    async put(records) {
      if (down) throw new OutletError('unavailable', 'down');
      if (taken.length === 0) await waitFor('reading ahead', async () => reads === 2);
      taken.push(...records.map(({ json }) => (JSON.parse(json) as SeenRecord).attributes.id!));
      return records.map(() => 'accepted' as const);
    },
    close: async () => undefined,
  };
  const state = newRoundState();
  const round = async () => {
    const { rows } = await database.query<StreamRow>(selectStreamById(stream.id));
    return await runRound(rows[0]!, outlet, state, {
      database: counting,
      clock,
      workerId,
      accountId: '123456789012',
      activityIds: async () => new Map(),
      backoffMs: { first: 1, longest: 1 },
      delivery: {},
      signal: new AbortController().signal,
    });
  };
  expect(await round()).toBe('more');
  expect(taken.length).toBeLessThan(12_000);
  down = true;
  expect(await round()).toBe('failed');
  expect(state.ahead).toBeUndefined();
  down = false;
  while ((await round()) === 'more');
  expect(taken).toEqual(ids);
});
