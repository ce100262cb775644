import {
  appendFacts,
  createNumberer,
  createSubscriber,
  ensurePartitions,
} from '../../packages/server/src/events/index.ts';
import { silentLog } from '../../packages/server/src/platform/log.ts';
import { type Bench, scaled } from '../bench.ts';
import { median, perSecond, timed } from '../support/figures.ts';

const pageRows = 5_000;

export const logRead: Bench = {
  name: 'log-read',
  description: 'a subscriber that counts, against reading the same rows with a bare server-side cursor',
  async run(context) {
    const database = await context.database();
    await ensurePartitions(database);
    const batches = scaled(context, 2_000, 50);
    const size = 100;
    const facts = batches * size;
    for (let batch = 0; batch < batches; batch++) {
      await database.transaction((tx) =>
        appendFacts(
          tx,
          Array.from({ length: size }, (_, index) => ({
            type: 'message.sent',
            applicationId: 'a'.repeat(32),
            endpointId: `endpoint-${index}`,
            payload: { code: 250, response: '2.0.0 Ok: queued as 4F2A17C08B', attempt: 1 },
          })),
        ),
      );
    }
    await context.quiet();
    const numbering = await timed(() => createNumberer({ database, log: silentLog }).drain());
    const subject: number[] = [];
    const baseline: number[] = [];
    for (let round = 0; round < 3; round++) {
      let seen = 0;
      const subscriber = createSubscriber({
        database,
        log: silentLog,
        name: `bench-${round}`,
        handle: async (_tx, some) => {
          seen += some.length;
        },
      });
      subject.push(await timed(() => subscriber.drain()));
      if (seen !== facts) throw new Error(`the subscriber saw ${seen} of ${facts} facts`);
      let read = 0;
      baseline.push(
        await timed(() =>
          database.transaction(async (tx) => {
            await tx.query('declare page no scroll cursor for select * from events');
            for (let rows = -1; rows !== 0; read += rows) {
              rows = (await tx.query(`fetch ${pageRows} from page`)).rowCount ?? 0;
            }
          }),
        ),
      );
      if (read !== facts) throw new Error(`the cursor read ${read} of ${facts} facts`);
    }
    return [
      {
        name: 'log-read',
        ratio: median(baseline) / median(subject),
        floor: 0.5,
        subject: `${perSecond(facts, median(subject))} facts in order, each once`,
        baseline: `${perSecond(facts, median(baseline))} rows by a cursor`,
        detail: `numbering: ${perSecond(batches, numbering)} batches`,
      },
    ];
  },
};
