import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { testDatabase } from '../../../../../tests/support/database.ts';
import {
  type RawRequest,
  type SignOptions,
  sendSigned,
  sign,
} from '../../../../../tests/support/signed-request.ts';
import { wireServer } from '../../../../../tests/support/wire.ts';
import { CallerError } from '../../platform/errors.ts';
import type { OperationHandlers, OperationInput } from './operation.ts';

const database = await testDatabase();
let endpoint: OperationInput<'UpdateEndpoint'>['EndpointRequest'] | undefined;
const handlers: OperationHandlers = {
  CreateApp: async ({ CreateApplicationRequest: { Name, tags } }) => ({
    ApplicationResponse: { Arn: 'arn', Id: 'id', Name, tags, Invented: 'not modelled' },
  }),
  GetApp: async ({ ApplicationId }) => {
    if (ApplicationId === 'conflict') throw new CallerError('conflict', 'in use');
    if (ApplicationId === 'down') throw Object.assign(new Error('refused'), { code: 'ECONNREFUSED' });
    throw new Error('secret detail');
  },
  UpdateEndpoint: async ({ EndpointRequest }, ctx) => {
    endpoint = EndpointRequest;
    return { MessageBody: { Message: 'Accepted', RequestID: ctx.requestId } };
  },
  PutEvents: async () => ({ EventsResponse: {} }),
  CreateCampaign: async () => ({ CampaignResponse: undefined }),
  GetJourneyDateRangeKpi: async ({ StartTime }) => ({
    JourneyDateRangeKpiResponse: {
      ApplicationId: 'a',
      EndTime: new Date(0),
      JourneyId: 'j',
      KpiName: 'k',
      KpiResult: { Rows: [] },
      StartTime,
    },
  }),
  UpdateEmailTemplate: async ({ CreateNewVersion }) => ({
    MessageBody: { Message: String(CreateNewVersion) },
  }),
  UntagResource: async ({ TagKeys }) => {
    throw new CallerError('bad_request', TagKeys.join('|'));
  },
};
const server = await wireServer({ database, handlers });
const signer: SignOptions = { key: server.key, port: server.port };

async function call(method: string, path: string, body?: unknown) {
  const request: RawRequest = { method, path };
  if (body !== undefined) {
    request.body = typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body);
    // Node's client sends neither length nor chunks with the body of a DELETE by itself.
    request.headers = { 'content-length': String(Buffer.byteLength(request.body)) };
  }
  const reply = await sendSigned(request, signer);
  const json = reply.text === '' ? undefined : JSON.parse(reply.text);
  return { ...reply, json, type: reply.headers['x-amzn-errortype'] };
}

