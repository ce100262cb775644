import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, expect, test } from 'vitest';
import { testDatabase } from '../../../../../tests/support/database.ts';
import { createApplication } from '../../accounts/index.ts';
import { ensurePartitions } from '../../events/index.ts';
import { systemClock } from '../../platform/clock.ts';
import { silentLog } from '../../platform/log.ts';
import { createFolderObjects } from '../../platform/objects.ts';
import { createIngest } from '../ingest/ingest.ts';
import { createEventImport, getEventImport, listEventImports } from './job.ts';
import { runEventImport, runWaitingEventImports } from './run.ts';

const database = await testDatabase();
await ensurePartitions(database);
const folder = await mkdtemp(join(tmpdir(), 'event-import-'));
afterAll(() => rm(folder, { recursive: true, force: true }));
const objects = createFolderObjects(folder);
const dependencies = { database, objects, log: silentLog, clock: systemClock, chunkRecords: 50 };
const newApp = async () => (await createApplication(database, 'archive')).id;
const never = new AbortController().signal;
const day = 86_400_000;
const base = Date.parse('2026-03-01T10:00:00Z');

/** A record as Pinpoint streamed it. */
function recordOf(type: string, clientId: string, at: number, more: object = {}) {
  return {
    event_type: type,
    event_timestamp: at,
    arrival_timestamp: at + 1_500,
    event_version: '3.1',
    application: {
      app_id: 'f'.repeat(32),
      package_name: 'com.example',
      title: 'Shop',
      version_name: '4.2',
      version_code: '42',
      cognito_identity_pool_id: 'us-east-1:x',
      sdk: { name: 'aws-sdk-android', version: '2.22' },
    },
    client: { client_id: clientId, cognito_id: 'us-east-1:y' },
    device: {
      locale: { code: 'de_DE', country: 'DE', language: 'de' },
      make: 'Google',
      model: 'Pixel',
      platform: { name: 'ANDROID', version: '14' },
    },
    session: { session_id: 's1', start_timestamp: at - 1_000 },
    attributes: {},
    metrics: {},
    client_context: { custom: {} },
    facets: {},
    awsAccountId: '123456789012',
    ...more,
  };
}

async function put(key: string, content: string | Buffer): Promise<string> {
  await objects.put('archive', key, [Buffer.from(content)]);
  return `s3://archive/${key}`;
}

async function run(app: string, url: string) {
  const { id } = await createEventImport(database, app, url, Date.now());
  await runEventImport(dependencies, app, id, never);
  return getEventImport(database, app, id);
}

async function factsOf(app: string) {
  const { rows } = await database.query(
    `select endpoint_id as endpoint, type, occurred_at as at, payload from events where application_id = $1
     order by batch_id, seq`,
    [app],
  );
  return rows;
}

const lines = (records: object[]) => `${records.map((record) => JSON.stringify(record)).join('\n')}\n`;

test('records of apps become events as if they had come live, with their own arrival', async () => {
  const app = await newApp();
  const url = await put(
    `${app}/2026/03/01/part-1`,
    lines([
      recordOf('_session.start', 'e1', base),
      recordOf('purchase', 'e1', base + 10, { attributes: { plan: 'pro' }, metrics: { price: 9.5 } }),
      recordOf('_session_stop', 'e2', base + 20_000, {
        session: { session_id: 's2', start_timestamp: base, stop_timestamp: base + 20_000 },
        client_context: { custom: { campaign: 'x', endpoint: '{"User":{"UserId":"ann"}}' } },
      }),
      // A clock that is ten years ahead.
      recordOf('late', 'e2', base + 3_650 * day, { arrival_timestamp: base + 30 }),
    ]),
  );
  const job = await run(app, url);
  expect(job).toMatchObject({
    status: 'COMPLETED',
    totalFiles: 1,
    completedFiles: 1,
    processed: 4,
    imported: 4,
    duplicates: 0,
    failures: 0,
    error: null,
  });
  const facts = await factsOf(app);
  expect(facts.map(({ endpoint, type, at }) => [endpoint, type, at.getTime()])).toEqual([
    ['e1', 'event._session.start', base],
    ['e1', 'event.purchase', base + 10],
    ['e2', 'event._session.stop', base + 20_000],
    ['e2', 'event.late', base + 30],
  ]);
  expect(facts[1].payload).toEqual({
    id: expect.stringMatching(/^[0-9a-f-]{36}$/),
    attributes: { plan: 'pro' },
    metrics: { price: 9.5 },
    session: { id: 's1', startedAt: base - 990 },
    app: {
      packageName: 'com.example',
      title: 'Shop',
      versionCode: '42',
      sdkName: 'aws-sdk-android',
      sdkVersion: '2.22',
    },
    source: 'archive',
    arrivedAt: base + 1_510,
  });
  expect(facts[2].payload).toMatchObject({
    userId: 'ann',
    archived: { client_context: { custom: { campaign: 'x' } } },
  });
  expect(facts[3].payload.clientTimestamp).toBe(base + 3_650 * day);
  const { rows } = await database.query(
    'select id, demographic, created_at as at from endpoints where application_id = $1 order by id',
    [app],
  );
  expect(rows).toEqual([
    {
      id: 'e1',
      demographic: {
        AppVersion: '4.2',
        Locale: 'de_DE',
        Make: 'Google',
        Model: 'Pixel',
        Platform: 'ANDROID',
        PlatformVersion: '14',
      },
      at: new Date(base + 1_500),
    },
    { id: 'e2', demographic: expect.anything(), at: expect.any(Date) },
  ]);
});

