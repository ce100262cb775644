import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { afterAll, describe, expect, test } from 'vitest';
import { testCertificate } from '../../../../tests/support/tls.ts';
import { refusalOf } from './addresses.ts';
import { connectTcp, fetchOutbound, OutboundError, type OutboundPolicy, resolvePinned } from './outbound.ts';

const closing: (() => void)[] = [];
afterAll(() => {
  for (const close of closing) close();
});

/** An HTTP server on 127.0.0.1 that counts its requests. */
async function server(answer: http.RequestListener) {
  const seen: http.IncomingMessage[] = [];
  const listening = http.createServer((request, response) => {
    seen.push(request);
    answer(request, response);
  });
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve));
  closing.push(() => {
    listening.closeAllConnections();
    listening.close();
  });
  return { port: (listening.address() as net.AddressInfo).port, seen };
}

const strict: OutboundPolicy = { allowPrivateHosts: false };
const open: OutboundPolicy = { allowPrivateHosts: true };
const limits = { timeoutMs: 5_000, maxResponseBytes: 10_000 };

describe('addresses', () => {
  test.each([
    '127.0.0.1',
    '127.255.255.254',
    '10.1.2.3',
    '172.16.0.1',
    '172.31.255.255',
    '192.168.1.1',
    '169.254.1.1',
    '100.64.0.1',
    '0.0.0.0',
    '0.1.2.3',
    '224.0.0.1',
    '255.255.255.255',
    '198.18.0.1',
    '192.0.2.1',
    '::',
    '::1',
    '::2',
    'fe80::1',
    'fe80::1%eth0',
    'fc00::1',
    'fd12:3456::1',
    'ff02::1',
    '2001:db8::1',
    '2002:7f00:1::',
    '2001:0:53aa::1',
    '::ffff:127.0.0.1',
    '::ffff:7f00:1',
    '::ffff:10.0.0.1',
    '0:0:0:0:0:ffff:c0a8:0101',
    '::127.0.0.1',
    '::ffff:0:127.0.0.1',
    '64:ff9b::10.0.0.1',
    '64:ff9b:1::1',
    '100::1',
    '4000::1',
    'localhost',
    '',
  ])('%s is refused', (address) => {
    expect(refusalOf(address, false)).toBeTypeOf('string');
  });

  test.each([
    '1.1.1.1',
    '8.8.8.8',
    '172.15.255.255',
    '172.32.0.1',
    '100.63.255.255',
    '100.128.0.1',
    '169.253.0.1',
    '223.255.255.255',
    '2606:4700:4700::1111',
    '2a00:1450:4001:80b::200e',
    '::ffff:8.8.8.8',
    '64:ff9b::8.8.8.8',
    '3ffe::1',
  ])('%s is the public internet', (address) => {
    expect(refusalOf(address, false)).toBeUndefined();
  });

  test.each(['169.254.169.254', '::ffff:169.254.169.254', 'fd00:ec2::254', '100.100.100.200'])(
    '%s is refused even where private hosts are allowed',
    (address) => {
      expect(refusalOf(address, true)).toContain('metadata');
    },
  );

  test('private ones may be allowed', () => {
    for (const address of ['127.0.0.1', '::1', '10.0.0.1', 'fd00::1'])
      expect(refusalOf(address, true)).toBeUndefined();
  });
});

