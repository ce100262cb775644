import { randomUUID } from 'node:crypto';
import { CreateAppCommand } from '@aws-sdk/client-pinpoint';
import type { Database } from '../../packages/server/src/platform/database.ts';
import { sign } from '../../tests/support/signed-request.ts';
import { type Bench, type BenchContext, type Measure, scaled } from '../bench.ts';
import { copyIn, copyOut } from '../support/copy.ts';
import { median, percentile, perSecond, rounded, timed } from '../support/figures.ts';
import { startNoopServer } from '../support/noop-server.ts';
import { residentMb, sampleMemory } from '../support/processes.ts';
import { type ReadyRequest, readyRequest, sendRequests } from '../support/raw-requests.ts';
import { type BenchServer, benchKey, startServer } from '../support/server.ts';

const eventsPerRequest = 100;
const eventsPerEndpoint = 20;
const endpoints = 20_000;
/** Connections of requests with one event. */
const singleConnections = 64;
const rounds = 3;
const columns =
  'day, batch_id, seq, occurred_at, application_id, type, endpoint_id, message_id, dispatch_id, payload';

/** An event as a shop's app puts it: about 390 bytes of JSON. */
function eventOf(index: number): object {
  return {
    EventType: ['_session.start', 'product.viewed', 'basket.changed', '_monetization.purchase'][index % 4],
    Timestamp: new Date(Date.now() - (index % 600) * 1_000).toISOString(),
    Attributes: { category: `c${index % 40}`, plan: index % 3 ? 'free' : 'pro', screen: 'product/details' },
    Metrics: { price: (index % 1_000) / 10, quantity: index % 5 },
    Session: { Id: `session-${index % 5_000}`, StartTimestamp: new Date(Date.now() - 600_000).toISOString() },
    AppPackageName: 'com.example.shop',
    AppVersionCode: '4.2.0',
    SdkName: 'aws-amplify',
    ClientSdkVersion: '6.0.1',
  };
}

/** Requests with `perRequest` events each; every tenth endpoint says something new of itself. */
function makeRequests(
  server: BenchServer,
  applicationId: string,
  count: number,
  perRequest: number,
): ReadyRequest[] {
  const port = Number(new URL(server.url).port);
  const path = `/v1/apps/${applicationId}/events`;
  const perEndpoint = Math.min(perRequest, eventsPerEndpoint);
  return Array.from({ length: count }, (_, request) => {
    const BatchItem: Record<string, object> = {};
    for (let start = 0; start < perRequest; start += perEndpoint) {
      // Never the same twice in a request, whose endpoints are the keys of one object.
      const place = Math.floor(
        (start / perEndpoint + Math.random()) * (endpoints / (perRequest / perEndpoint)),
      );
      const Events: Record<string, object> = {};
      for (let n = 0; n < perEndpoint; n++) Events[randomUUID()] = eventOf(request * perRequest + start + n);
      // What it says is mostly what it said before.
      const Endpoint = endpointOf(place, request % 10 === 0 ? String(request) : '1');
      BatchItem[`endpoint-${place}`] = { Endpoint, Events };
    }
    return signed(port, path, { BatchItem });
  });
}

/** An application whose endpoints are there already, as those of an app that is in use. */
async function newApplication(server: BenchServer): Promise<string> {
  const created = await server.client.send(
    new CreateAppCommand({ CreateApplicationRequest: { Name: 'bench' } }),
  );
  const id = created.ApplicationResponse!.Id!;
  const port = Number(new URL(server.url).port);
  const path = `/v1/apps/${id}/events`;
  const requests = Array.from({ length: endpoints / 100 }, (_, batch) => {
    const items = Array.from({ length: 100 }, (_, n) => {
      const place = batch * 100 + n;
      return [`endpoint-${place}`, { Endpoint: endpointOf(place, '1'), Events: {} }];
    });
    return signed(port, path, { BatchItem: Object.fromEntries(items) });
  });
  await sendRequests(port, requests, { connections: 4, expect: 202 });
  return id;
}

function endpointOf(place: number, visits: string): object {
  return {
    ChannelType: 'GCM',
    Address: `token-${place}`,
    Attributes: { visits: [visits] },
    Demographic: { Platform: 'android', Locale: 'de_DE', AppVersion: '4.2.0' },
    User: { UserId: `user-${place}` },
  };
}

function signed(port: number, path: string, content: object): ReadyRequest {
  const body = Buffer.from(JSON.stringify(content));
  const headers = { 'content-type': 'application/json' };
  const request = { method: 'POST', path, body, headers };
  return readyRequest('POST', path, sign(request, { key: benchKey, port }), body);
}

