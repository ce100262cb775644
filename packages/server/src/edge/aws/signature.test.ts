import { createHash } from 'node:crypto';
import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { testDatabase } from '../../../../../tests/support/database.ts';
import {
  type RawRequest,
  type SignOptions,
  send,
  sendSigned,
  sign,
} from '../../../../../tests/support/signed-request.ts';
import { wireServer } from '../../../../../tests/support/wire.ts';

const database = await testDatabase();
const server = await wireServer({ database });
const signer: SignOptions = { key: server.key, port: server.port };

const create: RawRequest = {
  method: 'POST',
  path: '/v1/apps',
  body: JSON.stringify({ Name: 'signed' }),
  headers: { 'content-type': 'application/json' },
};

async function refusal(reply: Promise<{ status: number; headers: Record<string, unknown>; text: string }>) {
  const { status, headers, text } = await reply;
  expect(status).toBe(403);
  expect(headers['x-amzn-errortype']).toBe('ForbiddenException');
  const body = JSON.parse(text) as { Message: string; RequestID: string };
  expect(body.RequestID).toBe(headers['x-amzn-requestid']);
  return body.Message;
}

/** Signs `request`, then sends it changed. */
function tampered(
  request: RawRequest,
  change: (signed: RawRequest) => RawRequest,
  options?: Partial<SignOptions>,
) {
  return send(server.port, change({ ...request, headers: sign(request, { ...signer, ...options }) }));
}

test('signed requests pass, with and without x-amz-content-sha256, in any region', async () => {
  expect((await sendSigned(create, signer)).status).toBe(201);
  expect((await sendSigned(create, { ...signer, contentHash: null })).status).toBe(201);
  expect((await sendSigned(create, { ...signer, region: 'eu-central-1' })).status).toBe(201);
  const odd = '/v1/apps/x%2Fy%20%C3%BC(1)*/settings?b=2&a=%20%2B&a=1&empty';
  expect((await sendSigned({ method: 'GET', path: odd }, signer)).status).toBe(404);
});

test('a request that was changed on the way is refused', async () => {
  const changes: Record<string, (signed: RawRequest) => RawRequest> = {
    path: (signed) => ({ ...signed, path: '/v1/recommenders' }),
    query: (signed) => ({ ...signed, path: '/v1/apps?token=x' }),
    header: (signed) => ({ ...signed, headers: { ...signed.headers, 'content-type': 'text/plain' } }),
    host: (signed) => ({ ...signed, headers: { ...signed.headers, host: 'other' } }),
  };
  for (const change of Object.values(changes)) {
    expect(await refusal(tampered(create, change))).toContain('The signature does not match');
  }
  const get: RawRequest = { method: 'GET', path: '/v1/apps/x' };
  const remove = tampered(get, (signed) => ({ ...signed, method: 'DELETE' }));
  expect(await refusal(remove)).toContain('The signature does not match');
  const body = (signed: RawRequest) => ({ ...signed, body: JSON.stringify({ Name: 'changed' }) });
  expect(await refusal(tampered(create, body))).toContain('The body is not the one that was signed');
  expect(await refusal(tampered(create, body, { contentHash: null }))).toContain('does not match');
  const hash = createHash('sha256')
    .update(JSON.stringify({ Name: 'changed' }))
    .digest('hex');
  const bodyAndHash = (signed: RawRequest) => ({
    ...body(signed),
    headers: { ...signed.headers, 'x-amz-content-sha256': hash },
  });
  expect(await refusal(tampered(create, bodyAndHash))).toContain('does not match');
  const { rows } = await database.query("select 1 from applications where name = 'changed'");
  expect(rows).toEqual([]);
});

