import { randomUUID } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { operationModels } from '../packages/server/src/edge/aws/model.ts';
import { callWithKey, event, startShops } from './publishable-keys-support.ts';
import { sendSigned } from './support/signed-request.ts';

/**
 * What somebody may try who took a publishable key out of a web page. Each test is an attack; `victim` is an endpoint or
 * user that is not the attacker's.
 */
const { product, open, withVictim } = await startShops();
const port = Number(new URL(product.url).port);

describe('operations', () => {
  const allowed = ['PutEvents', 'UpdateEndpoint', 'GetInAppMessages'];
  test.each(['bearer', 'signed'])('no other operation of the Pinpoint API: %s', async (how) => {
    const { shop, victim } = await withVictim();
    for (const model of operationModels.values()) {
      if (allowed.includes(model.name)) continue;
      const path = model.path
        .replace('{ApplicationId}', shop.app)
        .replace('{EndpointId}', victim)
        .replace('{UserId}', 'victim')
        .replace(/\{[^}]+\}/g, 'x');
      const hasBody = model.method === 'POST' || model.method === 'PUT';
      const request = { method: model.method, path };
      const key = { id: shop.key, secret: shop.key };
      const { status } =
        how === 'bearer'
          ? await callWithKey(product.url, shop.key, { ...request, body: hasBody ? {} : undefined })
          : await sendSigned({ ...request, ...(hasBody ? { body: '{}' } : {}) }, { key, port });
      expect([model.name, status]).toEqual([model.name, expect.toBeOneOf([403, 501])]);
    }
    expect(await shop.exists(victim)).toBe(true);
  });

  test('nothing of another application', async () => {
    const [shop, other] = [await open(), await open()];
    const id = randomUUID();
    const body = { BatchItem: { [id]: { Endpoint: {}, Events: { [randomUUID()]: event('visit') } } } };
    expect((await shop.call({ path: `/v1/apps/${other.app}/events`, body })).status).toBe(403);
    const path = `/v1/apps/${other.app}/endpoints/${id}`;
    expect((await shop.call({ path, method: 'PUT', body: {} })).status).toBe(403);
    expect((await shop.call({ path: `${path}/inappmessages`, method: 'GET' })).status).toBe(403);
    expect(await other.exists(id)).toBe(false);
  });

  test('nothing of the own API, the inbox and the documents behind it', async () => {
    const shop = await open();
    const basic = `Basic ${Buffer.from(`${shop.key}:${shop.key}`).toString('base64')}`;
    for (const path of [
      `/api/apps/${shop.app}/endpoints`,
      `/api/apps/${shop.app}/publishable-keys`,
      `/api/apps/${shop.app}/identity-secrets`,
      '/api/tokens',
      '/inbox',
    ]) {
      for (const authorization of [`Bearer ${shop.key}`, basic]) {
        const { status } = await shop.call({ path, method: 'GET', headers: { authorization } });
        expect([path, status]).toEqual([path, 401]);
      }
    }
  });

  test('nothing without a key, with an unknown one, or with one of another form', async () => {
    const shop = await open();
    const id = randomUUID();
    for (const authorization of [
      '',
      'Bearer pk_00000000000000000000000000000000',
      `Bearer ${shop.key}x`,
      `Bearer ${shop.key.toLowerCase()}`,
      'Basic !!!',
      `AWS4-HMAC-SHA256 Credential=${shop.key}/20261121/us-east-1/mobiletargeting/aws4_request`,
    ]) {
      expect((await shop.putEvent(id, { headers: { authorization } })).status).toBe(403);
    }
    const key = { id: shop.key, secret: 'a guess' };
    const request = { method: 'PUT', path: `/v1/apps/${shop.app}/endpoints/${id}`, body: '{}' };
    expect((await sendSigned(request, { key, port })).status).toBe(403);
    expect(await shop.exists(id)).toBe(false);
  });
});

describe('pages and rates', () => {
  test('pages of other origins get nothing, and do nothing', async () => {
    const shop = await open({ origins: ['https://shop.example.com'] });
    const id = randomUUID();
    for (const origin of ['https://evil.example.com', 'https://shop.example.com.evil.com', 'null']) {
      const answer = await shop.putEvent(id, { headers: { origin } });
      expect([origin, answer.status]).toEqual([origin, 403]);
      expect(answer.headers.get('access-control-allow-origin')).toBeNull();
      const track = await shop.segment('track', { anonymousId: id, event: 'x' }, { headers: { origin } });
      expect([origin, track.status]).toEqual([origin, 403]);
      expect(track.headers.get('access-control-allow-origin')).toBeNull();
    }
    expect(await shop.exists(id)).toBe(false);
    const good = await shop.putEvent(id, { headers: { origin: 'https://shop.example.com' } });
    expect(good.status).toBe(202);
    expect(good.headers.get('access-control-allow-origin')).toBe('https://shop.example.com');
    expect(good.headers.get('access-control-expose-headers')).toContain('x-postrider-endpoint-token');
    expect(good.headers.get('access-control-allow-credentials')).toBeNull();
  });

  test('pages may ask for what is theirs, and for nothing else', async () => {
    const shop = await open();
    const ask = async (path: string, method: string) => {
      const { status, headers } = await fetch(product.url + path, {
        method: 'OPTIONS',
        headers: {
          origin: 'https://shop.example.com',
          'access-control-request-method': method,
          'access-control-request-headers': 'authorization,x-postrider-endpoint-token',
        },
      });
      return [status, headers.get('access-control-allow-methods')];
    };
    const app = `/v1/apps/${shop.app}`;
    expect(await ask(`${app}/events`, 'POST')).toEqual([204, 'POST']);
    expect(await ask(`${app}/endpoints/x`, 'PUT')).toEqual([204, 'PUT']);
    expect(await ask(`${app}/endpoints/x/inappmessages`, 'GET')).toEqual([204, 'GET']);
    expect(await ask('/v1/track', 'POST')).toEqual([204, 'POST']);
    expect(await ask(`${app}/endpoints/x`, 'GET')).toEqual([405, null]);
    expect(await ask(`${app}/messages`, 'POST')).toEqual([405, null]);
    expect((await ask('/api/tokens', 'POST'))[1]).toBeNull();
  });

  test('one address is slowed down, and cannot say that it is another', async () => {
    const shop = await open({ addressRatePerSecond: 1 });
    const { id, token: own } = await shop.makeEndpoint();
    const answers = [];
    for (let count = 0; count < 12; count++) {
      const headers = { 'x-forwarded-for': `10.0.0.${count}` };
      answers.push(await shop.putEvent(id, { token: own, headers }));
    }
    const refused = answers.filter(({ status }) => status === 429);
    expect(refused.length).toBeGreaterThanOrEqual(1);
    expect(refused[0]!.headers.get('retry-after')).toBe('1');
    // By another door it is the same address.
    const segment = await shop.segment('track', { anonymousId: id, event: 'x' }, { token: own });
    expect([segment.status, segment.headers.get('retry-after')]).toEqual([429, '1']);
  });
});
