import { beforeEach, expect, test } from 'vitest';
import { testDatabase } from '../../../../tests/support/database.ts';
import { uuidv7 } from '../platform/ids.ts';
import { silentLog } from '../platform/log.ts';
import {
  appendFacts,
  createNumberer,
  createSubscriber,
  dropOldPartitions,
  ensurePartitions,
} from './index.ts';

const database = await testDatabase();
const dayMs = 86_400_000;
const numberer = createNumberer({ database, log: silentLog });
const reader = createSubscriber({ database, log: silentLog, name: 'reader', handle: async () => undefined });

// uuidv7() never goes back behind an id that it made, so each test begins a little later than the last.
let today = Date.parse('2031-03-01T12:00:00Z');
const clock = { now: () => today };
const day = (ahead = 0) => new Date(today + ahead * dayMs).toISOString().slice(0, 10);

beforeEach(() => {
  today += 400 * dayMs;
});

async function append(count = 1): Promise<void> {
  const facts = Array.from({ length: count }, () => ({ type: 'test.happened', applicationId: 'a' }));
  await database.transaction((tx) => appendFacts(tx, facts, clock));
}

/** Partition -> rows of a day of events. */
async function whereIs(ofDay: string): Promise<Record<string, number>> {
  const { rows } = await database.query(
    'select tableoid::regclass::text as partition, count(*)::int as rows from events where day = $1 group by 1',
    [ofDay],
  );
  return Object.fromEntries(rows.map((row) => [row.partition, row.rows]));
}

function partition(ofDay: string): string {
  return `events_${ofDay.replaceAll('-', '')}`;
}

test('partitions are made ahead for the log and the messages, once', async () => {
  const first = await ensurePartitions(database, { daysAhead: 2, clock });
  expect(first.created).toEqual(
    ['events', 'messages', 'message_results', 'ingested_events'].flatMap((table) =>
      [-1, 0, 1, 2].map((ahead) => `${table} ${day(ahead)}`),
    ),
  );
  expect(first.postponed).toEqual([]);
  expect(await ensurePartitions(database, { daysAhead: 2, clock })).toEqual({ created: [], postponed: [] });
  await append();
  expect(await whereIs(day())).toEqual({ [partition(day())]: 1 });
  const indexes = async (table: string) =>
    (await database.query('select count(*)::int as n from pg_index where indrelid = $1::regclass', [table]))
      .rows[0].n;
  expect(await indexes(partition(day()))).toBe(await indexes('events'));
  const message = await database.query(
    `insert into messages (day, id, application_id, dispatch_id, channel, address, decision)
     values ($1, $2, 'a', $3, 'EMAIL', 'a@example.com', 'sending') returning tableoid::regclass::text as partition`,
    [day(), uuidv7(), uuidv7()],
  );
  expect(message.rows[0].partition).toBe(`messages_${day().replaceAll('-', '')}`);
});

test('an append at a time for which nobody made a partition succeeds, and gets its partition later', async () => {
  await ensurePartitions(database, { daysAhead: 0, clock });
  today += dayMs;
  await append(3);
  await append(300);
  today += 365 * dayMs;
  await append(2);
  const [tomorrow, nextYear] = [day(-365), day()];
  expect(await whereIs(tomorrow)).toEqual({ events_default: 303 });
  expect(await whereIs(nextYear)).toEqual({ events_default: 2 });
  const { created } = await ensurePartitions(database, { daysAhead: 0, clock });
  expect(created).toContain(`events ${tomorrow}`);
  expect(await whereIs(tomorrow)).toEqual({ [partition(tomorrow)]: 303 });
  expect(await whereIs(nextYear)).toEqual({ [partition(nextYear)]: 2 });
  await numberer.drain();
  await reader.drain();
});

