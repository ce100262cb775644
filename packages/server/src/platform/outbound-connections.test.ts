import http from 'node:http';
import https from 'node:https';
import type net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import { testCertificate } from '../../../../tests/support/tls.ts';
import { fetchOutbound, type OutboundPolicy } from './outbound.ts';
import {
  type ConnectionLimits,
  createOutboundConnections,
  type OutboundConnections,
} from './outbound-connections.ts';

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

function connectionsWith(limits: ConnectionLimits = {}): OutboundConnections {
  const connections = createOutboundConnections(limits);
  closing.push(() => connections.close());
  return connections;
}

/** A server on 127.0.0.1 that counts connections and requests; 204 unless told otherwise. */
async function server(
  answer: http.RequestListener = (_, response) => response.writeHead(204).end(),
  listening: http.Server | https.Server = http.createServer(),
) {
  const sockets: net.Socket[] = [];
  const requests: http.IncomingMessage[] = [];
  listening.on('request', (request: http.IncomingMessage, response: http.ServerResponse) => {
    requests.push(request);
    answer(request, response);
  });
  listening.on('connection', (socket: net.Socket) => sockets.push(socket));
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve));
  closing.push(() => {
    listening.closeAllConnections();
    listening.close();
  });
  return { port: (listening.address() as net.AddressInfo).port, sockets, requests };
}

const limits = { timeoutMs: 5_000, maxResponseBytes: 10_000 };

function put(port: number, policy: OutboundPolicy, more: { host?: string; repeatable?: boolean } = {}) {
  return fetchOutbound(`http://${more.host ?? '127.0.0.1'}:${port}/`, {
    ...policy,
    ...limits,
    method: 'POST',
    body: 'x',
    repeatable: more.repeatable ?? true,
  });
}

const until = async (holds: () => boolean) => {
  for (let look = 0; !holds() && look < 500; look++) await sleep(10);
  expect(holds()).toBe(true);
};

describe('a connection is used again', () => {
  test('for requests one after the other, and each of those at once has its own', async () => {
    const { port, sockets, requests } = await server((_, response) =>
      setTimeout(() => response.end('ok'), 5),
    );
    const policy = { allowPrivateHosts: true, connections: connectionsWith() };
    for (let turn = 0; turn < 5; turn++) await put(port, policy);
    expect(sockets).toHaveLength(1);
    await Promise.all([put(port, policy), put(port, policy), put(port, policy)]);
    expect(sockets).toHaveLength(3);
    expect(requests).toHaveLength(8);
    expect(policy.connections.counts).toEqual({ open: 3, idle: 3 });
  });

  test('under TLS, but not for another name, nor for other authorities', async () => {
    const { port, sockets } = await server(undefined, https.createServer(testCertificate));
    const lookup = async () => [{ address: '127.0.0.1', family: 4 }];
    const ca = testCertificate.cert;
    const policy = { ...limits, allowPrivateHosts: true, connections: connectionsWith(), lookup };
    for (let turn = 0; turn < 3; turn++)
      await fetchOutbound(`https://mail.example:${port}/`, { ...policy, ca });
    expect(sockets).toHaveLength(1);
    await expect(fetchOutbound(`https://other.example:${port}/`, { ...policy, ca })).rejects.toThrow(
      /altnames/,
    );
    await expect(fetchOutbound(`https://mail.example:${port}/`, policy)).rejects.toThrow(/self.signed/);
  });

  test.each([
    ['the peer says close', { connection: 'close' }],
    ['the peer keeps it for a second only', { 'keep-alive': 'timeout=1' }],
  ])('not when %s', async (_, headers) => {
    const { port, sockets } = await server((_request, response) =>
      response.writeHead(200, headers).end('ok'),
    );
    const policy = { allowPrivateHosts: true, connections: connectionsWith() };
    await put(port, policy);
    await put(port, policy);
    expect(sockets).toHaveLength(2);
    expect(policy.connections.counts.idle).toBe(0);
  });

  test('not when it is old, idle for long, or the body was not read to its end', async () => {
    const { port, sockets } = await server((_, response) => response.end('x'.repeat(100)));
    const old = { allowPrivateHosts: true, connections: connectionsWith({ maxAgeMs: 1 }) };
    for (let turn = 0; turn < 2; turn++) {
      await put(port, old);
      await until(() => old.connections.counts.open === 0);
    }
    expect(sockets).toHaveLength(2);
    const idle = { allowPrivateHosts: true, connections: connectionsWith({ idleMs: 20 }) };
    await put(port, idle);
    await until(() => idle.connections.counts.open === 0);
    const cut = { allowPrivateHosts: true, connections: connectionsWith() };
    const request = { ...cut, ...limits, maxResponseBytes: 10 };
    await expect(fetchOutbound(`http://127.0.0.1:${port}/`, request)).rejects.toMatchObject({
      reason: 'too_large',
    });
    expect(cut.connections.counts).toEqual({ open: 0, idle: 0 });
  });

  test('not when the peer said something that nobody asked for', async () => {
    const { port, sockets } = await server((_, response) => response.end('ok'));
    const policy = { allowPrivateHosts: true, connections: connectionsWith() };
    await put(port, policy);
    sockets[0]!.write('HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged');
    await until(() => policy.connections.counts.open === 0);
    expect((await put(port, policy)).body.toString()).toBe('ok');
  });
});

