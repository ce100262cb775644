import sql from 'sql-template-tag';
import { expect, test } from 'vitest';
import { waitFor } from '../../../../tests/support/processes.ts';
import { putChannel } from '../accounts/index.ts';
import { addSuppressions } from '../audience/index.ts';
import { hexId, uuidv7 } from '../platform/ids.ts';
import { accountFor } from './accounting.sql.ts';
import { setDispatchState } from './dispatch.sql.ts';
import { listInbox } from './inbox.ts';
import { getMessage, searchMessages } from './message.sql.ts';
import { accountOf, emailPlan, person, pipelineTest } from './pipeline.test-support.ts';
import { resendInDoubt } from './resend.ts';

const { database, createPipeline, createApp, addEndpoints, dispatchTo, finished } = await pipelineTest();

test('everybody gets the message or a reason, and the accounting adds up', async () => {
  const app = await createApp();
  await addEndpoints(app, [
    ...Array.from({ length: 20 }, (_, index) => person(index)),
    person(20, { OptOut: 'ALL' }),
    person(21, { EndpointStatus: 'INACTIVE' }),
    person(22, { Address: 'stop@example.com' }),
    person(23, { Address: 'not an address' }),
    person(24, { ChannelType: 'SMS', Address: '+4915112345678' }),
    person(25, { Attributes: {} }),
    person(26, { Address: 'reject@example.com' }),
    person(27, { Address: 'bounce@example.com' }),
    person(28, { Address: 'retry@example.com' }),
  ]);
  await addSuppressions(database, app, [{ channel: 'EMAIL', address: 'STOP@example.com', reason: 'manual' }]);
  (await createPipeline()).startWorker();
  const id = await dispatchTo(app);
  await finished(id);
  await waitFor(
    'the receipts',
    async () => (await accountFor(database, app, [id])).statuses.sent === undefined,
  );
  expect(await accountFor(database, app, [id])).toEqual({
    audience: 29,
    pending: 0,
    statuses: {
      delivered: 21,
      bounced: 1,
      failed: 1,
      opted_out: 1,
      inactive: 1,
      suppressed: 1,
      address_invalid: 1,
      channel_mismatch: 1,
      missing_variable: 1,
    },
  });
  const { messages } = await listInbox(database, { applicationId: app, address: 'person.7@example.com' });
  expect(messages.map(({ subject, sender }) => ({ subject, sender }))).toEqual([
    { subject: 'Hi N7', sender: 'sender@example.com' },
  ]);
  const page = await searchMessages(database, app, { address: 'retry@example.com' }, { limit: 10 });
  const { timeline } = await getMessage(database, app, page.items[0]!.id);
  expect(timeline.map(({ event, attempt }) => `${event} ${attempt ?? ''}`.trim())).toEqual([
    'decided',
    'deferred 1',
    'deferred 2',
    'sent 3',
    'delivered',
  ]);
  const bounced = await searchMessages(database, app, { status: 'bounced' }, { limit: 10 });
  expect(bounced.items.map(({ address }) => address)).toEqual(['bounce@example.com']);
  // The hard bounce and the refusal for good suppress their addresses for the next dispatch.
  const next = await dispatchTo(app);
  await finished(next);
  expect((await accountFor(database, app, [next])).statuses.suppressed).toBe(3);
});