describe('hosts', () => {
  test.each([
    'localhost',
    '127.0.0.1',
    '[::1]',
    '2130706433',
    '0177.0.0.1',
    '0x7f.1',
    '127.1',
    '0x7f000001',
    '017700000001',
    '[::ffff:127.0.0.1]',
    '[::ffff:7f00:1]',
  ])('%s is refused, as host and in a URL, before anything connects', async (host) => {
    const { port, seen } = await server((_, response) => response.end('inside'));
    await expect(connectTcp({ ...strict, host, port, timeoutMs: 5_000 })).rejects.toThrow(OutboundError);
    await expect(fetchOutbound(`http://${host}:${port}/`, { ...strict, ...limits })).rejects.toThrow(
      OutboundError,
    );
    expect(seen).toHaveLength(0);
  });

  test('a refusal says why and what allows it', async () => {
    await expect(resolvePinned('127.0.0.1', strict)).rejects.toMatchObject({
      reason: 'refused_address',
      message:
        '127.0.0.1 is not connected to: 127.0.0.1 is loopback (POSTRIDER_ALLOW_PRIVATE_HOSTS=on allows private addresses)',
    });
  });

  test('of several addresses only the public ones are kept', async () => {
    const lookup = async () => [
      { address: '10.0.0.1', family: 4 },
      { address: '2606:4700::1', family: 6 },
      { address: '1.1.1.1', family: 4 },
    ];
    expect(await resolvePinned('mixed.example', { ...strict, lookup })).toEqual({
      host: 'mixed.example',
      addresses: [
        { address: '2606:4700::1', family: 6 },
        { address: '1.1.1.1', family: 4 },
      ],
    });
  });

  test('a name is resolved once and the connection goes to the address that was checked', async () => {
    const { port, seen } = await server((_, response) => response.end('checked'));
    let lookups = 0;
    const rebinding = async () => {
      lookups += 1;
      // Whoever asks a second time is led elsewhere.
      return [{ address: lookups === 1 ? '127.0.0.1' : '127.0.0.2', family: 4 }];
    };
    const request = { ...open, ...limits, lookup: rebinding };
    const response = await fetchOutbound(`http://rebind.example:${port}/`, request);
    expect(response.body.toString()).toBe('checked');
    expect(lookups).toBe(1);
    expect(seen[0]?.headers.host).toBe(`rebind.example:${port}`);
  });

  test('TLS is checked for the name, not for the address that it was pinned to', async () => {
    const listening = https.createServer(testCertificate, (_, response) => response.end('secure'));
    await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve));
    closing.push(() => listening.close());
    const { port } = listening.address() as net.AddressInfo;
    const lookup = async () => [{ address: '127.0.0.1', family: 4 }];
    const request = { ...open, ...limits, lookup, ca: testCertificate.cert };
    const response = await fetchOutbound(`https://mail.example:${port}/`, request);
    expect(response.body.toString()).toBe('secure');
    await expect(fetchOutbound(`https://other.example:${port}/`, request)).rejects.toThrow(/altnames/);
    await expect(
      fetchOutbound(`https://mail.example:${port}/`, { ...request, ca: undefined }),
    ).rejects.toThrow(/self.signed/);
  });

  test('a name that cannot be resolved, and one that is none, are reported', async () => {
    const lookup = () => Promise.reject(Object.assign(new Error('x'), { code: 'ENOTFOUND' }));
    await expect(resolvePinned('nowhere.example', { ...strict, lookup })).rejects.toThrow(
      'nowhere.example cannot be resolved (ENOTFOUND)',
    );
    await expect(resolvePinned('a b', strict)).rejects.toMatchObject({ reason: 'unresolved' });
  });

  test('a resolver and a peer that never answer end at the time limit', async () => {
    const lookup = () => new Promise<never>(() => undefined);
    await expect(resolvePinned('slow.example', { ...strict, lookup, timeoutMs: 20 })).rejects.toMatchObject({
      reason: 'timeout',
    });
    const silent = net.createServer(() => undefined);
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    closing.push(() => silent.close());
    const { port } = silent.address() as net.AddressInfo;
    const handshake = connectTcp({ ...open, host: '127.0.0.1', port, tls: {}, timeoutMs: 100 });
    await expect(handshake).rejects.toMatchObject({ reason: 'timeout' });
    const request = fetchOutbound(`http://127.0.0.1:${port}/`, { ...open, ...limits, timeoutMs: 100 });
    await expect(request).rejects.toMatchObject({ reason: 'timeout' });
  });

  test('the next address is tried when the first does not take the connection', async () => {
    const { port } = await server((_, response) => response.end('found'));
    const lookup = async () => [
      { address: '127.0.0.9', family: 4 },
      { address: '127.0.0.1', family: 4 },
    ];
    const response = await fetchOutbound(`http://two.example:${port}/`, { ...open, ...limits, lookup });
    expect(response.body.toString()).toBe('found');
  });
});

