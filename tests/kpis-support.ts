import {
  CreateAppCommand,
  CreateCampaignCommand,
  CreateSegmentCommand,
  GetApplicationDateRangeKpiCommand,
  GetCampaignActivitiesCommand,
  GetCampaignCommand,
  GetCampaignDateRangeKpiCommand,
  SendMessagesCommand,
  UpdateEmailChannelCommand,
  UpdateEndpointsBatchCommand,
  UpdateSmsChannelCommand,
} from '@aws-sdk/client-pinpoint';
import { beforeAll, expect } from 'vitest';
import { kpiResults } from '../packages/server/src/analytics/index.ts';
import { createSubscriber } from '../packages/server/src/events/index.ts';
import { silentLog } from '../packages/server/src/platform/log.ts';
import { waitFor } from './support/processes.ts';
import { startProduct } from './support/product.ts';

// Support of the tests of figures about messages: an application whose campaign and direct messages have come to all ends.
export const product = await startProduct();
export const client = product.client();
export let app: string;
export let campaignId: string;
export let activityId: string;
/** The day in UTC, of which the messages are. */
export const today = new Date().toISOString().slice(0, 10);

/** Ten of these are accepted; what becomes of each is in its name (docs/sandbox.md). */
const people = [
  ...['ada', 'eve', 'sue', 'tom', 'pat', 'kim'],
  ...['bounce+1', 'bounce+2', 'softbounce+1', 'complaint+1'],
  ...['reject+1'],
];

interface Inbox {
  items: { id: string; messageId: string; address: string; channel: string }[];
}
interface Message {
  id: string;
  address: string;
  status: string;
}

const engage = (id: string, word: 'open' | 'click', json: object = {}) =>
  product.json(`/api/apps/${app}/inbox/${id}/${word}`, { method: 'POST', json });

beforeAll(async () => {
  const created = await client.send(new CreateAppCommand({ CreateApplicationRequest: { Name: 'figures' } }));
  app = created.ApplicationResponse!.Id!;
  await client.send(
    new UpdateEmailChannelCommand({
      ApplicationId: app,
      EmailChannelRequest: { FromAddress: 'shop@example.com', Identity: 'example.com' },
    }),
  );
  await client.send(
    new UpdateSmsChannelCommand({ ApplicationId: app, SMSChannelRequest: { Enabled: true } }),
  );
  const Item = people.map((name) => ({
    Id: name.replace('+', '-'),
    ChannelType: 'EMAIL' as const,
    Address: `${name}@example.com`,
  }));
  await client.send(new UpdateEndpointsBatchCommand({ ApplicationId: app, EndpointBatchRequest: { Item } }));
  await runCampaign();
  await sendDirect();
  const inbox = (await product.json<Inbox>(`/api/apps/${app}/inbox?limit=500`)).items;
  const mail = (name: string, index = 0) =>
    inbox.filter(({ address }) => address === `${name}@example.com`).at(-1 - index)!.id;
  // The campaign came first, so its mail is the last of the newest-first list.
  await engage(mail('ada'), 'open');
  await engage(mail('ada'), 'open');
  await engage(mail('ada'), 'click', { url: 'https://example.com/' });
  await engage(mail('eve'), 'open');
  await engage(mail('sue'), 'open', { machine: true });
  await engage(mail('sue'), 'click', { machine: true, url: 'https://example.com/' });
  await engage(mail('ada', 1), 'open');
  await engage(mail('ada', 1), 'click', { url: 'https://example.com/a' });
  await engage(mail('ada', 1), 'click', { url: 'https://example.com/b' });
  await engage(mail('eve', 1), 'open', { machine: true });
  await settled();
});

