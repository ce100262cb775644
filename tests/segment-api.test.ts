import { randomUUID } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { Analytics } from '@segment/analytics-node';
import { describe, expect, test } from 'vitest';
import type { EventPayload } from '../packages/server/src/audience/index.ts';
import { type Shop, startShops } from './publishable-keys-support.ts';

const { product, open } = await startShops();

/** A shop whose backend has a secret write key. */
async function openWithWriteKey(scopes: object = {}) {
  const shop = await open();
  const { token } = await product.json<{ token: string }>('/api/tokens', {
    method: 'POST',
    json: {
      name: 'segment',
      scopes: { applications: [shop.app], actions: ['mobiletargeting:PutEvents'], buckets: [], ...scopes },
    },
  });
  const send = async (type: string, body: unknown, headers: Record<string, string> = {}) => {
    const response = await fetch(`${product.url}/v1/${type}`, {
      method: 'POST',
      headers: { authorization: `Basic ${Buffer.from(`${token}:`).toString('base64')}`, ...headers },
      body: typeof body === 'string' || body instanceof Uint8Array ? (body as string) : JSON.stringify(body),
    });
    return {
      status: response.status,
      headers: response.headers,
      body: (await response.json()) as Record<string, unknown>,
    };
  };
  return { ...shop, writeKey: token, send };
}

interface StoredEvent {
  type: string;
  endpointId: string;
  occurredAt: number;
  payload: EventPayload;
}

async function eventsOf(shop: Pick<Shop, 'app'>): Promise<StoredEvent[]> {
  const { rows } = await product.database.query<StoredEvent>(
    `select substr(type, 7) as type, endpoint_id as "endpointId", payload,
       floor(extract(epoch from occurred_at) * 1000)::int8 as "occurredAt"
     from events where application_id = $1 and type like 'event.%' order by occurred_at, payload ->> 'id'`,
    [shop.app],
  );
  return rows;
}

function analytics(writeKey: string, options: Record<string, unknown> = {}) {
  const client = new Analytics({ writeKey, host: product.url, flushAt: 20, maxRetries: 2, ...options });
  const errors: unknown[] = [];
  client.on('error', (error) => errors.push(error));
  return { client, errors };
}