/** Milliseconds of COPY of the application's rows, as they are, by two connections into the same table. */
async function copyAgain(database: Database, applicationId: string): Promise<number> {
  const client = await database.connect();
  const pieces = await copyOut(
    client,
    `select ${columns} from events where application_id = '${applicationId}' order by batch_id, seq`,
  );
  client.release();
  const lines = Buffer.concat(pieces).toString().split('\n').slice(0, -1);
  const batches: string[] = [];
  for (let start = 0; start < lines.length; start += 1_600) {
    batches.push(`${lines.slice(start, start + 1_600).join('\n')}\n`);
  }
  await database.query('truncate events');
  let next = 0;
  const one = async () => {
    const connection = await database.connect();
    for (let batch = batches[next++]; batch !== undefined; batch = batches[next++]) {
      await copyIn(connection, `events (${columns})`, [batch]);
    }
    connection.release();
  };
  return timed(() => Promise.all([one(), one()]));
}

async function measureBatches(
  context: BenchContext,
  server: BenchServer,
  database: Database,
  app: string,
): Promise<Measure[]> {
  const count = scaled(context, 1_500, 100);
  const port = Number(new URL(server.url).port);
  const [ours, bare, quick, slow]: number[][] = [[], [], [], []];
  for (let round = 0; round <= rounds; round++) {
    await database.query('truncate events');
    const requests = makeRequests(server, app, count, eventsPerRequest);
    await context.quiet();
    const { ms } = await sendRequests(port, requests, { connections: 32, expect: 202 });
    const few = makeRequests(server, app, Math.ceil(count / 3), eventsPerRequest);
    await context.quiet();
    const calm = await sendRequests(port, few, { connections: 8, expect: 202 });
    const { rows } = await database.query('select count(*) as count from events where application_id = $1', [
      app,
    ]);
    const written = rows[0]!.count;
    const wanted = (requests.length + few.length) * eventsPerRequest;
    if (written !== wanted) throw new Error(`${written} facts of ${wanted} events`);
    const copyMs = await copyAgain(database, app);
    // The first round warms up.
    if (round === 0) continue;
    ours!.push(ms / requests.length);
    bare!.push(copyMs / (requests.length + few.length));
    quick!.push(percentile(calm.samples, 0.5));
    slow!.push(percentile(calm.samples, 0.99));
  }
  const [own, copied] = [median(ours!), median(bare!)];
  const [p50, p99] = [median(quick!), median(slow!)];
  return [
    {
      name: 'put-events batches',
      ratio: copied / own,
      floor: 0.25,
      subject: `${perSecond(eventsPerRequest, own)} events, 100 a request, 32 connections`,
      baseline: `${perSecond(eventsPerRequest, copied)} rows by COPY of the same, 2 connections`,
    },
    {
      name: 'put-events latency',
      ratio: (4 * p50) / p99,
      floor: 1,
      subject: `p99 ${rounded(p99)} ms, 100 events a request, 8 connections`,
      baseline: `4 times p50, which is ${rounded(p50)} ms`,
    },
  ];
}

async function measureSingles(context: BenchContext, server: BenchServer, app: string): Promise<Measure> {
  const count = scaled(context, 30_000, 2_000);
  const noop = await startNoopServer();
  const [ours, bare]: number[][] = [[], []];
  for (let round = 0; round <= rounds; round++) {
    const requests = makeRequests(server, app, count, 1);
    await context.quiet();
    const own = await sendRequests(Number(new URL(server.url).port), requests, {
      connections: singleConnections,
      expect: 202,
    });
    const empty = await sendRequests(noop.port, requests, { connections: singleConnections, expect: 202 });
    if (round === 0) continue;
    ours!.push(own.ms / count);
    bare!.push(empty.ms / count);
  }
  noop.stop();
  const [own, empty] = [median(ours!), median(bare!)];
  return {
    name: 'put-events single',
    ratio: empty / own,
    floor: 0.25,
    subject: `${perSecond(1, own)} requests with one event, ${singleConnections} connections`,
    baseline: `${perSecond(1, empty)} requests to a node:http server that stores nothing`,
  };
}

export const putEvents: Bench = {
  name: 'put-events',
  description:
    'signed PutEvents, checked, de-duplicated and merged, against COPY of the same rows and against an empty server',
  async run(context) {
    const database = await context.database();
    const server = await startServer({
      databaseUrl: database.url,
      directory: context.directory,
    });
    // What readers of the log make of the events is another bench's matter; here they rest.
    const worker = await server.pid('worker');
    process.kill(worker, 'SIGSTOP');
    try {
      const memory = sampleMemory(await server.pid('api'));
      const app = await newApplication(server);
      const measures = await measureBatches(context, server, database, app);
      measures.push(await measureSingles(context, server, app));
      const { firstMb, highestMb } = await memory.stop();
      const lastMb = await residentMb(await server.pid('api'));
      measures[0]!.detail = `the api's memory: ${rounded(firstMb)} MB before, ${rounded(highestMb)} at most, ${rounded(lastMb)} after`;
      return measures;
    } finally {
      process.kill(worker, 'SIGCONT');
      await server.stop();
    }
  },
};
