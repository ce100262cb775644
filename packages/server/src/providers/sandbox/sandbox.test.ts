import { describe, expect, test } from 'vitest';
import type {
  DeliveryChannel,
  OutgoingMessage,
  Provider,
  ProviderAccount,
} from '../../messaging/provider.ts';
import { uuidv7 } from '../../platform/ids.ts';
import { type ContractContext, contractContext, describeProviderContract } from '../contract.test-suite.ts';
import { sandbox } from './index.ts';

const account: ProviderAccount = {
  id: 'sandbox-email',
  applicationId: null,
  channel: 'EMAIL',
  provider: 'sandbox',
  name: 'Sandbox',
  settings: {},
  secrets: {},
  messagesPerSecond: null,
  dailyLimit: null,
};
const never = new AbortController().signal;

function email(address: string, attempt = 1): OutgoingMessage {
  const content = { kind: 'email', from: 'shop@example.com', subject: 'Hi', text: 'Hi' } as const;
  return { id: uuidv7(), applicationId: 'app', channel: 'EMAIL', address, attempt, content };
}

function sms(address: string, attempt = 1): OutgoingMessage {
  const content = { kind: 'sms', body: 'Hi', messageType: 'TRANSACTIONAL' } as const;
  return { id: uuidv7(), applicationId: 'app', channel: 'SMS', address, attempt, content };
}

const inboxes: ContractContext[] = [];
/** The sandbox's counterpart is the inbox of its context. */
const watched: Provider = {
  ...sandbox,
  open(opened, context, options) {
    inboxes.push(context as ContractContext);
    return sandbox.open(opened, context, options);
  },
};

describeProviderContract({
  provider: watched,
  start: async () => ({ channel: 'EMAIL', settings: {}, secrets: {} }),
  stop: async () => undefined,
  message: (address) => ({ channel: 'EMAIL', address, content: email(address).content }),
  addresses: {
    accept: 'someone@example.org',
    defer: 'defer@example.org',
    reject: 'reject@example.org',
    unknown: 'unknown@example.org',
    slow: 'delay@example.org',
  },
  taken: () => inboxes.flatMap(({ inbox }) => inbox.map(({ id }) => id)),
});

/** Sends one message and lets the receipts come. */
async function send(message: OutgoingMessage, settings: Record<string, unknown> = {}) {
  const context = contractContext();
  const session = sandbox.open({ ...account, settings }, context, { maxConnections: 1 });
  const [result] = await session.send([message], never);
  await session.close();
  return { result: result!, inbox: context.inbox.length, receipts: context.receipts };
}

