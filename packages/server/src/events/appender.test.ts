import { beforeEach, expect, test } from 'vitest';
import { testDatabase } from '../../../../tests/support/database.ts';
import { type Database, openDatabase } from '../platform/database.ts';
import { silentLog } from '../platform/log.ts';
import { createAppender } from './appender.ts';

const database = await testDatabase();

beforeEach(async () => {
  await database.query('delete from events');
  await database.query('delete from event_batches_unnumbered');
});

function fact(index: number) {
  return { type: 'message.sent', applicationId: 'a', payload: { index } };
}

async function storedIndexes(): Promise<number[]> {
  const { rows } = await database.query("select (payload->>'index')::int as i from events order by 1");
  return rows.map((row) => row.i);
}

test('appends that wait share a batch, and each resolves when its facts can be read', async () => {
  const appender = createAppender({ database, log: silentLog });
  await Promise.all(
    Array.from({ length: 500 }, async (_, index) => {
      await appender.append([fact(index)]);
      const { rows } = await database.query("select from events where (payload->>'index')::int = $1", [
        index,
      ]);
      expect(rows).toHaveLength(1);
    }),
  );
  const { rows } = await database.query('select count(*)::int as n from event_batches_unnumbered');
  expect(rows[0].n).toBeLessThan(100);
  expect(await storedIndexes()).toEqual(Array.from({ length: 500 }, (_, index) => index));
  expect(appender.queued()).toBe(0);
});

test('a fact that the database refuses fails its own caller only', async () => {
  const appender = createAppender({ database, log: silentLog });
  const results = await Promise.allSettled(
    Array.from({ length: 20 }, (_, index) =>
      appender.append([index === 13 ? { ...fact(index), messageId: 'no uuid' } : fact(index)]),
    ),
  );
  expect(results.map((result) => result.status === 'rejected')).toEqual(
    results.map((_, index) => index === 13),
  );
  expect(await storedIndexes()).toEqual([...Array(20).keys()].filter((index) => index !== 13));
});

test('a full queue refuses what comes next, and takes again when there is room', async () => {
  const appender = createAppender({ database, log: silentLog, writers: 1, maxQueuedFacts: 10 });
  const taken = Array.from({ length: 10 }, (_, index) => appender.append([fact(index)]));
  await expect(appender.append([fact(10)])).rejects.toMatchObject({ code: 'too_many_requests' });
  await Promise.all(taken);
  await appender.append([fact(11)]);
  expect(await storedIndexes()).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11]);
});

test('draining waits for what was taken and refuses what comes later', async () => {
  let commits = 0;
  const appender = createAppender({
    database,
    log: silentLog,
    onCommit: () => {
      commits++;
    },
  });
  const taken = Array.from({ length: 50 }, (_, index) => appender.append([fact(index)]));
  await appender.drain();
  expect(await storedIndexes()).toHaveLength(50);
  expect(commits).toBeGreaterThan(0);
  await expect(appender.append([fact(50)])).rejects.toMatchObject({ code: 'unavailable' });
  await Promise.all(taken);
});

test('connections that are killed during appends lose nothing and write nothing twice', async () => {
  const victim = openDatabase({ url: database.url, maxConnections: 3, applicationName: 'victim' });
  const appender = createAppender({ database: victim, log: silentLog, writers: 2, retryForMs: 60_000 });
  let writing = true;
  let killed = 0;
  const killer = (async () => {
    while (writing || killed === 0) {
      const { rows } = await database.query(
        "select count(pg_terminate_backend(pid))::int as n from pg_stat_activity where application_name = 'victim' and state <> 'idle'",
      );
      killed += rows[0].n;
      await new Promise((resolve) => setTimeout(resolve, 5 + Math.random() * 40));
    }
  })();
  const callers = Array.from({ length: 8 }, async (_, caller) => {
    for (let turn = 0; turn < 12; turn++) {
      const first = (caller * 12 + turn) * 200;
      await appender.append(Array.from({ length: 200 }, (_, index) => fact(first + index)));
    }
  });
  await Promise.all(callers);
  writing = false;
  await killer;
  await victim.close();
  expect(killed).toBeGreaterThan(0);
  expect(await storedIndexes()).toEqual(Array.from({ length: 8 * 12 * 200 }, (_, index) => index));
});

test('a database that stays away is said to be unavailable', async () => {
  const away = openDatabase({
    url: database.url.replace(/%2F/g, '%2Fnowhere'),
    maxConnections: 1,
    applicationName: 'x',
  });
  const appender = createAppender({ database: away, log: silentLog, retryForMs: 200 });
  await expect(appender.append([fact(1)])).rejects.toMatchObject({ code: 'unavailable' });
  await away.close();
});

/** The database with one transaction whose connection is lost at the moment of its commit. */
function losingOnce(commit: 'before the loss' | 'after the loss' | 'never'): Database {
  let lost = false;
  const gone = () => Object.assign(new Error('Connection terminated unexpectedly'), { code: 'ECONNRESET' });
  return {
    ...database,
    async transaction(work) {
      if (lost) return await database.transaction(work);
      lost = true;
      const client = await database.connect();
      await client.query('begin');
      await work(client);
      // In the second case the server still has the commit to do while we already know nothing of it.
      const end = async () => {
        await client.query(commit === 'never' ? 'rollback' : 'commit');
        client.release();
      };
      if (commit === 'after the loss') setTimeout(() => void end(), 300);
      else await end();
      throw gone();
    },
  };
}

test.each(['before the loss', 'after the loss', 'never'] as const)(
  'a connection that is lost around the commit (%s) leaves each fact once',
  async (commit) => {
    const appender = createAppender({ database: losingOnce(commit), log: silentLog });
    await Promise.all([appender.append([fact(1), fact(2)]), appender.append([fact(3)])]);
    expect(await storedIndexes()).toEqual([1, 2, 3]);
  },
);