test('history changes no endpoint that is there, and takes its user from it', async () => {
  const app = await newApp();
  const ingest = createIngest({ database, log: silentLog });
  const endpoint = {
    ChannelType: 'EMAIL',
    Address: 'a@example.com',
    User: { UserId: 'u' },
    Demographic: { Make: 'x' },
  };
  await ingest.put(app, [{ endpointId: 'e1', endpoint, events: [] }]);
  await run(app, await put(`${app}/x`, lines([recordOf('a', 'e1', base)])));
  const { rows } = await database.query(
    'select user_id, demographic from endpoints where application_id = $1',
    [app],
  );
  expect(rows).toEqual([{ user_id: 'u', demographic: { Make: 'x' } }]);
  expect((await factsOf(app))[0].payload.userId).toBe('u');
});

test('what Pinpoint wrote of its messages is kept whole, makes no endpoint and is no activity', async () => {
  const app = await newApp();
  const facets = {
    email_channel: {
      mail_event: { mail: { message_id: 'm', destination: ['a@example.com'] }, open: { user_agent: 'x' } },
    },
  };
  const records = [
    recordOf('_email.open', 'mail', base, { attributes: { feedback: 'opened', campaign_id: 'c' }, facets }),
    recordOf('_SMS.SUCCESS', 'phone', base, { metrics: { price_in_millicents_usd: 645.0 } }),
    recordOf('_campaign.send', 'push', base, { client_context: { custom: { endpoint: '{"Address":"t"}' } } }),
    recordOf('_campaign.opened_notification', 'app', base),
  ];
  expect(await run(app, await put(`${app}/x`, lines(records)))).toMatchObject({ imported: 4, failures: 0 });
  const facts = await factsOf(app);
  expect(facts.map(({ type }) => type)).toEqual(records.map(({ event_type }) => `event.${event_type}`));
  expect(facts[0].payload).toMatchObject({ attributes: { feedback: 'opened' }, archived: { facets } });
  const { rows } = await database.query(
    'select endpoint_id as id from endpoint_activity where application_id = $1',
    [app],
  );
  expect(rows).toEqual([{ id: 'app' }]);
  const { rows: endpoints } = await database.query('select id from endpoints where application_id = $1', [
    app,
  ]);
  expect(endpoints).toEqual([{ id: 'app' }]);
});

test('each record once: in a file, over files, packed or not, and in the next import', async () => {
  const app = await newApp();
  const records = Array.from({ length: 330 }, (_, n) => recordOf(`t${n % 3}`, `e${n % 7}`, base + n));
  await put(`${app}/a`, lines([...records.slice(0, 200), ...records.slice(100, 150)]));
  await put(`${app}/b.gz`, gzipSync(lines(records.slice(150))));
  const url = `s3://archive/${app}/`;
  expect(await run(app, url)).toMatchObject({
    processed: 430,
    imported: 330,
    duplicates: 100,
    totalFiles: 2,
  });
  expect(await run(app, url)).toMatchObject({ processed: 430, imported: 0, duplicates: 430 });
  expect((await factsOf(app)).length).toBe(330);
  expect((await listEventImports(database, app, { limit: 10 })).length).toBe(2);
});

