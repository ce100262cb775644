import { afterEach, describe, expect, test } from 'vitest';
import type {
  AttemptResult,
  EmailContent,
  OutgoingMessage,
  ProviderAccount,
} from '../../messaging/provider.ts';
import { uuidv7 } from '../../platform/ids.ts';
import { contractContext, describeProviderContract } from '../contract.test-suite.ts';
import { smtp } from './index.ts';
import { type Script, type ScriptedServer, startScriptedServer } from './scripted-server.test-support.ts';

const never = new AbortController().signal;
const content: EmailContent = {
  kind: 'email',
  from: 'Shop <shop@example.com>',
  subject: 'Hi',
  text: 'Hello\n',
};

function mail(address = 'someone@example.org', over: Partial<EmailContent> = {}): OutgoingMessage {
  return {
    id: uuidv7(),
    applicationId: 'app',
    channel: 'EMAIL',
    address,
    attempt: 1,
    content: { ...content, ...over },
  };
}

function accountOf(settings: Record<string, unknown>): ProviderAccount {
  return {
    id: 'account',
    applicationId: null,
    channel: 'EMAIL',
    provider: 'smtp',
    name: 'Test',
    settings: { host: '127.0.0.1', tls: 'none', replyTimeoutMs: 500, greetingTimeoutMs: 500, ...settings },
    secrets: {},
    messagesPerSecond: null,
    dailyLimit: null,
  };
}

const servers: ScriptedServer[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.stop()));
});

async function serve(script: Script, options?: { extensions?: string[] }): Promise<ScriptedServer> {
  const server = await startScriptedServer(script, options);
  servers.push(server);
  return server;
}

function openTo(server: ScriptedServer, settings: Record<string, unknown> = {}, maxConnections = 1) {
  return smtp.open(accountOf({ port: server.port, ...settings }), contractContext(), { maxConnections });
}

/** One attempt against a server with this script, on a session of its own. */
async function attempt(
  script: Script,
  {
    message = mail(),
    settings = {},
    extensions,
  }: { message?: OutgoingMessage; settings?: object; extensions?: string[] } = {},
): Promise<{ result: AttemptResult; server: ScriptedServer }> {
  const server = await serve(script, { extensions });
  const session = openTo(server, { ...settings });
  const [result] = await session.send([message], never);
  await session.close();
  return { result: result!, server };
}

/** The contract's counterpart goes by the recipient's local part. */
const byAddress: Script = (event, argument) => {
  if (event === 'RCPT' && argument.startsWith('defer@')) return '451 4.7.1 try again';
  if (event === 'RCPT' && argument.startsWith('reject@')) return '550 5.1.1 no such user';
  if (event === 'content' && argument.startsWith('unknown@')) return { do: 'close' };
  if (event === 'RCPT' && argument.startsWith('slow@')) return { do: 'wait', ms: 150 };
  return undefined;
};

let contractServer: ScriptedServer | undefined;
describeProviderContract({
  provider: smtp,
  async start() {
    contractServer = await startScriptedServer(byAddress);
    return {
      channel: 'EMAIL',
      settings: accountOf({ port: contractServer.port, replyTimeoutMs: 5000 }).settings,
      secrets: {},
    };
  },
  stop: async () => contractServer?.stop(),
  message: (address) => ({ channel: 'EMAIL', address, content }),
  addresses: {
    accept: 'someone@example.org',
    defer: 'defer@example.org',
    reject: 'reject@example.org',
    unknown: 'unknown@example.org',
    slow: 'slow@example.org',
  },
  taken: () => contractServer!.mails.map(({ raw }) => /^X-Postrider-Id: (\S+)/m.exec(raw.toString())![1]!),
  connections: {
    open: () => contractServer!.open(),
    most: () => contractServer!.mostAtOnce,
    reset() {
      contractServer!.mostAtOnce = 0;
    },
  },
  broken: { settings: { port: 1 }, words: /127\.0\.0\.1:1.*ECONNREFUSED/ },
});

const refuse =
  (at: string, reply: string): Script =>
  (event) =>
    event === at ? reply : undefined;

