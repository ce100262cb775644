import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { Webhook } from 'standardwebhooks';
import { afterEach, expect, test } from 'vitest';
import { signatureFault } from './aws-request.test-support.ts';
import { createAwsClient } from './aws-request.ts';
import { systemClock } from './clock.ts';
import {
  createRemoteFunctions,
  maxAnswerBytes,
  parseFunctionTarget,
  type RemoteFunctionsOptions,
} from './remote-function.ts';

const secret = `whsec_${Buffer.from('a secret of the tests of webhooks').toString('base64')}`;
const former = `whsec_${Buffer.from('the secret that was used before it').toString('base64')}`;
const credentials = { accessKeyId: 'AKIDTEST', secretAccessKey: 'a secret' };
const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

interface Got {
  url: string;
  headers: IncomingHttpHeaders;
  body: string;
  fault: string | undefined;
}

/** A receiver that keeps what it got and answers by the number of the request, from 1. */
async function receiver(answer: (response: ServerResponse, number: number, got: Got) => void) {
  const got: Got[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const fault = signatureFault(request, body, { ...credentials, service: 'lambda', region: 'eu-west-1' });
    got.push({ url: request.url!, headers: request.headers, body: body.toString(), fault });
    answer(response, got.length, got.at(-1)!);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return { got, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

const functions = (change: Partial<RemoteFunctionsOptions> = {}) =>
  createRemoteFunctions({
    outbound: { allowPrivateHosts: true },
    clock: systemClock,
    aws: undefined,
    region: 'eu-west-1',
    pauseMs: 1,
    ...change,
  });
const call = { id: 'msg_1', body: '{"Ä":1}', secrets: [secret, former] };
const target = (text: string) => parseFunctionTarget(text)!;

test('a receiver verifies the signature with the new secret and with the former one', async () => {
  const { got, url } = await receiver((response) => response.end('{}'));
  const answer = await functions().call(target(url), call);
  expect(answer).toMatchObject({ ok: true, tries: 1 });
  const headers = got[0]!.headers as Record<string, string>;
  for (const known of [secret, former])
    expect(new Webhook(known).verify(got[0]!.body, headers)).toEqual({ Ä: 1 });
  const stranger = new Webhook(Buffer.from('another secret').toString('base64'));
  expect(() => stranger.verify(got[0]!.body, headers)).toThrow();
  expect(() => new Webhook(secret).verify(`${got[0]!.body} `, headers)).toThrow();
});

test('speaks TLS, and only with a receiver whose certificate is right', async () => {
  const { testCertificate } = await import('../../../../tests/support/tls.ts');
  const server = createTlsServer(testCertificate, (_, response) => response.end('{}'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(() => void server.close());
  const { port } = server.address() as AddressInfo;
  const lookup = async () => [{ address: '127.0.0.1', family: 4 }];
  const outbound = { allowPrivateHosts: true, lookup };
  const trusting = functions({ outbound, ca: testCertificate.cert });
  expect(await trusting.call(target(`https://mail.example:${port}/`), call)).toMatchObject({ ok: true });
  for (const [caller, host] of [
    [functions({ outbound }), 'mail.example'],
    [trusting, 'other.example'],
  ] as const)
    expect(await caller.call(target(`https://${host}:${port}/`), call)).toMatchObject({
      ok: false,
      words: expect.stringMatching(/certificate|altnames/i),
    });
});

test('500 twice, then 200: three tries with one id', async () => {
  const { got, url } = await receiver((response, number) => {
    response.statusCode = number < 3 ? 500 : 200;
    response.end(`"${number}"`);
  });
  const answer = await functions().call(target(url), call);
  expect(answer).toMatchObject({ ok: true, tries: 3 });
  expect(answer.ok && answer.body.toString()).toBe('"3"');
  expect(got.map(({ headers }) => headers['webhook-id'])).toEqual(['msg_1', 'msg_1', 'msg_1']);
  for (const { body, headers } of got) new Webhook(secret).verify(body, headers as Record<string, string>);
});

test('gives up after three tries, and at once where trying again is no use', async () => {
  const { got, url } = await receiver((response, _, { url: path }) => {
    response.statusCode = Number(path.slice(1));
    response.end('not today');
  });
  expect(await functions().call(target(`${url}/503`), call)).toEqual({
    ok: false,
    tries: 3,
    why: 'answered',
    words: 'answered 503: not today',
  });
  expect(got).toHaveLength(3);
  expect(await functions().call(target(`${url}/404`), call)).toMatchObject({ ok: false, tries: 1 });
  expect(await functions().call(target(`${url}/302`), call)).toMatchObject({ ok: false, tries: 1 });
});

test('late and too large answers are failures with their reasons', async () => {
  const { url } = await receiver((response, _, { url: path }) => {
    if (path === '/large') response.end(Buffer.alloc(maxAnswerBytes + 1, 32));
  });
  expect(await functions({ timeoutMs: 50 }).call(target(`${url}/late`), call)).toMatchObject({
    ok: false,
    tries: 3,
    why: 'doubtful',
    words: expect.stringContaining('did not answer within 50 ms'),
  });
  expect(await functions().call(target(`${url}/large`), call)).toMatchObject({
    ok: false,
    tries: 1,
    words: expect.stringContaining('more than 6291456 bytes'),
  });
});

test('a host that is not there, or not allowed, has certainly received nothing', async () => {
  const { url } = await receiver((response) => response.end());
  for (const close of closing.splice(0)) await close();
  expect(await functions().call(target(url), call)).toMatchObject({
    ok: false,
    tries: 3,
    why: 'unreachable',
  });
  const outbound = { allowPrivateHosts: false };
  expect(await functions({ outbound }).call(target(url), call)).toMatchObject({
    ok: false,
    tries: 1,
    why: 'impossible',
    words: expect.stringContaining('loopback'),
  });
});

test('calls Lambda functions with a right signature, and tells a failed function', async () => {
  const { got, url } = await receiver((response, number) => {
    if (number === 1) response.setHeader('x-amz-function-error', 'Unhandled');
    response.end(number === 1 ? '{"errorMessage":"oh"}' : '{"a":{}}');
  });
  const outbound = { allowPrivateHosts: false };
  const aws = createAwsClient({ credentials, endpointUrl: url, clock: systemClock, outbound });
  const arn = 'arn:aws:lambda:eu-west-1:123456789012:function:sift:prod';
  const answer = await functions({ aws }).call(target(arn), call);
  expect(answer).toMatchObject({ ok: true, tries: 2 });
  expect(got.map(({ fault }) => fault)).toEqual([undefined, undefined]);
  expect(got[0]!.url).toBe(`/2015-03-31/functions/${encodeURIComponent(arn)}/invocations`);
  expect(got[0]!.body).toBe(call.body);
  const context = JSON.parse(
    Buffer.from(String(got[1]!.headers['x-amz-client-context']), 'base64').toString(),
  );
  expect(context).toEqual({ custom: { 'webhook-id': 'msg_1' } });
  await functions({ aws }).call(target('sift'), call);
  expect(got.at(-1)).toMatchObject({ url: '/2015-03-31/functions/sift/invocations', fault: undefined });
});

test('without AWS credentials a Lambda function is not called, and the words say so', async () => {
  expect(await functions().call(target('sift'), call)).toMatchObject({
    ok: false,
    why: 'impossible',
    words: expect.stringContaining('no AWS credentials'),
  });
});

test('an aborted call is not tried again', async () => {
  const { got, url } = await receiver(() => undefined);
  const abort = new AbortController();
  const answering = functions().call(target(url), { ...call, signal: abort.signal });
  await expect.poll(() => got.length).toBe(1);
  abort.abort();
  expect(await answering).toMatchObject({ ok: false, tries: 1, why: 'doubtful' });
});

test('reads what a target can be', () => {
  expect(target('https://a.example/x?y')).toMatchObject({ kind: 'url' });
  expect(target('http://localhost:1/x')).toMatchObject({ kind: 'url' });
  expect(target('123456789012:function:sift')).toMatchObject({ kind: 'lambda', arn: undefined });
  for (const text of [
    '',
    'http://a.example/',
    'http://localhost.example/',
    'https://user:password@a.example/',
    'ftp://a.example',
    'arn:aws:sns:eu-west-1:123456789012:topic',
    'a b',
    `https://a.example/${'x'.repeat(2048)}`,
  ])
    expect(parseFunctionTarget(text), text).toBeUndefined();
});
