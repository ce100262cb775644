import { createHash, createHmac, randomUUID } from 'node:crypto';
import { DeleteEndpointCommand, GetUserEndpointsCommand } from '@aws-sdk/client-pinpoint';
import { describe, expect, test } from 'vitest';
import { operationModels } from '../packages/server/src/edge/aws/model.ts';
import { callWithKey, event, type Shop, startShops } from './publishable-keys-support.ts';
import { sendSigned } from './support/signed-request.ts';

/**
 * What somebody may try who took a publishable key out of a web page. Each test is an attack; `victim` is an endpoint or
 * user that is not the attacker's.
 */
const { product, open } = await startShops();
const port = Number(new URL(product.url).port);

/** The endpoint as it was; an attack must leave it so. */
async function unchanged(shop: Shop, endpointId: string, attack: () => Promise<unknown>): Promise<void> {
  const before = await shop.read(endpointId);
  const events = await shop.eventTypes();
  await attack();
  expect(await shop.read(endpointId)).toEqual(before);
  expect(await shop.eventTypes()).toEqual(events);
}

async function withVictim(): Promise<{ shop: Shop; victim: string }> {
  const shop = await open();
  const victim = randomUUID();
  await shop.backendUpdate(victim, {
    ChannelType: 'EMAIL',
    Address: 'victim@example.com',
    User: { UserId: 'victim', UserAttributes: { plan: ['gold'] } },
  });
  return { shop, victim };
}

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

