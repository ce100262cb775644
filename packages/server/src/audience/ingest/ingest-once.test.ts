import { describe, expect, test } from 'vitest';
import { deleteApplication, eraseDeletedApplications } from '../../accounts/index.ts';
import { eraseFacts } from '../../events/index.ts';
import { silentLog } from '../../platform/log.ts';
import { eraseAudience } from '../erase.ts';
import {
  accepted,
  database,
  endpointOf,
  event,
  factsOf,
  idsOf,
  ingest,
  ingestOf,
  item,
  newApp,
} from './ingest.fixture.ts';

describe('once', () => {
  test('an event that comes again is accepted and changes nothing', async () => {
    const app = await newApp();
    const plan = (value: string) => ({ endpoint: { Attributes: { plan: [value] } } });
    await ingest.put(app, [item('e', ['1', '2'], plan('one'))]);
    const replay = await ingest.put(app, [item('e', ['2', '1'], plan('two'))]);
    expect(replay).toEqual([
      { endpoint: accepted, events: [accepted, accepted], created: false, replayed: true },
    ]);
    expect((await endpointOf(app, 'e')).attributes).toEqual({ plan: ['one'] });
    await ingest.put(app, [item('e', ['2', '3'], plan('three'))]);
    expect((await endpointOf(app, 'e')).attributes).toEqual({ plan: ['three'] });
    expect(await idsOf(app)).toEqual(['1', '2', '3']);
  });

  test('ids belong to their endpoint and application', async () => {
    const [one, two] = [await newApp(), await newApp()];
    await ingest.put(one, [item('a', ['1']), item('b', ['1']), item('a1', ['']), item('a', ['11'])]);
    await ingest.put(two, [item('a', ['1'])]);
    expect(await idsOf(one)).toEqual(['1', '1', '11']);
    expect(await idsOf(two)).toEqual(['1']);
  });

  test('twice in one item, in one request, in one group: one fact', async () => {
    const app = await newApp();
    await Promise.all([
      ingest.put(app, [item('e', ['1', '1']), item('e', ['1'])]),
      ...Array.from({ length: 20 }, () => ingest.put(app, [item('e', ['1', '2'])])),
    ]);
    expect(await idsOf(app)).toEqual(['1', '2']);
  });

  test('two processes that get the same requests at once write each event once', async () => {
    const app = await newApp();
    const others = [ingestOf(), ingestOf()];
    const requests = Array.from({ length: 60 }, (_, n) =>
      item(
        `e${n % 7}`,
        Array.from({ length: 10 }, (_, k) => `${(n * 7 + k * 3) % 40}`),
        {
          endpoint: { Attributes: { n: [String(n % 3)] } },
        },
      ),
    );
    await Promise.all(others.flatMap((one) => requests.map((request) => one.put(app, [request]))));
    const wanted = new Set(
      requests.flatMap(({ endpointId, events }) => events.map(({ id }) => `${endpointId} ${id}`)),
    );
    const facts = (await factsOf(app)).map(({ endpoint, payload }) => `${endpoint} ${payload.id}`);
    expect(facts.length).toBe(wanted.size);
    expect(new Set(facts)).toEqual(wanted);
  });

  test('over midnight, with a clock that is late, for a day and not for ever', async () => {
    const app = await newApp();
    let now = Date.parse('2033-05-01T23:59:59.990Z');
    let late = now;
    const punctual = ingestOf({ clock: { now: () => now } });
    const slow = ingestOf({ clock: { now: () => late } });
    await punctual.put(app, [item('e', ['1'])]);
    now += 20;
    expect((await punctual.put(app, [item('e', ['1', '2'])]))[0]!.replayed).toBe(false);
    // Its clock still says yesterday.
    expect((await slow.put(app, [item('e', ['2'])]))[0]!.replayed).toBe(true);
    await Promise.all([punctual.put(app, [item('e', ['3'])]), slow.put(app, [item('e', ['3'])])]);
    expect(await idsOf(app)).toEqual(['1', '2', '3']);
    now = Date.parse('2033-05-02T23:59:59Z');
    expect((await punctual.put(app, [item('e', ['1', '2', '3'])]))[0]!.replayed).toBe(true);
    // Ids of yesterday, when the ten minutes after midnight are over.
    now = Date.parse('2033-05-03T12:00:00Z');
    await punctual.put(app, [item('e', ['4'])]);
    now = Date.parse('2033-05-04T12:00:00Z');
    expect((await punctual.put(app, [item('e', ['4'])]))[0]!.replayed).toBe(true);
    late = Date.parse('2033-05-06T00:00:00Z');
    expect((await slow.put(app, [item('e', ['4'])]))[0]!.replayed).toBe(false);
  });
});

