import {
  appendFacts,
  createAppender,
  ensurePartitions,
  type Fact,
} from '../../packages/server/src/events/index.ts';
import type { Database } from '../../packages/server/src/platform/database.ts';
import { uuidDay, uuidv7 } from '../../packages/server/src/platform/ids.ts';
import { silentLog } from '../../packages/server/src/platform/log.ts';
import { type Bench, type BenchContext, type Measure, scaled } from '../bench.ts';
import { copyIn } from '../support/copy.ts';
import { median, perSecond, timed } from '../support/figures.ts';

const rounds = 5;
const batchSizes = [100, 1_000, 5_000];
const columns =
  'day, batch_id, seq, occurred_at, application_id, type, endpoint_id, message_id, dispatch_id, payload';

/** An outcome of a message, as a campaign writes them: about 300 bytes a row. */
function makeFacts(count: number): Fact[] {
  const applicationId = 'a'.repeat(32);
  const dispatchId = uuidv7();
  return Array.from({ length: count }, (_, index) => ({
    type: 'message.sent',
    applicationId,
    occurredAt: Date.now(),
    endpointId: `endpoint-${index}`,
    messageId: uuidv7(),
    dispatchId,
    payload: { code: 250, response: '2.0.0 Ok: queued as 4F2A17C08B', attempt: 1, account: 'smarthost' },
  }));
}

/** The same rows as COPY text that is ready to go: what PostgreSQL can do when nobody else does anything. */
function renderRows(facts: readonly Fact[]): string {
  const batchId = uuidv7();
  const day = uuidDay(batchId);
  return facts
    .map((fact, seq) =>
      [
        day,
        batchId,
        seq,
        new Date(fact.occurredAt!).toISOString(),
        fact.applicationId,
        fact.type,
        fact.endpointId,
        fact.messageId,
        fact.dispatchId,
        JSON.stringify(fact.payload),
      ].join('\t'),
    )
    .map((line) => `${line}\n`)
    .join('');
}

async function onTwoConnections<T>(
  database: Database,
  batches: readonly T[],
  write: (client: Awaited<ReturnType<Database['connect']>>, batch: T) => Promise<void>,
): Promise<void> {
  let next = 0;
  const worker = async () => {
    const client = await database.connect();
    try {
      for (let batch = batches[next++]; batch !== undefined; batch = batches[next++])
        await write(client, batch);
    } finally {
      client.release();
    }
  };
  await Promise.all([worker(), worker()]);
}

async function measureBatches(context: BenchContext, database: Database, size: number): Promise<Measure> {
  const count = Math.max(2, Math.floor(scaled(context, 60_000, 2_000) / size));
  const subject: number[] = [];
  const baseline: number[] = [];
  for (let round = 0; round <= rounds; round++) {
    const batches = Array.from({ length: count }, () => makeFacts(size));
    const ours = await timed(() =>
      onTwoConnections(database, batches, async (client, batch) => {
        await client.query('begin');
        await appendFacts(client, batch);
        await client.query('commit');
      }),
    );
    const texts = batches.map(renderRows);
    const bare = await timed(() =>
      onTwoConnections(database, texts, (client, text) => copyIn(client, `events (${columns})`, [text])),
    );
    // The first round warms up.
    if (round === 0) continue;
    subject.push(ours);
    baseline.push(bare);
  }
  return {
    name: `log-append ${size}`,
    ratio: median(baseline) / median(subject),
    floor: 0.5,
    subject: `${perSecond(count * size, median(subject))} facts in batches of ${size}`,
    baseline: `${perSecond(count * size, median(baseline))} rows by COPY of ready text`,
  };
}

/** Many callers with a few facts each, who share transactions. */
async function measureAppender(context: BenchContext, database: Database): Promise<Measure> {
  const callers = 64;
  const turns = scaled(context, 60, 4);
  const size = 10;
  const subject: number[] = [];
  const baseline: number[] = [];
  for (let round = 0; round <= 3; round++) {
    const facts = makeFacts(size);
    const appender = createAppender({ database, log: silentLog });
    subject.push(
      await timed(() =>
        Promise.all(
          Array.from({ length: callers }, async () => {
            for (let turn = 0; turn < turns; turn++) await appender.append(facts);
          }),
        ),
      ),
    );
    const text = renderRows(makeFacts(5_000));
    const texts = Array.from(
      { length: Math.max(1, Math.round((callers * turns * size) / 5_000)) },
      () => text,
    );
    const bare = await timed(() =>
      onTwoConnections(database, texts, (client, one) => copyIn(client, `events (${columns})`, [one])),
    );
    baseline.push((bare / (texts.length * 5_000)) * callers * turns * size);
  }
  const [ours, bare] = [median(subject.slice(1)), median(baseline.slice(1))];
  return {
    name: 'log-append group commit',
    ratio: bare / ours,
    floor: 0.3,
    subject: `${perSecond(callers * turns * size, ours)} facts of ${callers} callers with ${size} each`,
    baseline: `${perSecond(callers * turns * size, bare)} rows by COPY of ready text`,
  };
}

export const logAppend: Bench = {
  name: 'log-append',
  description:
    'facts into the log, against COPY of the same rows into the same table, both on two connections',
  async run(context) {
    const database = await context.database();
    await ensurePartitions(database);
    const measures: Measure[] = [];
    for (const size of batchSizes) {
      await context.quiet();
      measures.push(await measureBatches(context, database, size));
    }
    await context.quiet();
    measures.push(await measureAppender(context, database));
    return measures;
  },
};