const refusals: [string, unknown, string][] = [
  ['nothing', undefined, '$: expected a body with a JSON object (CreateApplicationRequest)'],
  ['null', 'null', '$: expected a body with a JSON object (CreateApplicationRequest)'],
  ['an array', [], '$: expected an object, not an array'],
  ['a string', '"x"', '$: expected an object, not "x"'],
  ['half a JSON', '{"Name":', '$: the body is not JSON'],
  ['two values', '{} {}', '$: the body is not JSON'],
  ['not UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d]), '$: the body is not UTF-8'],
  [
    'deep JSON',
    `{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`,
    '$: the JSON nests deeper than 64 levels',
  ],
  ['no name', {}, '$.Name: this member is required'],
  ['a null name', { Name: null }, '$.Name: this member is required'],
  ['a name of the prototype', '{"__proto__":{"Name":"x"}}', '$.Name: this member is required'],
  ['a number', { Name: 5 }, '$.Name: expected a string, not 5'],
  ['an object', { Name: {} }, '$.Name: expected a string, not an object'],
  ['NUL', { Name: 'a\u0000' }, '$.Name: the character NUL (U+0000) cannot be stored'],
  ['half a surrogate pair', '{"Name":"\\ud800"}', '$.Name: the text holds half a surrogate pair'],
  ['NUL in a key', { Name: 'x', tags: { 'a\u0000': 'b' } }, '$.tags["a\\u0000"]: the character NUL'],
  ['half a pair in a key', '{"Name":"x","tags":{"\\udc00":"b"}}', '$.tags["\ufffd"]: the text holds half'],
  ['a wrong tag', { Name: 'x', tags: { a: ['b'] } }, '$.tags.a: expected a string, not an array'],
];

test.each(refusals)('a body that is %s is refused with the place', async (_, body, message) => {
  const { status, json, type, headers } = await call('POST', '/v1/apps', body);
  expect([status, type]).toEqual([400, 'BadRequestException']);
  expect(json.Message).toContain(message);
  expect(json.RequestID).toBe(headers['x-amzn-requestid']);
});

test('values of other kinds are refused with the place', async () => {
  const cases: [unknown, string][] = [
    [
      { Schedule: { StartTime: 'IMMEDIATE', Frequency: 'OFTEN' } },
      '$.Schedule.Frequency: expected one of DAILY, EVENT',
    ],
    [{ Schedule: {} }, '$.Schedule.StartTime: this member is required'],
    [{ HoldoutPercent: '5' }, '$.HoldoutPercent: expected a number, not "5"'],
    [{ HoldoutPercent: 0.5 }, '$.HoldoutPercent: expected a whole number'],
    [{ Priority: 2 ** 31 }, '$.Priority: expected a whole number of at most 32 bits'],
    ['{"Priority":1e999}', '$.Priority: expected a number of ordinary size'],
    [{ IsPaused: 'true' }, '$.IsPaused: expected true or false, not "true"'],
    [{ AdditionalTreatments: {} }, '$.AdditionalTreatments: expected an array, not an object'],
    [{ AdditionalTreatments: [{}] }, '$.AdditionalTreatments[0].SizePercent: this member is required'],
    [{ AdditionalTreatments: [null] }, '$.AdditionalTreatments[0]: expected an object, not null'],
    [
      { CustomDeliveryConfiguration: { DeliveryUri: 'x', EndpointTypes: ['FAX'] } },
      '$.CustomDeliveryConfiguration.EndpointTypes[0]: expected one of ADM,',
    ],
  ];
  for (const [body, message] of cases) {
    const { status, json } = await call('POST', '/v1/apps/x/campaigns', body);
    expect([status, json.Message]).toEqual([400, expect.stringContaining(message)]);
  }
});

test('attributes keep null, take a bare string, and have no reserved names', async () => {
  const body =
    '{"Attributes":{"FirstName":"Wang","Gone":null,"__proto__":["p"],"constructor":["c"]},"Metrics":{"age":4.5,"old":null},"User":{"UserId":"u","UserAttributes":{"Gone":null}},"Unknown":{"deep":[1]},"OptOut":null}';
  expect((await call('PUT', '/v1/apps/x/endpoints/e', body)).status).toBe(202);
  expect(JSON.stringify(endpoint)).toBe(
    '{"Attributes":{"FirstName":["Wang"],"Gone":null,"__proto__":["p"],"constructor":["c"]},"Metrics":{"age":4.5,"old":null},"User":{"UserAttributes":{"Gone":null},"UserId":"u"}}',
  );
  expect(Object.getPrototypeOf(endpoint!.Attributes)).toBeNull();
  const { json } = await call('PUT', '/v1/apps/x/endpoints/e', { Attributes: { a: 5 } });
  expect(json.Message).toBe('$.Attributes.a: expected an array, not 5');
});

test('the reply holds only what is modelled, and any tag', async () => {
  const { status, text, headers } = await call(
    'POST',
    '/v1/apps',
    '{"Name":"a","Name":"b","tags":{"__proto__":"x"}}',
  );
  expect([status, headers['content-type']]).toEqual([201, 'application/json']);
  expect(text).toBe('{"Arn":"arn","Id":"id","Name":"b","tags":{"__proto__":"x"}}');
  expect((await call('POST', '/v1/apps', '\ufeff{"Name":"after a BOM"}')).status).toBe(201);
});

test('times and switches in the query are parsed', async () => {
  const path = '/v1/apps/a/journeys/j/kpis/daterange/k';
  const { json } = await call('GET', `${path}?start-time=2026-11-21T08%3A00%3A00%2B01%3A00`);
  expect([json.StartTime, json.EndTime]).toEqual(['2026-11-21T07:00:00.000Z', '1970-01-01T00:00:00.000Z']);
  for (const time of ['yesterday', '0000-01-01T00:00:00Z', '2026-13-01T00:00:00Z', '2026-11-21']) {
    const refused = await call('GET', `${path}?start-time=${encodeURIComponent(time)}`);
    expect(refused.json.Message).toBe('start-time: expected a time such as 2026-11-21T08:00:00Z');
  }
  const template = (query: string) => call('PUT', `/v1/templates/t/email?${query}`, {});
  expect((await template('create-new-version=true')).json.Message).toBe('true');
  expect((await template('create-new-version=yes')).json.Message).toBe(
    'create-new-version: expected true or false',
  );
  expect((await template('version=1&version=2')).json.Message).toContain('version: expected this query');
  expect((await template('version=%00')).json.Message).toContain('version: the character NUL');
  expect((await template('version=%')).json.Message).toBe('The query holds a broken percent code');
  expect((await call('DELETE', '/v1/tags/x?tagKeys=a%20b&tagKeys=c%2Bd')).json.Message).toBe('a b|c+d');
  expect((await call('DELETE', '/v1/tags/x')).json.Message).toBe('tagKeys: this query parameter is required');
  expect((await call('GET', `/v1/apps/${'x'.repeat(2001)}`)).json.Message).toBe(
    'ApplicationId: expected at most 2000 bytes',
  );
});

test('errors have the types and statuses that clients know', async () => {
  expect(await call('GET', '/v1/apps/conflict')).toMatchObject({ status: 409, type: 'ConflictException' });
  expect(await call('GET', '/v1/apps/down')).toMatchObject({
    status: 503,
    type: 'ServiceUnavailableException',
  });
  const failed = await call('GET', '/v1/apps/x');
  expect(failed).toMatchObject({ status: 500, type: 'InternalServerErrorException' });
  expect(failed.text).not.toContain('secret detail');
  expect(await call('PATCH', '/v1/apps')).toMatchObject({ status: 405, type: 'MethodNotAllowedException' });
  expect(await call('GET', '/v1/nothing')).toMatchObject({ status: 404, type: 'NotFoundException' });
  expect(await call('GET', '/v1/recommenders')).toMatchObject({
    status: 501,
    type: 'NotImplementedException',
  });
});

test('bodies up to the limit pass, larger ones are answered 413 without reading them', async () => {
  const padded = (bytes: number) => `{"Name":"x","Unknown":"${'y'.repeat(bytes - 25)}"}`;
  expect((await call('POST', '/v1/apps', padded(7 * 1024 * 1024))).status).toBe(201);
  expect(await call('POST', '/v1/apps', padded(7 * 1024 * 1024 + 1))).toMatchObject({
    status: 413,
    type: 'PayloadTooLargeException',
  });
  expect((await call('POST', '/v1/apps', padded(20 * 1024 * 1024))).status).toBe(413);
  expect((await call('POST', '/v1/apps/x/events', padded(4 * 1024 * 1024 + 1))).status).toBe(413);
  // Only headers: the answer does not wait for the 8 GB that they announce.
  const announced: RawRequest = {
    method: 'POST',
    path: '/v1/apps',
    headers: { 'content-length': '8589934592' },
  };
  const reply = await firstLine(announced);
  expect(reply).toBe('HTTP/1.1 413 Payload Too Large');
});

test('a stranger is refused before the body comes, and a client that goes away is no harm', async () => {
  const post: RawRequest = { method: 'POST', path: '/v1/apps', headers: { 'content-length': '1000000' } };
  const stranger = { ...signer, key: { id: 'AKIASTRANGER', secret: 'x' } };
  expect(await firstLine(post, stranger)).toBe('HTTP/1.1 403 Forbidden');
  for (let attempt = 0; attempt < 20; attempt++) {
    const socket = connect(server.port, '127.0.0.1');
    await new Promise((resolve) => socket.once('connect', resolve));
    socket.write(head(post, signer));
    socket.write('{"Name":', () => socket.destroy());
    await new Promise((resolve) => socket.once('close', resolve));
  }
  expect((await call('POST', '/v1/apps', { Name: 'still there' })).status).toBe(201);
});

test('bodies that are announced and never come hold up nobody', async () => {
  const post: RawRequest = { method: 'POST', path: '/v1/apps', headers: { 'content-length': '7000000' } };
  const sockets = await Promise.all(
    Array.from({ length: 60 }, async () => {
      const socket = connect(server.port, '127.0.0.1');
      await new Promise((resolve) => socket.once('connect', resolve));
      await new Promise((resolve) => socket.write(`${head(post, signer)}{`, resolve));
      return socket;
    }),
  );
  const large = { Name: 'large', Unknown: 'y'.repeat(6_000_000) };
  expect((await call('POST', '/v1/apps', large)).status).toBe(201);
  for (const socket of sockets) socket.destroy();
});

test('signed headers count with all of their values, whatever other headers are called', async () => {
  const signed = sign({ method: 'GET', path: '/v1/apps/conflict', headers: { 'x-twice': 'a,b c' } }, signer);
  const lines = Object.entries(signed).filter(([name]) => name !== 'x-twice');
  const ask = async (more: [string, string][]) => {
    const head = [...lines, ...more].map(([name, value]) => `${name}: ${value}\r\n`).join('');
    const socket = connect(server.port, '127.0.0.1');
    socket.end(`GET /v1/apps/conflict HTTP/1.1\r\n${head}connection: close\r\n\r\n`);
    let reply = '';
    for await (const chunk of socket) reply += chunk;
    return Number(reply.slice(9, 12));
  };
  expect(await ask([['X-Twice', 'a,b c']])).toBe(409);
  const twice: [string, string][] = [
    ['X-Twice', ' a'],
    ['__proto__', 'x'],
    ['x-twice', 'b   c '],
    ['__PROTO__', 'y'],
  ];
  expect(await ask(twice)).toBe(409);
  expect(await ask([['x-twice', 'a'], ...twice])).toBe(403);
  expect(await ask([['constructor', 'x']])).toBe(403);
});

function head(request: RawRequest, options: SignOptions): string {
  const lines = Object.entries(sign(request, options)).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${request.method} ${request.path} HTTP/1.1\r\n${lines.join('')}\r\n`;
}

function firstLine(request: RawRequest, options = signer): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(server.port, '127.0.0.1');
    socket.on('error', reject);
    socket.once('data', (data) => {
      socket.destroy();
      resolve(data.toString().split('\r\n')[0]!);
    });
    socket.write(head(request, options));
  });
}