test('pausing, resuming and stopping repeats nobody', async () => {
  const app = await createApp();
  await addEndpoints(
    app,
    Array.from({ length: 900 }, (_, index) => person(index)),
  );
  (await createPipeline()).startWorker();
  const id = await dispatchTo(app, { messagesPerSecond: 200 });
  const sent = async () => (await listInbox(database, { applicationId: app, limit: 500 })).messages.length;
  await waitFor('the first messages', async () => (await sent()) > 0);
  await setDispatchState(database, app, id, 'paused');
  await new Promise((resolve) => setTimeout(resolve, 500));
  const held = await accountFor(database, app, [id]);
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  const stillHeld = await accountFor(database, app, [id]);
  expect(stillHeld.pending).toBe(held.pending);
  expect(held.pending).toBeGreaterThan(0);
  await setDispatchState(database, app, id, 'running');
  await waitFor('more messages', async () => (await accountFor(database, app, [id])).pending < held.pending);
  await setDispatchState(database, app, id, 'stopped');
  await finished(id);
  const { audience, pending, statuses } = await accountFor(database, app, [id]);
  expect({ audience, pending }).toEqual({ audience: 900, pending: 0 });
  expect(statuses.stopped).toBeGreaterThan(0);
  const { rows } = await database.query(sql`
    select count(*) as messages, count(distinct endpoint_id) as people from messages where dispatch_id = ${id}`);
  expect(rows[0]).toEqual({ messages: 900, people: 900 });
  await expect(setDispatchState(database, app, id, 'running')).rejects.toMatchObject({ code: 'conflict' });
});

test('dispatches that run at the same moment cannot exceed a daily cap together', async () => {
  const app = await createApp();
  await addEndpoints(
    app,
    Array.from({ length: 600 }, (_, index) => person(index)),
  );
  for (let worker = 0; worker < 2; worker++) (await createPipeline()).startWorker();
  const plan = { ...emailPlan, limits: { daily: 2 } };
  const ids = await Promise.all(Array.from({ length: 4 }, () => dispatchTo(app, { plan })));
  await Promise.all(ids.map(finished));
  const { statuses } = await accountFor(database, app, ids);
  expect(statuses.daily_cap).toBe(1_200);
  const { rows } = await database.query(sql`
    select max(count) as most, min(count) as fewest from (
      select count(*) from messages where application_id = ${app} and decision = 'sending' group by endpoint_id) c`);
  expect(rows[0]).toEqual({ most: 2, fewest: 2 });
});

test('a cap that counts what was sent takes a refused message back', async () => {
  const app = await createApp();
  const campaignId = hexId();
  await addEndpoints(app, [person(1, { Address: 'block@example.com' })]);
  const plan = { ...emailPlan, limits: { total: 1 } };
  const decisions = async (capsCount: 'targeted' | 'sent') => {
    const pipeline = await createPipeline({ capsCount });
    pipeline.startWorker();
    const ids: string[] = [];
    for (let run = 0; run < 2; run++) {
      ids.push(await dispatchTo(app, { plan, campaignId: `${campaignId}${capsCount}` }));
      await finished(ids.at(-1)!);
    }
    await pipeline.drain(5_000);
    return (await accountFor(database, app, ids)).statuses;
  };
  expect(await decisions('targeted')).toEqual({ failed: 1, campaign_cap: 1 });
  expect(await decisions('sent')).toEqual({ failed: 2 });
});

