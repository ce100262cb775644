import { createHmac, randomUUID } from 'node:crypto';
import { GetUserEndpointsCommand } from '@aws-sdk/client-pinpoint';
import { describe, expect, test } from 'vitest';
import { startShops, unchanged } from './publishable-keys-support.ts';

/** Attacks as in publishable-keys-attacks.test.ts: those on users, and on addresses that messages go to. */
const { product, open, withVictim } = await startShops();

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
