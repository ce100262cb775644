import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  CreateAppCommand,
  CreateCampaignCommand,
  CreateSegmentCommand,
  type EventsBatch,
  PinpointClient,
  PutEventsCommand,
  UpdateEmailChannelCommand,
  UpdateEndpointsBatchCommand,
} from '@aws-sdk/client-pinpoint';
import { accessKey, freePort, Product } from './product.ts';

export interface TriggerChaosOptions {
  /** Distinct events; a tenth of them is put twice. */
  events: number;
  print(line: string): void;
}

export interface TriggerChaosReport {
  put: number;
  repeated: number;
  /** Requests that were answered by nobody, and sent again. */
  failed: number;
  messages: number;
  capped: number;
  /** What must not be: empty when everything held. */
  violations: string[];
}

const clients = 4;
const batchSize = 50;
const endpoints = 500;
/** Most messages of the second campaign to one endpoint. */
const cap = 5;
const limitMs = 15 * 60_000;

interface PutEvent {
  id: string;
  endpointId: string;
}

/**
 * Four clients put events, a tenth of them twice, while everything, PostgreSQL included, is killed in the middle; they
 * send again what nobody answered. Judged by the message log: each event has exactly one message in the campaign without
 * a cap, and in the other one a message or the cap as its reason.
 */
export async function runTriggerChaos(options: TriggerChaosOptions): Promise<TriggerChaosReport> {
  const folder = await mkdtemp('/tmp/postrider-triggers-');
  await chmod(folder, 0o755);
  const product = new Product({
    dataDir: join(folder, 'data'),
    port: await freePort(),
    // However slow the machine is: what is too late is no matter here.
    env: { POSTRIDER_EVENT_CAMPAIGN_MAX_AGE_MS: String(24 * 3_600_000) },
  });
  try {
    await product.start();
    const work = await prepare(product);
    const events = Array.from(
      { length: options.events },
      (_, index): PutEvent => ({ id: `event-${index}`, endpointId: `person-${(index * 7) % endpoints}` }),
    );
    const { failed, repeated } = await putAll(product, work.applicationId, events, options.print);
    options.print(`${events.length} events put, ${repeated} of them twice, ${failed} requests sent again`);
    const report = await judge(product, work, events);
    return { put: events.length, repeated, failed, ...report };
  } catch (error) {
    throw new Error(`${(error as Error).stack}\nThe product's last words:\n${product.output}`);
  } finally {
    await product.stop().catch(() => undefined);
    await rm(folder, { recursive: true, force: true });
  }
}

interface Work {
  applicationId: string;
  uncapped: string;
  capped: string;
}

async function prepare(product: Product): Promise<Work> {
  const client = clientOf(product);
  const app = await client.send(new CreateAppCommand({ CreateApplicationRequest: { Name: 'triggers' } }));
  const ApplicationId = app.ApplicationResponse!.Id!;
  await client.send(
    new UpdateEmailChannelCommand({
      ApplicationId,
      EmailChannelRequest: { FromAddress: 'shop@example.com', Identity: 'example.com', Enabled: true },
    }),
  );
  for (let from = 0; from < endpoints; from += 100) {
    const Item = Array.from({ length: 100 }, (_, index) => ({
      Id: `person-${from + index}`,
      ChannelType: 'EMAIL' as const,
      Address: `person.${from + index}@example.com`,
    }));
    await client.send(new UpdateEndpointsBatchCommand({ ApplicationId, EndpointBatchRequest: { Item } }));
  }
  const segment = await client.send(
    new CreateSegmentCommand({ ApplicationId, WriteSegmentRequest: { Name: 'all', Dimensions: {} } }),
  );
  const create = async (Limits: object) => {
    const { CampaignResponse } = await client.send(
      new CreateCampaignCommand({
        ApplicationId,
        WriteCampaignRequest: {
          Name: 'triggered',
          SegmentId: segment.SegmentResponse!.Id!,
          Limits,
          Schedule: {
            StartTime: 'IMMEDIATE',
            Frequency: 'EVENT',
            EventFilter: {
              FilterType: 'ENDPOINT',
              Dimensions: { EventType: { DimensionType: 'INCLUSIVE', Values: ['purchase'] } },
            },
          },
          MessageConfiguration: { EmailMessage: { Title: 'Thanks', Body: 'For {{Event.Attributes.what}}' } },
        },
      }),
    );
    return CampaignResponse!.Id!;
  };
  const work = {
    applicationId: ApplicationId,
    uncapped: await create({}),
    capped: await create({ Total: cap }),
  };
  client.destroy();
  return work;
}

/** Puts all events; in the middle everything is killed and started again. */
async function putAll(
  product: Product,
  applicationId: string,
  events: PutEvent[],
  print: (line: string) => void,
): Promise<{ failed: number; repeated: number }> {
  const batches: PutEvent[][] = [];
  for (let from = 0; from < events.length; from += batchSize)
    batches.push(events.slice(from, from + batchSize));
  // Every tenth batch twice, for whichever client comes to it.
  const again = batches.filter((_, index) => index % 10 === 0);
  const queue = [...batches];
  for (const [index, batch] of again.entries()) queue.splice(index * 11 + 2, 0, batch);
  const half = Math.floor(queue.length / 2);
  let failed = 0;
  let restart: Promise<void> | undefined;
  const run = async () => {
    const client = clientOf(product);
    for (let batch = queue.shift(); batch; batch = queue.shift()) {
      if (queue.length <= half && !restart) restart = killAndStart(product, print);
      failed += await putUntilAnswered(client, applicationId, batch);
    }
    client.destroy();
  };
  await Promise.all(Array.from({ length: clients }, run));
  await restart;
  return { failed, repeated: again.reduce((sum, batch) => sum + batch.length, 0) };
}

