import sql from 'sql-template-tag';
import { expect, test } from 'vitest';
import { waitFor } from '../../../../tests/support/processes.ts';
import { silentLog } from '../platform/log.ts';
import { accountFor } from './accounting.sql.ts';
import type { DispatchPlan } from './dispatch.ts';
import { type InFlight, settle } from './outcome.ts';
import {
  accepted,
  accountOf,
  deferred,
  emailPlan,
  faulty,
  people,
  person,
  pipelineTest,
  scripted,
  unreachable,
} from './pipeline.test-support.ts';
import type { AttemptResult, OutgoingMessage } from './provider.ts';
import { Sessions } from './session.ts';

const { database, createPipeline, createApp, addEndpoints, dispatchTo, finished } = await pipelineTest();

async function statusesOf(app: string, id: string) {
  return (await accountFor(database, app, [id])).statuses;
}

test('words that PostgreSQL cannot hold stop neither the outcomes nor the repeats', async () => {
  const app = await createApp([
    ...people(20),
    person(20, { Attributes: { Name: ['😀'] } }),
    person(21, { Attributes: { Name: ['😀'] } }),
  ]);
  const html = '<p>{{substring Attributes.Name 0 1}}</p>';
  const plan: DispatchPlan = {
    ...emailPlan,
    treatments: [{ id: '0', sizePercent: 100, content: { EMAIL: { inline: { subject: 's', html } } } }],
  };
  const provider = scripted((message) =>
    message.attempt === 1 ? { ...deferred(message), response: '451 \0 \ud83d' } : accepted(message),
  );
  const pipeline = await createPipeline(provider);
  pipeline.startWorker();
  for (const dispatchClass of ['promotional', 'transactional'] as const) {
    const id = await dispatchTo(app, { plan, class: dispatchClass });
    await finished(id);
    expect(await statusesOf(app, id)).toEqual({ sent: 22 });
  }
});

test('an outcome that the database refuses is written without its words, and holds up no other', async () => {
  const app = await createApp(people(40));
  await database.query(`
    create function refuse_poison() returns trigger language plpgsql as $$
    begin
      if new.payload->>'response' like '%poison%' then raise exception 'not this one' using errcode = '22023'; end if;
      return new;
    end $$`);
  await database.query(
    'create trigger poison before insert on events for each row execute function refuse_poison()',
  );
  const provider = scripted((message) => {
    if (message.address === 'person.7@example.com') return { ...accepted(message), response: '250 poison' };
    if (message.address === 'person.8@example.com') return { ...deferred(message), response: '451 poison' };
    return accepted(message);
  });
  const pipeline = await createPipeline(provider);
  pipeline.startWorker();
  const id = await dispatchTo(app);
  await finished(id);
  expect(await statusesOf(app, id)).toEqual({ sent: 39, failed: 1 });
  await pipeline.drain(1_000);
  await database.query('drop trigger poison on events');
});

test('a database that cannot be found for a while loses no words and no repeats', async () => {
  const app = await createApp(people(10));
  let away = false;
  const lookup = {
    ...database,
    transaction: <T>(work: Parameters<typeof database.transaction<T>>[0]) =>
      away
        ? Promise.reject(Object.assign(new Error('getaddrinfo ENOTFOUND db'), { code: 'ENOTFOUND' }))
        : database.transaction(work),
  };
  const provider = scripted((message) => {
    if (message.attempt > 1) return accepted(message);
    away = true;
    return deferred(message);
  });
  const pipeline = await createPipeline({ ...provider, database: lookup });
  pipeline.startWorker();
  const id = await dispatchTo(app);
  await waitFor('the first attempts', () => away);
  await new Promise((resolve) => setTimeout(resolve, 500));
  away = false;
  const back = setInterval(() => {
    away = false;
  }, 20);
  await finished(id);
  clearInterval(back);
  expect(await statusesOf(app, id)).toEqual({ sent: 10 });
});

