import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  CreateAppCommand,
  CreateImportJobCommand,
  GetCampaignCommand,
  GetImportJobCommand,
  PinpointClient,
  UpdateEmailChannelCommand,
} from '@aws-sdk/client-pinpoint';
import { mailEverybody } from '../support/campaign.ts';
import { accessKey, freePort, Product, startSink } from './product.ts';

export interface ChaosOptions {
  seed: number;
  recipients: number;
  kills: number;
  print(line: string): void;
}

export interface ChaosReport {
  audience: number;
  accepted: number;
  refused: number;
  inDoubt: number;
  kills: string[];
  /** What must not be: empty when everything held. */
  violations: string[];
}

const shareRefused = 0.1;
const finishMs = 240_000;

/** A small generator with a seed (mulberry32), so that a run can be repeated. */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let value = Math.imul(state ^ (state >>> 15), state | 1);
    value ^= value + Math.imul(value ^ (value >>> 7), value | 61);
    return ((value ^ (value >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/**
 * Imports an audience and sends it a campaign while processes are killed at random moments, and judges from the mail
 * server's own file: what the log calls sent was accepted, every repeat is listed, every 451 was tried again, and
 * nobody is without an outcome or a listed doubt.
 */
export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const random = generator(options.seed);
  const folder = await mkdtemp('/tmp/postrider-chaos-');
  await chmod(folder, 0o755);
  const sinkFile = join(folder, 'sink.log');
  const sink = await startSink(sinkFile, { shareRefused });
  const product = new Product({
    dataDir: join(folder, 'data'),
    port: await freePort(),
    env: {
      POSTRIDER_SMTP_URL: `smtp://127.0.0.1:${sink.port}?tls=none`,
      POSTRIDER_RETRY_FIRST_DELAY_MS: '1000',
    },
  });
  try {
    await product.start();
    const kills: string[] = [];
    const campaign = await startCampaign(product, options, random, kills);
    await killDuring(product, options, random, kills, () => isOver(product, campaign));
    await untilOver(product, campaign);
    const report = await judge(product, campaign, sinkFile, options.recipients);
    return { ...report, kills };
  } catch (error) {
    throw new Error(`${(error as Error).stack}\nThe product's last words:\n${product.output}`);
  } finally {
    await product.stop().catch(() => undefined);
    sink.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

interface Campaign {
  applicationId: string;
  campaignId: string;
}

async function startCampaign(
  product: Product,
  options: ChaosOptions,
  random: () => number,
  kills: string[],
): Promise<Campaign> {
  const client = clientOf(product);
  const app = await client.send(new CreateAppCommand({ CreateApplicationRequest: { Name: 'chaos' } }));
  const ApplicationId = app.ApplicationResponse!.Id!;
  await client.send(
    new UpdateEmailChannelCommand({
      ApplicationId,
      EmailChannelRequest: { FromAddress: 'chaos@example.com', Identity: 'example.com', Enabled: true },
    }),
  );
  const rows = Array.from(
    { length: options.recipients },
    (_, index) => `e-${index},EMAIL,person.${index}@example.net,P${index}`,
  );
  const file = ['Id,ChannelType,Address,Attributes.Name', ...rows, ''].join('\n');
  await product.request('/api/objects/chaos/audience.csv', { method: 'PUT', body: file });
  const job = await client.send(
    new CreateImportJobCommand({
      ApplicationId,
      ImportJobRequest: {
        Format: 'CSV',
        S3Url: 's3://chaos/audience.csv',
        RoleArn: 'arn:aws:iam::000000000000:role/none',
        RegisterEndpoints: true,
      },
    }),
  );
  const JobId = job.ImportJobResponse!.Id!;
  await strike(product, 'worker', random, kills);
  for (const end = Date.now() + finishMs; ; ) {
    const { ImportJobResponse: state } = await client.send(new GetImportJobCommand({ ApplicationId, JobId }));
    if (state?.JobStatus === 'COMPLETED') {
      if (state.TotalProcessed !== options.recipients)
        throw new Error(`The import counted ${state.TotalProcessed} rows`);
      break;
    }
    if (state?.JobStatus === 'FAILED' || Date.now() > end)
      throw new Error(`The import is ${state?.JobStatus}: ${state?.Failures}`);
    await pause(200);
  }
  const campaignId = await mailEverybody(client, ApplicationId, {
    Title: 'Hello {{Attributes.Name}}',
    HtmlBody: '<p>Hello {{Attributes.Name}}</p>',
  });
  client.destroy();
  return { applicationId: ApplicationId, campaignId };
}

async function killDuring(
  product: Product,
  options: ChaosOptions,
  random: () => number,
  kills: string[],
  over: () => Promise<boolean>,
): Promise<void> {
  while (kills.length < options.kills) {
    await pause(100 + random() * 1_400);
    if (await over().catch(() => false)) {
      options.print(`the campaign was over after ${kills.length} kills`);
      return;
    }
    await strike(product, random() < 0.6 ? 'worker' : random() < 0.5 ? 'api' : 'everything', random, kills);
    options.print(`kill ${kills.length}: ${kills.at(-1)}`);
  }
}

async function strike(product: Product, what: string, random: () => number, kills: string[]): Promise<void> {
  await pause(random() * 300);
  kills.push(what);
  if (what === 'everything') {
    await product.killAll();
    await product.start();
  } else {
    product.killRole(what);
  }
}

async function isOver(product: Product, { applicationId, campaignId }: Campaign): Promise<boolean> {
  const client = clientOf(product);
  try {
    const { CampaignResponse } = await client.send(
      new GetCampaignCommand({ ApplicationId: applicationId, CampaignId: campaignId }),
    );
    return CampaignResponse?.State?.CampaignStatus === 'COMPLETED';
  } finally {
    client.destroy();
  }
}

async function untilOver(product: Product, campaign: Campaign): Promise<void> {
  const end = Date.now() + finishMs;
  while (!(await isOver(product, campaign).catch(() => false))) {
    if (Date.now() > end) {
      const path = `/api/apps/${campaign.applicationId}/campaigns/${campaign.campaignId}/accounting`;
      throw new Error(`The campaign did not end: ${JSON.stringify(await product.json(path))}`);
    }
    await pause(500);
  }
}

interface LoggedMessage {
  id: string;
  address: string;
  status: string;
}

async function judge(
  product: Product,
  { applicationId, campaignId }: Campaign,
  sinkFile: string,
  recipients: number,
): Promise<Omit<ChaosReport, 'kills'>> {
  const messages: LoggedMessage[] = [];
  let cursor: string | null = null;
  do {
    const query = new URLSearchParams({ campaignId, limit: '500', ...(cursor ? { cursor } : {}) });
    const page: { items: LoggedMessage[]; next: string | null } = await product.json(
      `/api/apps/${applicationId}/messages?${query}`,
    );
    messages.push(...page.items);
    cursor = page.next;
  } while (cursor);
  const accounting = await product.json<{
    audience: number;
    pending: number;
    outcomes: Record<string, number>;
    reasons: Record<string, number>;
  }>(`/api/apps/${applicationId}/campaigns/${campaignId}/accounting`);
  const lines = (await readFile(sinkFile, 'utf8'))
    .trim()
    .split('\n')
    .map((line) => line.split(' ') as [string, string, string]);
  const countBy = (verdict: string) => {
    const counts = new Map<string, number>();
    for (const [word, id] of lines) if (word === verdict) counts.set(id, (counts.get(id) ?? 0) + 1);
    return counts;
  };
  const [accepted, refused] = [countBy('accepted'), countBy('refused')];
  const violations: string[] = [];
  const sum = Object.values({ ...accounting.outcomes, ...accounting.reasons }).reduce(
    (total, count) => total + count,
    accounting.pending,
  );
  if (accounting.audience !== recipients || sum !== recipients || accounting.pending !== 0) {
    violations.push(`the accounting does not add up: ${JSON.stringify(accounting)}`);
  }
  if (new Set(messages.map(({ address }) => address)).size !== recipients || messages.length !== recipients) {
    violations.push(`${messages.length} messages for ${recipients} recipients`);
  }
  for (const { id, address, status } of messages) {
    const times = accepted.get(id) ?? 0;
    if (status === 'sent' && times === 0)
      violations.push(`${address}: sent in the log, never accepted (${id})`);
    if (status !== 'sent' && status !== 'in_doubt') violations.push(`${address}: ${status} (${id})`);
    if (times > 1) violations.push(`${address}: accepted ${times} times (${id})`);
    if (refused.has(id) && times === 0 && status !== 'in_doubt')
      violations.push(`${address}: refused and not tried again (${id})`);
  }
  const known = new Set(messages.map(({ id }) => id));
  for (const id of accepted.keys())
    if (!known.has(id)) violations.push(`accepted, but not in the log: ${id}`);
  return {
    audience: accounting.audience,
    accepted: accepted.size,
    refused: refused.size,
    inDoubt: messages.filter(({ status }) => status === 'in_doubt').length,
    violations,
  };
}

function clientOf(product: Product): PinpointClient {
  return new PinpointClient({
    endpoint: product.url,
    region: 'us-east-1',
    credentials: { accessKeyId: accessKey.id, secretAccessKey: accessKey.secret },
    maxAttempts: 10,
    retryMode: 'standard',
  });
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