async function killAndStart(product: Product, print: (line: string) => void): Promise<void> {
  await product.killEverything();
  print('killed everything');
  await product.start();
}

/** How often it had to be sent again. */
async function putUntilAnswered(
  client: PinpointClient,
  ApplicationId: string,
  events: PutEvent[],
): Promise<number> {
  const BatchItem: Record<string, EventsBatch> = {};
  for (const { id, endpointId } of events) {
    BatchItem[endpointId] ??= { Endpoint: {}, Events: {} };
    BatchItem[endpointId].Events![id] = {
      EventType: 'purchase',
      Timestamp: new Date().toISOString(),
      Attributes: { what: id },
    };
  }
  const until = Date.now() + limitMs;
  for (let failures = 0; ; failures++) {
    try {
      const { EventsResponse } = await client.send(
        new PutEventsCommand({ ApplicationId, EventsRequest: { BatchItem } }),
        { abortSignal: AbortSignal.timeout(10_000) },
      );
      const refused = Object.values(EventsResponse!.Results!).flatMap(({ EventsItemResponse = {} }) =>
        Object.values(EventsItemResponse).filter(({ StatusCode }) => StatusCode !== 202),
      );
      if (refused.length > 0) throw new Error(`refused: ${JSON.stringify(refused[0])}`);
      return failures;
    } catch (error) {
      if (Date.now() > until) throw error;
      await pause(100);
    }
  }
}

interface Message {
  id: string;
  endpointId: string;
  eventId: string;
  status: string;
}

async function judge(
  product: Product,
  { applicationId, uncapped, capped }: Work,
  events: PutEvent[],
): Promise<Pick<TriggerChaosReport, 'messages' | 'capped' | 'violations'>> {
  const violations: string[] = [];
  const endpointOf = new Map(events.map(({ id, endpointId }) => [id, endpointId]));
  const allowed = Object.values(Object.groupBy(events, ({ endpointId }) => endpointId)).reduce(
    (sum, own) => sum + Math.min(own!.length, cap),
    0,
  );
  const refused: Record<string, number> = { [uncapped]: 0, [capped]: events.length - allowed };
  let messages = 0;
  for (const campaignId of [uncapped, capped]) {
    await decided(product, applicationId, campaignId, events.length);
    const found = await messagesOf(product, applicationId, campaignId);
    const seen = new Set<string>();
    for (const { eventId, endpointId } of found) {
      if (endpointOf.get(eventId) !== endpointId) violations.push(`${eventId} went to ${endpointId}`);
      if (seen.has(eventId)) violations.push(`${eventId} twice in ${campaignId}`);
      seen.add(eventId);
    }
    for (const { id } of events) if (!seen.has(id)) violations.push(`${id} has no message in ${campaignId}`);
    const held = found.filter(({ status }) => status === 'campaign_cap').length;
    if (held !== refused[campaignId])
      violations.push(`${held} messages held by the cap of ${campaignId}, not ${refused[campaignId]}`);
    const others = found.filter(({ status }) => !allowedStatuses.has(status));
    if (others.length > 0) violations.push(`${others.length} messages are ${others[0]!.status}`);
    messages += found.length - held;
  }
  return { messages, capped: events.length - allowed, violations };
}

/** What may become of a message after a kill: what was being handed over then is in doubt. */
const allowedStatuses = new Set(['sent', 'delivered', 'in_doubt', 'campaign_cap']);

/** Waits until that many are decided about and nothing is on its way, and sees that no more come. */
async function decided(
  product: Product,
  applicationId: string,
  campaignId: string,
  expected: number,
): Promise<void> {
  const until = Date.now() + limitMs;
  let last: { audience: number; pending: number; outcomes: Record<string, number> } | undefined;
  for (let still = 0; still < 5; ) {
    if (Date.now() > until) return;
    await pause(300);
    last = await product
      .json<typeof last>(`/api/apps/${applicationId}/campaigns/${campaignId}/accounting`)
      .catch(() => undefined);
    const done = last && last.audience >= expected && last.pending === 0 && last.outcomes.sending === 0;
    still = done ? still + 1 : 0;
  }
}

async function messagesOf(product: Product, applicationId: string, campaignId: string): Promise<Message[]> {
  const messages: Message[] = [];
  let cursor = '';
  do {
    const page = await product.json<{ items: Message[]; next: string | null }>(
      `/api/apps/${applicationId}/messages?campaignId=${campaignId}&limit=500${cursor}`,
    );
    messages.push(...page.items);
    cursor = page.next === null ? '' : `&cursor=${encodeURIComponent(page.next)}`;
  } while (cursor);
  return messages;
}

function clientOf(product: Product): PinpointClient {
  return new PinpointClient({
    endpoint: product.url,
    region: 'us-east-1',
    credentials: { accessKeyId: accessKey.id, secretAccessKey: accessKey.secret },
    maxAttempts: 1,
  });
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