async function runCampaign(): Promise<void> {
  const segment = await client.send(
    new CreateSegmentCommand({ ApplicationId: app, WriteSegmentRequest: { Name: 'all', Dimensions: {} } }),
  );
  const campaign = await client.send(
    new CreateCampaignCommand({
      ApplicationId: app,
      WriteCampaignRequest: {
        Name: 'hello',
        SegmentId: segment.SegmentResponse!.Id!,
        Schedule: { StartTime: 'IMMEDIATE' },
        MessageConfiguration: { EmailMessage: { Title: 'Hi', HtmlBody: '<p>Hi</p>' } },
      },
    }),
  );
  campaignId = campaign.CampaignResponse!.Id!;
  await waitFor('the campaign', async () => {
    const found = await client.send(new GetCampaignCommand({ ApplicationId: app, CampaignId: campaignId }));
    return found.CampaignResponse?.State?.CampaignStatus === 'COMPLETED';
  });
  await receipts(10);
  const { ActivitiesResponse } = await client.send(
    new GetCampaignActivitiesCommand({ ApplicationId: app, CampaignId: campaignId }),
  );
  activityId = ActivitiesResponse!.Item![0]!.Id!;
}

/** Three mails that arrive (two to endpoints), one that bounces softly, and two SMS of which one is refused. */
async function sendDirect(): Promise<void> {
  const email = {
    EmailMessage: { SimpleEmail: { Subject: { Data: 'Order' }, TextPart: { Data: 'Thanks' } } },
  };
  await client.send(
    new SendMessagesCommand({
      ApplicationId: app,
      MessageRequest: {
        Endpoints: { ada: {}, eve: {} },
        Addresses: {
          'new@example.com': { ChannelType: 'EMAIL' },
          'softbounce@example.com': { ChannelType: 'EMAIL' },
        },
        MessageConfiguration: email,
      },
    }),
  );
  await client.send(
    new SendMessagesCommand({
      ApplicationId: app,
      MessageRequest: {
        Addresses: { '+12065550100': { ChannelType: 'SMS' }, '+12065550153': { ChannelType: 'SMS' } },
        MessageConfiguration: { SMSMessage: { Body: 'Hi', MessageType: 'TRANSACTIONAL' } },
      },
    }),
  );
  await receipts(15);
}

/** Waits until that many messages have their receipt. */
async function receipts(count: number): Promise<void> {
  const final = new Set(['delivered', 'bounced', 'complained']);
  await waitFor(`${count} receipts`, async () => {
    const { items } = await product.json<{ items: Message[] }>(`/api/apps/${app}/messages?limit=500`);
    return items.filter(({ status }) => final.has(status)).length === count;
  });
}

/** Waits until the results are as far as the log. */
export async function settled(): Promise<void> {
  const subscriber = createSubscriber({ database: product.database, log: silentLog, ...kpiResults });
  await waitFor('the log', async () => {
    const { rows } = await product.database.query<{ waiting: number }>(
      'select count(*) as waiting from event_batches_unnumbered',
    );
    return rows[0]!.waiting === 0;
  });
  await subscriber.drain();
}

type Rows = { group?: string; value: number; key: string; groupKey?: string }[];

export function rowsOf(result: { Rows?: { GroupedBys?: object[]; Values?: object[] }[] } | undefined): Rows {
  return result!.Rows!.map(({ GroupedBys = [], Values = [] }) => {
    const [group] = GroupedBys as { Key: string; Value: string; Type: string }[];
    const [value] = Values as { Key: string; Value: string; Type: string }[];
    expect(value!.Type).toBe('Double');
    expect(value!.Value).toMatch(/^\d+\.\d+$/);
    return {
      key: value!.Key,
      value: Number(value!.Value),
      ...(group && { group: group.Value, groupKey: group.Key }),
    };
  });
}

export async function applicationKpi(
  KpiName: string,
  range: { StartTime?: Date; EndTime?: Date } = {},
): Promise<Rows> {
  const { ApplicationDateRangeKpiResponse: response } = await client.send(
    new GetApplicationDateRangeKpiCommand({ ApplicationId: app, KpiName, ...range }),
  );
  expect(response).toMatchObject({ ApplicationId: app, KpiName });
  expect(response!.StartTime).toBeInstanceOf(Date);
  return rowsOf(response!.KpiResult);
}

export async function campaignKpi(KpiName: string): Promise<Rows> {
  const { CampaignDateRangeKpiResponse: response } = await client.send(
    new GetCampaignDateRangeKpiCommand({ ApplicationId: app, CampaignId: campaignId, KpiName }),
  );
  expect(response).toMatchObject({ ApplicationId: app, CampaignId: campaignId, KpiName });
  return rowsOf(response!.KpiResult);
}