describe('faults', () => {
  test('one bad row in a shared commit is the error of its request alone', async () => {
    const app = await newApp();
    await database.query(`create function refuse_poison() returns trigger language plpgsql as $$
      begin if new.type = 'event.poison' then raise exception 'poison'; end if; return new; end $$`);
    await database.query(
      'create trigger poison before insert on events for each row execute function refuse_poison()',
    );
    const puts = Array.from({ length: 20 }, (_, n) =>
      ingest.put(app, [{ endpointId: `e${n}`, events: [event('1', { type: n === 7 ? 'poison' : 'fine' })] }]),
    );
    const answers = await Promise.allSettled(puts);
    await database.query('drop trigger poison on events');
    expect(answers.map(({ status }) => status === 'rejected')).toEqual(answers.map((_, n) => n === 7));
    expect((await idsOf(app)).length).toBe(19);
    expect(await endpointOf(app, 'e7')).toBeUndefined();
    expect((await ingest.put(app, [item('e7', ['1'])]))[0]!.replayed).toBe(false);
  });

  test('a connection that is lost before or after the commit leaves each event once, and each caller answered', async () => {
    const app = await newApp();
    let answered = 0;
    const puts = Array.from({ length: 300 }, async (_, n) => {
      await new Promise((resolve) => setTimeout(resolve, n * 3));
      const result = await ingest.put(app, [
        item(`e${n % 5}`, [`${n}`], { endpoint: { Metrics: { n } } }),
        item(`new${n}`, [], { mustBeNew: true }),
      ]);
      answered++;
      return result;
    });
    const all = Promise.all(puts);
    // Each time that something got through, so that it is an end of the test and not of the machine's speed.
    for (let kill = 0; kill < 10 && answered < puts.length; kill++) {
      const before = answered;
      while (answered === before && answered < puts.length)
        await new Promise((resolve) => setTimeout(resolve, 2));
      await database
        .query(
          `select pg_terminate_backend(pid) from pg_stat_activity
           where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'`,
        )
        .catch(() => undefined);
    }
    const results = await all;
    // The last kill may still be on its way, to the very connections that this test reads by.
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(results.flat().every(({ endpoint }) => endpoint.status === 202)).toBe(true);
    const ids = await idsOf(app);
    expect(ids.length).toBe(300);
    expect(new Set(ids).size).toBe(300);
  });

  test('an application that is deleted under load is answered not_found, and nothing of it is left', async () => {
    const app = await newApp();
    let running = true;
    const codes = new Set<string>();
    const load = Array.from({ length: 8 }, async (_, who) => {
      for (let n = 0; running; n++) {
        await ingest.put(app, [item(`e${who}-${n % 10}`, [`${n}`], { endpoint: { Metrics: { n } } })]).then(
          () => codes.add('ok'),
          (error: { code: string }) => codes.add(error.code),
        );
        await new Promise((resolve) => setImmediate(resolve));
      }
    });
    await new Promise((resolve) => setTimeout(resolve, 300));
    await deleteApplication(database, app);
    await new Promise((resolve) => setTimeout(resolve, 200));
    await eraseDeletedApplications({
      database,
      log: silentLog,
      erasers: [
        { room: 'audience', erase: eraseAudience },
        { room: 'events', erase: eraseFacts },
      ],
    });
    await new Promise((resolve) => setTimeout(resolve, 100));
    running = false;
    await Promise.all(load);
    expect(codes).toEqual(new Set(['ok', 'not_found']));
    for (const table of ['events', 'endpoints', 'endpoint_activity', 'event_names', 'users']) {
      const { rowCount } = await database.query(`select from ${table} where application_id = $1`, [app]);
      expect(rowCount, table).toBe(0);
    }
  });
});
