import net, { type AddressInfo } from 'node:net';
import tls from 'node:tls';
import { SMTPServer, type SMTPServerOptions } from 'smtp-server';
import { afterEach, describe, expect, test } from 'vitest';
import type { AttemptResult, OutgoingMessage } from '../../messaging/provider.ts';
import { uuidv7 } from '../../platform/ids.ts';
import { contractContext } from '../contract.test-suite.ts';
import { certificate, privateKey } from './certificate.test-support.ts';
import { smtp } from './index.ts';
import { startScriptedServer } from './scripted-server.test-support.ts';

const never = new AbortController().signal;
const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  await Promise.all(closers.splice(0).map((close) => close()));
});

interface Seen {
  port: number;
  secure: boolean[];
  logins: string[];
}

/** npm's smtp-server; takes user `me` with the password `right`. */
async function serve(options: SMTPServerOptions = {}): Promise<Seen> {
  const seen: Seen = { port: 0, secure: [], logins: [] };
  const server = new SMTPServer({
    authOptional: true,
    key: privateKey,
    cert: certificate,
    onAuth(auth, _session, done) {
      seen.logins.push(auth.method);
      const right =
        auth.username === 'me' &&
        (auth.method === 'CRAM-MD5' ? auth.validatePassword?.('right') : auth.password === 'right');
      done(
        right ? null : new Error('Authentication credentials invalid'),
        right ? { user: 'me' } : undefined,
      );
    },
    onData(stream, session, done) {
      seen.secure.push(session.secure);
      stream.resume();
      stream.once('end', () => done());
    },
    logger: false,
    ...options,
  });
  server.on('error', () => undefined);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  seen.port = (server.server.address() as AddressInfo).port;
  closers.push(() => new Promise<void>((resolve) => server.close(() => resolve())));
  return seen;
}

async function send(settings: Record<string, unknown>, password?: string): Promise<AttemptResult> {
  const session = smtp.open(
    {
      id: 'account',
      applicationId: null,
      channel: 'EMAIL',
      provider: 'smtp',
      name: 'Test',
      settings: { host: '127.0.0.1', replyTimeoutMs: 5000, greetingTimeoutMs: 5000, ...settings },
      secrets: password === undefined ? {} : { password },
      messagesPerSecond: null,
      dailyLimit: null,
    },
    contractContext(),
    { maxConnections: 1 },
  );
  const message: OutgoingMessage = {
    id: uuidv7(),
    applicationId: 'app',
    channel: 'EMAIL',
    address: 'someone@example.org',
    attempt: 1,
    content: { kind: 'email', from: 'shop@example.com', subject: 'Hi', text: 'Hi' },
  };
  const [result] = await session.send([message], never);
  await session.close();
  return result!;
}

describe('encryption', () => {
  test.each<[string, SMTPServerOptions, string, object, boolean | RegExp]>([
    ['none stays plain, even when STARTTLS is offered', {}, 'none', {}, false],
    [
      'opportunistic uses STARTTLS when it is offered',
      {},
      'opportunistic',
      { verifyCertificate: false },
      true,
    ],
    ['opportunistic goes without when it is not', { hideSTARTTLS: true }, 'opportunistic', {}, false],
    ['starttls uses it', {}, 'starttls', { verifyCertificate: false }, true],
    [
      'starttls refuses a server without',
      { disabledCommands: ['STARTTLS'] },
      'starttls',
      {},
      /STARTTLS|502|500|not/i,
    ],
    [
      'implicit speaks TLS from the first byte',
      { secure: true },
      'implicit',
      { verifyCertificate: false },
      true,
    ],
    ['implicit does not speak it with a plain server', {}, 'implicit', { verifyCertificate: false }, /./],
    [
      'plain does not wait for ever for a TLS server',
      { secure: true },
      'none',
      { greetingTimeoutMs: 300 },
      /./,
    ],
    ['a self-signed certificate is refused by STARTTLS', {}, 'starttls', {}, /self-signed certificate/],
    [
      'a self-signed certificate is refused opportunistically',
      {},
      'opportunistic',
      {},
      /self-signed certificate/,
    ],
    [
      'a self-signed certificate is refused by implicit TLS',
      { secure: true },
      'implicit',
      {},
      /self-signed certificate/,
    ],
  ])('%s', async (_what, options, mode, settings, expected) => {
    const server = await serve(options);
    const result = await send({ port: server.port, tls: mode, ...settings });
    if (typeof expected === 'boolean') {
      expect(result).toMatchObject({ outcome: 'accepted', code: 250 });
      expect(server.secure).toEqual([expected]);
      return;
    }
    expect(result).toMatchObject({ outcome: 'deferred', accountUnusable: true });
    expect(result.response).toMatch(expected);
    expect(server.secure).toEqual([]);
  });

  // Only Linux answers on all of 127.0.0.0/8.
  test.skipIf(process.platform !== 'linux')(
    'a certificate of a trusted authority is accepted for its host only',
    async () => {
      const before = tls.getCACertificates('default');
      tls.setDefaultCACertificates([...before, certificate]);
      closers.push(async () => tls.setDefaultCACertificates(before));
      const starttls = await serve();
      const implicit = await serve({ secure: true });
      expect((await send({ port: starttls.port, tls: 'starttls' })).outcome).toBe('accepted');
      expect((await send({ port: starttls.port, tls: 'starttls', host: 'localhost' })).outcome).toBe(
        'accepted',
      );
      expect((await send({ port: implicit.port, tls: 'implicit', host: 'localhost' })).outcome).toBe(
        'accepted',
      );
      // Every address of 127.0.0.0/8 is this machine, but the certificate names one of them.
      for (const settings of [
        { port: starttls.port, tls: 'starttls', host: '127.0.0.2' },
        { port: implicit.port, tls: 'implicit', host: '127.0.0.2' },
      ]) {
        const server = await serve({ secure: settings.tls === 'implicit' });
        const result = await sendFrom(server, settings);
        expect(result).toMatchObject({ outcome: 'deferred', accountUnusable: true });
        expect(result.response).toMatch(/127\.0\.0\.2|altnames/i);
      }
    },
  );

  test('STARTTLS that breaks in the handshake does not fall back to plain text', async () => {
    const scripted = await startScriptedServer((event) => (event === 'STARTTLS' ? '220 go' : undefined), {
      extensions: ['STARTTLS'],
    });
    closers.push(() => scripted.stop());
    for (const mode of ['opportunistic', 'starttls']) {
      const result = await send({ port: scripted.port, tls: mode, greetingTimeoutMs: 300 });
      expect(result).toMatchObject({ outcome: 'deferred', accountUnusable: true });
    }
    expect(scripted.lines.some(({ line }) => line.startsWith('MAIL'))).toBe(false);
  });
});

