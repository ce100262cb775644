import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { signatureFault } from './aws-request.test-support.ts';
import { createAwsClient, parseAwsArn } from './aws-request.ts';
import { OutboundError } from './outbound.ts';

const credentials = { accessKeyId: 'AKIDTEST', secretAccessKey: 'a secret', sessionToken: 'a token' };
const arn = parseAwsArn('arn:aws:lambda:eu-west-1:123456789012:function:sift-out:1')!;
const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

async function service(answer: (request: IncomingMessage, body: Buffer, response: ServerResponse) => void) {
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    answer(request, Buffer.concat(chunks), response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const clock = { now: () => Date.now() };
const limits = { timeoutMs: 5_000, maxResponseBytes: 1_000 };

test('signs method, path, headers and body for the service and region of the ARN', async () => {
  const faults: (string | undefined)[] = [];
  const url = await service((request, body, response) => {
    faults.push(signatureFault(request, body, { ...credentials, service: 'lambda', region: 'eu-west-1' }));
    expect(request.headers['x-amz-security-token']).toBe('a token');
    response.end('{"ok":true}');
  });
  const client = createAwsClient({
    credentials,
    endpointUrl: url,
    clock,
    outbound: { allowPrivateHosts: false },
  });
  const path = `/2015-03-31/functions/${encodeURIComponent('arn:aws:lambda:eu-west-1:1:function:x')}/invocations`;
  const answer = await client.post({
    arn,
    path,
    headers: { 'x-amz-log-type': 'None' },
    body: '{"Ä":"ö"}',
    ...limits,
  });
  await client.post({ arn, path, body: new Uint8Array([1, 2, 255]), ...limits });
  expect(answer.body.toString()).toBe('{"ok":true}');
  expect(faults).toEqual([undefined, undefined]);
});

test('a wrong secret does not verify', async () => {
  let fault: string | undefined;
  const url = await service((request, body, response) => {
    fault = signatureFault(request, body, {
      ...credentials,
      secretAccessKey: 'x',
      service: 'lambda',
      region: 'eu-west-1',
    });
    response.end();
  });
  const client = createAwsClient({
    credentials,
    endpointUrl: url,
    clock,
    outbound: { allowPrivateHosts: false },
  });
  await client.post({ arn, body: '{}', ...limits });
  expect(fault).toMatch(/does not match/);
});

test('answers that are too large or too late end the request', async () => {
  const url = await service((request, _body, response) => {
    if (request.url === '/large') response.end('x'.repeat(2_000));
  });
  const client = createAwsClient({
    credentials,
    endpointUrl: url,
    clock,
    outbound: { allowPrivateHosts: false },
  });
  await expect(client.post({ arn, path: '/large', body: '{}', ...limits })).rejects.toMatchObject({
    reason: 'too_large',
  });
  const late = client.post({ arn, path: '/late', body: '{}', ...limits, timeoutMs: 100 });
  await expect(late).rejects.toBeInstanceOf(OutboundError);
  await expect(late).rejects.toMatchObject({ reason: 'timeout' });
});

test('reads ARNs and refuses what is none', () => {
  expect(parseAwsArn('arn:aws-cn:kinesis:cn-north-1:123456789012:stream/clicks')).toEqual({
    partition: 'aws-cn',
    service: 'kinesis',
    region: 'cn-north-1',
    accountId: '123456789012',
    resource: 'stream/clicks',
  });
  for (const text of ['', 'lambda', 'arn:aws:s3:::bucket', 'arn:aws:lambda:x/../y:123456789012:function:f'])
    expect(parseAwsArn(text)).toBeUndefined();
});