test('what cannot be read is counted with its line, and the rest is imported', async () => {
  const app = await newApp();
  const deep = `${'{"a":'.repeat(5_000)}1${'}'.repeat(5_000)}`;
  const file = [
    JSON.stringify(recordOf('ok', 'e', base)),
    'not json',
    '[]',
    JSON.stringify(recordOf('', 'e', base)),
    JSON.stringify({ ...recordOf('x', 'e', base), client: {} }),
    JSON.stringify(recordOf('x', 'e', Number.NaN)),
    JSON.stringify(recordOf('x', 'e\0', base)),
    JSON.stringify(recordOf('x', 'e', base, { metrics: { a: [] } })),
    JSON.stringify(recordOf('_email.x', 'e', base)).replace('"facets":{}', `"facets":${deep}`),
    JSON.stringify(recordOf('seconds', 'e', base / 1000, { arrival_timestamp: base / 1000 })),
    '',
    `"${'x'.repeat(1_100_000)}"`,
    JSON.stringify(recordOf('_email.ok', 'f', base, { facets: { text: 'a\0b', half: '\ud800' } })),
  ].join('\r\n');
  const job = await run(app, await put(`${app}/x`, file));
  expect(job).toMatchObject({ status: 'COMPLETED', processed: 12, imported: 2, failures: 10, duplicates: 0 });
  expect(job.firstFailures.map((text) => text.replace(/^.*?, /, ''))).toEqual([
    expect.stringMatching(/^line 2: is not JSON/),
    'line 3: expected a JSON object',
    'line 4: event_type: expected a text',
    'line 5: client_id: expected a text'.replace('client_id', 'client.client_id'),
    'line 6: event_timestamp: expected milliseconds since 1970',
    expect.stringMatching(/^line 7: .*U\+0000/),
    'line 8: metrics.a: expected a number',
    'line 9: facets: nests deeper than 32 levels',
    'line 10: arrival_timestamp: expected milliseconds since 1970',
    expect.stringMatching(/^line 12: is longer than/),
  ]);
});

test('a bomb, a broken file, and no file', async () => {
  const app = await newApp();
  // 200 MB of spaces and no line break, in 200 KB.
  const bomb = gzipSync(Buffer.alloc(200 * 1024 * 1024, 0x20));
  expect(await run(app, await put(`${app}/bomb`, bomb))).toMatchObject({ status: 'COMPLETED', imported: 0 });
  const whole = gzipSync(
    lines(Array.from({ length: 5_000 }, (_, n) => recordOf('t', `e${n % 9}`, base + n))),
  );
  const cut = await run(app, await put(`${app}/cut`, whole.subarray(0, whole.length / 2)));
  expect(cut).toMatchObject({ status: 'FAILED', failedFiles: 1, error: expect.stringContaining('cut off') });
  expect(cut.imported).toBeGreaterThan(100);
  // The whole file later adds what is missing.
  const mended = await run(app, await put(`${app}/whole`, whole));
  expect(mended).toMatchObject({
    status: 'COMPLETED',
    imported: 5_000 - cut.imported,
    duplicates: cut.imported,
  });
  expect(await run(app, 's3://archive/none/')).toMatchObject({
    status: 'FAILED',
    error: expect.stringContaining('found no file'),
  });
});

test('a worker that leaves in the middle is followed by one that goes on; two at once do not meet', async () => {
  const app = await newApp();
  const records = Array.from({ length: 3_000 }, (_, n) => recordOf(`t${n % 5}`, `e${n % 50}`, base + n));
  const url = await put(`${app}/x`, lines(records));
  const { id } = await createEventImport(database, app, url, Date.now());
  for (let turn = 0; turn < 200; turn++) {
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 20);
    const outcomes = await Promise.all([
      runEventImport(dependencies, app, id, stop.signal),
      runWaitingEventImports(dependencies, stop.signal),
    ]);
    if (outcomes[0] === 'completed' || (await getEventImport(database, app, id)).completedAt !== null) break;
  }
  expect(await getEventImport(database, app, id)).toMatchObject({
    status: 'COMPLETED',
    processed: 3_000,
    imported: 3_000,
    duplicates: 0,
  });
  expect((await factsOf(app)).length).toBe(3_000);
});