describe('users', () => {
  test('nobody becomes a user without the proof', async () => {
    const { shop } = await withVictim();
    const other = await open();
    const own = await shop.makeEndpoint();
    const User = { UserId: 'victim' };
    const proofs = [
      undefined,
      '',
      'x',
      shop.prove('attacker'),
      shop.prove('victim').slice(1),
      shop.prove('victim\0'),
      other.prove('victim'),
      createHmac('sha256', shop.key).update('victim').digest('hex'),
    ];
    for (const proof of proofs) {
      const options = { token: own.token, ...(proof === undefined ? {} : { proof }) };
      expect((await shop.updateEndpoint(own.id, { User }, options)).status).toBe(403);
      const put = await shop.putEvent(own.id, { ...options, endpoint: { User } });
      expect(put.body.Results[own.id].EndpointItemResponse.StatusCode).toBe(403);
      for (const [type, message] of [
        ['identify', { anonymousId: own.id, userId: 'victim', traits: { plan: 'none' } }],
        ['track', { anonymousId: own.id, userId: 'victim', event: 'x' }],
        ['group', { anonymousId: own.id, userId: 'victim', groupId: 'admins' }],
        ['alias', { previousId: own.id, userId: 'victim' }],
      ] as const) {
        expect([type, (await shop.segment(type, message, options)).status]).toEqual([type, 403]);
      }
      const made = await shop.updateEndpoint(randomUUID(), { User }, proof === undefined ? {} : { proof });
      expect(made.status).toBe(403);
    }
    expect((await shop.read(own.id)).User).toBeUndefined();
    const command = new GetUserEndpointsCommand({ ApplicationId: shop.app, UserId: 'victim' });
    const { EndpointsResponse } = await product.client().send(command);
    expect(EndpointsResponse!.Item).toHaveLength(1);
    expect(EndpointsResponse!.Item![0]!.User!.UserAttributes).toEqual({ plan: ['gold'] });
  });

  test('a proof ends with its secret', async () => {
    const shop = await open();
    const path = `/api/apps/${shop.app}/identity-secrets/${shop.secretId}`;
    expect((await product.request(path, { method: 'DELETE' })).status).toBe(204);
    const attempt = async () => {
      const options = { proof: shop.prove('ada') };
      return (await shop.updateEndpoint(randomUUID(), { User: { UserId: 'ada' } }, options)).status;
    };
    await expect.poll(attempt, { timeout: 5000 }).toBe(403);
  });

  test('attributes of a user are not changed from an endpoint of that user', async () => {
    const shop = await open();
    const { id } = await shop.makeEndpoint();
    await shop.backendUpdate(id, { User: { UserId: 'victim', UserAttributes: { plan: ['gold'] } } });
    const own = await shop.issueToken(id);
    for (const User of [
      { UserAttributes: { plan: ['none'] } },
      { UserAttributes: { plan: [] } },
      { UserId: 'victim', UserAttributes: { plan: ['none'] } },
      { UserId: 'attacker', UserAttributes: { plan: ['none'] } },
    ]) {
      expect((await shop.updateEndpoint(id, { User }, { token: own })).status).toBe(403);
      const proof = shop.prove('attacker');
      if (User.UserId !== 'attacker') {
        expect((await shop.updateEndpoint(id, { User }, { token: own, proof })).status).toBe(403);
      }
    }
    const traits = { plan: 'none' };
    const identify = { anonymousId: id, userId: 'victim', traits };
    expect((await shop.segment('identify', identify, { token: own })).status).toBe(403);
    expect((await shop.segment('identify', { anonymousId: id, traits }, { token: own })).status).toBe(200);
    expect((await shop.read(id)).User).toEqual({ UserId: 'victim', UserAttributes: { plan: ['gold'] } });
  });

  test('alias and group reach no other user', async () => {
    const { shop, victim } = await withVictim();
    const proof = shop.prove('attacker');
    await unchanged(shop, victim, async () => {
      const merge = { previousId: 'victim', userId: 'attacker' };
      expect((await shop.segment('alias', merge, { proof })).status).toBe(400);
      const take = { previousId: victim, userId: 'attacker' };
      expect((await shop.segment('alias', take, { proof })).status).toBe(403);
    });
  });

  test('nobody holds the endpoint of a person whom he got to use an id of his own', async () => {
    const shop = await open();
    const fixed = await shop.makeEndpoint();
    await shop.backendUpdate(fixed.id, { User: { UserId: 'victim' } });
    await unchanged(shop, fixed.id, async () => {
      for (const proof of [undefined, shop.prove('attacker')]) {
        const options = { token: fixed.token, ...(proof === undefined ? {} : { proof }) };
        const push = { ChannelType: 'GCM', Address: 'attacker' };
        expect((await shop.updateEndpoint(fixed.id, push, options)).status).toBe(403);
        expect((await shop.updateEndpoint(fixed.id, { User: { UserId: '' } }, options)).status).toBe(403);
        expect((await shop.putEvent(fixed.id, options)).status).toBe(403);
        const path = `/v1/apps/${shop.app}/endpoints/${fixed.id}/inappmessages`;
        expect((await shop.call({ path, method: 'GET', ...options })).status).toBe(403);
        const track = { anonymousId: fixed.id, event: 'x' };
        expect((await shop.segment('track', track, options)).status).toBe(403);
      }
    });
    // The person whose endpoint it is now gets a token of it, by the proof that comes with the login.
    const proof = shop.prove('victim');
    const next = await shop.putEvent(fixed.id, { token: fixed.token, proof });
    expect(next.status).toBe(202);
    expect((await shop.putEvent(fixed.id, { token: next.token })).status).toBe(202);
    expect((await shop.putEvent(fixed.id, { token: fixed.token })).status).toBe(403);
  });

  test('nobody pushes endpoints out of a full user', async () => {
    const shop = await open();
    for (let count = 0; count < 15; count++) {
      await shop.backendUpdate(`device-${count}`, {
        ChannelType: 'GCM',
        Address: `t${count}`,
        User: { UserId: 'victim' },
      });
    }
    const endpoint = { ChannelType: 'GCM', Address: 'mine', User: { UserId: 'victim' } };
    const proof = shop.prove('attacker');
    const put = await shop.putEvent(randomUUID(), { endpoint, proof });
    expect(
      Object.values<{ EndpointItemResponse: object }>(put.body.Results)[0]!.EndpointItemResponse,
    ).toMatchObject({ StatusCode: 403 });
    for (let count = 0; count < 15; count++) {
      expect(await shop.read(`device-${count}`)).toMatchObject({
        EndpointStatus: 'ACTIVE',
        User: { UserId: 'victim' },
      });
    }
  });
});