describe('magic addresses', () => {
  test.each<[string, object, string[], number]>([
    ['someone@example.org', { outcome: 'accepted', code: 250 }, ['delivered'], 1],
    ['success@simulator.amazonses.com', { outcome: 'accepted' }, ['delivered'], 1],
    ['bouncer@example.org', { outcome: 'accepted' }, ['delivered'], 1],
    ['my.bounce@example.org', { outcome: 'accepted' }, ['delivered'], 1],
    ['bounce@example.org', { outcome: 'accepted' }, ['bounced hard'], 0],
    ['Bounce+42@example.org', { outcome: 'accepted' }, ['bounced hard'], 0],
    ['bounce@simulator.amazonses.com', { outcome: 'accepted' }, ['bounced hard'], 0],
    ['suppressionlist@simulator.amazonses.com', { outcome: 'accepted' }, ['bounced hard'], 0],
    ['softbounce+1@example.org', { outcome: 'accepted' }, ['bounced soft'], 0],
    ['complaint@simulator.amazonses.com', { outcome: 'accepted' }, ['delivered', 'complained'], 1],
    ['reject@example.org', { outcome: 'rejected', code: 550, bounce: 'hard' }, [], 0],
    ['block@example.org', { outcome: 'rejected', code: 554, bounce: 'block' }, [], 0],
    ['defer@example.org', { outcome: 'deferred', code: 451 }, [], 0],
    ['down@example.org', { outcome: 'deferred', code: 421, accountUnusable: true }, [], 0],
    ['unknown@example.org', { outcome: 'unknown', code: 0 }, [], 1],
    ['delay@example.org', { outcome: 'accepted' }, ['delivered'], 1],
  ])('%s', async (address, verdict, receipts, stored) => {
    const sent = email(address);
    const { result, inbox, receipts: reported } = await send(sent);
    expect(result).toMatchObject({ id: sent.id, ...verdict });
    const words = reported.map((receipt) =>
      'bounce' in receipt && receipt.bounce ? `${receipt.kind} ${receipt.bounce}` : receipt.kind,
    );
    expect(words).toEqual(receipts);
    for (const receipt of reported)
      expect(receipt).toMatchObject({ messageId: sent.id, applicationId: 'app' });
    expect(inbox).toBe(stored);
  });

  test('a retry address refuses two attempts and takes the third', async () => {
    const outcomes = [];
    for (const attempt of [1, 2, 3])
      outcomes.push((await send(email('retry+x@example.org', attempt))).result);
    expect(outcomes.map(({ outcome, code }) => [outcome, code])).toEqual([
      ['deferred', 451],
      ['deferred', 451],
      ['accepted', 250],
    ]);
  });

  test.each<[string, object, string[]]>([
    ['+12065550100', { outcome: 'accepted' }, ['delivered']],
    ['+1 (206) 555-0150', { outcome: 'accepted' }, ['bounced']],
    ['+12065550151', { outcome: 'rejected', bounce: 'hard' }, []],
    ['+12065550152', { outcome: 'accepted' }, ['bounced']],
    ['+12065550153', { outcome: 'rejected', bounce: 'block' }, []],
    ['+12065550155', { outcome: 'deferred' }, []],
    ['+12065550156', { outcome: 'deferred' }, []],
    ['+12065550157', { outcome: 'unknown' }, []],
    ['+12065550158', { outcome: 'deferred', accountUnusable: true }, []],
    ['+12065550159', { outcome: 'accepted' }, ['delivered', 'complained']],
    ['+12065550160', { outcome: 'accepted' }, ['delivered']],
    ['+491725550150', { outcome: 'accepted' }, ['delivered']],
  ])('%s', async (number, verdict, receipts) => {
    const { result, receipts: reported } = await send(sms(number));
    expect(result).toMatchObject(verdict);
    expect(reported.map(({ kind }) => kind)).toEqual(receipts);
  });

  test('other channels go by the word itself', async () => {
    const push = (address: string): OutgoingMessage => ({
      ...email(address),
      channel: 'PUSH' satisfies DeliveryChannel,
      content: { kind: 'push', body: 'Hi' },
    });
    expect((await send(push('a-device-token'))).result.outcome).toBe('accepted');
    expect((await send(push('reject+1'))).result.outcome).toBe('rejected');
  });
});

test('without delivery receipts only bounces and complaints are reported', async () => {
  const settings = { deliveryReceipts: false };
  expect((await send(email('someone@example.org'), settings)).receipts).toEqual([]);
  expect((await send(email('bounce@example.org'), settings)).receipts).toHaveLength(1);
  expect((await send(email('complaint@example.org'), settings)).receipts).toHaveLength(1);
});

test('an inbox that does not work defers the messages for the next account', async () => {
  const context = contractContext();
  context.storeInInbox = () => Promise.reject(new Error('no database'));
  const session = sandbox.open(account, context, { maxConnections: 1 });
  const results = await session.send([email('a@example.org'), email('b@example.org')], never);
  expect(results).toEqual(
    results.map(({ id }) => expect.objectContaining({ id, outcome: 'deferred', accountUnusable: true })),
  );
  await session.close();
  expect(context.receipts).toEqual([]);
});

test('receipts that are not taken come again', async () => {
  const context = contractContext();
  let calls = 0;
  context.receive = async (receipts) => {
    calls += 1;
    if (calls < 3) throw new Error('busy');
    context.receipts.push(...receipts);
  };
  const session = sandbox.open(account, context, { maxConnections: 1 });
  const sent = email('someone@example.org');
  await session.send([sent], never);
  await expect
    .poll(() => context.receipts.map(({ messageId }) => messageId), { timeout: 20_000 })
    .toEqual([sent.id]);
  await session.close();
  expect(calls).toBe(3);
});