describe('addresses', () => {
  test('a kept connection of the operator is not one for users', async () => {
    const { port, sockets, requests } = await server();
    const connections = connectionsWith();
    await put(port, { allowPrivateHosts: true, connections });
    const users = put(port, { allowPrivateHosts: false, connections });
    await expect(users).rejects.toMatchObject({ reason: 'refused_address' });
    expect([sockets.length, requests.length]).toEqual([1, 1]);
  });

  test('a name that now leads to a refused address gets no more requests', async () => {
    const { port, sockets, requests } = await server();
    let address = '127.0.0.1';
    const lookup = async () => [{ address, family: 4 }];
    const connections = connectionsWith({ recheckAfterMs: 0 });
    const policy = { allowPrivateHosts: true, connections, lookup };
    await put(port, policy, { host: 'rebind.example' });
    address = '169.254.169.254';
    const refused = put(port, policy, { host: 'rebind.example' });
    await expect(refused).rejects.toMatchObject({ reason: 'refused_address' });
    expect([sockets.length, requests.length]).toEqual([1, 1]);
    expect(connections.counts).toEqual({ open: 0, idle: 0 });
  });

  test('a name that moved is followed, and looked up again after a while only', async () => {
    const { port, sockets } = await server();
    let lookups = 0;
    const lookup = async () => [{ address: lookups++ === 0 ? '127.0.0.9' : '127.0.0.1', family: 4 }];
    const moved = { allowPrivateHosts: true, connections: connectionsWith({ recheckAfterMs: 0 }), lookup };
    await expect(put(port, moved, { host: 'moved.example' })).rejects.toMatchObject({ reason: 'connection' });
    await put(port, moved, { host: 'moved.example' });
    await put(port, moved, { host: 'moved.example' });
    expect([sockets.length, lookups]).toEqual([1, 3]);
    const lazy = { ...moved, connections: connectionsWith({ recheckAfterMs: 60_000 }) };
    for (let turn = 0; turn < 3; turn++) await put(port, lazy, { host: 'moved.example' });
    expect([sockets.length, lookups]).toEqual([2, 4]);
  });
});

