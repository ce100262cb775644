import { CreateCampaignCommand, type PinpointClient, PutEventsCommand } from '@aws-sdk/client-pinpoint';
import { systemClock } from '../platform/clock.ts';
import { type BatchItem, demoHistory, demoPurchases } from './events.ts';
import { callJson, type DemoOptions, readAccounting, until } from './steps.ts';

const timeoutMs = 60_000;
const connections = 4;

/** Puts a week of events of the demo's people and waits until they are in the figures. */
export async function putHistory(
  client: PinpointClient,
  applicationId: string,
  options: DemoOptions,
): Promise<{ days: { from: string; to: string } }> {
  const { requests, events, people, from, to } = demoHistory(systemClock.now());
  const waiting = [...requests];
  const lanes = Array.from({ length: connections }, async () => {
    for (let items = waiting.shift(); items; items = waiting.shift())
      await putEvents(client, applicationId, items);
  });
  await Promise.all(lanes);
  // Without bounds: what a server with a very short retention takes for older than its log counts as of today.
  await until(timeoutMs, 'Counting the events', async () => {
    const { items } = await callJson<{ items: { events: number }[] }>(
      options,
      'GET',
      `/api/apps/${applicationId}/analytics/event-counts`,
    );
    return items.reduce((sum, item) => sum + item.events, 0) >= events;
  });
  options.print(`  events        ${events} of the last 7 days, put by the apps of ${people} people`);
  return { days: { from, to } };
}

/** @throws Error when an event of the request was not accepted */
async function putEvents(client: PinpointClient, ApplicationId: string, items: BatchItem): Promise<void> {
  const { EventsResponse } = await client.send(
    new PutEventsCommand({ ApplicationId, EventsRequest: { BatchItem: items } }),
  );
  for (const [id, { EventsItemResponse = {} }] of Object.entries(EventsResponse?.Results ?? {}))
    for (const answer of Object.values(EventsItemResponse))
      if (answer.StatusCode !== 202) throw new Error(`An event of ${id} was refused: ${answer.Message}`);
}

/** A campaign that each purchase triggers, and purchases that are put twice and answered once. */
export async function sendOrderMails(
  client: PinpointClient,
  applicationId: string,
  segmentId: string,
  options: DemoOptions,
): Promise<string> {
  const created = await client.send(
    new CreateCampaignCommand({
      ApplicationId: applicationId,
      WriteCampaignRequest: {
        Name: 'your order',
        SegmentId: segmentId,
        Schedule: {
          StartTime: 'IMMEDIATE',
          Frequency: 'EVENT',
          EventFilter: {
            FilterType: 'ENDPOINT',
            Dimensions: {
              EventType: { DimensionType: 'INCLUSIVE', Values: ['_monetization.purchase'] },
            },
          },
        },
        MessageConfiguration: {
          EmailMessage: {
            Title: 'Your {{Event.Attributes.product}} is on its way',
            HtmlBody:
              '<h1>Thank you, {{User.UserAttributes.FirstName}}</h1><p>Your {{Event.Attributes.product}} for {{Event.Metrics._item_price}} EUR is on its way.</p>',
          },
        },
      },
    }),
  );
  const campaignId = created.CampaignResponse!.Id!;
  const purchases = demoPurchases(systemClock.now());
  const count = Object.keys(purchases).length;
  await putEvents(client, applicationId, purchases);
  await putEvents(client, applicationId, purchases);
  await until(timeoutMs, 'The campaign of the purchases', async () => {
    const { audience, pending, outcomes, reasons } = await readAccounting(options, applicationId, campaignId);
    const skipped = await callJson<{ items: { reason: string }[] }>(
      options,
      'GET',
      `/api/apps/${applicationId}/campaigns/${campaignId}/triggers`,
    );
    const underWay = pending + (outcomes.sending ?? 0) + (outcomes.sent ?? 0);
    if (audience + skipped.items.length < count || underWay > 0) return false;
    const ends = Object.entries({ ...outcomes, ...reasons }).filter(([, number]) => number > 0);
    const words = ends.map(([status, number]) => `${number} ${status}`);
    for (const { reason } of skipped.items) words.push(`1 ${reason}`);
    options.print(`  on an event   ${count} purchases, each put twice: ${words.join(', ')}`);
    return true;
  });
  return campaignId;
}

interface Usage {
  items: { activeEndpoints: number; sessions: number; averageSessionMs: number | null }[];
}

/** Figures of the day before today, and a funnel over the week. */
export async function showFigures(
  applicationId: string,
  { from, to }: { from: string; to: string },
  options: DemoOptions,
): Promise<void> {
  const path = `/api/apps/${applicationId}/analytics`;
  const [usage, revenue, funnel] = await Promise.all([
    callJson<Usage>(options, 'GET', `${path}/usage?from=${to}&to=${to}`),
    callJson<{ totals: { revenue: number; currency: string; purchases: number }[] }>(
      ...([options, 'GET', `${path}/revenue?from=${from}&to=${to}`] as const),
    ),
    callJson<{ items: { count: number }[] }>(options, 'POST', `${path}/funnels`, {
      ...{ from, to },
      steps: ['_session.start', 'product_view', '_monetization.purchase'].map((eventType) => ({ eventType })),
    }),
  ]);
  const [day] = usage.items;
  const seconds = Math.round((day?.averageSessionMs ?? 0) / 1_000);
  const money = revenue.totals.map((total) => `${total.revenue.toFixed(2)} ${total.currency}`).join(', ');
  const [began, looked, bought] = funnel.items.map((step) => step.count);
  options.print(
    `  yesterday     ${day?.activeEndpoints} active endpoints, ${day?.sessions} sessions of ${seconds} s on average`,
  );
  options.print(
    `  the week      ${began} people came, ${looked} looked at a product, ${bought} bought one: ${money}`,
  );
}