describe('addresses', () => {
  test.each(['EMAIL', 'SMS', 'VOICE', 'CUSTOM'])('no %s address without a proof', async (ChannelType) => {
    const shop = await open();
    const Address = ChannelType === 'EMAIL' ? 'victim@example.com' : '+14155550123';
    const { id, token: own } = await shop.makeEndpoint();
    const attempts: object[] = [
      { ChannelType, Address },
      { ChannelType },
      { Address },
      { Address, EndpointStatus: 'ACTIVE', OptOut: 'NONE' },
    ];
    for (const request of attempts) {
      expect((await shop.updateEndpoint(id, request, { token: own })).status).toBe(403);
      expect((await shop.updateEndpoint(randomUUID(), request)).status).toBe(403);
      const put = await shop.putEvent(id, { endpoint: request, token: own });
      expect(put.body.Results[id].EndpointItemResponse.StatusCode).toBe(403);
    }
    const lower = { ChannelType: ChannelType.toLowerCase(), Address };
    expect((await shop.updateEndpoint(id, lower, { token: own })).status).toBe(400);
    // In two steps: an address that push may have, then another channel for it.
    expect((await shop.updateEndpoint(id, { ChannelType: 'GCM', Address }, { token: own })).status).toBe(202);
    expect((await shop.updateEndpoint(id, { ChannelType }, { token: own })).status).toBe(403);
    expect(await shop.read(id)).toMatchObject({ ChannelType: 'GCM' });
    const device = {
      context: { device: { token: Address, type: ChannelType } },
      anonymousId: id,
      event: 'x',
    };
    expect((await shop.segment('track', device, { token: own })).status).toBe(200);
    expect(await shop.read(id)).toMatchObject({ ChannelType: 'GCM' });
  });

  test('no endpoint is made of the traits email and phone without a proof', async () => {
    const shop = await open();
    const traits = { email: 'victim@example.com', phone: '+14155550123' };
    const anonymousId = randomUUID();
    const made = await shop.segment('identify', { anonymousId, traits });
    expect(made).toMatchObject({ status: 200, body: { warnings: [{ index: 0 }, { index: 0 }] } });
    const { rows } = await product.database.query(
      `select from endpoints where application_id = $1 and (channel is not null or address is not null)`,
      [shop.app],
    );
    expect(rows).toHaveLength(0);
  });

  test('a proven user does not change the mail endpoint that another door made', async () => {
    const shop = await open();
    await shop.backendUpdate('user:ada:email', {
      ChannelType: 'EMAIL',
      Address: 'ada@example.com',
      User: { UserId: 'ada' },
    });
    const identify = { anonymousId: randomUUID(), userId: 'ada', traits: { email: 'x@example.com' } };
    const answer = await shop.segment('identify', identify, { proof: shop.prove('ada') });
    expect(answer).toMatchObject({ status: 200, body: { warnings: [{ index: 0 }] } });
    expect((await shop.read('user:ada:email')).Address).toBe('ada@example.com');
  });

  test('the mail endpoint of an app is not turned, silenced or woken without a proof', async () => {
    const shop = await open();
    const { id } = await shop.makeEndpoint();
    await shop.backendUpdate(id, {
      ChannelType: 'EMAIL',
      Address: 'victim@example.com',
      OptOut: 'ALL',
      EndpointStatus: 'INACTIVE',
      User: { UserId: 'victim' },
    });
    const own = await shop.issueToken(id);
    for (const request of [
      { Address: 'attacker@example.com' },
      { Address: '' },
      { ChannelType: 'GCM', Address: 'token' },
      { ChannelType: 'GCM' },
      { OptOut: 'NONE' },
      { EndpointStatus: 'ACTIVE' },
    ]) {
      const { status } = await shop.updateEndpoint(id, request, { token: own });
      expect([request, status]).toEqual([request, 403]);
    }
    expect((await shop.updateEndpoint(id, { Attributes: { a: ['1'] } }, { token: own })).status).toBe(202);
    expect(await shop.read(id)).toMatchObject({
      Address: 'victim@example.com',
      OptOut: 'ALL',
      EndpointStatus: 'INACTIVE',
      Attributes: { a: ['1'] },
    });
  });

  test('nobody takes an address away from the endpoint that has it', async () => {
    const shop = await open();
    await shop.backendUpdate('phone', { ChannelType: 'GCM', Address: 'push', User: { UserId: 'victim' } });
    await shop.backendUpdate('mail', {
      ChannelType: 'EMAIL',
      Address: 'victim@example.com',
      User: { UserId: 'victim' },
    });
    const attacker = { User: { UserId: 'attacker' } };
    const proof = shop.prove('attacker');
    const { id, token: own } = await shop.makeEndpoint({ endpoint: attacker, proof });
    for (const request of [
      { ChannelType: 'GCM', Address: 'push' },
      { ChannelType: 'GCM', Address: 'push', EndpointStatus: 'ACTIVE' },
      { ChannelType: 'EMAIL', Address: 'victim@example.com', ...attacker },
    ]) {
      expect((await shop.updateEndpoint(id, request, { token: own, proof })).status).toBe(202);
      expect((await shop.read(id)).EndpointStatus).toBe('INACTIVE');
      expect((await shop.updateEndpoint(id, {}, { token: own })).status).toBe(202);
      expect((await shop.putEvent(id, { token: own })).status).toBe(202);
      expect((await shop.read(id)).EndpointStatus).toBe('INACTIVE');
    }
    for (const endpoint of ['phone', 'mail']) {
      expect((await shop.read(endpoint)).EndpointStatus).toBe('ACTIVE');
    }
    // The user's own new device does take it over, as Pinpoint has it.
    const endpoint = { ChannelType: 'GCM', Address: 'push', User: { UserId: 'victim' } };
    const next = await shop.makeEndpoint({ endpoint, proof: shop.prove('victim') });
    expect((await shop.read(next.id)).EndpointStatus).toBe('ACTIVE');
    expect((await shop.read('phone')).EndpointStatus).toBe('INACTIVE');
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
