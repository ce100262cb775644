import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { CreateCampaignCommand, PutEventStreamCommand } from '@aws-sdk/client-pinpoint';
import { type LogLag, logLag } from '../../packages/server/src/events/index.ts';
import type { Database } from '../../packages/server/src/platform/database.ts';
import { sign } from '../../tests/support/signed-request.ts';
import { type Bench, type Measure, scaled } from '../bench.ts';
import { fillEndpoints } from '../support/audience.ts';
import { createApplication, createEverybody, smsBody } from '../support/campaign.ts';
import { rounded } from '../support/figures.ts';
import { startNoopServer } from '../support/noop-server.ts';
import { residentMb } from '../support/processes.ts';
import { type ReadyRequest, readyRequest, sendRequests } from '../support/raw-requests.ts';
import { type BenchServer, benchKey, startServer } from '../support/server.ts';

const eventsPerSecond = 1_000;
const eventsPerRequest = 20;
/** One event of so many triggers a campaign. */
const eventsPerTrigger = 40;
const endpoints = 50_000;
const maxLagSeconds = 5;
/** Memory at the end over memory once everything is warm. */
const maxGrowth = 1.15;

/** What is looked at once a second. */
interface Sample {
  /** The worst of all: waiting to be numbered, read by a subscriber, or delivered by the stream. */
  lagSeconds: number;
  worst: string;
  apiMb: number;
  workerMb: number;
}

/** The events of one second, in signed requests. */
function second(port: number, applicationId: string): ReadyRequest[] {
  const path = `/v1/apps/${applicationId}/events`;
  return Array.from({ length: eventsPerSecond / eventsPerRequest }, () => {
    const BatchItem: Record<string, object> = {};
    for (let n = 0; n < eventsPerRequest; n++) {
      const place = Math.floor(Math.random() * endpoints);
      const event = {
        EventType: Math.random() * eventsPerTrigger < 1 ? '_monetization.purchase' : 'product.viewed',
        Timestamp: new Date().toISOString(),
        Attributes: { category: `c${place % 40}`, _currency: 'EUR' },
        Metrics: { _item_price: place % 100, _quantity: 1 },
        Session: { Id: `s${place}`, StartTimestamp: new Date(Date.now() - 60_000).toISOString() },
      };
      BatchItem[`endpoint-${place}`] = { Endpoint: {}, Events: { [randomUUID()]: event } };
    }
    const body = Buffer.from(JSON.stringify({ BatchItem }));
    const asked = { method: 'POST', path, body, headers: { 'content-type': 'application/json' } };
    return readyRequest('POST', path, sign(asked, { key: benchKey, port }), body);
  });
}

/** Puts events at a steady pace for `seconds`. Answers how many. */
async function putSteadily(port: number, applicationId: string, seconds: number): Promise<number> {
  const startedAt = performance.now();
  for (let n = 0; n < seconds; n++) {
    const requests = second(port, applicationId);
    const wait = startedAt + n * 1000 - performance.now();
    if (wait > 0) await sleep(wait);
    await sendRequests(port, requests, { connections: 8, expect: 202 });
  }
  return seconds * eventsPerSecond;
}

function worstLag(lag: LogLag, streamSeconds: number): { lagSeconds: number; worst: string } {
  const lags = [
    { lagSeconds: lag.unnumberedSeconds, worst: 'numbering' },
    { lagSeconds: streamSeconds, worst: 'stream' },
    ...lag.subscribers.map(({ name, lagSeconds }) => ({ lagSeconds, worst: name })),
  ];
  return lags.reduce((most, next) => (next.lagSeconds > most.lagSeconds ? next : most));
}

/** Looks once a second until `stop()`. */
function watch(server: BenchServer, database: Database, applicationId: string) {
  const samples: Sample[] = [];
  let running = true;
  const loop = async () => {
    const [api, worker] = [await server.pid('api'), await server.pid('worker')];
    while (running) {
      const lag = await logLag(database);
      const { items } = await server.get<{ items: { lagSeconds: number }[] }>(
        `/api/apps/${applicationId}/streams`,
      );
      samples.push({
        ...worstLag(lag, items[0]!.lagSeconds),
        apiMb: await residentMb(api),
        workerMb: await residentMb(worker),
      });
      await sleep(1000);
    }
  };
  const done = loop();
  return {
    async stop() {
      running = false;
      await done;
      return samples;
    },
  };
}