describe('a kept connection that broke', () => {
  /** Answers the first request of a connection, and ends the connection at the second one. */
  async function oneAnswer() {
    const seen = new WeakSet<net.Socket>();
    return server((request, response) => {
      if (seen.has(request.socket)) return request.socket.destroy();
      seen.add(request.socket);
      response.end('ok');
    });
  }

  test('is followed by one more try over a new one', async () => {
    const { port, sockets, requests } = await oneAnswer();
    const policy = { allowPrivateHosts: true, connections: connectionsWith() };
    await put(port, policy);
    expect((await put(port, policy)).body.toString()).toBe('ok');
    expect([sockets.length, requests.length]).toEqual([2, 3]);
  });

  test('carries no request that may not arrive twice', async () => {
    const { port, sockets, requests } = await oneAnswer();
    const policy = { allowPrivateHosts: true, connections: connectionsWith() };
    for (let turn = 0; turn < 3; turn++) await put(port, policy, { repeatable: false });
    expect([sockets.length, requests.length]).toEqual([3, 3]);
  });

  test('is no reason for another try when an answer had begun, or when the new one breaks, too', async () => {
    let answers = 0;
    const half = await server((request, response) => {
      if (answers++ === 0) return response.end('ok');
      response.writeHead(200, { 'content-length': '100' }).write('half');
      return setImmediate(() => request.socket.destroy());
    });
    const policy = { allowPrivateHosts: true, connections: connectionsWith() };
    await put(half.port, policy);
    await expect(put(half.port, policy)).rejects.toMatchObject({ reason: 'connection' });
    expect(half.requests).toHaveLength(2);
    let open = true;
    const broken = await server((request, response) => {
      if (open) response.end('ok');
      else request.socket.destroy();
      open = false;
    });
    await put(broken.port, policy);
    await expect(put(broken.port, policy)).rejects.toMatchObject({ reason: 'connection' });
    expect(broken.requests).toHaveLength(3);
  });

  test('leaves in doubt what a refused second connection did not bring', async () => {
    const listening = http.createServer();
    const { port } = await server((request, response) => {
      if (listening.listening) return response.end('ok', () => listening.close());
      return request.socket.destroy();
    }, listening);
    const policy = { allowPrivateHosts: true, connections: connectionsWith() };
    await put(port, policy);
    const failure = await put(port, policy).catch((error: unknown) => error);
    expect(failure).toMatchObject({ reason: 'connection' });
    expect((failure as { cause: { code?: string } }).cause.code).not.toBe('ECONNREFUSED');
  });

  test('while it waited is not used at all', async () => {
    const { port, sockets, requests } = await server();
    const policy = { allowPrivateHosts: true, connections: connectionsWith() };
    await put(port, policy);
    sockets[0]!.destroy();
    await until(() => policy.connections.counts.open === 0);
    await put(port, policy, { repeatable: true });
    expect([sockets.length, requests.length]).toEqual([2, 2]);
  });
});

describe('limits', () => {
  test('of one host: others wait for their turn and reuse what is given back', async () => {
    let now = 0;
    let most = 0;
    const { port, sockets, requests } = await server((_, response) => {
      most = Math.max(most, ++now);
      setTimeout(() => {
        now--;
        response.end('ok');
      }, 5);
    });
    const policy = { allowPrivateHosts: true, connections: connectionsWith({ perPlace: 2 }) };
    await Promise.all(Array.from({ length: 10 }, () => put(port, policy)));
    expect([most, sockets.length, requests.length]).toEqual([2, 2, 10]);
    await Promise.all(Array.from({ length: 4 }, () => put(port, policy, { repeatable: false })));
    expect([most, sockets.length]).toEqual([2, 6]);
  });

  test('in all: idle ones of other hosts make room, and nobody waits for ever', async () => {
    const quick = await server();
    const silent = await server(() => undefined);
    const policy = { allowPrivateHosts: true, connections: connectionsWith({ inAll: 1 }) };
    await put(quick.port, policy);
    const abort = new AbortController();
    const held = fetchOutbound(`http://127.0.0.1:${silent.port}/`, {
      ...policy,
      ...limits,
      signal: abort.signal,
    });
    await until(() => silent.requests.length === 1);
    expect(policy.connections.counts).toEqual({ open: 1, idle: 0 });
    const request = { ...policy, ...limits, timeoutMs: 30 };
    await expect(fetchOutbound(`http://127.0.0.1:${quick.port}/`, request)).rejects.toMatchObject({
      reason: 'busy',
    });
    const waiting = put(quick.port, policy);
    abort.abort();
    await expect(held).rejects.toMatchObject({ reason: 'connection' });
    expect((await waiting).status).toBe(204);
  });
});

test('after the close nothing is kept, and what runs comes to its end', async () => {
  const { port, sockets } = await server((_, response) => setTimeout(() => response.end('ok'), 20));
  const policy = { allowPrivateHosts: true, connections: connectionsWith() };
  await put(port, policy);
  const running = put(port, policy);
  await until(() => policy.connections.counts.idle === 0);
  policy.connections.close();
  expect((await running).body.toString()).toBe('ok');
  expect(policy.connections.counts).toEqual({ open: 0, idle: 0 });
  await put(port, policy);
  await until(() => sockets.every((socket) => socket.destroyed));
});