test('twins get one message, in whichever chunks and case their address is', async () => {
  const app = await createApp();
  const twin = (index: number) => ({
    Address: `Twin.${index % 1_000}@${index < 1_000 ? 'EX' : 'ex'}ample.com`,
  });
  await addEndpoints(
    app,
    Array.from({ length: 2_000 }, (_, index) =>
      person(index, { Id: `p${String(index).padStart(5, '0')}`, ...twin(index) }),
    ),
  );
  const provider = scripted(accepted, { concurrency: 50 });
  const pipeline = await createPipeline(provider);
  pipeline.startWorker();
  const id = await dispatchTo(app);
  await finished(id);
  expect(await statusesOf(app, id)).toEqual({ sent: 1_000, duplicate_address: 1_000 });
  expect(new Set(provider.seen.map(({ address }) => address.toLowerCase())).size).toBe(1_000);
});

test('an account that cannot be used makes a campaign wait, and moves nearly nobody into the retries', async () => {
  const app = await createApp(people(600));
  let works = false;
  const provider = scripted((message) => (works ? accepted(message) : unreachable(message)));
  const pipeline = await createPipeline(provider);
  pipeline.startWorker();
  const id = await dispatchTo(app);
  await new Promise((resolve) => setTimeout(resolve, 2_200));
  const during = await accountFor(database, app, [id]);
  expect(during.pending).toBeGreaterThan(550);
  const triedInVain = provider.seen.length;
  expect(triedInVain).toBeLessThan(60);
  works = true;
  await finished(id);
  expect(await statusesOf(app, id)).toEqual({ sent: 600 });
  expect(provider.seen.length).toBe(600 + triedInVain);
});

test('a server that refuses everybody for now makes a campaign wait as well', async () => {
  const app = await createApp(people(600));
  let works = false;
  const provider = scripted((message) => (works ? accepted(message) : deferred(message)));
  const pipeline = await createPipeline({ ...provider, retryFirstDelayMs: 2_000 });
  pipeline.startWorker();
  const id = await dispatchTo(app);
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  expect((await accountFor(database, app, [id])).pending).toBeGreaterThan(500);
  works = true;
  await finished(id);
  expect(await statusesOf(app, id)).toEqual({ sent: 600 });
});

test('a daily limit that is reached leaves the rest in the audience and not in the retries', async () => {
  const app = await createApp(people(400));
  const account = { id: 'limited', dailyLimit: 50, messagesPerSecond: 2_000 };
  await database.query(sql`
    insert into provider_accounts (id, channel, provider, name, state, daily_limit)
    values ('limited', 'EMAIL', 'scripted', 'limited', 'active', 50)`);
  const provider = scripted(accepted, { account });
  const pipeline = await createPipeline(provider);
  pipeline.startWorker();
  const id = await dispatchTo(app);
  await waitFor('the limit', async () => (await statusesOf(app, id)).sent === 50);
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  const { pending, statuses } = await accountFor(database, app, [id]);
  expect(statuses.sent).toBe(50);
  expect(pending).toBeGreaterThan(300);
});

test('what a slow server holds keeps no other repeats waiting', async () => {
  const slow = await createApp([person(1, { Address: 'slow@example.com' })]);
  const quick = await createApp([person(2, { Address: 'quick@example.com' })]);
  const held = Promise.withResolvers<void>();
  const provider = scripted(async (message) => {
    if (message.attempt === 1) return deferred(message);
    if (message.address.startsWith('slow')) await held.promise;
    return accepted(message);
  });
  const pipeline = await createPipeline(provider);
  pipeline.startWorker();
  const slowId = await dispatchTo(slow);
  await waitFor('the slow repeat', () =>
    provider.seen.some(({ address, attempt }) => address.startsWith('slow') && attempt === 2),
  );
  await finished(await dispatchTo(quick));
  held.resolve();
  await finished(slowId);
});

test('a run that is over its time in the middle of a chunk gives the rest its reason', async () => {
  const app = await createApp(people(300));
  const pipeline = await createPipeline(scripted(accepted));
  pipeline.startWorker();
  const id = await dispatchTo(app, { messagesPerSecond: 40, expiresAt: new Date(Date.now() + 2_000) });
  await finished(id);
  const { sent, expired } = await statusesOf(app, id);
  expect(sent! + expired!).toBe(300);
  expect(expired).toBeGreaterThan(100);
});

