import { randomUUID } from 'node:crypto';
import {
  DeleteAppCommand,
  GetEndpointCommand,
  PinpointClient,
  PutEventsCommand,
  UpdateEndpointCommand,
} from '@aws-sdk/client-pinpoint';
import { expect, test } from 'vitest';
import { event, startShops } from './publishable-keys-support.ts';

const { product, open } = await startShops();

test('makes an endpoint, gets its token, and goes on with it', async () => {
  const shop = await open();
  const id = randomUUID();
  const made = await shop.putEvent(id);
  expect(made).toMatchObject({ status: 202, token: expect.stringMatching(/^et_[\w-]{51}$/) });
  const { token } = made;
  const push = { ChannelType: 'GCM', Address: 'device-token', Attributes: { plan: ['free'] } };
  expect(await shop.updateEndpoint(id, push)).toMatchObject({ status: 403 });
  expect(await shop.updateEndpoint(id, push, { token })).toMatchObject({ status: 202, token });
  expect(await shop.read(id)).toMatchObject({ Address: 'device-token', Attributes: { plan: ['free'] } });
  expect(await shop.putEvent(id)).toMatchObject({ status: 403 });
  expect(await shop.putEvent(id, { token })).toMatchObject({
    status: 202,
    body: { Results: { [id]: { EndpointItemResponse: { StatusCode: 202 } } } },
  });
  expect(await shop.eventTypes()).toEqual(['visit', 'visit']);
});

test('UpdateEndpoint makes an endpoint, too, and a token among several is found', async () => {
  const shop = await open();
  const [first, second] = [await shop.makeEndpoint(), await shop.makeEndpoint()];
  const made = await shop.updateEndpoint(randomUUID(), { Demographic: { Make: 'x' } });
  expect(made).toMatchObject({ status: 202, token: expect.stringMatching(/^et_/) });
  const token = `${first.token}, ${second.token}`;
  expect(await shop.putEvent(second.id, { token })).toMatchObject({ status: 202, token: second.token });
});

test('the request whose answer was lost gets the token again', async () => {
  const shop = await open();
  const [id, eventId] = [randomUUID(), randomUUID()];
  const first = await shop.putEvent(id, { eventId });
  expect(await shop.putEvent(id, { eventId })).toMatchObject({ status: 202, token: first.token });
  expect(await shop.eventTypes()).toEqual(['visit']);
  for (const [headers, body] of [
    [{ 'idempotency-key': randomUUID() }, {}],
    [{ 'amz-sdk-invocation-id': randomUUID() }, {}],
    [{}, { RequestId: randomUUID() }],
  ] as const) {
    const other = randomUUID();
    const made = await shop.updateEndpoint(other, body, { headers });
    expect(await shop.updateEndpoint(other, body, { headers })).toMatchObject({
      status: 202,
      token: made.token,
    });
  }
});

test('a proven user gets a mail address; without a proof the same endpoint goes on', async () => {
  const shop = await open();
  const User = { UserId: 'ada', UserAttributes: { name: ['Ada'] } };
  const { id, token } = await shop.makeEndpoint({ endpoint: { User }, proof: shop.prove('ada') });
  const mail = { ChannelType: 'EMAIL', Address: 'ada@example.com', OptOut: 'NONE' };
  expect((await shop.updateEndpoint(id, mail, { token, proof: shop.prove('ada') })).status).toBe(202);
  // What is there already may be said again.
  const again = { ...mail, User: { UserId: 'ada' }, Attributes: { seen: ['today'] } };
  expect(await shop.updateEndpoint(id, again, { token })).toMatchObject({ status: 202 });
  expect(await shop.read(id)).toMatchObject({
    ...mail,
    Attributes: { seen: ['today'] },
    User: { UserId: 'ada', UserAttributes: { name: ['Ada'] } },
  });
  expect((await shop.updateEndpoint(id, { User: { UserId: '' } }, { token })).status).toBe(202);
  expect((await shop.read(id)).User).toBeUndefined();
});

test('works in the JS SDK, whose id and secret are both the publishable key', async () => {
  const shop = await open();
  const client = new PinpointClient({
    endpoint: product.url,
    region: 'us-east-1',
    credentials: { accessKeyId: shop.key, secretAccessKey: shop.key },
    maxAttempts: 1,
  });
  let token = '';
  client.middlewareStack.add(
    (next) => async (args) => {
      const { headers } = args.request as { headers: Record<string, string> };
      if (token) headers['x-postrider-endpoint-token'] = token;
      headers['x-postrider-identity-proof'] = shop.prove('ada');
      const result = await next(args);
      const answer = result.response as { headers: Record<string, string> };
      token = answer.headers['x-postrider-endpoint-token'] ?? token;
      return result;
    },
    { step: 'build', name: 'postrider' },
  );
  const [ApplicationId, id] = [shop.app, randomUUID()];
  const Endpoint = { User: { UserId: 'ada' } };
  const put = () => {
    const BatchItem = { [id]: { Endpoint, Events: { [randomUUID()]: event('visit') } } };
    return client.send(new PutEventsCommand({ ApplicationId, EventsRequest: { BatchItem } }));
  };
  await put();
  expect(token).toMatch(/^et_/);
  await put();
  const EndpointRequest = { ChannelType: 'EMAIL' as const, Address: 'ada@example.com' };
  await client.send(new UpdateEndpointCommand({ ApplicationId, EndpointId: id, EndpointRequest }));
  expect(await shop.read(id)).toMatchObject({ Address: 'ada@example.com', User: { UserId: 'ada' } });
  expect(await shop.eventTypes()).toEqual(['visit', 'visit']);
  await expect(client.send(new GetEndpointCommand({ ApplicationId, EndpointId: id }))).rejects.toMatchObject({
    name: 'ForbiddenException',
  });
  client.destroy();
});