test('what a dead worker left is listed in doubt, or sent again when it is transactional', async () => {
  const app = await createApp();
  await addEndpoints(
    app,
    Array.from({ length: 4 }, (_, index) => person(index)),
  );
  const dead = uuidv7();
  const leave = async (dispatchClass: 'promotional' | 'transactional') => {
    const id = await dispatchTo(app, { class: dispatchClass });
    const ids = Array.from({ length: 4 }, () => uuidv7());
    await database.transaction(async (tx) => {
      await tx.query(sql`delete from dispatch_chunks where dispatch_id = ${id}`);
      for (const [index, messageId] of ids.entries()) {
        await tx.query(sql`
          insert into messages (day, id, application_id, dispatch_id, channel, address, endpoint_id, treatment_id, decision)
          values (current_date, ${messageId}, ${app}, ${id}, 'EMAIL', ${`person.${index}@example.com`}, ${`p${index}`}, '0', 'sending')`);
      }
      const message = (messageId: string, index: number) => ({
        id: messageId,
        applicationId: app,
        channel: 'EMAIL',
        address: `person.${index}@example.com`,
        content: { kind: 'email', from: 'a@example.com', subject: 'again', text: 'x' },
      });
      const messages = ids.map((messageId, index) => ({
        id: messageId,
        attempt: 1,
        endpointId: `p${index}`,
        treatmentId: '0',
        message: dispatchClass === 'transactional' ? message(messageId, index) : undefined,
      }));
      await tx.query(sql`
        insert into send_windows (id, worker_id, application_id, dispatch_id, class, lane, expires_at, messages)
        values (${uuidv7()}, ${dead}, ${app}, ${id}, ${dispatchClass}, 'bulk', now() + interval '1 hour', ${JSON.stringify(messages)})`);
    });
    return { id, ids };
  };
  const promotional = await leave('promotional');
  const transactional = await leave('transactional');
  const pipeline = await createPipeline();
  pipeline.startWorker();
  await finished(promotional.id);
  await finished(transactional.id);
  expect((await accountFor(database, app, [promotional.id])).statuses).toEqual({ in_doubt: 4 });
  await waitFor(
    'the receipts',
    async () => (await accountFor(database, app, [transactional.id])).statuses.delivered === 4,
  );
  const again = await resendInDoubt(database, pipeline.composing, app, promotional.ids.slice(0, 2));
  expect(again.toSorted()).toEqual(promotional.ids.slice(0, 2).toSorted());
  await waitFor(
    'the two to be delivered',
    async () => (await accountFor(database, app, [promotional.id])).statuses.delivered === 2,
  );
  expect((await accountFor(database, app, [promotional.id])).statuses).toEqual({ in_doubt: 2, delivered: 2 });
  expect(await resendInDoubt(database, pipeline.composing, app, promotional.ids.slice(0, 2))).toEqual([]);
});

test('direct messages answer with the verdict of each recipient', async () => {
  const app = await createApp();
  await addEndpoints(app, [person(1), person(2, { OptOut: 'ALL' })]);
  const pipeline = await createPipeline();
  const results = await pipeline.sendDirect({
    applicationId: app,
    recipients: [
      {
        channel: 'EMAIL',
        address: 'you@example.com',
        overrides: { substitutions: { 'Attributes.Name': ['You'] } },
      },
      { endpointId: 'p1' },
      { endpointId: 'p2' },
      { endpointId: 'nobody' },
      { channel: 'EMAIL', address: 'YOU@example.com' },
      {
        channel: 'EMAIL',
        address: 'reject@example.com',
        overrides: { body: 'no variables', title: 'plain' },
      },
      { channel: 'EMAIL', address: 'defer@example.com', overrides: { body: 'no variables', title: 'plain' } },
      { channel: 'SMS', address: '+4915112345678' },
    ],
    content: emailPlan.treatments[0]!.content,
    waitMs: 10_000,
  });
  expect(results.map(({ decision, outcome }) => outcome ?? decision)).toEqual([
    'message.sent',
    'message.sent',
    'opted_out',
    'endpoint_missing',
    'duplicate_address',
    'message.failed',
    'message.deferred',
    'channel_mismatch',
  ]);
  const { messages } = await listInbox(database, { applicationId: app });
  expect(messages.map(({ address, subject }) => `${address} ${subject}`).toSorted()).toEqual([
    'person.1@example.com Hi N1',
    'you@example.com Hi You',
  ]);
});

test('the next account is asked when one cannot be used at all', async () => {
  const app = await createApp();
  await putChannel(database, app, 'EMAIL', { enabled: true, settings: {}, modifiedBy: 'test' });
  const route = [
    accountOf('broken', 'smtp', { host: '127.0.0.1', port: 1, tls: 'none' }),
    accountOf('works', 'sandbox'),
  ];
  const pipeline = await createPipeline({ routeFor: async () => route });
  const [result] = await pipeline.sendDirect({
    applicationId: app,
    recipients: [{ channel: 'EMAIL', address: 'someone@example.com' }],
    content: { EMAIL: { inline: { subject: 's', text: 't' } } },
    waitMs: 20_000,
  });
  expect(result).toMatchObject({ outcome: 'message.sent', result: { accountId: 'works' } });
});
