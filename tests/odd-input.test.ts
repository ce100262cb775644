import { randomBytes, randomUUID } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { startShops } from './publishable-keys-support.ts';

const { product, open } = await startShops();
const shop = await open({ ratePerSecond: 100_000, addressRatePerSecond: 100_000 });

async function post(path: string, body: string | Buffer, headers: Record<string, string> = {}) {
  const response = await fetch(`${product.url}${path}`, {
    method: 'POST',
    body,
    headers: { authorization: `Bearer ${shop.key}`, 'content-type': 'application/json', ...headers },
  });
  return { status: response.status, text: await response.text() };
}

const doors = () => [
  `/v1/apps/${shop.app}/events`,
  ...['batch', 'identify', 'track', 'page', 'group', 'alias'].map((name) => `/v1/${name}`),
];

test('no bytes whatever make a 500', async () => {
  const nested = (depth: number, open: string, close: string) => open.repeat(depth) + close.repeat(depth);
  const bodies: (string | Buffer)[] = [
    '',
    ' ',
    'null',
    '1',
    '"x"',
    '[]',
    '{}',
    '{"',
    '\u0000',
    '\ud800',
    '{"batch":null}',
    '{"batch":[null,1,"x",[],{}]}',
    '{"BatchItem":null}',
    '{"BatchItem":[]}',
    '{"BatchItem":{"x":null}}',
    '{"__proto__":{"BatchItem":{}}}',
    nested(100_000, '[', ']'),
    nested(50_000, '{"a":', '}'),
    '1e400',
    '{"BatchItem":NaN}',
    '-',
    '{"a":-Infinity}',
    randomBytes(2_000),
    Buffer.from([0xff, 0xfe, 0x00]),
  ];
  const variants: Record<string, string>[] = [
    {},
    { 'content-encoding': 'gzip' },
    { 'content-type': 'text/plain' },
    { 'content-encoding': 'br' },
  ];
  const answers: [string, string, number][] = [];
  const ask = async (path: string, body: string | Buffer, headers: Record<string, string>) => {
    const { status, text } = await post(path, body, headers);
    answers.push([`${path} ${String(body).slice(0, 50)}`, text.slice(0, 200), status]);
  };
  for (const path of doors()) {
    for (const body of bodies) {
      const packed = gzipSync(body);
      await Promise.all([
        ...variants.map((headers) => ask(path, body, headers)),
        ask(path, packed, { 'content-encoding': 'gzip' }),
        ask(path, packed.subarray(0, packed.length - 3), { 'content-encoding': 'gzip' }),
      ]);
    }
  }
  expect(answers.filter(([, , status]) => status >= 500)).toEqual([]);
});

