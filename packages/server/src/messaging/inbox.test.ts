import { expect, test } from 'vitest';
import { testDatabase } from '../../../../tests/support/database.ts';
import { uuidv7 } from '../platform/ids.ts';
import { clearInbox, getInboxMessage, listInbox, storeInInbox, trimInbox } from './inbox.ts';
import type { MessageContent, OutgoingMessage } from './provider.ts';

const database = await testDatabase();

function message(
  applicationId: string,
  address: string,
  content: Partial<OutgoingMessage> = {},
): OutgoingMessage {
  return {
    id: uuidv7(),
    applicationId,
    channel: 'EMAIL',
    address,
    attempt: 1,
    content: {
      kind: 'email',
      from: 'Shop <shop@example.com>',
      subject: `Hello ${address}`,
      html: '<p>Hi</p>',
    },
    ...content,
  };
}

test('a stored message is listed and read with its whole content', async () => {
  const sms: MessageContent = {
    kind: 'sms',
    body: 'Your code is 1234',
    messageType: 'TRANSACTIONAL',
    senderId: 'Shop',
  };
  const stored = [
    message('one', 'a@example.org'),
    message('one', '+12065550100', { channel: 'SMS', content: sms }),
    message('one', 'token', {
      channel: 'PUSH',
      content: { kind: 'push', title: 'T', body: 'B', data: { __proto__x: 1 } },
    }),
  ];
  await storeInInbox(database, stored);
  const { messages, next } = await listInbox(database, { applicationId: 'one' });
  expect(next).toBeUndefined();
  expect(messages.map(({ messageId }) => messageId)).toEqual(stored.map(({ id }) => id).reverse());
  expect(messages.map(({ sender, subject }) => [sender, subject])).toEqual([
    [null, 'T'],
    ['Shop', 'Your code is 1234'],
    ['Shop <shop@example.com>', 'Hello a@example.org'],
  ]);
  expect(await getInboxMessage(database, messages[1]!.id)).toEqual({ ...messages[1], content: sms });
  expect(messages[0]!.receivedAt.getTime()).toBeGreaterThan(Date.now() - 60_000);
});

test('what PostgreSQL cannot store is replaced, and texts about escapes stay as they are', async () => {
  const content: MessageContent = {
    kind: 'email',
    from: 'a@example.com',
    subject: 'nul \0 and half \ud800.',
    text: 'a literal \\u0000 and \\ud800, a pair 😀',
  };
  await storeInInbox(database, [message('odd', 'odd\0@example.org', { content })]);
  const { messages } = await listInbox(database, { applicationId: 'odd' });
  const read = await getInboxMessage(database, messages[0]!.id);
  expect(read).toMatchObject({
    address: 'odd\ufffd@example.org',
    subject: 'nul \ufffd and half \ufffd.',
    content: { subject: 'nul \ufffd and half \ufffd.', text: 'a literal \\u0000 and \\ud800, a pair 😀' },
  });
});

test('a raw mail is listed by its own subject', async () => {
  const rawBase64 = Buffer.from('From: a@b.c\r\nSubject: Hello\r\n world\r\n\r\nSubject: no').toString(
    'base64',
  );
  const content: MessageContent = { kind: 'email', from: 'a@b.c', subject: '', rawBase64 };
  await storeInInbox(database, [message('raw', 'a@example.org', { content })]);
  expect((await listInbox(database, { applicationId: 'raw' })).messages[0]!.subject).toBe('Hello world');
});

test('pages follow each other without gap or repeat, within the filter', async () => {
  const stored = Array.from({ length: 25 }, (_, i) =>
    message('pages', i % 2 ? 'odd@example.org' : 'even@example.org'),
  );
  await storeInInbox(database, stored);
  await storeInInbox(database, [message('other', 'odd@example.org')]);
  const seen: string[] = [];
  let before: string | undefined;
  do {
    const page = await listInbox(database, {
      applicationId: 'pages',
      address: 'odd@example.org',
      before,
      limit: 5,
    });
    expect(page.messages.length).toBeLessThanOrEqual(5);
    seen.push(...page.messages.map(({ messageId }) => messageId));
    before = page.next;
  } while (before !== undefined);
  expect(seen).toEqual(
    stored
      .filter((_, i) => i % 2)
      .map(({ id }) => id)
      .reverse(),
  );
  expect((await listInbox(database, { applicationId: 'pages', channel: 'SMS' })).messages).toEqual([]);
  expect((await listInbox(database, { before: 'nonsense' })).messages).toEqual([]);
  expect(await getInboxMessage(database, 'nonsense')).toBeUndefined();
  expect(await getInboxMessage(database, uuidv7())).toBeUndefined();
});

test('trimming leaves the newest of each application, clearing leaves nothing of one', async () => {
  await clearInbox(database, undefined);
  expect((await listInbox(database, {})).messages).toEqual([]);
  const ofA = Array.from({ length: 12 }, () => message('a', 'x@example.org'));
  const ofB = Array.from({ length: 3 }, () => message('b', 'x@example.org'));
  await storeInInbox(database, [...ofA, ...ofB]);
  expect(await trimInbox(database, { keep: 5 })).toBe(7);
  const left = await listInbox(database, { applicationId: 'a' });
  expect(left.messages.map(({ messageId }) => messageId)).toEqual(
    ofA
      .slice(-5)
      .map(({ id }) => id)
      .reverse(),
  );
  expect(await trimInbox(database, { keep: 5 })).toBe(0);
  expect(await clearInbox(database, 'a')).toBe(5);
  expect((await listInbox(database, {})).messages).toHaveLength(3);
});

test('trimming by age deletes what is older than the days, and nothing else', async () => {
  await clearInbox(database, undefined);
  await storeInInbox(database, [message('a', 'x@example.org'), message('b', 'x@example.org')]);
  const in3Days = { now: () => Date.now() + 3 * 86_400_000 };
  expect(await trimInbox(database, { days: 0 }, in3Days)).toBe(0);
  expect(await trimInbox(database, { days: 4 }, in3Days)).toBe(0);
  expect(await trimInbox(database, { days: 2 }, in3Days)).toBe(2);
  expect((await listInbox(database, {})).messages).toEqual([]);
});
