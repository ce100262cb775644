import sql from 'sql-template-tag';
import { expect, test } from 'vitest';
import { waitFor } from '../../../../tests/support/processes.ts';
import { uuidv7 } from '../platform/ids.ts';
import { accountFor } from './accounting.sql.ts';
import { setDispatchState } from './dispatch.sql.ts';
import { searchMessages } from './message.sql.ts';
import {
  accepted,
  deferred,
  emailPlan,
  faulty,
  people,
  pipelineTest,
  scripted,
} from './pipeline.test-support.ts';
import { receiveReceipts } from './receipt.ts';
import { recoverDeadWorkers } from './recovery.ts';
import { resendInDoubt } from './resend.ts';

const { database, createPipeline, createApp, dispatchTo, finished } = await pipelineTest();

const direct = (applicationId: string, waitMs = 100) => ({
  applicationId,
  recipients: [{ channel: 'EMAIL', address: 'you@example.com' }],
  content: { EMAIL: { inline: { subject: 's', text: 't' } } },
  waitMs,
});

const forget = (workerId: string) => database.query(sql`delete from workers where id = ${workerId}`);

async function statusOf(app: string) {
  const { items } = await searchMessages(database, app, {}, { limit: 10 });
  return items.map(({ status }) => status);
}

async function waiting(app: string): Promise<number> {
  const { rows } = await database.query(sql`select from retries where application_id = ${app}`);
  return rows.length;
}

test('a process that was only slow takes the repeat back that others have queued', async () => {
  const app = await createApp();
  const held = Promise.withResolvers<void>();
  const provider = scripted(async (message) => {
    await held.promise;
    return accepted(message);
  });
  const pipeline = await createPipeline(provider);
  await pipeline.sendDirect(direct(app));
  await forget(pipeline.workerId);
  expect(await recoverDeadWorkers(database)).toBe(1);
  expect(await statusOf(app)).toEqual(['in_doubt']);
  expect(await waiting(app)).toBe(1);
  held.resolve();
  await waitFor('the outcome', async () => (await statusOf(app))[0] === 'sent');
  expect(await waiting(app)).toBe(0);
});

test('what a provider has reported about was accepted, and is not sent again', async () => {
  const app = await createApp();
  const pipeline = await createPipeline(scripted(() => new Promise(() => undefined)));
  const [result] = await pipeline.sendDirect(direct(app));
  const receipt = {
    messageId: result!.messageId,
    applicationId: app,
    at: Date.now(),
    code: 250,
    response: 'ok',
  };
  await receiveReceipts(database, [{ ...receipt, kind: 'delivered' }]);
  await forget(pipeline.workerId);
  expect(await recoverDeadWorkers(database)).toBe(0);
  expect(await waiting(app)).toBe(0);
  expect(await statusOf(app)).toEqual(['delivered']);
});

test('a window that is committed when its sender has given up is sent as in doubt', async () => {
  const app = await createApp();
  let away = true;
  const provider = scripted(accepted);
  const broken = faulty(database, () => (away ? 'answer_lost' : 'none'));
  const unreachable = {
    ...broken,
    connect: () => (away ? Promise.reject(new Error('Connection terminated')) : database.connect()),
  };
  const pipeline = await createPipeline({ ...provider, database: unreachable, answerLimitMs: 1_000 });
  const refused = pipeline.sendDirect(direct(app)).catch((error: Error) => error);
  expect(await refused).toMatchObject({ code: 'unavailable' });
  expect(await statusOf(app)).toEqual(['sending']);
  away = false;
  await waitFor('the doubt', async () => (await statusOf(app))[0] === 'in_doubt');
  expect(await waiting(app)).toBe(1);
  (await createPipeline(scripted(accepted))).startWorker();
  await waitFor('the repeat', async () => (await statusOf(app))[0] === 'sent');
});

test('a message that may have arrived ends in doubt when its time is over, not as never sent', async () => {
  const app = await createApp();
  const pipeline = await createPipeline({
    ...scripted((message) => ({ ...deferred(message), outcome: 'unknown', code: 0 })),
    retryFirstDelayMs: 1_000,
  });
  await pipeline.sendDirect({ ...direct(app, 2_000), timeToLiveMs: 2_000 });
  expect(await waiting(app)).toBe(1);
  await database.query(
    sql`update retries set expires_at = now(), due_at = now() where application_id = ${app}`,
  );
  const worker = await createPipeline(scripted(accepted));
  worker.startWorker();
  await waitFor('the end', async () => (await waiting(app)) === 0);
  expect(await statusOf(app)).toEqual(['in_doubt']);
});

test('in-doubt messages are sent again once by hand, also of a stopped run, and none of a direct message', async () => {
  const app = await createApp(people(4));
  const lost = scripted((message) => ({ ...deferred(message), outcome: 'unknown', code: 0 }));
  const pipeline = await createPipeline(lost);
  pipeline.startWorker();
  const id = await dispatchTo(app, { messagesPerSecond: 3 });
  await waitFor('a doubt', async () => (await accountFor(database, app, [id])).statuses.in_doubt === 3);
  await setDispatchState(database, app, id, 'stopped');
  await finished(id);
  await pipeline.drain(1_000);
  const { items } = await searchMessages(database, app, { status: 'in_doubt' }, { limit: 10 });
  const ids = items.map((message) => message.id);
  const provider = scripted(accepted);
  const worker = await createPipeline(provider);
  const taken = await Promise.all(
    Array.from({ length: 4 }, () => resendInDoubt(database, worker.composing, app, ids)),
  );
  expect(taken.flat().toSorted()).toEqual(ids.toSorted());
  worker.startWorker();
  await waitFor('the repeats', async () => (await accountFor(database, app, [id])).statuses.sent === 3);
  expect(provider.seen.map((message) => message.id).toSorted()).toEqual(ids.toSorted());
  expect(await resendInDoubt(database, worker.composing, app, ids)).toEqual([]);
  await worker.drain(1_000);

  // A direct message to an endpoint, whose last attempt is in doubt.
  const messageId = uuidv7();
  await database.query(sql`
    insert into dispatches (id, application_id, kind, class, lane, state, plan, expires_at, finished_at)
    values (${messageId}, ${app}, 'direct', 'transactional', 'transactional', 'done', '{}', now(), now())`);
  await database.query(sql`
    insert into messages (day, id, application_id, dispatch_id, channel, address, endpoint_id, decision)
    values (current_date, ${messageId}, ${app}, ${messageId}, 'EMAIL', 'a@example.com', 'p1', 'sending')`);
  await database.query(sql`
    insert into events (day, batch_id, seq, occurred_at, application_id, type, message_id, dispatch_id, payload)
    values (current_date, ${messageId}, 0, now(), ${app}, 'message.in_doubt', ${messageId}, ${messageId}, '{"attempt": 5}')`);
  expect(await resendInDoubt(database, worker.composing, app, [messageId])).toEqual([]);
  expect(emailPlan.treatments).toHaveLength(1);
});