describe('@segment/analytics-node', () => {
  test('puts calls of every kind, which come out right', async () => {
    const shop = await openWithWriteKey();
    const { client, errors } = analytics(shop.writeKey);
    const anonymousId = randomUUID();
    client.track({
      anonymousId,
      event: 'Product Viewed',
      properties: {
        sku: 'a-1',
        price: 9.5,
        sale: true,
        address: { city: 'Berlin' },
        tags: ['x', 'y'],
        gone: null,
      },
      context: { locale: 'de-DE', timezone: 'Europe/Berlin', os: { name: 'iOS', version: '18.1' } },
    });
    client.identify({
      anonymousId,
      userId: 'ada',
      traits: { name: 'Ada', age: 36, email: 'ada@example.com', phone: '+49 30 1234567', roles: ['a', 'b'] },
    });
    client.group({ userId: 'ada', anonymousId, groupId: 'acme', traits: { plan: 'pro', seats: 3 } });
    client.page({ userId: 'ada', anonymousId, name: 'Home', properties: { path: '/' } });
    client.screen({ userId: 'ada', anonymousId, name: 'Start' });
    const earlier = randomUUID();
    client.track({ anonymousId: earlier, event: 'Install' });
    client.alias({ previousId: earlier, userId: 'ada' });
    client.track({ userId: 'bob', event: 'Invoice Paid', properties: { amount: 10 } });
    await client.closeAndFlush();
    expect(errors).toEqual([]);

    expect(await shop.read(anonymousId)).toMatchObject({
      Demographic: { Locale: 'de_DE', Timezone: 'Europe/Berlin', Platform: 'iOS', PlatformVersion: '18.1' },
      Metrics: { age: 36 },
      User: {
        UserId: 'ada',
        UserAttributes: {
          name: ['Ada'],
          age: ['36'],
          roles: ['a', 'b'],
          groupId: ['acme'],
          'group.plan': ['pro'],
          'group.seats': ['3'],
        },
      },
    });
    expect((await shop.read(earlier)).User?.UserId).toBe('ada');
    expect(await shop.read('user:ada:email')).toMatchObject({
      ChannelType: 'EMAIL',
      Address: 'ada@example.com',
      User: { UserId: 'ada' },
    });
    expect(await shop.read('user:ada:sms')).toMatchObject({ ChannelType: 'SMS', Address: '+49301234567' });
    expect((await shop.read('user:bob')).User?.UserId).toBe('bob');

    const events = await eventsOf(shop);
    expect(events.map(({ type }) => type).sort()).toEqual(
      ['Install', 'Invoice Paid', 'Product Viewed', 'alias', 'group', 'identify', 'page', 'screen'].sort(),
    );
    const viewed = events.find(({ type }) => type === 'Product Viewed')!;
    expect(viewed.endpointId).toBe(anonymousId);
    expect(viewed.payload).toMatchObject({
      attributes: { sku: 'a-1', sale: 'true', 'address.city': 'Berlin', tags: 'x,y' },
      metrics: { price: 9.5 },
      app: { sdkName: '@segment/analytics-node' },
      source: 'segment',
    });
    expect(viewed.payload.userId).toBeUndefined();
    const page = events.find(({ type }) => type === 'page')!;
    expect(page.payload).toMatchObject({ userId: 'ada', attributes: { name: 'Home', path: '/' } });
    const paid = events.find(({ type }) => type === 'Invoice Paid')!;
    expect(paid).toMatchObject({
      endpointId: 'user:bob',
      payload: { userId: 'bob', metrics: { amount: 10 } },
    });
  });

  test('sends again what it got no answer to, and it counts once', async () => {
    const shop = await openWithWriteKey();
    let attempts = 0;
    const httpClient = async (url: string, options: RequestInit) => {
      const response = await fetch(url, options);
      attempts++;
      if (attempts === 1) throw new Error('the answer is lost');
      return response;
    };
    const { client, errors } = analytics(shop.writeKey, { httpClient });
    for (let count = 0; count < 5; count++) client.track({ userId: 'ada', event: `e${count}` });
    await client.closeAndFlush();
    expect([attempts, errors]).toEqual([2, []]);
    expect(await shop.eventTypes()).toEqual(['e0', 'e1', 'e2', 'e3', 'e4']);
  });

  test('waits as long as it is told when it is too fast', async () => {
    const shop = await open({ ratePerSecond: 1, addressRatePerSecond: 1 });
    const statuses: number[] = [];
    const anonymousId = randomUUID();
    const { client, errors } = analytics(shop.key, { flushAt: 1, maxRetries: 10 });
    client.on('http_response', ({ status }) => statuses.push(status));
    const { token } = await shop.putEvent(anonymousId);
    const context = { postrider: { endpointToken: token } };
    for (let count = 0; count < 5; count++) client.track({ anonymousId, event: `e${count}`, context });
    await client.closeAndFlush({ timeout: 30_000 });
    expect(errors).toEqual([]);
    expect(statuses).toContain(429);
    expect(await shop.eventTypes()).toEqual(['e0', 'e1', 'e2', 'e3', 'e4', 'visit']);
  }, 40_000);

  test('is told when the write key is wrong', async () => {
    const { client, errors } = analytics('pr_nothing');
    client.track({ userId: 'ada', event: 'x' });
    await client.closeAndFlush();
    expect(errors).toHaveLength(1);
  });
});

