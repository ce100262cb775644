import { expect, test } from 'vitest';
import { acceptedMessageId, bounceClass, parseReply, retryAfterMs } from './reply.ts';

test('a reply is taken apart', () => {
  expect(parseReply('250 2.1.0 Ok')).toEqual({ code: 250, enhanced: '2.1.0', text: '250 2.1.0 Ok' });
  expect(
    parseReply('550-5.1.1 The email account\r\n550-5.1.1 does not exist.\r\n550 5.1.1 Try again'),
  ).toEqual({
    code: 550,
    enhanced: '5.1.1',
    text: '550 5.1.1 The email account does not exist. Try again',
  });
  expect(parseReply('421')).toEqual({ code: 421, enhanced: undefined, text: '421' });
  expect(parseReply('hello')).toEqual({ code: 0, enhanced: undefined, text: 'hello' });
  expect(parseReply('999 no')).toMatchObject({ code: 0 });
  expect(parseReply('5501 no')).toMatchObject({ code: 0 });
  expect(parseReply('550 5.1.1234 no')).toMatchObject({ code: 550, enhanced: undefined });
  expect(parseReply('550 a\u0000b\ud800c\td').text).toBe('550 a b\ufffdc d');
  expect(parseReply(`550 ${'😀'.repeat(1000)}`).text.length).toBeLessThanOrEqual(500);
  expect(parseReply(`550 ${'😀'.repeat(1000)}`).text.isWellFormed()).toBe(true);
});

// The words of public servers, and what they mean for the address.
test.each<[string, 'hard' | 'soft' | 'block' | 'other']>([
  ['550-5.1.1 The email account that you tried to reach does not exist. gsmtp', 'hard'],
  ['550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup', 'hard'],
  ['550 5.2.1 The email account that you tried to reach is inactive', 'hard'],
  ["554 delivery error: dd This user doesn't have a yahoo.com account", 'hard'],
  ['550 5.4.1 Recipient address rejected: Access denied. AS(201806281)', 'hard'],
  ['550 5.4.1 All recipient addresses rejected : mailbox unknown', 'hard'],
  ['550 Requested action not taken: mailbox unavailable', 'hard'],
  ['550 No such user here', 'hard'],
  ['550 <x@y.z>: Recipient address rejected: User unknown in local recipient table', 'hard'],
  ['556 5.1.10 Recipient address has null MX', 'hard'],
  ['556 the domain takes no mail', 'hard'],
  ['552 5.2.2 The email account that you tried to reach is over quota', 'soft'],
  ['552 message too large', 'soft'],
  ['550 mailbox is full', 'soft'],
  ['554 5.4.7 delivery expired', 'soft'],
  ['550 5.1.1 <x@y.z>: your IP is blocked', 'block'],
  ['550-5.7.26 This mail has been blocked because the sender is unauthenticated.', 'block'],
  ['550 5.7.1 Service unavailable; Client host [1.2.3.4] blocked using Spamhaus', 'block'],
  ['550 5.7.515 Access denied, sending domain does not meet the required authentication level', 'block'],
  ['550 5.7.18 recipient domain', 'block'],
  ['554 Message rejected under suspicion of SPAM', 'block'],
  ['554 5.7.1 rejected for policy reasons: user unknown', 'block'],
  ['554 no', 'other'],
  ['550 relaying denied', 'other'],
  ['553 5.1.8 sender address rejected: domain not found', 'other'],
  ['501 5.5.4 syntax', 'other'],
  ['554 5.6.0 content', 'other'],
  ['500 5.3.0 Error: command failed', 'other'],
])('%s', (text, expected) => {
  expect(bounceClass(parseReply(text))).toBe(expected);
});

test.each<[string, number | undefined]>([
  ['450 4.2.0 Greylisted, please try again in 5 minutes', 300_000],
  ['451 4.7.1 Greylisting in action, please come back later: try again in 300 seconds', 300_000],
  ['450 greylisted for 60 s', 60_000],
  ['451 Please retry after 2 hours', 7_200_000],
  ['421 4.7.0 wait 90', undefined],
  ['421 4.7.0 please wait for 90 seconds', 90_000],
  ['451 retry in 00:05:00', 300_000],
  ['451 try again in 900000 hours', 86_400_000],
  ['451 4.3.0 try again later', undefined],
  ['451 4.7.500 Server busy. Please try again later from [1.2.3.4]', undefined],
  ['450 4.2.1 received mail at a rate that prevents additional messages', undefined],
])('the wait that %j asks for', (text, expected) => {
  expect(retryAfterMs(text)).toBe(expected);
});

test.each<[string, string | undefined]>([
  ['250 2.0.0 Ok: queued as 4XyZ12', '4XyZ12'],
  ['250 OK id=1rABCD-00000F-0x', '1rABCD-00000F-0x'],
  [
    '250 2.6.0 <abc@x.prod.outlook.com> [InternalId=1, Hostname=y] Queued mail for delivery',
    'abc@x.prod.outlook.com',
  ],
  ['250 2.0.0 3BLK1abc012345 Message accepted for delivery', '3BLK1abc012345'],
  ['250 2.0.0 OK  1732178400 af79cd13be357-7b3d - gsmtp', 'af79cd13be357-7b3d'],
  ['250 Ok 0100018b5c3c0a4f-1a2b3c4d-000000', '0100018b5c3c0a4f-1a2b3c4d-000000'],
  ['250 2.0.0 Ok', undefined],
  ['250 OK: message queued', undefined],
])('the id in %j', (text, expected) => {
  expect(acceptedMessageId(text)).toBe(expected);
});

test('no reply makes the patterns run for ever', { timeout: 20_000 }, () => {
  for (const word of ['user ', 'try again ', 'queued ', '550-5.1.1 ', 'a-', '<', '-', 'greylist '])
    for (const reply of [`550 ${word.repeat(20_000)}`, `550 ${word.repeat(20_000)}!`]) {
      const parsed = parseReply(reply);
      expect(parsed.text.length).toBeLessThanOrEqual(500);
      bounceClass(parsed);
      retryAfterMs(parsed.text);
      acceptedMessageId(parsed.text);
    }
});