test('an account that was closed because too many were open is opened again', async () => {
  const closed = new Set<string>();
  const sessions = new Sessions({
    providers: [
      {
        name: 'counted',
        channels: ['EMAIL'],
        fields: [],
        open: ({ id }) => {
          let open = true;
          return {
            limits: { concurrency: 1, batch: 1 },
            send: async (messages) =>
              messages.map((message) => (open ? accepted(message) : deferred(message))),
            check: async () => undefined,
            close: async () => {
              open = false;
              closed.add(id);
            },
          };
        },
      },
    ],
    routeFor: async (applicationId) => [accounts.get(applicationId)!],
    limits: {
      lease: async (_, wanted) => ({ granted: wanted, waitMs: 0 }),
      reserveDaily: async (_, wanted) => wanted,
    },
    context: {
      log: silentLog,
      allowPrivateHosts: true,
      receive: async () => {},
      storeInInbox: async () => {},
    },
    log: silentLog,
  });
  const accounts = new Map(
    Array.from({ length: 201 }, (_, index) => [`app${index}`, accountOf(`account${index}`, 'counted')]),
  );
  const message = (applicationId: string) =>
    ({ id: 'm', applicationId, channel: 'EMAIL' }) as OutgoingMessage;
  for (const id of accounts.keys()) {
    await sessions.attempt('bulk', message(id));
    // Their order of use is by the millisecond.
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  expect([...closed]).toEqual(['account0']);
  expect(await sessions.attempt('bulk', message('app0'))).toMatchObject({ outcome: 'accepted' });
});

test('a provider that throws, or answers too little, leaves a doubt and nothing else', async () => {
  const app = await createApp(people(6));
  const provider = scripted((message) => {
    if (message.address.startsWith('person.1@')) throw new Error('a bug');
    if (message.address.startsWith('person.2@')) return undefined as unknown as AttemptResult;
    return accepted(message);
  });
  const pipeline = await createPipeline(provider);
  pipeline.startWorker();
  const id = await dispatchTo(app);
  await finished(id);
  expect(await statusesOf(app, id)).toEqual({ sent: 4, in_doubt: 2 });
});

test('commits whose answer is lost, or that come late, lose nobody and count nobody twice', async () => {
  const app = await createApp(people(200));
  let turn = 0;
  const faults = ['none', 'none', 'answer_lost', 'none', 'late_commit', 'refused'] as const;
  const unsure = faulty(database, () => faults[turn++ % faults.length]!);
  const provider = scripted(
    async (message) => {
      await new Promise((resolve) => setTimeout(resolve, 5));
      return message.attempt === 1 && message.address.includes('7') ? deferred(message) : accepted(message);
    },
    { concurrency: 20 },
  );
  const pipeline = await createPipeline({ ...provider, database: unsure });
  pipeline.startWorker();
  const id = await dispatchTo(app);
  await finished(id);
  expect(await statusesOf(app, id)).toEqual({ sent: 200 });
  const { rows } = await database.query(sql`
    select count(*) as facts, count(distinct message_id) as messages
    from events where dispatch_id = ${id} and type = 'message.sent'`);
  expect(rows).toEqual([{ facts: 200, messages: 200 }]);
  const asked = people(200).filter(({ Address }) => Address.includes('7')).length;
  expect(provider.seen.length).toBe(200 + asked);
  expect(turn).toBeGreaterThan(12);
});

test('a provider that never answers does not keep a process from ending', async () => {
  const app = await createApp(people(30));
  const never = new Promise<never>(() => undefined);
  const provider = scripted((message) => (message.address.includes('1') ? never : accepted(message)), {
    concurrency: 50,
    close: () => never,
  });
  const pipeline = await createPipeline(provider);
  pipeline.startWorker();
  const id = await dispatchTo(app);
  await waitFor('the others', async () => (await statusesOf(app, id)).sent === 18);
  await pipeline.drain(500);
  expect(await statusesOf(app, id)).toEqual({ sent: 18, sending: 12 });
});

test('a message whose fate stays unknown is not sent for days', () => {
  const inFlight = (attempt: number) =>
    ({
      class: 'transactional',
      expiresAt: new Date(Date.now() + 48 * 3_600_000),
      message: { id: 'm', attempt },
    }) as InFlight;
  const unknown = { id: 'm', outcome: 'unknown', code: 0, response: '', accountId: 'a' } as const;
  const settled = (attempt: number) =>
    settle(inFlight(attempt), unknown, { now: Date.now(), firstDelayMs: 10 });
  expect(settled(4)).toMatchObject({ type: 'message.in_doubt', retry: { attempt: 5 } });
  expect(settled(5)).toEqual({ type: 'message.in_doubt' });
});
