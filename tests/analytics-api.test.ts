import { PutEventsCommand } from '@aws-sdk/client-pinpoint';
import { parse } from 'csv-parse/sync';
import { describe, expect, test } from 'vitest';
import { app, campaignId, client, product, settled } from './kpis-support.ts';
import { waitFor } from './support/processes.ts';

describe('the own API', () => {
  const path = () => `/api/apps/${app}/analytics`;

  test('answers a KPI in a time zone, as JSON and as the same CSV', async () => {
    const url = `${path()}/kpis/txn-emails-sent-grouped-by-date?timeZone=Pacific/Kiritimati`;
    const { items } = await product.json<{ items: { group: string; value: number }[] }>(url);
    expect(items.map(({ value }) => value)).toEqual([4]);
    const csv = await product.request(url, { headers: { accept: 'text/csv' } });
    expect(csv.headers.get('content-type')).toMatch(/^text\/csv/);
    expect(parse(await csv.text(), { columns: true })).toEqual(
      items.map(({ group, value }) => ({ group, value: String(value) })),
    );
    const wrong = await product.request(`${path()}/kpis/txn-emails-sent?timeZone=Mars/Base`);
    expect(wrong.status).toBe(400);
    expect((await product.request(`${path()}/kpis/nothing`)).status).toBe(400);
  });

  test('tells people and machines apart', async () => {
    const ofCampaign = await product.json(`${path()}/engagement?campaign=${campaignId}`);
    expect(ofCampaign).toMatchObject({
      ...{ sent: 10, opens: 3, opened: 2, uniqueOpens: 2, clicks: 1, uniqueClicks: 1 },
      ...{ machineOpens: 1, machineClicks: 1 },
    });
    const direct = await product.json(`${path()}/engagement?kind=direct`);
    expect(direct).toMatchObject({ opens: 1, clicks: 2, uniqueClicks: 1, machineOpens: 1, machineClicks: 0 });
  });

  const events = [
    ...['view', 'cart', 'purchase'].map((type, index) => ({
      endpoint: 'one',
      type,
      index,
      price: 10 * index,
    })),
    ...['view', 'cart'].map((type, index) => ({ endpoint: 'two', type, index, price: 5 })),
    { endpoint: 'three', type: 'view', index: 0, price: 1 },
  ];

  test('explores events and funnels that came by PutEvents', async () => {
    const at = Date.now() - 3_600_000;
    const BatchItem = Object.fromEntries(
      [...Map.groupBy(events, ({ endpoint }) => endpoint)].map(([endpoint, own]) => [
        endpoint,
        {
          Endpoint: {},
          Events: Object.fromEntries(
            own.map(({ type, index, price }) => [
              `event-${index}`,
              {
                EventType: type,
                Timestamp: new Date(at + index * 60_000).toISOString(),
                Attributes: { page: '=1+1', shop: endpoint },
                Metrics: { price },
              },
            ]),
          ),
        },
      ]),
    );
    await client.send(new PutEventsCommand({ ApplicationId: app, EventsRequest: { BatchItem } }));
    const range = { from: new Date(at - 1).toISOString(), to: new Date(at + 3_600_000).toISOString() };
    const explorer = { ...range, eventType: 'view', interval: 'all', metric: 'price', groupBy: 'page' };
    const post = (word: string, json: object, headers = {}) =>
      product.request(`${path()}/${word}`, { method: 'POST', json, headers });
    expect(await (await post('explorer', explorer)).json()).toMatchObject({
      items: [{ time: null, group: '=1+1', count: 3, endpoints: 3, sum: 6, min: 0, max: 5, average: 2 }],
    });
    const csv = await (await post('explorer', explorer, { accept: 'text/csv' })).text();
    expect(parse(csv, { columns: true })).toMatchObject([{ group: "'=1+1", count: '3', sum: '6' }]);
    const steps = events.slice(0, 3).map(({ type }) => ({ eventType: type }));
    const funnel = await (await post('funnels', { ...range, steps, windowSeconds: 300 })).json();
    expect(funnel).toMatchObject({
      items: [
        { step: 1, count: 3, share: 1, medianSeconds: null },
        { step: 2, count: 2, dropOff: 1, medianSeconds: 60 },
        { step: 3, count: 1, shareOfPrevious: 0.5, medianSeconds: 60 },
      ],
    });
    const short = await (await post('funnels', { ...range, steps, windowSeconds: 60 })).json();
    expect(short).toMatchObject({ items: [{ count: 3 }, { count: 2 }, { count: 0 }] });
    const types = await product.json<{ items: object[] }>(`${path()}/event-types`);
    expect(types.items).toMatchObject([
      { eventType: 'view', count: 3 },
      { eventType: 'cart', count: 2 },
      { eventType: 'purchase', count: 1 },
    ]);
    expect(await product.json(`${path()}/event-types/view`)).toMatchObject({
      attributes: [
        { name: 'page', count: 3, distinctValues: 1, values: [{ value: '=1+1', count: 3 }] },
        { name: 'shop', distinctValues: 3 },
      ],
      metrics: [{ name: 'price', count: 3 }],
    });
    await settled();
  });

  test.each([
    ['usage', 'activeEndpoints'],
    ['usage?by=month', 'activeEndpoints'],
    ['retention', 'size'],
    ['cohorts', 'active'],
    ['heat-map', 'sessions'],
    ['revenue', 'currency'],
    ['event-counts', 'events'],
    ['event-types', 'count'],
    ['demographics?dimension=channel', 'endpoints'],
    ['attribution?campaign=x', 'messages'],
  ])('%s is the same as JSON and as CSV', async (word, column) => {
    const answer = await product.json<{ items: object[] }>(`${path()}/${word}`);
    expect(answer.items).toBeInstanceOf(Array);
    const response = await product.request(`${path()}/${word}`, { headers: { accept: 'text/csv' } });
    expect(response.status).toBe(200);
    const rows = parse(await response.text()) as string[][];
    expect(rows[0]).toContain(column);
  });

  test('the time zone of the figures', async () => {
    const put = (timeZone: string) =>
      product.request(`${path()}/time-zone`, { method: 'PUT', json: { timeZone } });
    expect((await put('Mars/Base')).status).toBe(400);
    expect((await put('Europe/Berlin')).status).toBe(200);
    await waitFor('the rebuild', async () => {
      const { timeZone } = await product.json<{ timeZone: string }>(`${path()}/time-zone`);
      return timeZone === 'Europe/Berlin';
    });
    expect(await product.json(`${path()}/usage`)).toMatchObject({ timeZone: 'Europe/Berlin' });
  });

  test('names what is wrong, and asks for its right', async () => {
    const wrong = async (word: string, json: object) =>
      (await product.request(`${path()}/${word}`, { method: 'POST', json })).json();
    const range = { from: '2026-11-01', to: '2026-11-02' };
    expect(await wrong('explorer', { ...range, eventType: 'x', from: 'yesterday' })).toMatchObject({
      status: 400,
      member: '$.from',
    });
    expect(await wrong('explorer', { ...range, eventType: 'x', interval: 'week' })).toMatchObject({
      status: 400,
    });
    expect(await wrong('explorer', { ...range, eventType: 'x', segmentId: 'none' })).toMatchObject({
      status: 404,
    });
    expect(await wrong('funnels', { ...range, steps: [{ eventType: 'x' }] })).toMatchObject({ status: 400 });
    expect((await product.request(`${path()}/usage?from=2026-13-01&to=2026-13-02`)).status).toBe(400);
    const { token } = await product.json<{ token: string }>('/api/tokens', {
      method: 'POST',
      json: { name: 'none', scopes: { applications: [app], actions: ['postrider:ListInbox'], buckets: [] } },
    });
    const headers = { authorization: `Bearer ${token}` };
    expect((await product.request(`${path()}/usage`, { headers })).status).toBe(403);
    expect((await product.request('/api/apps/none/analytics/usage')).status).toBe(404);
  });
});