describe('the publishable key as write key', () => {
  test('makes the endpoint of an anonymous id with the first call of a batch, and the others follow', async () => {
    const shop = await open();
    const anonymousId = randomUUID();
    const batch = ['a', 'b', 'c'].map((event) => ({
      type: 'track',
      anonymousId,
      event,
      messageId: randomUUID(),
    }));
    const first = await shop.call({ path: '/v1/batch', body: { batch, writeKey: shop.key } });
    expect(first).toMatchObject({
      status: 200,
      token: expect.stringMatching(/^et_/),
      body: { success: true },
    });
    expect(first.body.endpointTokens).toEqual({ [anonymousId]: first.token });
    // Sent again, as when the answer was lost, also in other batches.
    const again = await shop.call({ path: '/v1/batch', body: { batch: batch.slice(1), writeKey: shop.key } });
    expect(again).toMatchObject({ status: 200, token: first.token });
    expect(await shop.eventTypes()).toEqual(['a', 'b', 'c']);
    const next = { anonymousId, event: 'd' };
    expect((await shop.segment('track', next)).status).toBe(403);
    const context = { postrider: { endpointToken: first.token } };
    expect((await shop.segment('track', { ...next, context })).status).toBe(200);
  });

  test('identifies a proven user, whose mail address becomes an endpoint', async () => {
    const shop = await open();
    const anonymousId = randomUUID();
    const { token } = await shop.segment('page', { anonymousId, name: 'Home' });
    const context = { postrider: { endpointToken: token, identityProof: shop.prove('ada') } };
    const traits = { email: 'ada@example.com', plan: 'free' };
    const identify = await shop.segment('identify', { anonymousId, userId: 'ada', traits, context });
    const mailToken = expect.stringMatching(/^et_/);
    expect(identify.body).toEqual({
      success: true,
      endpointTokens: { [anonymousId]: identify.token, 'user:ada:email': mailToken },
    });
    expect((await shop.read(anonymousId)).User).toMatchObject({ UserAttributes: { plan: ['free'] } });
    expect((await shop.read('user:ada:email')).Address).toBe('ada@example.com');
    // Another address needs the token of the mail endpoint, too.
    const tokens = Object.values<string>(identify.body.endpointTokens).join(',');
    const change = { anonymousId, userId: 'ada', traits: { email: 'new@example.com' } };
    for (const [endpointToken, Address] of [
      [identify.token, 'ada@example.com'],
      [tokens, 'new@example.com'],
    ]) {
      const postrider = { endpointToken, identityProof: shop.prove('ada') };
      expect((await shop.segment('identify', { ...change, context: { postrider } })).status).toBe(200);
      expect((await shop.read('user:ada:email')).Address).toBe(Address);
    }
    // From now on the library names the user in each call.
    const later = { postrider: { endpointToken: identify.token } };
    const track = { anonymousId, userId: 'ada', event: 'x', context: later };
    expect((await shop.segment('track', track)).status).toBe(200);
  });

  test('is taken from the body, as browsers send it without asking before', async () => {
    const shop = await open();
    const body = { anonymousId: randomUUID(), event: 'x', writeKey: shop.key, messageId: randomUUID() };
    const response = await fetch(`${product.url}/v1/t`, { method: 'POST', body: JSON.stringify(body) });
    expect(response.status).toBe(200);
    expect(await shop.eventTypes()).toEqual(['x']);
  });
});

describe('clocks', () => {
  test('a client whose clock is wrong is right by what it says of its sending', async () => {
    const shop = await openWithWriteKey();
    const now = Date.now();
    const wrong = (ms: number) => new Date(now - 3 * 86_400_000 + ms).toISOString();
    await shop.send('batch', {
      sentAt: wrong(0),
      batch: [{ type: 'track', userId: 'ada', event: 'x', timestamp: wrong(-60_000) }],
    });
    const [event] = await eventsOf(shop);
    expect(event!.occurredAt - (now - 60_000)).toBeLessThan(5_000);
    expect(event!.occurredAt - (now - 60_000)).toBeGreaterThanOrEqual(0);
  });

  test('without sentAt the timestamp is believed; without both it is now', async () => {
    const shop = await openWithWriteKey();
    const timestamp = new Date(Date.now() - 3_600_000).toISOString();
    await shop.send('track', { userId: 'ada', event: 'old', timestamp });
    await shop.send('track', { userId: 'ada', event: 'new', timestamp: 'yesterday' });
    const [old, fresh] = await eventsOf(shop);
    expect([old!.type, old!.occurredAt]).toEqual(['old', Date.parse(timestamp)]);
    expect(fresh!.occurredAt).toBeGreaterThan(Date.now() - 10_000);
  });
});

