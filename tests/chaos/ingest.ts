import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { CreateAppCommand, PinpointClient, PutEventsCommand } from '@aws-sdk/client-pinpoint';
import { openDatabase } from '../../packages/server/src/platform/database.ts';
import { embeddedDirectory, runningServerUrl } from '../../packages/server/src/platform/postgres.ts';
import { accessKey, freePort, Product } from './product.ts';

export interface IngestChaosOptions {
  /** Requests of each client, with 10 events each. */
  requests: number;
  /** Each is the death of the api, and every second one of everything, PostgreSQL included. */
  kills: number;
  print: (text: string) => void;
}

export interface IngestChaosReport {
  acknowledged: number;
  facts: number;
  repeats: number;
  kills: number;
  violations: string[];
}

const clients = 6;
const perRequest = 10;

/**
 * Clients that put events and repeat each request until it is answered (and every tenth once more), while processes are
 * killed: every acknowledged event is in the log, and each that is there is there once.
 */
export async function runIngestChaos(options: IngestChaosOptions): Promise<IngestChaosReport> {
  const folder = await mkdtemp('/tmp/postrider-ingest-chaos-');
  await chmod(folder, 0o755);
  const dataDir = join(folder, 'data');
  const product = new Product({ dataDir, port: await freePort() });
  const client = new PinpointClient({
    endpoint: product.url,
    region: 'us-east-1',
    credentials: { accessKeyId: accessKey.id, secretAccessKey: accessKey.secret },
    maxAttempts: 1,
    requestHandler: { requestTimeout: 20_000 },
  });
  try {
    await product.start();
    const created = await client.send(new CreateAppCommand({ CreateApplicationRequest: { Name: 'chaos' } }));
    const app = created.ApplicationResponse!.Id!;
    const load = new Load(client, app, options.requests);
    const sending = Promise.all(Array.from({ length: clients }, (_, who) => load.run(who)));
    let kills = 0;
    const total = clients * options.requests;
    for (let kill = 1; kill <= options.kills && !load.isOver(); kill++) {
      const until = Math.floor((total * kill) / (options.kills + 1));
      while (load.answered < until && !load.isOver()) await new Promise((resolve) => setTimeout(resolve, 5));
      if (kill % 2 === 0) {
        await product.killEverything();
        await product.start();
      } else product.killRole('api');
      kills++;
      options.print(`kill ${kills} after ${load.answered} requests`);
    }
    await sending;
    return { ...(await judge(dataDir, app, load)), kills };
  } finally {
    client.destroy();
    await product.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

class Load {
  readonly acknowledged = new Set<string>();
  readonly violations: string[] = [];
  answered = 0;
  repeats = 0;
  readonly #client: PinpointClient;
  readonly #app: string;
  readonly #requests: number;
  #running = clients;

  constructor(client: PinpointClient, app: string, requests: number) {
    this.#client = client;
    this.#app = app;
    this.#requests = requests;
  }

  isOver(): boolean {
    return this.#running === 0;
  }

  async run(who: number): Promise<void> {
    for (let n = 0; n < this.#requests; n++) {
      await this.#untilAnswered(who, n);
      if (n % 10 === 0) await this.#untilAnswered(who, n);
      this.answered++;
    }
    this.#running--;
  }

  async #untilAnswered(who: number, n: number): Promise<void> {
    const endpoint = `endpoint-${(who + n) % 5}`;
    const ids = Array.from({ length: perRequest }, (_, k) => `${who}-${n}-${k}`);
    const Timestamp = new Date().toISOString();
    const Events = Object.fromEntries(ids.map((id) => [id, { EventType: 'chaos', Timestamp }]));
    const command = new PutEventsCommand({
      ApplicationId: this.#app,
      EventsRequest: {
        BatchItem: { [endpoint]: { Endpoint: { Metrics: { n }, User: { UserId: `user-${who}` } }, Events } },
      },
    });
    const until = performance.now() + 120_000;
    for (;;) {
      try {
        const { EventsResponse } = await this.#client.send(command);
        const answers = EventsResponse!.Results![endpoint]!.EventsItemResponse!;
        for (const id of ids) {
          if (answers[id]?.StatusCode === 202) this.acknowledged.add(`${endpoint} ${id}`);
          else this.violations.push(`${id} was answered ${JSON.stringify(answers[id])}`);
        }
        return;
      } catch (error) {
        const status = (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode;
        // A connection that broke, or what Amplify's clients repeat.
        if (status !== undefined && ![429, 500].includes(status)) {
          this.violations.push(`answered ${status}: ${(error as Error).message}`);
          return;
        }
        if (performance.now() > until) throw error;
        this.repeats++;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }
}

async function judge(dataDir: string, app: string, load: Load): Promise<Omit<IngestChaosReport, 'kills'>> {
  const url = await runningServerUrl(embeddedDirectory(dataDir), 'postrider');
  const database = openDatabase({ url: url!, maxConnections: 1, applicationName: 'judge' });
  const { rows } = await database.query<{ event: string; times: number }>(
    `select endpoint_id || ' ' || (payload ->> 'id') as event, count(*) as times from events
     where application_id = $1 and type = 'event.chaos' group by 1`,
    [app],
  );
  await database.close();
  const found = new Map(rows.map(({ event, times }) => [event, times]));
  const violations = [...load.violations];
  for (const event of load.acknowledged) if (!found.has(event)) violations.push(`${event} is lost`);
  for (const [event, times] of found) if (times > 1) violations.push(`${event} is there ${times} times`);
  return { acknowledged: load.acknowledged.size, facts: rows.length, repeats: load.repeats, violations };
}
