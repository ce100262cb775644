import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import net, { type AddressInfo } from 'node:net';
import { join } from 'node:path';
import PostalMime from 'postal-mime';
import { afterEach, describe, expect, test } from 'vitest';
import type { AttemptResult, OutgoingMessage } from '../../messaging/provider.ts';
import { uuidv7 } from '../../platform/ids.ts';
import { contractContext } from '../contract.test-suite.ts';
import { smtp } from './index.ts';

const program = '/usr/sbin/smtp-sink';
const never = new AbortController().signal;
const stops: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** Debian's smtp-sink with its own options for faults. Resolves with its port once it listens. */
async function startSink(options: string[]): Promise<number> {
  const port = await freePort();
  const user = process.getuid?.() === 0 ? ['-u', 'nobody'] : [];
  const child = spawn(program, ['-4', ...user, ...options, `127.0.0.1:${port}`, '100'], { stdio: 'ignore' });
  const ended = once(child, 'exit');
  stops.push(async () => {
    child.kill();
    await ended;
  });
  await expect
    .poll(
      () =>
        new Promise((resolve) => {
          const socket = net.connect(port, '127.0.0.1', () => resolve(true));
          socket.once('error', () => resolve(false));
          socket.once('close', () => resolve(false));
          socket.once('connect', () => socket.destroy());
        }),
      { timeout: 10_000 },
    )
    .toBe(true);
  return port;
}

function mail(i = 0): OutgoingMessage {
  return {
    id: uuidv7(),
    applicationId: 'app',
    channel: 'EMAIL',
    address: `user${i}@example.org`,
    attempt: 1,
    content: {
      kind: 'email',
      from: 'Shop <shop@example.com>',
      subject: `Offer ${i} für dich`,
      html: `<p>.\n..\nFrom the shop, ü ${i}</p>\n`.repeat(50),
      text: `.\n..\nHello ${i}\n`,
    },
  };
}

async function send(port: number, messages: OutgoingMessage[], maxConnections = 1): Promise<AttemptResult[]> {
  const session = smtp.open(
    {
      id: 'account',
      applicationId: null,
      channel: 'EMAIL',
      provider: 'smtp',
      name: 'Sink',
      settings: { host: '127.0.0.1', port, tls: 'none', replyTimeoutMs: 3000, greetingTimeoutMs: 3000 },
      secrets: {},
      messagesPerSecond: null,
      dailyLimit: null,
    },
    contractContext(),
    { maxConnections },
  );
  const results = await session.send(messages, never);
  await session.close();
  return results;
}

describe.skipIf(!existsSync(program))('Debian smtp-sink (package postfix)', () => {
  test('gets every mail once, whole, over a few connections', async () => {
    const directory = await mkdtemp('/tmp/postrider-sink-');
    stops.push(() => rm(directory, { recursive: true, force: true }));
    await chmod(directory, 0o777);
    const port = await startSink(['-d', join(directory, 'mail.')]);
    const messages = Array.from({ length: 300 }, (_, i) => mail(i));
    const results = await send(port, messages, 5);
    expect(results.map(({ outcome }) => outcome)).toEqual(Array(300).fill('accepted'));
    const files = await readdir(directory);
    const parsed = await Promise.all(
      files.map(async (file) => PostalMime.parse(await readFile(join(directory, file)))),
    );
    const byId = new Map(
      parsed.map((one) => [one.headers.find(({ key }) => key === 'x-postrider-id')?.value, one]),
    );
    expect(parsed).toHaveLength(300);
    messages.forEach((message, i) => {
      const got = byId.get(message.id);
      expect(got?.subject).toBe(`Offer ${i} für dich`);
      expect(got?.to?.[0]?.address).toBe(`user${i}@example.org`);
      expect(got?.text?.trimEnd()).toBe(`.\n..\nHello ${i}`);
      expect(got?.html?.trimEnd()).toBe(`<p>.\n..\nFrom the shop, ü ${i}</p>\n`.repeat(50).trimEnd());
    });
  });

  test.each<[string, string[], Partial<AttemptResult>]>([
    ['soft at MAIL', ['-r', 'MAIL'], { outcome: 'deferred', code: 450 }],
    ['soft at RCPT', ['-r', 'RCPT'], { outcome: 'deferred', code: 450 }],
    ['soft at DATA', ['-r', 'DATA'], { outcome: 'deferred', code: 450 }],
    ['soft at the end', ['-r', '.'], { outcome: 'deferred', code: 450 }],
    ['hard at MAIL', ['-f', 'MAIL'], { outcome: 'rejected', code: 500, bounce: 'other' }],
    [
      'hard at RCPT',
      ['-f', 'RCPT', '-B', '550 5.1.1 unknown user'],
      { outcome: 'rejected', code: 550, bounce: 'hard' },
    ],
    ['hard at DATA', ['-f', 'DATA'], { outcome: 'rejected', code: 500 }],
    [
      'hard at the end',
      ['-f', '.', '-B', '554 5.7.1 spam'],
      { outcome: 'rejected', code: 554, bounce: 'block' },
    ],
    ['421 at RCPT', ['-Q', 'RCPT'], { outcome: 'deferred', code: 421 }],
    ['421 at connect', ['-Q', 'CONNECT'], { outcome: 'deferred', code: 421, accountUnusable: true }],
    ['hang up at connect', ['-q', 'CONNECT'], { outcome: 'deferred', code: 0, accountUnusable: true }],
    [
      'hang up at EHLO and HELO',
      ['-q', 'EHLO,HELO'],
      { outcome: 'deferred', code: 0, accountUnusable: true },
    ],
    ['hang up at MAIL', ['-q', 'MAIL'], { outcome: 'deferred', code: 0 }],
    ['hang up at DATA', ['-q', 'DATA'], { outcome: 'deferred', code: 0 }],
    ['hang up at the end', ['-q', '.'], { outcome: 'unknown', code: 0 }],
    ['no EHLO', ['-e'], { outcome: 'accepted', code: 250 }],
    ['no pipelining', ['-p'], { outcome: 'accepted', code: 250 }],
    ['no 8BITMIME', ['-8'], { outcome: 'accepted', code: 250 }],
    ['a PIX', ['-P'], { outcome: 'accepted', code: 250 }],
  ])('%s', async (_what, options, expected) => {
    const port = await startSink(options);
    const results = await send(port, [mail(1), mail(2)]);
    for (const result of results) expect(result).toMatchObject(expected);
  });

  test('a 550 in the middle of the content, followed by a hang up', async () => {
    const port = await startSink(['-A', '0']);
    // The hang up may overtake the reply; then it is not known whether there was one.
    for (const { outcome } of await send(port, [mail(1), mail(2)])) expect(outcome).not.toBe('accepted');
  });
});
