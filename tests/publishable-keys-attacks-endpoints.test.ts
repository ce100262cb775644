import { createHash, createHmac, randomUUID } from 'node:crypto';
import { DeleteEndpointCommand } from '@aws-sdk/client-pinpoint';
import { describe, expect, test } from 'vitest';
import { event, type Shop, startShops, unchanged } from './publishable-keys-support.ts';

/** Attacks as in publishable-keys-attacks.test.ts: those on endpoints that are not the attacker's. */
const { product, open, withVictim } = await startShops();

describe("other people's endpoints", () => {
  test('are not touched without their token, by any door', async () => {
    const { shop, victim } = await withVictim();
    const own = await shop.makeEndpoint();
    for (const token of [undefined, own.token]) {
      await unchanged(shop, victim, async () => {
        const attributes = { Attributes: { taken: ['yes'] } };
        expect((await shop.updateEndpoint(victim, attributes, { token })).status).toBe(403);
        expect((await shop.updateEndpoint(victim, { OptOut: 'ALL' }, { token })).status).toBe(403);
        expect((await shop.updateEndpoint(victim, { EndpointStatus: 'INACTIVE' }, { token })).status).toBe(
          403,
        );
        expect((await shop.putEvent(victim, { token, endpoint: attributes })).status).toBe(403);
        expect((await shop.putEvent(victim, { token })).status).toBe(403);
        const path = `/v1/apps/${shop.app}/endpoints/${victim}/inappmessages`;
        expect((await shop.call({ path, method: 'GET', token })).status).toBe(403);
        for (const [type, message] of [
          ['track', { anonymousId: victim, event: 'forged' }],
          ['page', { anonymousId: victim }],
          ['screen', { anonymousId: victim }],
          ['identify', { anonymousId: victim, traits: { taken: 'yes' } }],
          ['group', { anonymousId: victim, groupId: 'g' }],
          ['alias', { previousId: victim, userId: 'attacker' }],
          ['batch', { batch: [{ type: 'track', anonymousId: victim, event: 'forged' }] }],
        ] as const) {
          const answer = await shop.segment(type, message, { token });
          expect([type, answer.status, answer.token]).toEqual([type, 403, undefined]);
        }
      });
    }
  });

  test('even the person who is proven needs the token of an endpoint that the backend made', async () => {
    const { shop, victim } = await withVictim();
    const proof = shop.prove('victim');
    await unchanged(shop, victim, async () => {
      expect((await shop.updateEndpoint(victim, { Address: 'x@example.com' }, { proof })).status).toBe(403);
    });
  });

  test('tokens are of one endpoint, one key and one life', async () => {
    const [shop, other] = [await open(), await open()];
    const { id, token } = await shop.makeEndpoint();
    const inOther = await other.makeEndpoint();
    const flipped = `${token.slice(0, -2)}${token.endsWith('AA') ? 'BB' : 'AA'}`;
    const guessed = `et_${createHmac('sha256', shop.key).update(`${shop.app} ${id}`).digest('base64url')}`;
    for (const wrong of [inOther.token, token.slice(0, -1), `${token}A`, flipped, guessed, 'et_', '']) {
      expect([wrong, (await shop.putEvent(id, { token: wrong })).status]).toEqual([wrong, 403]);
    }
    expect((await other.putEvent(inOther.id, { token })).status).toBe(403);
    const DeleteEndpoint = new DeleteEndpointCommand({ ApplicationId: shop.app, EndpointId: id });
    await product.client().send(DeleteEndpoint);
    await shop.backendUpdate(id, { ChannelType: 'EMAIL', Address: 'new-owner@example.com' });
    await unchanged(shop, id, async () => {
      expect((await shop.putEvent(id, { token })).status).toBe(403);
      expect((await shop.updateEndpoint(id, { Attributes: { a: ['b'] } }, { token })).status).toBe(403);
    });
  });

  test('the first request of a former life brings no token', async () => {
    const shop = await open();
    const [id, eventId] = [randomUUID(), randomUUID()];
    expect((await shop.putEvent(id, { eventId })).token).toBeDefined();
    const DeleteEndpoint = new DeleteEndpointCommand({ ApplicationId: shop.app, EndpointId: id });
    await product.client().send(DeleteEndpoint);
    await product.database.query(
      `update endpoint_creations set created_at = created_at - interval '1 hour' where endpoint_id = $1`,
      [id],
    );
    await shop.backendUpdate(id, { ChannelType: 'GCM', Address: 'new-owner' });
    expect(await shop.putEvent(id, { eventId })).toMatchObject({ status: 403, token: undefined });
  });

  test('nobody takes ids that the backend is going to use', async () => {
    const shop = await open();
    const hex = createHash('sha1').update('user-42').digest('hex');
    const named = `${hex.slice(0, 8)}-${hex.slice(8, 12)}-5${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
    const ids = [
      'user-42',
      'user:victim',
      'user:victim:email',
      'ada@example.com',
      '../../x',
      '__proto__',
      '00000000-0000-0000-0000-000000000000',
      named,
      `${randomUUID()}x`,
      ` ${randomUUID()}`,
    ];
    for (const id of ids) {
      expect([id, (await shop.updateEndpoint(id, {})).status]).toEqual([id, 400]);
      expect([id, (await shop.segment('track', { anonymousId: id, event: 'x' })).status]).toEqual([id, 400]);
      expect([id, await shop.exists(id)]).toEqual([id, false]);
    }
    const body = `{"BatchItem":{"user-42":{"Endpoint":{},"Events":{"${randomUUID()}":${JSON.stringify(event('visit'))}}}}}`;
    const put = await fetch(`${product.url}/v1/apps/${shop.app}/events`, {
      method: 'POST',
      headers: { authorization: `Bearer ${shop.key}` },
      body,
    });
    expect(put.status).toBe(400);
    expect((await shop.segment('track', { userId: 'victim', event: 'x' })).status).toBe(400);
    expect(await shop.exists('user:victim')).toBe(false);
  });

  test('one request is about one endpoint', async () => {
    const shop = await open();
    const { id, token } = await shop.makeEndpoint();
    const item = () => ({ Endpoint: {}, Events: { [randomUUID()]: event('visit') } });
    const body = { BatchItem: { [id]: item(), [randomUUID()]: item() } };
    expect((await shop.call({ path: `/v1/apps/${shop.app}/events`, body, token })).status).toBe(400);
  });

  test('an imitated first request brings no token', async () => {
    const shop = await open();
    const [id, eventId] = [randomUUID(), randomUUID()];
    const headers = { 'idempotency-key': randomUUID() };
    await shop.putEvent(id, { eventId, headers });
    const imitations: { eventId?: string; headers?: Record<string, string> }[] = [
      {},
      { eventId: randomUUID() },
      { headers: { 'idempotency-key': randomUUID() } },
      { headers: { 'amz-sdk-invocation-id': eventId } },
    ];
    for (const options of imitations) {
      expect(await shop.putEvent(id, options)).toMatchObject({ status: 403, token: undefined });
    }
    // Known by another endpoint's or another key's first request: not by this one's.
    expect((await shop.makeEndpoint({ headers })).token).toBeDefined();
    const next = await product.json<{ id: string }>(`/api/apps/${shop.app}/publishable-keys`, {
      method: 'POST',
      json: { name: 'next' },
    });
    const authorization = `Bearer ${next.id}`;
    expect((await shop.putEvent(id, { eventId, headers: { ...headers, authorization } })).status).toBe(403);
  });

  test('a first request with event ids that can be guessed cannot be imitated', async () => {
    const shop = await open();
    const id = randomUUID();
    expect((await shop.putEvent(id, { eventId: '1' })).token).toBeDefined();
    expect(await shop.putEvent(id, { eventId: '1' })).toMatchObject({ status: 403, token: undefined });
    const other = randomUUID();
    expect((await shop.updateEndpoint(other, {})).token).toBeDefined();
    expect(await shop.updateEndpoint(other, {})).toMatchObject({ status: 403, token: undefined });
    const short = { headers: { 'idempotency-key': '1' } };
    const third = randomUUID();
    expect((await shop.updateEndpoint(third, {}, short)).token).toBeDefined();
    expect((await shop.updateEndpoint(third, {}, short)).status).toBe(403);
  });

  test('a replay of events that the backend put brings no token', async () => {
    const shop = await open();
    const [id, eventId] = [randomUUID(), randomUUID()];
    const body = { BatchItem: { [id]: { Endpoint: {}, Events: { [eventId]: event('visit') } } } };
    const headers = {
      authorization: `Bearer ${(await token(shop)).token}`,
      'content-type': 'application/json',
    };
    const track = { type: 'track', anonymousId: id, event: 'visit', messageId: eventId };
    const put = await fetch(`${product.url}/v1/track`, {
      method: 'POST',
      headers,
      body: JSON.stringify(track),
    });
    expect(put.status).toBe(200);
    expect(await shop.call({ path: `/v1/apps/${shop.app}/events`, body })).toMatchObject({
      status: 403,
      token: undefined,
    });
    expect(await shop.segment('track', track)).toMatchObject({ status: 403, token: undefined });
  });
});

function token(shop: Shop): Promise<{ token: string }> {
  const scopes = { applications: [shop.app], actions: ['*'], buckets: [] };
  return product.json('/api/tokens', { method: 'POST', json: { name: 't', scopes } });
}