test('no value whatever makes a 500, and none stops a subscriber', async () => {
  const values = [
    '"\\u0000"',
    '"\\ud800"',
    '1e308',
    '-1e308',
    '5e-324',
    'null',
    'true',
    '[]',
    '{}',
    '[[[[1]]]]',
    '{"__proto__":{"a":1},"constructor":"x"}',
    `"${'x'.repeat(300_000)}"`,
    '"+275760-09-13T00:00:00Z"',
    '"-271821-04-20T00:00:00Z"',
    '-0',
    '9007199254740993',
  ];
  const fields = [
    'userId',
    'anonymousId',
    'messageId',
    'timestamp',
    'sentAt',
    'event',
    'name',
    'properties',
    'traits',
    'context',
    'groupId',
    'previousId',
    'type',
  ];
  for (const type of ['track', 'identify', 'alias']) {
    for (const field of fields) {
      await Promise.all(
        values.map(async (value) => {
          const message = {
            anonymousId: `"${randomUUID()}"`,
            messageId: `"${randomUUID()}"`,
            event: '"e"',
            groupId: '"g"',
            userId: type === 'alias' ? '"u"' : 'null',
            previousId: `"${randomUUID()}"`,
            [field]: value,
          };
          const members = Object.entries(message).map(([name, text]) => `"${name}":${text}`);
          const { status, text } = await post(`/v1/${type}`, `{${members.join(',')}}`);
          if (status >= 500) throw new Error(`${type} ${field} ${value.slice(0, 40)} ${text}`);
        }),
      );
    }
  }
  const event = (more: object) => ({ EventType: 'x', Timestamp: new Date().toISOString(), ...more });
  for (const more of [
    { EventType: 'x'.repeat(200_000) },
    { EventType: '__proto__' },
    { EventType: '' },
    { Timestamp: 1e300 },
    { Timestamp: '9999-12-31T23:59:59.999Z' },
    { Timestamp: -62135596800 },
    { Metrics: { a: 1e308, b: -1e308, c: 5e-324, __proto__: 3 } },
    { Attributes: JSON.parse('{"__proto__":"x","":"y"}') },
    {
      Session: {
        Id: 'x',
        StartTimestamp: '0001-01-01T00:00:00Z',
        StopTimestamp: '9999-12-31T23:59:59Z',
        Duration: 1e300,
      },
    },
    {
      Session: {
        Id: 's',
        StartTimestamp: '0001-01-01T00:00:00Z',
        StopTimestamp: '9999-12-31T23:59:59Z',
        Duration: 2147483647,
      },
    },
    {
      EventType: '_session.stop',
      Session: {
        Id: 's',
        StartTimestamp: '0001-01-01T00:00:00Z',
        StopTimestamp: '9999-12-31T23:59:59Z',
        Duration: 9007199254740991,
      },
    },
    { EventType: '_session.start', Session: { Id: 's2', StartTimestamp: '9999-12-31T00:00:00Z' } },
    { EventType: '_monetization.purchase', Metrics: { _item_price: 1e308, _quantity: 1e308 } },
    { EventType: '_monetization.purchase', Metrics: { _item_price: -1e15, _quantity: 1e-300 } },
    {
      EventType: '_monetization.purchase',
      Attributes: { _currency: 'x'.repeat(5000) },
      Metrics: { _item_price: 9e14, _quantity: 1 },
    },
    { Timestamp: '1970-01-01T00:00:00Z' },
    { Timestamp: '2100-01-01T00:00:00Z' },
    { AppTitle: 5 },
    { Attributes: [] },
    5,
    null,
  ]) {
    for (let n = 0; n < 3; n++) {
      const body = {
        BatchItem: {
          [randomUUID()]: {
            Endpoint: {},
            Events: { [randomUUID()]: more === null || typeof more === 'number' ? more : event(more) },
          },
        },
      };
      const { status, text } = await post(`/v1/apps/${shop.app}/events`, JSON.stringify(body));
      if (status >= 500) throw new Error(`${JSON.stringify(more).slice(0, 100)} ${text}`);
      expect(text.length).toBeLessThan(5_000);
    }
  }
  // What came of it: nothing is parked, and every figure goes on.
  await expect
    .poll(
      async () => {
        const { rows } = await product.database.query(
          'select name from log_subscribers where position < (select position from log_head)',
        );
        return rows;
      },
      { timeout: 60_000, interval: 500 },
    )
    .toEqual([]);
  const parked = await product.database.query('select subscriber, fact, error from log_parked_facts');
  expect(
    parked.rows.map(
      (row) => `${row.subscriber} ${JSON.stringify(row.fact).slice(0, 300)} ${row.error.slice(0, 500)}`,
    ),
  ).toEqual([]);
  const day = (at: number) => new Date(at).toISOString().slice(0, 10);
  const [from, to] = [day(Date.now() - 20 * 86_400_000), day(Date.now())];
  for (const query of [
    `usage?from=${from}&to=${to}`,
    `revenue?from=${from}&to=${to}`,
    `event-counts?from=${from}&to=${to}`,
    `retention?from=${from}&to=${to}`,
  ]) {
    const { status } = await product.request(`/api/apps/${shop.app}/analytics/${query}`);
    expect([query, status]).toEqual([query, 200]);
  }
}, 120_000);
