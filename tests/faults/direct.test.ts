import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  CreateAppCommand,
  PinpointClient,
  SendMessagesCommand,
  UpdateEmailChannelCommand,
} from '@aws-sdk/client-pinpoint';
import { afterAll, expect, test } from 'vitest';
import { openDatabase } from '../../packages/server/src/platform/database.ts';
import { embeddedDirectory, runningServerUrl } from '../../packages/server/src/platform/postgres.ts';
import { accessKey, freePort, Product, startSink } from '../chaos/product.ts';
import { waitFor } from '../support/processes.ts';

const folder = await mkdtemp('/tmp/postrider-direct-');
await chmod(folder, 0o755);
const sinkFile = join(folder, 'sink.log');
// Long enough that a kill finds messages that were taken, but whose sender has not heard it yet.
const sink = await startSink(sinkFile, { shareRefused: 0.05, delayMs: 60 });
const dataDir = join(folder, 'data');
const product = new Product({
  dataDir,
  port: await freePort(),
  env: {
    POSTRIDER_SMTP_URL: `smtp://127.0.0.1:${sink.port}?tls=none`,
    POSTRIDER_RETRY_FIRST_DELAY_MS: '500',
  },
});
const client = new PinpointClient({
  endpoint: product.url,
  region: 'us-east-1',
  credentials: { accessKeyId: accessKey.id, secretAccessKey: accessKey.secret },
  maxAttempts: 1,
});
afterAll(async () => {
  client.destroy();
  await product.stop();
  sink.stop();
  await rm(folder, { recursive: true, force: true });
});

const senders = 10;
const kills = 3;
const answersBetweenKills = 60;

interface Logged {
  id: string;
  address: string;
  status: string;
}

/** Sends one message, by turns over both APIs, and returns its id when the answer was a success. */
async function send(ApplicationId: string, number: number): Promise<string | undefined> {
  const address = `direct.${number}@example.com`;
  if (number % 2 === 0) {
    const { messages } = await product.json<{ messages: { messageId: string }[] }>(
      `/api/apps/${ApplicationId}/messages`,
      {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ channel: 'EMAIL', to: [{ address }], subject: 's', text: 't', waitMs: 0 }),
      },
    );
    return messages[0]!.messageId;
  }
  const { MessageResponse } = await client.send(
    new SendMessagesCommand({
      ApplicationId,
      MessageRequest: {
        Addresses: { [address]: { ChannelType: 'EMAIL' } },
        MessageConfiguration: {
          EmailMessage: { SimpleEmail: { Subject: { Data: 's' }, TextPart: { Data: 't' } } },
        },
      },
    }),
  );
  return MessageResponse!.Result![address]!.MessageId;
}

async function messageLog(ApplicationId: string): Promise<Logged[]> {
  const messages: Logged[] = [];
  let cursor: string | null = null;
  do {
    const query = new URLSearchParams({ limit: '500', ...(cursor ? { cursor } : {}) });
    const page: { items: Logged[]; next: string | null } = await product.json(
      `/api/apps/${ApplicationId}/messages?${query}`,
    );
    messages.push(...page.items);
    cursor = page.next;
  } while (cursor);
  return messages;
}

test('every direct message that was answered arrives although the api is killed; repeats are listed', async () => {
  await product.start();
  const app = await client.send(new CreateAppCommand({ CreateApplicationRequest: { Name: 'direct' } }));
  const ApplicationId = app.ApplicationResponse!.Id!;
  await client.send(
    new UpdateEmailChannelCommand({
      ApplicationId,
      EmailChannelRequest: { FromAddress: 'shop@example.com', Identity: 'example.com' },
    }),
  );
  const answered = new Map<string, 'own api' | 'pinpoint'>();
  let number = 0;
  let over = false;
  const sending = Array.from({ length: senders }, async () => {
    while (!over) {
      const mine = number++;
      const id = await send(ApplicationId, mine).catch(() => undefined);
      if (id) answered.set(id, mine % 2 === 0 ? 'own api' : 'pinpoint');
      else await new Promise((resolve) => setTimeout(resolve, 50));
    }
  });
  for (let kill = 1; kill <= kills; kill++) {
    const before = answered.size;
    await waitFor('answers', () => answered.size >= before + answersBetweenKills, 40_000);
    product.killRole('api');
  }
  await waitFor(
    'the api to be back',
    async () => (await product.request('/health/ready').catch(() => null))?.ok === true,
  );
  over = true;
  await Promise.all(sending);
  let log: Logged[] = [];
  // Sooner than by the heartbeats of others, which wait for 30 seconds: the supervisor knows who ended.
  await waitFor(
    'every message to have its outcome',
    async () => {
      log = await messageLog(ApplicationId);
      return log.every(({ status }) => status === 'sent');
    },
    20_000,
  );
  const accepted = new Map<string, number>();
  for (const line of (await readFile(sinkFile, 'utf8')).trim().split('\n')) {
    const [verdict, id] = line.split(' ');
    if (verdict === 'accepted') accepted.set(id!, (accepted.get(id!) ?? 0) + 1);
  }
  const logged = new Set(log.map(({ id }) => id));
  for (const api of ['own api', 'pinpoint'])
    expect([...answered.values()].filter((by) => by === api).length, api).toBeGreaterThan(30);
  expect([...answered.keys()].filter((id) => !logged.has(id))).toEqual([]);
  expect([...logged].filter((id) => !accepted.has(id))).toEqual([]);
  expect([...accepted.keys()].filter((id) => !logged.has(id))).toEqual([]);
  const repeated = [...accepted].filter(([, times]) => times > 1);
  expect(repeated.length).toBeGreaterThan(0);
  for (const [id, times] of repeated) {
    const { timeline } = await product.json<{ timeline: { event: string }[] }>(
      `/api/apps/${ApplicationId}/messages/${id}`,
    );
    const doubts = timeline.filter(({ event }) => event === 'in_doubt').length;
    expect(times, id).toBeLessThanOrEqual(1 + doubts);
  }
}, 150_000);

test('a role that is started again takes over from its predecessor at once', async () => {
  const url = await runningServerUrl(embeddedDirectory(dataDir), 'postrider');
  const database = openDatabase({ url: url!, maxConnections: 1, applicationName: 'judge' });
  const before = product.roles().map(({ pid }) => pid);
  product.killRole('worker');
  product.killRole('api');
  // The heartbeats of others would take 30 seconds.
  await waitFor(
    'the registrations of those that run, and no others',
    async () => {
      const running = product.roles().map(({ pid }) => pid);
      const { rows } = await database.query<{ pid: number }>('select pid from workers');
      const registered = rows.map(({ pid }) => pid);
      return (
        running.length === 2 &&
        !running.some((pid) => before.includes(pid)) &&
        registered.toSorted().join() === running.toSorted().join()
      );
    },
    20_000,
  );
  await database.close();
}, 60_000);