test('a beacon says in its query what others say in headers', async () => {
  const shop = await open();
  const { id, token } = await shop.makeEndpoint();
  const body = { BatchItem: { [id]: { Endpoint: {}, Events: { [randomUUID()]: event('_session.stop') } } } };
  const send = async (query: string) => {
    const url = `${product.url}/v1/apps/${shop.app}/events/legacy?${query}`;
    const headers = { 'content-type': 'text/plain;charset=UTF-8' };
    return (await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) })).status;
  };
  expect(await send(`key=${shop.key}`)).toBe(403);
  expect(await send(`endpoint-token=${token}`)).toBe(403);
  expect(await send(`key=${shop.key}&endpoint-token=${token}`)).toBe(202);
  expect(await shop.eventTypes()).toEqual(['_session.stop', 'visit']);
});

test('the backend hands out the token of an endpoint that it made', async () => {
  const shop = await open();
  await shop.backendUpdate('made-by-the-backend', { Attributes: { a: ['1'] } });
  const issue = (endpointId: string) =>
    product.request(`/api/apps/${shop.app}/endpoint-tokens`, { method: 'POST', json: { endpointId } });
  const { token } = (await (await issue('made-by-the-backend')).json()) as { token: string };
  expect((await shop.updateEndpoint('made-by-the-backend', { Metrics: { n: 1 } }, { token })).status).toBe(
    202,
  );
  expect((await issue('nobody')).status).toBe(404);
});

test('devices move to a new key with the first answer, before the old one is revoked', async () => {
  const shop = await open();
  const { id, token } = await shop.makeEndpoint();
  const path = `/api/apps/${shop.app}/publishable-keys`;
  const next = await product.json<{ id: string }>(path, { method: 'POST', json: { name: 'next' } });
  const headers = { authorization: `Bearer ${next.id}` };
  const moved = await shop.putEvent(id, { token, headers });
  expect(moved).toMatchObject({ status: 202, token: expect.not.stringMatching(token) });
  expect((await product.request(`${path}/${shop.key}`, { method: 'DELETE' })).status).toBe(204);
  await expect
    .poll(async () => (await shop.putEvent(id, { token, headers })).status, { timeout: 5000 })
    .toBe(403);
  expect((await shop.putEvent(id, { token: moved.token, headers })).status).toBe(202);
  expect((await shop.putEvent(id, { token: moved.token })).status).toBe(403);
});

test('keys are listed, changed and bounded; what is wrong with one is said', async () => {
  const shop = await open();
  const path = `/api/apps/${shop.app}/publishable-keys`;
  const change = (json: unknown) => product.request(`${path}/${shop.key}`, { method: 'PATCH', json });
  expect((await change({ origins: ['https://shop.example.com'], ratePerSecond: 5 })).status).toBe(200);
  const { items } = await product.json<{ items: Record<string, unknown>[] }>(path);
  expect(items).toEqual([
    expect.objectContaining({
      id: shop.key,
      name: 'web',
      origins: ['https://shop.example.com'],
      ratePerSecond: 5,
    }),
  ]);
  for (const [json, member] of [
    [{ origins: ['https://shop.example.com/'] }, '$.origins[0]'],
    [{ origins: ['shop.example.com'] }, '$.origins[0]'],
    [{ ratePerSecond: 0 }, '$.ratePerSecond'],
    [{ name: 'a\u0001' }, 'name'],
    [{ origin: [] }, '$.origin'],
  ] as const) {
    const answer = await change(json);
    expect(answer.status).toBe(400);
    expect(((await answer.json()) as { member: string }).member).toBe(member);
  }
  const more = await Promise.all(
    Array.from({ length: 24 }, () => product.request(path, { method: 'POST', json: { name: 'more' } })),
  );
  expect(more.filter(({ status }) => status === 201)).toHaveLength(19);
  expect(more.filter(({ status }) => status === 409)).toHaveLength(5);
});

test('nothing is left of the keys of a deleted application', async () => {
  const shop = await open();
  await shop.makeEndpoint();
  await product.client().send(new DeleteAppCommand({ ApplicationId: shop.app }));
  await expect
    .poll(async () => {
      const { rows } = await product.database.query(
        `select from publishable_keys where application_id = $1 union all
         select from identity_secrets where application_id = $1 union all
         select from endpoint_creations where application_id = $1`,
        [shop.app],
      );
      return rows.length;
    })
    .toBe(0);
  await expect.poll(async () => (await shop.putEvent(randomUUID())).status, { timeout: 5000 }).toBe(403);
});
