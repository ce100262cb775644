import { createHmac, randomUUID } from 'node:crypto';
import type { EndpointRequest, EndpointResponse } from '@aws-sdk/client-pinpoint';
import { CreateAppCommand, GetEndpointCommand, UpdateEndpointCommand } from '@aws-sdk/client-pinpoint';
import { expect } from 'vitest';
import { startProduct, type TestProduct } from './support/product.ts';

/** A call as a page makes it, with a publishable key. */
export interface Call {
  path: string;
  method?: string;
  body?: unknown;
  headers?: Record<string, string>;
  /** Header X-Postrider-Endpoint-Token. */
  token?: string | undefined;
  /** Header X-Postrider-Identity-Proof. */
  proof?: string;
}

export interface Answer {
  status: number;
  headers: Headers;
  token: string | undefined;
  // biome-ignore lint/suspicious/noExplicitAny: whatever the server said, as the tests look at it.
  body: any;
}

/** An application with a publishable key and an identity secret. */
export interface Shop {
  app: string;
  key: string;
  secret: string;
  secretId: string;
  prove(userId: string): string;
  call(call: Call): Promise<Answer>;
  /** PutEvents of one event. */
  putEvent(
    endpointId: string,
    options?: Partial<Call> & { endpoint?: object; eventId?: string },
  ): Promise<Answer>;
  updateEndpoint(endpointId: string, request: object, options?: Partial<Call>): Promise<Answer>;
  /** A call of the Segment API, with the key as write key. */
  segment(type: string, message: object, options?: Partial<Call>): Promise<Answer>;
  /** Makes an endpoint with the key. */
  makeEndpoint(options?: Partial<Call> & { endpoint?: object }): Promise<{ id: string; token: string }>;
  /** As the customer's backend does it, with an access key. */
  backendUpdate(endpointId: string, request: EndpointRequest): Promise<void>;
  /** The endpoint's token, as the backend hands it to its device. */
  issueToken(endpointId: string): Promise<string>;
  read(endpointId: string): Promise<EndpointResponse>;
  exists(endpointId: string): Promise<boolean>;
  /** Types of all events in the log, sorted. */
  eventTypes(): Promise<string[]>;
}

export interface Shops {
  product: TestProduct;
  open(settings?: Record<string, unknown>): Promise<Shop>;
  /** A shop, and in it the mail endpoint of a user `victim` that the backend made. */
  withVictim(): Promise<{ shop: Shop; victim: string }>;
}

/** A product in which shops can be opened. */
export async function startShops(env: Record<string, string> = {}): Promise<Shops> {
  const product = await startProduct(env);
  return {
    product,
    open: (settings) => openShop(product, settings),
    async withVictim() {
      const shop = await openShop(product);
      const victim = randomUUID();
      await shop.backendUpdate(victim, {
        ChannelType: 'EMAIL',
        Address: 'victim@example.com',
        User: { UserId: 'victim', UserAttributes: { plan: ['gold'] } },
      });
      return { shop, victim };
    },
  };
}

/** The endpoint as it was; an attack must leave it so. */
export async function unchanged(
  shop: Shop,
  endpointId: string,
  attack: () => Promise<unknown>,
): Promise<void> {
  const before = await shop.read(endpointId);
  const events = await shop.eventTypes();
  await attack();
  expect(await shop.read(endpointId)).toEqual(before);
  expect(await shop.eventTypes()).toEqual(events);
}

async function openShop(product: TestProduct, settings: Record<string, unknown> = {}): Promise<Shop> {
  const backend = product.client();
  const created = await backend.send(new CreateAppCommand({ CreateApplicationRequest: { Name: 'shop' } }));
  const app = created.ApplicationResponse!.Id!;
  const { id: key } = await product.json<{ id: string }>(`/api/apps/${app}/publishable-keys`, {
    method: 'POST',
    json: { name: 'web', addressRatePerSecond: 10_000, ratePerSecond: 10_000, ...settings },
  });
  const { secret, id: secretId } = await product.json<{ secret: string; id: string }>(
    `/api/apps/${app}/identity-secrets`,
    { method: 'POST' },
  );
  const call: Shop['call'] = (options) => callWithKey(product.url, key, options);
  const putEvent: Shop['putEvent'] = (id, { endpoint = {}, eventId = randomUUID(), ...options } = {}) =>
    call({
      path: `/v1/apps/${app}/events`,
      body: { BatchItem: { [id]: { Endpoint: endpoint, Events: { [eventId]: event('visit') } } } },
      ...options,
    });
  const read: Shop['read'] = async (EndpointId) =>
    (await backend.send(new GetEndpointCommand({ ApplicationId: app, EndpointId }))).EndpointResponse!;
  return {
    app,
    key,
    secret,
    secretId,
    prove: (userId) => createHmac('sha256', secret).update(userId).digest('hex'),
    call,
    putEvent,
    updateEndpoint: (id, body, options = {}) =>
      call({
        path: `/v1/apps/${app}/endpoints/${encodeURIComponent(id)}`,
        method: 'PUT',
        body,
        ...options,
      }),
    segment: (type, message, options = {}) =>
      call({ path: `/v1/${type}`, body: { messageId: randomUUID(), ...message }, ...options }),
    async makeEndpoint(options) {
      const id = randomUUID();
      const made = await putEvent(id, options);
      if (!made.token) throw new Error(`no token: ${made.status} ${JSON.stringify(made.body)}`);
      return { id, token: made.token };
    },
    async backendUpdate(EndpointId, EndpointRequest) {
      await backend.send(new UpdateEndpointCommand({ ApplicationId: app, EndpointId, EndpointRequest }));
    },
    async issueToken(endpointId) {
      const path = `/api/apps/${app}/endpoint-tokens`;
      const { token } = await product.json<{ token: string }>(path, { method: 'POST', json: { endpointId } });
      return token;
    },
    read,
    exists: (id) =>
      read(id).then(
        () => true,
        (error: Error) => {
          if (error.name === 'NotFoundException') return false;
          throw error;
        },
      ),
    async eventTypes() {
      const { rows } = await product.database.query<{ type: string }>(
        `select type from events where application_id = $1 and type like 'event.%' order by type`,
        [app],
      );
      return rows.map(({ type }) => type.slice('event.'.length));
    },
  };
}

export function event(EventType: string): { EventType: string; Timestamp: string } {
  return { EventType, Timestamp: new Date().toISOString() };
}

export async function callWithKey(url: string, key: string, options: Call): Promise<Answer> {
  const { path, method = 'POST', body, headers, token, proof } = options;
  const response = await fetch(url + path, {
    method,
    headers: {
      authorization: `Bearer ${key}`,
      ...(token === undefined ? {} : { 'x-postrider-endpoint-token': token }),
      ...(proof === undefined ? {} : { 'x-postrider-identity-proof': proof }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  const isJson = response.headers.get('content-type')?.includes('json') ?? false;
  return {
    status: response.status,
    headers: response.headers,
    token: response.headers.get('x-postrider-endpoint-token') ?? undefined,
    body: isJson && text ? JSON.parse(text) : text,
  };
}