test('an open writer is not waited for long, and loses nothing', async () => {
  const client = await database.connect();
  await client.query('begin');
  await appendFacts(client, [{ type: 'test.happened', applicationId: 'a' }], clock);
  const { postponed } = await ensurePartitions(database, { daysAhead: 0, clock, tables: ['events'] });
  expect(postponed).toEqual(
    [-1, 0].map((ahead) => ({
      table: 'events',
      day: day(ahead),
      reason: expect.stringContaining('open transaction'),
    })),
  );
  await client.query('commit');
  client.release();
  expect((await ensurePartitions(database, { daysAhead: 0, clock, tables: ['events'] })).postponed).toEqual(
    [],
  );
  expect(await whereIs(day())).toEqual({ [partition(day())]: 1 });
});

test('an old day goes when it is read, and not before', async () => {
  await ensurePartitions(database, { daysAhead: 0, clock });
  await append(5);
  const old = day();
  today += 31 * dayMs;
  await ensurePartitions(database, { daysAhead: 0, clock });
  await append(7);
  const retain = () => dropOldPartitions(database, { keepDays: 30, clock });

  expect((await retain()).kept).toContainEqual({
    table: 'events',
    day: old,
    reason: expect.stringContaining('not numbered'),
  });
  await numberer.drain();
  expect((await retain()).kept).toContainEqual({
    table: 'events',
    day: old,
    reason: 'subscriber reader has not read the day',
  });
  expect(await whereIs(old)).toEqual({ [partition(old)]: 5 });

  await reader.drain();
  const done = await retain();
  expect(done.dropped).toContain(`events ${old}`);
  expect(done.kept).toEqual([]);
  expect(await whereIs(old)).toEqual({});
  expect(await whereIs(day())).toEqual({ [partition(day())]: 7 });
  const { rows } = await database.query('select day from event_batches');
  expect(rows.map((row) => row.day)).toEqual([day()]);
  await append(1);
  await numberer.drain();
  await reader.drain();
});

test('an open writer of an old day keeps it; the batch that it commits late is read', async () => {
  await ensurePartitions(database, { daysAhead: 0, clock });
  const old = day();
  const client = await database.connect();
  await client.query('begin');
  await appendFacts(client, [{ type: 'test.late', applicationId: 'a' }], clock);
  today += 31 * dayMs;
  await ensurePartitions(database, { daysAhead: 0, clock });
  const locked = await dropOldPartitions(database, { keepDays: 30, clock });
  expect(locked.kept).toContainEqual({
    table: 'events',
    day: old,
    reason: 'an open transaction holds the table',
  });
  await client.query('commit');
  client.release();
  const unnumbered = await dropOldPartitions(database, { keepDays: 30, clock });
  expect(unnumbered.kept).toContainEqual({
    table: 'events',
    day: old,
    reason: expect.stringContaining('not numbered'),
  });
  await numberer.drain();
  const types: string[] = [];
  const late = createSubscriber({
    database,
    log: silentLog,
    name: 'reader',
    handle: async (_tx, facts) => {
      types.push(...facts.map((fact) => fact.type));
    },
  });
  await late.drain();
  expect(types).toEqual(['test.late']);
  expect((await dropOldPartitions(database, { keepDays: 30, clock })).dropped).toContain(`events ${old}`);
});

test('facts of an old day that never got a partition go as well, when they are read', async () => {
  await append(300);
  const old = day();
  today += 31 * dayMs;
  await append(2);
  const retain = () => dropOldPartitions(database, { keepDays: 30, clock, tables: ['events'] });
  expect((await retain()).kept).toMatchObject([{ day: old }]);
  await numberer.drain();
  await reader.drain();
  expect(await retain()).toMatchObject({ dropped: [`events ${old}`], kept: [] });
  expect(await whereIs(old)).toEqual({});
  expect(await whereIs(day())).toEqual({ events_default: 2 });
});

test('messages are kept as long as the log', async () => {
  await ensurePartitions(database, { daysAhead: 0, clock });
  const old = day();
  today += 30 * dayMs;
  const before = await dropOldPartitions(database, { keepDays: 30, clock });
  expect(before.dropped).not.toContain(`messages ${old}`);
  today += dayMs;
  const after = await dropOldPartitions(database, { keepDays: 30, clock });
  expect(after.dropped).toContain(`messages ${old}`);
});

test('a number of days that is no number is refused', async () => {
  await expect(dropOldPartitions(database, { keepDays: 0 })).rejects.toThrow('keepDays: expected');
});