describe('requests', () => {
  test('method, headers and body arrive, and the answer comes back whatever its status', async () => {
    const { port, seen } = await server((request, response) => {
      const parts: Buffer[] = [];
      request.on('data', (part: Buffer) => parts.push(part));
      request.on('end', () => response.writeHead(503, { 'x-reply': 'yes' }).end(Buffer.concat(parts)));
    });
    const response = await fetchOutbound(`http://127.0.0.1:${port}/hook?a=1`, {
      ...open,
      ...limits,
      method: 'POST',
      headers: { 'content-type': 'text/plain' },
      body: 'grüße',
    });
    expect(response).toMatchObject({ status: 503, headers: { 'x-reply': 'yes' } });
    expect(response.body.toString()).toBe('grüße');
    expect(seen[0]).toMatchObject({ method: 'POST', url: '/hook?a=1' });
    expect(seen[0]?.headers).toMatchObject({ host: `127.0.0.1:${port}`, 'content-length': '7' });
  });

  test('a redirect is not followed unless asked for, and each hop is checked', async () => {
    const inner = await server((_, response) => response.end('inside'));
    const outer = await server((_, response) =>
      response.writeHead(302, { location: `http://inner.example:${inner.port}/` }).end(),
    );
    const lookup = async (host: string) => [
      // The hop's name leads to a metadata service, which stays refused where loopback is allowed.
      { address: host === 'inner.example' ? '169.254.169.254' : '127.0.0.1', family: 4 },
    ];
    const url = `http://outer.example:${outer.port}/`;
    expect(await fetchOutbound(url, { ...open, ...limits, lookup })).toMatchObject({ status: 302 });
    await expect(fetchOutbound(url, { ...open, ...limits, lookup, maxRedirects: 3 })).rejects.toMatchObject({
      reason: 'refused_address',
    });
    expect(inner.seen).toHaveLength(0);
  });

  test('a followed redirect leaves credentials behind and stops at its limit', async () => {
    const target = await server((request, response) => response.end(JSON.stringify(request.headers)));
    const first = await server((_, response) =>
      response.writeHead(303, { location: `http://127.0.0.1:${target.port}/next` }).end(),
    );
    const response = await fetchOutbound(`http://127.0.0.1:${first.port}/`, {
      ...open,
      ...limits,
      maxRedirects: 1,
      method: 'POST',
      body: 'x',
      headers: { authorization: 'Bearer secret', 'x-kept': '1' },
    });
    expect(target.seen[0]?.method).toBe('GET');
    expect(JSON.parse(response.body.toString())).toMatchObject({ 'x-kept': '1' });
    expect(response.body.toString()).not.toContain('secret');
    const loop = await server((_, answer) => answer.writeHead(302, { location: '/again' }).end());
    const looped = await fetchOutbound(`http://127.0.0.1:${loop.port}/`, {
      ...open,
      ...limits,
      maxRedirects: 3,
    });
    expect(looped.status).toBe(302);
    expect(loop.seen).toHaveLength(4);
  });

  test('a body beyond the limit, a connection cut in the middle, and an abort are errors', async () => {
    const large = await server((_, response) => response.end('x'.repeat(20_000)));
    await expect(
      fetchOutbound(`http://127.0.0.1:${large.port}/`, { ...open, ...limits }),
    ).rejects.toMatchObject({
      reason: 'too_large',
    });
    const cut = await server((_, response) => {
      response.writeHead(200, { 'content-length': '100' }).write('half');
      setImmediate(() => response.destroy());
    });
    await expect(
      fetchOutbound(`http://127.0.0.1:${cut.port}/`, { ...open, ...limits }),
    ).rejects.toMatchObject({
      reason: 'connection',
    });
    const silent = await server(() => undefined);
    const abort = new AbortController();
    const given = fetchOutbound(`http://127.0.0.1:${silent.port}/`, {
      ...open,
      ...limits,
      signal: abort.signal,
    });
    abort.abort();
    await expect(given).rejects.toMatchObject({ reason: 'connection' });
  });

  test.each(['ftp://example.com/', 'file:///etc/passwd', 'http://user:pass@example.com/', 'nonsense'])(
    '%s is not connected to',
    async (url) => {
      await expect(fetchOutbound(url, { ...open, ...limits })).rejects.toMatchObject({ reason: 'bad_url' });
    },
  );
});