describe.each([
  ['with pipelining', ['PIPELINING']],
  ['without pipelining', ['SIZE 10000000']],
])('%s', (_how, extensions) => {
  test.each<[string, string, Partial<AttemptResult>]>([
    ['MAIL', '451 4.3.0 not now', { outcome: 'deferred', code: 451 }],
    ['MAIL', '421 4.7.0 too many messages', { outcome: 'deferred', code: 421, accountUnusable: true }],
    ['MAIL', '530 5.7.0 Authentication required', { outcome: 'deferred', code: 530, accountUnusable: true }],
    ['MAIL', '550 5.1.8 sender not known', { outcome: 'rejected', code: 550, bounce: 'other' }],
    [
      'RCPT',
      '450 4.2.0 Greylisted, please try again in 5 minutes',
      { outcome: 'deferred', code: 450, retryAfterMs: 300_000 },
    ],
    ['RCPT', '421 4.3.2 closing', { outcome: 'deferred', code: 421 }],
    ['RCPT', '550 5.1.1 no such user', { outcome: 'rejected', code: 550, bounce: 'hard' }],
    ['RCPT', '550 5.7.1 blocked', { outcome: 'rejected', code: 550, bounce: 'block' }],
    ['DATA', '451 4.3.0 not now', { outcome: 'deferred', code: 451 }],
    ['DATA', '554 5.5.0 no', { outcome: 'rejected', code: 554, bounce: 'other' }],
    ['content', '451 4.3.0 not now', { outcome: 'deferred', code: 451 }],
    ['content', '421 4.3.0 closing', { outcome: 'deferred', code: 421 }],
    ['content', '554 5.7.1 spam', { outcome: 'rejected', code: 554, bounce: 'block' }],
    ['content', '552 5.3.4 too big', { outcome: 'rejected', code: 552, bounce: 'soft' }],
  ])('%s refused with %s', async (at, reply, expected) => {
    const { result, server } = await attempt(refuse(at, reply), { extensions });
    expect(result).toMatchObject({ response: reply, ...expected });
    expect(result.accountUnusable ?? false).toBe(expected.accountUnusable ?? false);
    expect(server.mails).toEqual([]);
  });

  test('after each refusal the connection is reset and used again', async () => {
    const server = await serve(byAddress, { extensions });
    const session = openTo(server, { replyTimeoutMs: 5000 });
    const addresses = ['a@x.org', 'reject@x.org', 'b@x.org', 'defer@x.org', 'c@x.org'];
    const results = await session.send(
      addresses.map((address) => mail(address)),
      never,
    );
    expect(results.map(({ outcome }) => outcome)).toEqual([
      'accepted',
      'rejected',
      'accepted',
      'deferred',
      'accepted',
    ]);
    expect(server.connections).toBe(1);
    expect(server.lines.filter(({ line }) => line === 'RSET')).toHaveLength(2);
    expect(server.mails.map(({ to }) => to)).toEqual([['a@x.org'], ['b@x.org'], ['c@x.org']]);
    await session.close();
  });

  test.each<[string, AttemptResult['outcome']]>([
    ['MAIL', 'deferred'],
    ['RCPT', 'deferred'],
    ['DATA', 'deferred'],
    ['content', 'unknown'],
  ])('the connection breaks instead of the reply to %s', async (at, outcome) => {
    const { result } = await attempt((event) => (event === at ? { do: 'close' } : undefined), { extensions });
    expect(result).toMatchObject({ outcome, code: 0 });
    expect(result.accountUnusable).toBeUndefined();
  });

  test.each<[string, AttemptResult['outcome']]>([
    ['MAIL', 'deferred'],
    ['RCPT', 'deferred'],
    ['DATA', 'deferred'],
    ['content', 'unknown'],
  ])('the server hangs instead of replying to %s', async (at, outcome) => {
    const { result } = await attempt((event) => (event === at ? { do: 'hang' } : undefined), { extensions });
    expect(result).toMatchObject({ outcome, code: 0 });
  });

  test.each<[string, AttemptResult['outcome']]>([
    ['MAIL', 'deferred'],
    ['DATA', 'deferred'],
    ['content', 'unknown'],
  ])('the reply to %s comes byte by byte and never ends', async (at, outcome) => {
    const script: Script = (event) => (event === at ? { do: 'trickle', text: '250-so ' } : undefined);
    const { result } = await attempt(script, { extensions });
    expect(result).toMatchObject({ outcome, code: 0 });
  });

  test.each<[string, string, AttemptResult['outcome']]>([
    ['MAIL', 'hello there', 'deferred'],
    ['RCPT', '\u0000\u0001\u0002', 'deferred'],
    ['DATA', 'HTTP/1.1 400 Bad Request', 'deferred'],
    ['content', 'hello there', 'unknown'],
    ['content', '2', 'unknown'],
    ['content', '354 go on', 'unknown'],
    ['content', '999 what', 'unknown'],
  ])('garbage instead of the reply to %s: %j', async (at, reply, outcome) => {
    const { result } = await attempt(refuse(at, reply), { extensions });
    expect(result).toMatchObject({ outcome, code: 0 });
    expect(result.response).toMatch(/^[\x20-\x7e]+$/);
  });
});