describe('mapping', () => {
  test('an order is a purchase, too', async () => {
    const shop = await openWithWriteKey();
    const properties = {
      order_id: 'o-1',
      revenue: '19.90',
      total: 25,
      currency: 'EUR',
      products: [{ sku: 'a', quantity: 2 }],
    };
    await shop.send('track', { userId: 'ada', event: 'Order Completed', properties, messageId: 'm-1' });
    await shop.send('track', { userId: 'ada', event: 'Order Completed', properties, messageId: 'm-1' });
    const events = await eventsOf(shop);
    expect(events.map(({ type, payload }) => [type, payload.id])).toEqual([
      ['Order Completed', 'm-1'],
      ['_monetization.purchase', 'm-1:purchase'],
    ]);
    expect(events[0]!.payload).toMatchObject({
      attributes: { revenue: '19.90', 'products.0.sku': 'a' },
      metrics: { total: 25, 'products.0.quantity': 2 },
    });
    expect(events[1]!.payload).toMatchObject({
      attributes: { _currency: 'EUR', _transaction_id: 'o-1' },
      metrics: { _item_price: 19.9, _quantity: 1 },
    });
  });

  test('traits of somebody unknown are attributes of the endpoint; a push token is its address', async () => {
    const shop = await openWithWriteKey();
    const anonymousId = randomUUID();
    const context = {
      device: { manufacturer: 'Google', model: 'Pixel 9', token: 'push-token', type: 'android' },
      app: { name: 'Shop', version: '2.1', build: '77', namespace: 'com.example.shop' },
      location: { country: 'de', city: 'Berlin', latitude: 52.5, longitude: 13.4 },
      ip: '203.0.113.7',
      sessionId: 1700000000000,
    };
    await shop.send('identify', { anonymousId, traits: { plan: 'free', visits: 3 }, context });
    const endpoint = await shop.read(anonymousId);
    expect(endpoint).toMatchObject({
      ChannelType: 'GCM',
      Address: 'push-token',
      Attributes: { plan: ['free'] },
      Metrics: { visits: 3 },
      Demographic: { Make: 'Google', Model: 'Pixel 9', AppVersion: '2.1' },
      Location: { Country: 'DE', City: 'Berlin', Latitude: 52.5, Longitude: 13.4 },
    });
    expect(JSON.stringify(endpoint)).not.toContain('203.0.113.7');
    const [identify] = await eventsOf(shop);
    expect(identify!.payload).toMatchObject({
      session: { id: '1700000000000' },
      app: { packageName: 'com.example.shop', title: 'Shop', versionCode: '77' },
    });
  });

  test('alias of one user to another moves the endpoints', async () => {
    const shop = await openWithWriteKey();
    await shop.send('track', { userId: 'old-name', anonymousId: 'device-1', event: 'x' });
    await shop.send('track', { userId: 'old-name', anonymousId: 'device-2', event: 'x' });
    await shop.send('alias', { previousId: 'old-name', userId: 'new-name' });
    for (const id of ['device-1', 'device-2']) {
      expect((await shop.read(id)).User?.UserId).toBe('new-name');
    }
    expect(await shop.exists('old-name')).toBe(false);
  });
});

