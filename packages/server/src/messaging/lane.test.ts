import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test, vi } from 'vitest';
import { testDatabase } from '../../../../tests/support/database.ts';
import type { Database } from '../platform/database.ts';
import { uuidv7 } from '../platform/ids.ts';
import { silentLog } from '../platform/log.ts';
import { type LaneOptions, LaneRunner } from './lane.ts';

/** The database, whose answers wait until they are let go. */
function holdingBack(database: Database): { database: Database; held: (() => void)[] } {
  const held: (() => void)[] = [];
  const query = async (...statement: Parameters<Database['query']>) => {
    const answer = await database.query(...statement);
    await new Promise<void>((resolve) => held.push(resolve));
    return answer;
  };
  return { database: { ...database, query: query as Database['query'] }, held };
}

test('an idle lane looks for chunks when it is woken, and once more when that was while it looked', async () => {
  const { database, held } = holdingBack(await testDatabase());
  // Nothing is claimed, so nothing else is asked for.
  const options = { lane: 'triggered', workerId: uuidv7(), database, log: silentLog, processors: 1 };
  const lane = new LaneRunner(options as unknown as LaneOptions);
  const looks = () => vi.waitFor(() => expect(held).toHaveLength(1), { timeout: 10_000 });
  const answer = () => held.pop()!();
  lane.start();
  await looks();
  // What these are about came too late for the look that is under way.
  lane.wake();
  lane.wake();
  answer();
  await looks();
  answer();
  await sleep(100);
  expect(held).toHaveLength(0);
  lane.wake();
  await looks();
  answer();
  await lane.drain();
  lane.wake();
  await sleep(100);
  expect(held).toHaveLength(0);
});