describe('before the first message', () => {
  test.each<[string, Script, RegExp, number]>([
    [
      'refuses by its greeting',
      refuse('connect', '554 5.7.1 no service for you'),
      /^554 5\.7\.1 no service for you$/,
      554,
    ],
    ['is too busy', refuse('connect', '421 4.3.2 try again in 60 seconds'), /^421 4\.3\.2 try again/, 421],
    ['closes at once', (event) => (event === 'connect' ? { do: 'close' } : undefined), /closed/i, 0],
    [
      'says nothing',
      (event) => (event === 'connect' ? { do: 'hang' } : undefined),
      /Greeting never received|Timeout/,
      0,
    ],
    ['speaks HTTP', refuse('connect', 'HTTP/1.1 400 Bad Request'), /HTTP\/1\.1 400 Bad Request/, 0],
    ['trickles', (event) => (event === 'connect' ? { do: 'trickle', text: '220-' } : undefined), /./, 0],
    ['hangs at EHLO', (event) => (event === 'EHLO' ? { do: 'hang' } : undefined), /./, 0],
    ['closes at EHLO', (event) => (event === 'EHLO' ? { do: 'close' } : undefined), /closed/i, 0],
    [
      'refuses EHLO and HELO',
      (event) => (/^(EHLO|HELO)$/.test(event) ? '550 5.5.1 no' : undefined),
      /^550 5\.5\.1 no$/,
      550,
    ],
  ])('a server that %s makes the account unusable', async (_what, script, words, code) => {
    const { result, server } = await attempt(script);
    expect(result).toMatchObject({ outcome: 'deferred', accountUnusable: true, code });
    expect(result.response).toMatch(words);
    if (code === 421) expect(result.retryAfterMs).toBe(60_000);
    expect(server.mails).toEqual([]);
  });

  test('a flood instead of a greeting is not read to its end', async () => {
    const { result } = await attempt((event) =>
      event === 'connect' ? { do: 'raw', text: 'x'.repeat(1_000_000) } : undefined,
    );
    expect(result).toMatchObject({ outcome: 'deferred', accountUnusable: true });
  });

  test('nobody listens, or the host is not allowed', async () => {
    const server = await serve(() => undefined);
    const closed = smtp.open(accountOf({ port: 1 }), contractContext(), { maxConnections: 3 });
    const results = await closed.send([mail(), mail(), mail(), mail()], never);
    for (const result of results)
      expect(result).toMatchObject({
        outcome: 'deferred',
        accountUnusable: true,
        response: expect.stringContaining('ECONNREFUSED'),
      });
    const account = accountOf({ port: server.port });
    const guarded = smtp.open(
      account,
      { ...contractContext(), allowPrivateHosts: false },
      { maxConnections: 1 },
    );
    const [refused] = await guarded.send([mail()], never);
    expect(refused).toMatchObject({ outcome: 'deferred', accountUnusable: true });
    expect(refused?.response).toContain('POSTRIDER_ALLOW_PRIVATE_HOSTS');
    await expect(guarded.check()).rejects.toThrow('127.0.0.1');
    expect(server.connections).toBe(0);
    const own = smtp.open(
      { ...account, fromEnvironment: true },
      { ...contractContext(), allowPrivateHosts: false },
      { maxConnections: 1 },
    );
    expect((await own.send([mail()], never))[0]?.outcome).toBe('accepted');
    await Promise.all([closed, guarded, own].map((session) => session.close()));
  });
});