/** A campaign that purchases trigger, by SMS into the sandbox. */
async function createTriggered(server: BenchServer, ApplicationId: string): Promise<void> {
  const EventFilter = {
    FilterType: 'ENDPOINT' as const,
    Dimensions: {
      EventType: { DimensionType: 'INCLUSIVE' as const, Values: ['_monetization.purchase'] },
    },
  };
  await server.client.send(
    new CreateCampaignCommand({
      ApplicationId,
      WriteCampaignRequest: {
        Name: 'thanks',
        SegmentId: await createEverybody(server, ApplicationId, 'SMS'),
        Schedule: { StartTime: 'IMMEDIATE', Frequency: 'EVENT', EventFilter },
        MessageConfiguration: { SMSMessage: { Body: smsBody } },
      },
    }),
  );
}

function measuresOf(samples: readonly Sample[], put: number, seconds: number): Measure[] {
  const most = samples.reduce((worst, next) => (next.lagSeconds > worst.lagSeconds ? next : worst));
  const median = (of: readonly Sample[], memory: 'apiMb' | 'workerMb') =>
    of.map((sample) => sample[memory]).sort((a, b) => a - b)[Math.floor(of.length / 2)]!;
  const fifth = Math.max(1, Math.floor(samples.length / 5));
  // The second fifth, when code is compiled and caches are full, against the last one.
  const growth = (['apiMb', 'workerMb'] as const).map((memory) => {
    const [warm, last] = [
      median(samples.slice(fifth, 2 * fifth), memory),
      median(samples.slice(-fifth), memory),
    ];
    return { memory, warm, last, share: last / warm };
  });
  const grown = growth.reduce((worst, next) => (next.share > worst.share ? next : worst));
  const shown = growth.map(
    ({ memory, warm, last }) => `${memory.replace('Mb', '')} ${rounded(warm)} → ${rounded(last)} MB`,
  );
  return [
    {
      name: 'together lag',
      ratio: maxLagSeconds / Math.max(most.lagSeconds, 0.01),
      floor: 1,
      subject: `${rounded(most.lagSeconds)} s at most (${most.worst}), ${put} events in ${seconds} s with figures, triggers and a stream`,
      baseline: `the limit of ${maxLagSeconds} s`,
    },
    {
      name: 'together memory',
      ratio: maxGrowth / grown.share,
      floor: 1,
      subject: shown.join(', '),
      baseline: `${maxGrowth} of the memory once warm`,
    },
  ];
}

export const together: Bench = {
  name: 'together',
  description: `${eventsPerSecond} events a second for ten minutes, with figures, triggers and one stream: lags and memory`,
  async run(context) {
    const seconds = scaled(context, 600, 20);
    const database = await context.database();
    const receiver = await startNoopServer();
    const server = await startServer({ databaseUrl: database.url, directory: context.directory });
    try {
      const port = Number(new URL(server.url).port);
      const applicationId = await createApplication(server, 'SMS');
      await fillEndpoints(database, applicationId, { count: endpoints, channel: 'SMS' });
      await createTriggered(server, applicationId);
      const DestinationStreamArn = `http://127.0.0.1:${receiver.port}/`;
      const WriteEventStream = { DestinationStreamArn, RoleArn: 'arn:aws:iam::0:role/x' };
      await server.client.send(new PutEventStreamCommand({ ApplicationId: applicationId, WriteEventStream }));
      await context.quiet();
      const watching = watch(server, database, applicationId);
      const put = await putSteadily(port, applicationId, seconds);
      return measuresOf(await watching.stop(), put, seconds);
    } finally {
      await server.stop();
      receiver.stop();
    }
  },
};
