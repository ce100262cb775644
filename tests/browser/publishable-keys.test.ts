import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Shop, type Shops, startShops } from '../publishable-keys-support.ts';
import { startBrowser } from '../support/browser.ts';
import { missing } from '../support/requires.ts';

/** What the page of a shop does, as a customer would write it. */
const script = `
const uuid = () => crypto.randomUUID();
async function call(path, { method = 'POST', body, token, key = shop.key } = {}) {
  const headers = { authorization: 'Bearer ' + key, 'content-type': 'application/json' };
  if (token) headers['x-postrider-endpoint-token'] = token;
  const response = await fetch(shop.url + path, { method, headers, body: body && JSON.stringify(body) });
  const token2 = response.headers.get('x-postrider-endpoint-token');
  return { status: response.status, token: token2, body: await response.json() };
}
const visit = (id, type = 'visit') => ({
  BatchItem: { [id]: { Endpoint: {}, Events: { [uuid()]: { EventType: type, Timestamp: new Date().toISOString() } } } },
});
`;

describe.skipIf(missing('chromium').length > 0)('a page of another origin in Chromium', () => {
  let browser: Browser;
  let shops: Shops;
  const servers: Server[] = [];

  beforeAll(async () => {
    shops = await startShops();
    browser = await startBrowser();
  });
  afterAll(async () => {
    await browser?.close();
    for (const server of servers) server.close();
  });

  /** An origin with nothing on it yet. */
  async function startSite() {
    const site = { html: '' };
    const server = createServer((_, response) => {
      response.setHeader('content-type', 'text/html');
      response.end(site.html);
    });
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const origin = `http://localhost:${(server.address() as AddressInfo).port}`;
    const show = async (shop: Shop): Promise<Page> => {
      const values = JSON.stringify({ url: shops.product.url, key: shop.key, app: shop.app });
      site.html = `<!doctype html><title>Shop</title><script>const shop = ${values};${script}</script>`;
      const page = await browser.newPage();
      await page.goto(origin);
      return page;
    };
    return { origin, show };
  }

  test('puts events, gets its token, and goes on with it', async () => {
    const site = await startSite();
    const shop = await shops.open({ origins: [site.origin] });
    const page = await site.show(shop);
    const result = (await page.evaluate(`(async () => {
      const id = uuid();
      const events = '/v1/apps/' + shop.app + '/events';
      const endpoint = '/v1/apps/' + shop.app + '/endpoints/' + id;
      const first = await call(events, { body: visit(id) });
      const { token } = first;
      const without = await call(events, { body: visit(id, 'forged') });
      const second = await call(events, { body: visit(id, 'again'), token });
      const update = { ChannelType: 'GCM', Address: 'web-push', Attributes: { plan: ['free'] } };
      const updated = await call(endpoint, { method: 'PUT', body: update, token });
      const mail = { ChannelType: 'EMAIL', Address: 'victim@example.com' };
      const taken = await call(endpoint, { method: 'PUT', body: mail, token });
      const inApp = await call(endpoint + '/inappmessages', { method: 'GET', token });
      const inAppWithout = await call(endpoint + '/inappmessages', { method: 'GET' });
      const beacon = new Blob([JSON.stringify(visit(id, '_session.stop'))], { type: 'text/plain' });
      const url = shop.url + events + '/legacy?key=' + shop.key + '&endpoint-token=' + token;
      const sent = navigator.sendBeacon(url, beacon);
      return { id, first, without, second, updated, taken, inApp, inAppWithout, sent };
    })()`)) as Record<string, { status: number; token: string; body: unknown }> & {
      id: string;
      sent: boolean;
    };
    expect(result.first).toMatchObject({ status: 202, token: expect.stringMatching(/^et_/) });
    expect(result.without).toMatchObject({
      status: 403,
      body: { Message: expect.stringContaining('token') },
    });
    expect(result.second!.status).toBe(202);
    expect(result.updated!.status).toBe(202);
    expect(result.taken!.status).toBe(403);
    expect(result.inApp).toMatchObject({ status: 200, body: { InAppMessageCampaigns: [] } });
    expect(result.inAppWithout!.status).toBe(403);
    expect(result.sent).toBe(true);
    await expect.poll(shop.eventTypes, { timeout: 5000 }).toEqual(['_session.stop', 'again', 'visit']);
    expect(await shop.read(result.id)).toMatchObject({ Address: 'web-push', Attributes: { plan: ['free'] } });
  });

  test('the page of docs/publishable-keys.md works', async () => {
    const site = await startSite();
    const shop = await shops.open({ origins: [site.origin] });
    const page = await site.show(shop);
    const text = await readFile(new URL('../../docs/publishable-keys.md', import.meta.url), 'utf8');
    const example = /```js\n(const postrider = [\s\S]*?)```/.exec(text)![1]!;
    const { url } = shops.product;
    const own = example
      .replace(/url: '[^']*', app: '…', key: 'pk_…'/, `url: '${url}', app: '${shop.app}', key: '${shop.key}'`)
      .replaceAll("'visit'", "'documented'");
    const run = (body: string) => page.evaluate(`(async () => { ${own}; ${body} })()`);
    await run('');
    const status = await run(
      `return (await postrider.send('PUT', '/endpoints/' + postrider.id, { Attributes: { a: ['1'] } })).status;`,
    );
    expect(status).toBe(202);
    expect(await shop.eventTypes()).toEqual(['documented', 'documented']);
  });

  test('speaks Segment with and without asking before', async () => {
    const site = await startSite();
    const shop = await shops.open({ origins: [site.origin] });
    const page = await site.show(shop);
    const result = await page.evaluate(`(async () => {
      const anonymousId = uuid();
      const body = { anonymousId, event: 'simple', writeKey: shop.key, messageId: uuid() };
      // As analytics.js does it: a text, for which no browser asks before.
      const simple = await fetch(shop.url + '/v1/t', { method: 'POST', body: JSON.stringify(body) });
      const { endpointTokens } = await simple.json();
      const token = endpointTokens[anonymousId];
      const next = { anonymousId, event: 'asked', messageId: uuid() };
      const without = await call('/v1/track', { body: next });
      const asked = await call('/v1/track', { body: next, token });
      return [simple.status, without.status, asked.status, asked.body.success];
    })()`);
    expect(result).toEqual([200, 403, 200, true]);
    expect(await shop.eventTypes()).toEqual(['asked', 'simple']);
  });

  test('cannot use the key of another origin, nor the own API, and does nothing', async () => {
    const [site, foreign] = [await startSite(), await startSite()];
    const shop = await shops.open({ origins: [site.origin] });
    const page = await foreign.show(shop);
    const result = await page.evaluate(`(async () => {
      const attempt = (promise) => promise.then((answer) => answer.status, (error) => error.name);
      const body = { anonymousId: uuid(), event: 'x', writeKey: shop.key, messageId: uuid() };
      return [
        await attempt(call('/v1/apps/' + shop.app + '/events', { body: visit(uuid()) })),
        await attempt(fetch(shop.url + '/v1/t', { method: 'POST', body: JSON.stringify(body) })),
        await attempt(call('/api/apps/' + shop.app + '/publishable-keys', { method: 'GET' })),
        await attempt(call('/v1/apps/' + shop.app, { method: 'DELETE' })),
      ];
    })()`);
    expect(result).toEqual(['TypeError', 'TypeError', 'TypeError', 'TypeError']);
    expect(await shop.eventTypes()).toEqual([]);
  });
});