describe('connections', () => {
  test('a connection serves message after message, up to maxMessages', async () => {
    const server = await serve(() => undefined);
    const session = openTo(server);
    for (let i = 0; i < 5; i++) await session.send([mail()], never);
    expect(server.mails.map(({ connection }) => connection)).toEqual([1, 1, 1, 1, 1]);
    await session.close();
    await expect.poll(() => server.open()).toBe(0);
    expect(server.lines.at(-1)?.line).toBe('QUIT');
    const limited = openTo(server, { maxMessages: 2 });
    await limited.send(
      Array.from({ length: 5 }, () => mail()),
      never,
    );
    expect(server.mails.slice(5).map(({ connection }) => connection)).toEqual([2, 2, 3, 3, 4]);
    await limited.close();
  });

  test('an idle connection is closed by either side, and the next message is none the worse', async () => {
    const server = await serve(() => undefined);
    const session = openTo(server, { idleTimeoutMs: 100 });
    await session.send([mail()], never);
    await expect.poll(() => server.open()).toBe(0);
    expect((await session.send([mail()], never))[0]?.outcome).toBe('accepted');
    server.dropAll();
    await expect.poll(() => server.open()).toBe(0);
    expect((await session.send([mail()], never))[0]?.outcome).toBe('accepted');
    expect(server.mails.map(({ connection }) => connection)).toEqual([1, 2, 3]);
    await session.close();
  });

  test('a connection that turns out dead when it is used again does not cost the message an attempt', async () => {
    const server = await serve((event, _argument, connection) => {
      const used = server.mails.some((received) => received.connection === connection);
      return event === 'MAIL' && used && connection < 4 ? { do: 'close' } : undefined;
    });
    const session = openTo(server, {}, 3);
    await session.send([mail(), mail(), mail()], never);
    expect(server.connections).toBe(3);
    const results = await session.send([mail(), mail(), mail()], never);
    expect(results.map(({ outcome }) => outcome)).toEqual(['accepted', 'accepted', 'accepted']);
    expect(server.mails).toHaveLength(6);
    await session.close();
  });

  test('a server that always breaks used connections is given up, not tried for ever', async () => {
    const server = await serve((event, _argument, connection) => {
      if (event === 'content' && connection > 1) return undefined;
      return event === 'MAIL' && server.mails.length > 0 ? { do: 'close' } : undefined;
    });
    const session = openTo(server);
    await session.send([mail()], never);
    const [result] = await session.send([mail()], never);
    expect(result).toMatchObject({ outcome: 'deferred', code: 0 });
    expect(server.connections).toBeLessThan(6);
    await session.close();
  });

  test('a server that allows two connections is used with two', async () => {
    const server = await serve((event) =>
      event === 'connect' && server.open() > 2 ? '421 4.7.0 too many connections' : undefined,
    );
    const session = openTo(server, {}, 6);
    const results = await session.send(
      Array.from({ length: 100 }, () => mail()),
      never,
    );
    expect(results.map(({ outcome }) => outcome)).toEqual(Array(100).fill('accepted'));
    expect(server.mails).toHaveLength(100);
    await session.close();
  });

  test('after 421 the next message comes on a new connection', async () => {
    const server = await serve((event, argument) =>
      event === 'RCPT' && argument.startsWith('busy@') ? '421 4.3.2 closing' : undefined,
    );
    const session = openTo(server);
    const results = await session.send([mail('busy@x.org'), mail('a@x.org')], never);
    expect(results.map(({ outcome }) => outcome)).toEqual(['deferred', 'accepted']);
    expect(server.connections).toBe(2);
    await session.close();
  });

  test('a break in the middle of a long content is not a message in doubt', async () => {
    let chunks = 0;
    const script: Script = (event) => {
      if (event !== 'chunk') return undefined;
      chunks += 1;
      return chunks > 3 ? { do: 'close' } : undefined;
    };
    const server = await serve(script);
    const session = openTo(server, { replyTimeoutMs: 5000 });
    const sending = session.send([mail('a@x.org', { text: 'long line of text\n'.repeat(2_000_000) })], never);
    await expect.poll(() => chunks, { timeout: 20_000 }).toBeGreaterThan(3);
    server.dropAll();
    const [result] = await sending;
    expect(result).toMatchObject({ outcome: 'deferred', code: 0 });
    await session.close();
  });

  test('an abort lets a content that is under way end, and takes the rest back', async () => {
    const server = await serve((event) => (event === 'content' ? { do: 'wait', ms: 200 } : undefined));
    const session = openTo(server, { replyTimeoutMs: 5000 });
    const abort = new AbortController();
    const sending = session.send([mail(), mail(), mail()], abort.signal);
    await expect.poll(() => server.lines.some(({ line }) => line === 'DATA')).toBe(true);
    await new Promise((resolve) => setTimeout(resolve, 50));
    abort.abort();
    expect((await sending).map(({ outcome }) => outcome)).toEqual(['accepted', 'deferred', 'deferred']);
    expect(server.mails).toHaveLength(1);
    await session.close();
  });
});