describe('what is wrong is said', () => {
  test('call by call, and the others are kept', async () => {
    const shop = await openWithWriteKey();
    const good = { type: 'track', userId: 'ada', event: 'good' };
    const { status, body } = await shop.send('batch', {
      batch: [
        good,
        null,
        'x',
        {},
        { type: 'delete', userId: 'ada' },
        { type: 'track', userId: 'ada' },
        { type: 'track', event: 'nobody' },
        { type: 'alias', userId: 'ada' },
        { type: 'group', userId: 'ada' },
        { type: 'track', userId: 'a\0b', event: 'x' },
        { type: 'track', userId: 'ada', event: 'y'.repeat(300), messageId: 'long' },
        { type: 'track', userId: 'ada', event: 'big', properties: { x: 'y'.repeat(33_000) } },
        { type: 'track', userId: { id: 1 }, event: 'x' },
        { ...good, userId: 42 },
      ],
    });
    expect([status, body.success, body.accepted]).toEqual([200, true, 2]);
    const rejected = body.rejected as { index: number; status: number; messageId: string; message: string }[];
    expect(rejected.map(({ index, status: code }) => [index, code])).toEqual(
      [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12].map((index) => [index, 400]),
    );
    expect(rejected[9]).toMatchObject({
      messageId: 'long',
      message: 'event: expected at most 256 characters',
    });
    expect(await shop.eventTypes()).toEqual(['good', 'good']);
  });

  test('what is left out or cut of a call', async () => {
    const shop = await openWithWriteKey();
    const properties = {
      [`n${'x'.repeat(300)}`]: 1,
      long: 'ä'.repeat(9_000),
      'half\ud800': 1,
      nul: 'a\0b',
    };
    const json = JSON.stringify({ userId: 'ada', event: 'x', properties }).replace(
      '"nul"',
      '"__proto__":{"inner":"kept"},"constructor":"kept","nul"',
    );
    const { status, body } = await shop.send('track', json);
    expect(status).toBe(200);
    expect((body.warnings as { message: string }[]).map(({ message }) => message)).toEqual([
      expect.stringContaining('longer than 256'),
      'long: cut to 8192 characters',
      'a name with U+0000 or half a surrogate pair is left out',
      'nul: characters that cannot be stored are replaced',
    ]);
    const [event] = await eventsOf(shop);
    const attributes = new Map(Object.entries(event!.payload.attributes!));
    expect(attributes.get('__proto__.inner')).toBe('kept');
    expect(attributes.get('constructor')).toBe('kept');
    expect(attributes.get('nul')).toBe('a\ufffdb');
  });

  test('requests that are none, too large, or bombs', async () => {
    const shop = await openWithWriteKey();
    const gzip = { 'content-encoding': 'gzip' };
    const packed = gzipSync(JSON.stringify({ userId: 'ada', event: 'packed' }));
    expect((await shop.send('track', packed, gzip)).status).toBe(200);
    for (const [body, headers] of [
      ['', {}],
      ['[]', {}],
      ['{', {}],
      ['{"batch":{}}', {}],
      ['{"batch":"x"}', {}],
      ['['.repeat(100_000), {}],
      [JSON.stringify({ batch: Array(2_501).fill({}) }), {}],
      ['x'.repeat(600_000), {}],
      [gzipSync('x'.repeat(600_000)), gzip],
      [gzipSync(Buffer.alloc(100_000_000)), gzip],
      ['no gzip', gzip],
      [packed, { 'content-encoding': 'br' }],
    ] as const) {
      const answer = await shop.send('batch', body, headers);
      expect([String(body).slice(0, 20), answer.status, answer.body.success]).toEqual([
        String(body).slice(0, 20),
        400,
        false,
      ]);
    }
    expect(await shop.eventTypes()).toEqual(['packed']);
    expect((await fetch(`${product.url}/v1/batch`)).status).toBe(405);
    expect((await shop.send('batch', { batch: [] })).status).toBe(200);
  });

  test('requests are in the metrics', async () => {
    const shop = await openWithWriteKey();
    await shop.send('screen', { userId: 'ada', name: 'Start' });
    const metrics = await (await fetch(`${product.url}/metrics`)).text();
    expect(metrics).toMatch(/postrider_requests_total\{operation="segment.screen",status="200"[^}]*\} \d/);
  });

  test('keys that may not', async () => {
    const [shop, readOnly, everything] = [
      await openWithWriteKey(),
      await openWithWriteKey({ actions: ['mobiletargeting:Get*'] }),
      await openWithWriteKey({ applications: '*' }),
    ];
    const call = { userId: 'ada', event: 'x' };
    expect((await readOnly.send('track', call)).status).toBe(403);
    expect((await everything.send('track', call)).status).toBe(403);
    const none = await fetch(`${product.url}/v1/track`, { method: 'POST', body: JSON.stringify(call) });
    expect(none.status).toBe(401);
    const accessKey = `Basic ${Buffer.from(`${product.key.id}:${product.key.secret}`).toString('base64')}`;
    expect((await shop.send('track', call, { authorization: accessKey })).status).toBe(401);
    expect(await everything.eventTypes()).toEqual([]);
  });
});