test('a header that would not be covered is refused', async () => {
  const get: RawRequest = { method: 'GET', path: '/v1/apps' };
  expect(await refusal(sendSigned(get, { ...signer, unsigned: ['host'] }))).toBe(
    'The header host must be signed',
  );
  expect(await refusal(sendSigned(get, { ...signer, unsigned: ['x-amz-date'] }))).toContain(
    'x-amz-date must be',
  );
  for (const contentHash of ['UNSIGNED-PAYLOAD', 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD', 'abc']) {
    expect(await refusal(sendSigned(create, { ...signer, contentHash }))).toContain('are not accepted');
  }
});

test('time, service and form are checked', async () => {
  const get: RawRequest = { method: 'GET', path: '/v1/apps' };
  for (const minutes of [-6, 6]) {
    const at = new Date(Date.now() + minutes * 60_000);
    const message = await refusal(sendSigned(get, { ...signer, at }));
    expect(message).toContain(`${at.toISOString().slice(0, 19)}.000Z`);
    expect(message).toMatch(/this server's time is \d{4}-/);
  }
  for (const minutes of [-4, 4]) {
    const at = new Date(Date.now() + minutes * 60_000);
    expect((await sendSigned(get, { ...signer, at })).status).toBe(200);
  }
  expect(await refusal(sendSigned(get, { ...signer, service: 'pinpoint' }))).toContain('not mobiletargeting');
  const otherDay = tampered(get, (signed) => ({
    ...signed,
    headers: { ...signed.headers, 'x-amz-date': '20200101T000000Z' },
  }));
  expect(await refusal(otherDay)).toContain('of the day in the credential scope');
  expect(await refusal(send(server.port, get))).toContain('The request is not signed');
  const presigned = { method: 'GET', path: '/v1/apps?X-Amz-Signature=abc' };
  expect(await refusal(send(server.port, presigned))).toContain('Presigned URLs are not accepted');
  for (const authorization of [
    'Bearer pr_x',
    'AWS4-HMAC-SHA256 Credential=a',
    'AWS4-ECDSA-P256-SHA256 x',
    'x'.repeat(9000),
  ]) {
    expect(await refusal(send(server.port, { ...get, headers: { authorization } }))).toContain(
      'is not of the form',
    );
  }
});

test('keys of elsewhere get told what to do; a revoked key stops at once', async () => {
  const get: RawRequest = { method: 'GET', path: '/v1/apps' };
  const unknown = { id: 'AKIAIOSFODNN7EXAMPLE', secret: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY' };
  expect(await refusal(sendSigned(get, { ...signer, key: unknown }))).toMatch(
    /access key AKIAIOSFODNN7EXAMPLE is unknown here.*postrider -- keys/,
  );
  const withToken = { ...get, headers: { 'x-amz-security-token': 'FwoGZXIvYXdzE' } };
  expect(await refusal(sendSigned(withToken, { ...signer, key: unknown }))).toMatch(
    /session token.*leave AWS_SESSION_TOKEN unset/,
  );
  const wrong = { ...server.key, secret: 'wrong' };
  expect(await refusal(sendSigned(get, { ...signer, key: wrong }))).toContain(`access key ${server.key.id}`);

  const key = await server.accessKeys.create({ name: 'short-lived', by: 'system' });
  expect((await sendSigned(get, { ...signer, key })).status).toBe(200);
  await server.accessKeys.revoke(key.id, 'system');
  expect(await refusal(sendSigned(get, { ...signer, key }))).toContain('was revoked');
});

test('dots, empty segments and non-ASCII bytes in a raw path never reach a handler', async () => {
  for (const path of ['/v1/apps/../apps', '/v1//apps', '/v1/apps/./', '/v1/apps/\u00fc']) {
    const request = { method: 'GET', path: '/v1/apps' };
    const headers = Object.entries(sign(request, signer)).map(([name, value]) => `${name}: ${value}\r\n`);
    const status = await rawStatus(`GET ${path} HTTP/1.1\r\n${headers.join('')}connection: close\r\n\r\n`);
    expect([400, 403, 404]).toContain(status);
  }
});

/** Status of the answer to bytes on a socket. */
function rawStatus(text: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = connect(server.port, '127.0.0.1');
    let reply = '';
    socket.on('data', (data) => {
      reply += data;
    });
    socket.on('error', reject);
    socket.on('close', () => resolve(Number(/^HTTP\/1\.1 (\d{3})/.exec(reply)?.[1] ?? 0)));
    socket.write(Buffer.from(text, 'utf8'));
  });
}
