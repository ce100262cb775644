import fc from 'fast-check';
import { expect, test } from 'vitest';
import { testDatabase } from '../../../../tests/support/database.ts';
import { uuidDay, uuidv7 } from '../platform/ids.ts';
import { appendFacts } from './append.ts';
import type { Fact, StoredFact } from './fact.ts';
import { factsByType, messageFacts } from './facts.ts';
import { selectBatchFacts } from './subscribers.sql.ts';

const database = await testDatabase();

async function append(facts: Fact[]): Promise<string[]> {
  return await database.transaction((tx) => appendFacts(tx, facts));
}

async function readBack(batchIds: string[]): Promise<StoredFact[]> {
  const { rows } = await database.query<StoredFact>(
    selectBatchFacts([uuidDay(batchIds[0]!), uuidDay(batchIds.at(-1)!)], batchIds),
  );
  return rows.sort((a, b) => (a.batchId < b.batchId ? -1 : a.batchId > b.batchId ? 1 : a.seq - b.seq));
}

/** What PostgreSQL cannot hold becomes U+FFFD; everything else comes back as it was. */
function storable(value: unknown): unknown {
  if (typeof value === 'string') return value.toWellFormed().replaceAll('\0', '\ufffd');
  if (Array.isArray(value)) return value.map(storable);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [storable(key), storable(member)]));
}

const awkwardText = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom(
    '\\N',
    'NULL',
    '{a,b}',
    '"',
    '\\',
    '\\u0000',
    '\\\\ud800',
    '\t\r\n\v\f\b',
    '\0',
    '\ud800',
    'x\udfffy',
    '\\.',
  ),
  fc.string({ unit: fc.constantFrom('\\', '\0', 'u', '0', '\ud83d', '\udE00', '"', '\n', "'", '{', ',') }),
);
const payload = fc.dictionary(
  fc.oneof(awkwardText, fc.constantFrom('__proto__', 'constructor', 'toString')),
  fc.oneof(
    awkwardText,
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
    fc.array(awkwardText, { maxLength: 3 }),
  ),
  { maxKeys: 4, noNullPrototype: true },
);
const fact: fc.Arbitrary<Fact> = fc.record({
  type: awkwardText.filter((text) => text.length > 0),
  applicationId: awkwardText.filter((text) => text.length > 0),
  occurredAt: fc.integer({ min: 0, max: 253_402_300_799_999 }),
  endpointId: fc.option(awkwardText),
  messageId: fc.option(fc.uuid()),
  dispatchId: fc.option(fc.uuid()),
  payload,
});

test('whatever is in a fact comes back as it was, from a small batch and from one written by COPY', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fact, { minLength: 1, maxLength: 5 }),
      fc.constantFrom(1, 60),
      async (few, times) => {
        const facts = Array.from({ length: times }, () => few).flat();
        const stored = await readBack(await append(facts));
        expect(stored).toHaveLength(facts.length);
        const expected = facts.map((one) => [
          storable(one.type),
          storable(one.applicationId),
          one.occurredAt,
          storable(one.endpointId),
          one.messageId,
          one.dispatchId,
          JSON.stringify(Object.entries(storable(one.payload) as object).sort()),
        ]);
        const got = stored.map((one) => [
          one.type,
          one.applicationId,
          one.occurredAt,
          one.endpointId,
          one.messageId,
          one.dispatchId,
          JSON.stringify(Object.entries(one.payload).sort()),
        ]);
        expect(got).toEqual(expected);
      },
    ),
    { numRuns: 150 },
  );
});

test('facts and their batch are there together or not at all', async () => {
  const before = await database.query('select count(*)::int as n from events');
  await expect(
    database.transaction(async (tx) => {
      await appendFacts(tx, [{ type: 'message.sent', applicationId: 'a' }]);
      throw new Error('the caller changes his mind');
    }),
  ).rejects.toThrow('changes his mind');
  const after = await database.query('select count(*)::int as n from events');
  expect(after.rows[0].n).toBe(before.rows[0].n);
  const { rows } = await database.query(
    'select count(*)::int as n from event_batches_unnumbered u where not exists (select from events e where e.batch_id = u.batch_id)',
  );
  expect(rows[0].n).toBe(0);
});

test('more than 10,000 facts become several batches that keep the order; none become no batch', async () => {
  const facts = Array.from({ length: 10_001 }, (_, index) => ({
    type: 'message.sent',
    applicationId: 'a',
    payload: { index },
  }));
  const batchIds = await append(facts);
  expect(batchIds).toHaveLength(2);
  const stored = await readBack(batchIds);
  expect(stored.map((one) => one.payload.index)).toEqual(facts.map((one) => one.payload.index));
  expect(await append([])).toEqual([]);
});

test('a fact that cannot be stored is refused by name before anything is written', async () => {
  const bad = { type: 'message.sent', applicationId: 'a', occurredAt: Number.NaN };
  await expect(append([{ type: 'message.sent', applicationId: 'a' }, bad])).rejects.toThrow(
    'facts[1].occurredAt: expected milliseconds between 1970 and 9999',
  );
  await expect(append([{ type: '', applicationId: 'a' }])).rejects.toThrow('facts[0]');
});

test('the timeline of a message is its facts in the order of arrival, of no other message', async () => {
  const [messageId, otherId] = [uuidv7(), uuidv7()];
  await append([
    { type: 'message.deferred', applicationId: 'a', messageId, payload: { code: 451 } },
    { type: 'message.sent', applicationId: 'a', messageId: otherId },
  ]);
  await append([{ type: 'message.sent', applicationId: 'a', messageId }]);
  expect((await messageFacts(database, [messageId])).map((one) => one.type)).toEqual([
    'message.deferred',
    'message.sent',
  ]);
  expect(await messageFacts(database, [])).toEqual([]);
  expect(await messageFacts(database, [uuidv7()])).toEqual([]);
});

test('paging by type visits every fact of the application once, newest first', async () => {
  const applicationId = `paged-${uuidv7()}`;
  const at = (index: number) => 1_700_000_000_000 + (index % 7) * 1000;
  const facts = Array.from({ length: 53 }, (_, index) => ({
    type: 'message.bounced',
    applicationId,
    occurredAt: at(index),
    payload: { index },
  }));
  await append([
    ...facts,
    { type: 'message.sent', applicationId },
    { type: 'message.bounced', applicationId: 'other' },
  ]);
  const seen: StoredFact[] = [];
  for (let page = 0; page < 20; page++) {
    const rows = await factsByType(database, {
      applicationId,
      type: 'message.bounced',
      limit: 10,
      after: seen.at(-1),
    });
    seen.push(...rows);
    if (rows.length < 10) break;
  }
  expect(seen.map((one) => one.payload.index).sort((a, b) => Number(a) - Number(b))).toEqual(
    facts.map((one) => one.payload.index),
  );
  expect(seen.map((one) => one.occurredAt)).toEqual(facts.map((one) => one.occurredAt).sort((a, b) => b - a));
  const some = await factsByType(database, {
    applicationId,
    type: 'message.bounced',
    from: at(2),
    to: at(4),
  });
  expect(new Set(some.map((one) => one.occurredAt))).toEqual(new Set([at(2), at(3)]));
});