/** The server listens on 127.0.0.1 only; another of its names needs a forwarding listener. */
async function sendFrom(server: Seen, settings: Record<string, unknown>): Promise<AttemptResult> {
  const forward = net.createServer((socket) => {
    const onward = net.connect(server.port, '127.0.0.1');
    for (const side of [socket, onward]) side.on('error', () => undefined);
    socket.pipe(onward).pipe(socket);
  });
  await new Promise<void>((resolve) => forward.listen(0, '127.0.0.2', resolve));
  closers.push(() => new Promise<void>((resolve) => forward.close(() => resolve())));
  return send({ ...settings, port: (forward.address() as AddressInfo).port });
}

describe('login', () => {
  test.each(['PLAIN', 'LOGIN', 'CRAM-MD5'])('by %s', async (method) => {
    const server = await serve({ authMethods: ['PLAIN', 'LOGIN', 'CRAM-MD5'], authOptional: false });
    const settings = {
      port: server.port,
      tls: 'starttls',
      verifyCertificate: false,
      user: 'me',
      authMethod: method,
    };
    expect((await send(settings, 'right')).outcome).toBe('accepted');
    expect(server.logins).toEqual([method]);
    const wrong = await send(settings, 'wrong');
    expect(wrong).toMatchObject({ outcome: 'deferred', code: 535, accountUnusable: true });
    expect(wrong.response).not.toContain('wrong');
  });

  test('the method is chosen by what the server offers', async () => {
    const server = await serve({ authMethods: ['CRAM-MD5'], authOptional: false });
    const settings = { port: server.port, tls: 'starttls', verifyCertificate: false, user: 'me' };
    expect((await send(settings, 'right')).outcome).toBe('accepted');
    expect(server.logins).toEqual(['CRAM-MD5']);
  });

  test('a server that wants a login gets none without a user, and says so', async () => {
    const server = await serve({ authOptional: false });
    const result = await send({ port: server.port, tls: 'none' });
    expect(result).toMatchObject({ outcome: 'deferred', code: 530, accountUnusable: true });
  });

  test('a server that offers no login does not get the password', async () => {
    const server = await serve({ disabledCommands: ['AUTH'] });
    const result = await send({ port: server.port, tls: 'none', user: 'me' }, 'right');
    expect(result).toMatchObject({ outcome: 'deferred', accountUnusable: true });
    expect(result.response).toMatch(/offers no login/);
    expect(server.logins).toEqual([]);
  });

  test('opportunistic encryption that is not offered: the password stays on this machine', async () => {
    const local = await serve({ hideSTARTTLS: true, allowInsecureAuth: true, authOptional: false });
    const settings = { tls: 'opportunistic', user: 'me' };
    expect((await send({ ...settings, port: local.port }, 'right')).outcome).toBe('accepted');
  });
});
