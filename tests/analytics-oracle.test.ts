import { beforeAll, describe, expect, test } from 'vitest';
import { rebuildKpiResults, requestRebuild, runRebuilds } from '../packages/server/src/analytics/index.ts';
import { silentLog } from '../packages/server/src/platform/log.ts';
import { type Answers, ask } from './analytics-oracle/answers.ts';
import { differences } from './analytics-oracle/compare.ts';
import { type Raw, readRaw } from './analytics-oracle/facts.ts';
import { type History, randomHistory, sliceTimes } from './analytics-oracle/history.ts';
import { expected } from './analytics-oracle/oracle.ts';
import { type Played, play } from './analytics-oracle/play.ts';
import { type Questions, randomQuestions } from './analytics-oracle/questions.ts';
import { Random } from './analytics-oracle/random.ts';
import { documented, mutants, type Rules } from './analytics-oracle/rules.ts';
import { testDatabase } from './support/database.ts';

const seed = Number(process.env.ANALYTICS_SEED ?? Math.floor(Math.random() * 2 ** 31));
const count = Number(process.env.ANALYTICS_HISTORIES ?? 220);
/** Minutes on a quiet machine; a busy one may take its time. */
const limitMs = 1_200_000;
const database = await testDatabase();

interface Asked extends Played {
  raw: Raw;
  questions: Questions;
  answers: Answers;
}

const histories: History[] = [];
const all: Asked[] = [];

beforeAll(async () => {
  console.info(`seed ${seed} (repeat with ANALYTICS_SEED=${seed})`);
  for (let index = 0; index < count; index++) {
    histories.push(randomHistory(new Random(seed + index), index));
  }
  for (const played of await play(database, histories)) {
    const { history, segmentId } = played;
    const questions = randomQuestions(new Random(seed - 1 - all.length), history, segmentId);
    const answers = await ask(database, history.app, questions);
    all.push({ ...played, questions, answers, raw: await readRaw(database, history.app) });
  }
}, limitMs);

describe(`random histories (seed ${seed})`, { timeout: limitMs }, () => {
  test('every event that was put is one fact, replays none, with a time that can be right', () => {
    for (const { history, raw } of all) {
      const wanted = new Map<string, { type: string; at: number }>();
      for (const [slice, puts] of history.puts.entries()) {
        const now = sliceTimes[slice]!;
        for (const { endpointId, events } of puts.flat()) {
          for (const { id, type, at } of events) {
            const key = `${endpointId} ${id}`;
            if (wanted.has(key)) continue;
            const isPossible = at <= now && at >= now - 90 * 86_400_000;
            wanted.set(key, {
              type: type.replace('_session_start', '_session.start'),
              at: isPossible ? at : now,
            });
          }
        }
      }
      const got = raw.events.map(
        ({ endpoint, id, type, at }) => [`${endpoint} ${id}`, { type, at }] as const,
      );
      expect(got.length, `facts of ${history.app}`).toBe(wanted.size);
      expect(new Map(got), `facts of ${history.app}`).toEqual(wanted);
      expect(raw.events.filter(({ user }) => user === 'liar')).toEqual([]);
    }
  });

  test('every figure is what its definition makes of the facts', () => {
    const wrong = all.flatMap(({ history, raw, questions, answers }) =>
      differences(answers, expected(raw, questions, documented)).map((text) => `${history.app} ${text}`),
    );
    expect(wrong.slice(0, 20)).toEqual([]);
    expect(all.length).toBeGreaterThan(count * 0.9);
  });

  test('figures that are rebuilt from the log are the same', async () => {
    await requestRebuild(database);
    await runRebuilds({ database, log: silentLog });
    await rebuildKpiResults(database);
    for (const { history, questions, answers } of all.filter((_, index) => index % 5 === 0)) {
      const again = await ask(database, history.app, questions);
      expect(differences(again, answers), history.app).toEqual([]);
    }
  });

  test('applications that are deleted on the way leave nothing behind', async () => {
    const deleted = histories.filter(({ deletedSlice }) => deletedSlice !== undefined).map(({ app }) => app);
    for (const table of ['events', 'messages', 'endpoints', 'analytics_rollups', 'message_results']) {
      const { rowCount } = await database.query(`select from ${table} where application_id = any($1)`, [
        deleted,
      ]);
      expect(rowCount, table).toBe(0);
    }
  });
});

describe('the oracle can fail: the histories tell apart the documented rules and', {
  timeout: limitMs,
}, () => {
  test.each(Object.entries(mutants))('%s', (_, wrong) => {
    const rules = { ...documented, ...wrong };
    const differs = ({ raw, questions, answers }: Asked, by: Rules) =>
      differences(answers, expected(raw, questions, by)).length > 0;
    // A history that is wrong anyway shows nothing.
    expect(all.some((asked) => differs(asked, rules) && !differs(asked, documented))).toBe(true);
  });
});