describe('stopping', () => {
  test('an abort waits only a moment for a verdict that does not come', async () => {
    const server = await serve((event) => (event === 'content' ? { do: 'hang' } : undefined));
    const session = openTo(server, { replyTimeoutMs: 600_000 });
    const abort = new AbortController();
    const sending = session.send([mail(), mail()], abort.signal);
    await expect.poll(() => server.lines.some(({ line }) => line === 'DATA')).toBe(true);
    await new Promise((resolve) => setTimeout(resolve, 50));
    abort.abort();
    expect((await sending).map(({ outcome }) => outcome)).toEqual(['unknown', 'deferred']);
    await session.close();
    await expect.poll(() => server.open()).toBe(0);
  });

  test('an abort and a close do not wait for a server that does not greet', async () => {
    const server = await serve((event) => (event === 'connect' ? { do: 'hang' } : undefined));
    const session = openTo(server, { replyTimeoutMs: 600_000, greetingTimeoutMs: 600_000 });
    const abort = new AbortController();
    const sending = session.send([mail()], abort.signal);
    await expect.poll(() => server.open()).toBe(1);
    abort.abort();
    expect(await sending).toMatchObject([{ outcome: 'deferred', code: 0 }]);
    await session.close();
    await expect.poll(() => server.open()).toBe(0);
  });
});

describe('what the server sees', () => {
  test('the envelope, the EHLO name and the return path', async () => {
    const server = await serve(() => undefined);
    const session = openTo(server, { ehloName: 'mx.example.com', returnPath: 'bounces@example.com' });
    await session.send([mail('Person <someone@example.org>')], never);
    const lines = server.lines.map(({ line }) => line);
    expect(lines[0]).toBe('EHLO mx.example.com');
    expect(lines[1]).toBe('MAIL FROM:<bounces@example.com>');
    expect(lines[2]).toBe('RCPT TO:<someone@example.org>');
    await session.close();
  });

  test('the id of the acceptance is found in its words', async () => {
    const { result } = await attempt(refuse('content', '250 2.0.0 Ok: queued as 4XyZ12'));
    expect(result).toMatchObject({ outcome: 'accepted', code: 250, providerMessageId: '4XyZ12' });
  });

  test.each<[string, Partial<AttemptResult>, OutgoingMessage]>([
    ['a line break in the address', {}, mail('a@x.org>\r\nRCPT TO:<evil@x.org')],
    ['no address', {}, mail('nobody')],
    ['two addresses', {}, mail('a@x.org, b@x.org')],
    ['a sender that is none', {}, mail('a@x.org', { from: 'Shop' })],
    ['a header of the message itself', {}, mail('a@x.org', { headers: [{ name: 'Bcc', value: 'b@x.org' }] })],
    ['a header name that is none', {}, mail('a@x.org', { headers: [{ name: 'X-A: b\r\nX-C', value: 'd' }] })],
    ['an empty raw mail', {}, mail('a@x.org', { rawBase64: '' })],
    [
      'another kind of content',
      {},
      { ...mail(), content: { kind: 'sms', body: 'x', messageType: 'PROMOTIONAL' } },
    ],
  ])('%s is rejected without a word to the server', async (_what, _expected, message) => {
    const { result, server } = await attempt(() => undefined, { message });
    expect(result).toMatchObject({ outcome: 'rejected', code: 0, bounce: 'other' });
    expect(server.lines.filter(({ line }) => /^(MAIL|RCPT)/.test(line))).toEqual([]);
  });

  test('a mail above the size that the server takes is not sent', async () => {
    const { result, server } = await attempt(() => undefined, {
      extensions: ['SIZE 2000'],
      message: mail('a@x.org', { text: 'x '.repeat(3000) }),
    });
    expect(result).toMatchObject({ outcome: 'rejected', bounce: 'soft' });
    expect(result.response).toContain('2000');
    expect(server.mails).toEqual([]);
  });

  test('an international local part goes only to a server that takes it', async () => {
    const message = mail('jürgen@bücher.example');
    const without = await attempt(() => undefined, { extensions: ['PIPELINING'], message });
    expect(without.result).toMatchObject({
      outcome: 'rejected',
      bounce: 'other',
      response: expect.stringContaining('SMTPUTF8'),
    });
    const { result, server } = await attempt(() => undefined, { message });
    expect(result.outcome).toBe('accepted');
    expect(server.lines.map(({ line }) => line)).toContain(
      'MAIL FROM:<shop@example.com> SMTPUTF8 BODY=8BITMIME',
    );
    expect(server.mails[0]?.to).toEqual(['jürgen@bücher.example']);
    const ascii = await attempt(() => undefined, {
      extensions: ['PIPELINING'],
      message: mail('juergen@bücher.example'),
    });
    expect(ascii.result.outcome).toBe('accepted');
    expect(ascii.server.mails[0]?.to).toEqual(['juergen@xn--bcher-kva.example']);
  });
});
