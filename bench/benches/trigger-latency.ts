import { setTimeout as sleep } from 'node:timers/promises';
import { CreateCampaignCommand } from '@aws-sdk/client-pinpoint';
import { eventFactType } from '../../packages/server/src/audience/index.ts';
import { appendFacts } from '../../packages/server/src/events/index.ts';
import type { Database } from '../../packages/server/src/platform/database.ts';
import { uuidv7 } from '../../packages/server/src/platform/ids.ts';
import { type Bench, scaled } from '../bench.ts';
import { fillEndpoints } from '../support/audience.ts';
import {
  campaignStatus,
  createApplication,
  createEverybody,
  html,
  pauseCampaign,
  prepareCampaign,
  startCampaign,
} from '../support/campaign.ts';
import { percentile, rounded } from '../support/figures.ts';
import { type BenchServer, startServer } from '../support/server.ts';
import { startSmtpSink } from '../support/smtp-sink.ts';
import { startTimingSink } from '../support/timing-sink.ts';

const perSecond = 1_000;
/** Events of one transaction, as a group commit of the ingest has them. */
const eventsPerCommit = 10;
const limitMs = 2_000;

/** Puts events of endpoints `from` … at a steady pace. Answers when each was committed, at the latest. */
async function putSteadily(
  database: Database,
  applicationId: string,
  range: { from: number; count: number; perSecond: number },
): Promise<Map<string, number>> {
  const committed = new Map<string, number>();
  const startedAt = performance.now();
  const pending = new Set<Promise<void>>();
  for (let n = 0; n < range.count; n += eventsPerCommit) {
    const dueMs = (n * 1000) / range.perSecond;
    const wait = startedAt + dueMs - performance.now();
    if (wait > 1) await sleep(wait);
    const people = Array.from({ length: eventsPerCommit }, (_, index) => range.from + n + index);
    const put = database
      .transaction((tx) =>
        appendFacts(
          tx,
          people.map((person) => ({
            type: eventFactType('purchase'),
            applicationId,
            endpointId: `endpoint-${person}`,
            payload: { id: uuidv7(), attributes: { product: 'shoes' }, metrics: { total: 20 } },
          })),
        ),
      )
      .then(() => {
        const now = Date.now();
        for (const person of people) committed.set(`person${person}@example.com`, now);
      })
      .finally(() => pending.delete(put));
    pending.add(put);
    if (pending.size >= 8) await Promise.race(pending);
  }
  await Promise.all(pending);
  return committed;
}

/** A campaign of 5 kB HTML that each purchase triggers. */
async function createTriggered(
  server: BenchServer,
  ApplicationId: string,
  SegmentId: string,
): Promise<string> {
  const created = await server.client.send(
    new CreateCampaignCommand({
      ApplicationId,
      WriteCampaignRequest: {
        Name: 'triggered',
        SegmentId,
        Schedule: {
          StartTime: 'IMMEDIATE',
          Frequency: 'EVENT',
          EventFilter: {
            FilterType: 'ENDPOINT',
            Dimensions: {
              EventType: { DimensionType: 'INCLUSIVE', Values: ['purchase'] },
              Attributes: { product: { AttributeType: 'INCLUSIVE', Values: ['shoes'] } },
              Metrics: { total: { ComparisonOperator: 'GREATER_THAN', Value: 10 } },
            },
          },
        },
        MessageConfiguration: {
          EmailMessage: { Title: 'Your {{Event.Attributes.product}}', HtmlBody: html },
        },
      },
    }),
  );
  return created.CampaignResponse!.Id!;
}

/** Its own way out for one application. */
async function routeTo(database: Database, applicationId: string, port: number): Promise<void> {
  await database.query(
    `insert into provider_accounts (id, application_id, channel, provider, name, settings, state)
     values ('timing-sink', $1, 'EMAIL', 'smtp', 'timing sink', $2, 'active')`,
    [applicationId, JSON.stringify({ host: '127.0.0.1', port, tls: 'off' })],
  );
}

/** From commit to first byte, in milliseconds, of every event; waits for the last one. */
async function latencies(
  arrivals: () => Promise<Map<string, number>>,
  committed: Map<string, number>,
): Promise<number[]> {
  const until = performance.now() + 60_000;
  for (;;) {
    const arrived = await arrivals();
    const missing = [...committed.keys()].filter((address) => !arrived.has(address));
    if (missing.length === 0)
      return [...committed].map(([address, at]) => Math.max(0, arrived.get(address)! - at));
    if (performance.now() > until)
      throw new Error(`${missing.length} of ${committed.size} triggered mails did not come`);
    await sleep(100);
  }
}

export const triggerLatency: Bench = {
  name: 'trigger-latency',
  description:
    'from the commit of an event to the first byte at the SMTP sink, at 1,000 triggers a second beside a bulk campaign',
  async run(context) {
    const seconds = Math.max(3, Math.round(scaled(context, 30)));
    const database = await context.database();
    const sink = await startSmtpSink(context.directory);
    const count = seconds * perSecond;
    const warmUp = 2 * perSecond;
    const timing = await startTimingSink();
    let server: BenchServer | undefined;
    try {
      server = await startServer({
        databaseUrl: database.url,
        directory: context.directory,
        env: { POSTRIDER_SMTP_URL: `smtp://127.0.0.1:${sink.port}` },
      });
      const bulkApp = await createApplication(server, 'EMAIL');
      const eventApp = await createApplication(server, 'EMAIL');
      await routeTo(database, eventApp, timing.port);
      await fillEndpoints(database, bulkApp, { count: Math.max(50_000, seconds * 6_000), channel: 'EMAIL' });
      await fillEndpoints(database, eventApp, { count: 2 * (count + warmUp), channel: 'EMAIL' });
      const prepared = await prepareCampaign(server, bulkApp, 'EMAIL');
      const segmentId = await createEverybody(server, eventApp, 'EMAIL');
      await createTriggered(server, eventApp, segmentId);
      await latencies(
        timing.arrivals,
        await putSteadily(database, eventApp, { from: 0, count: warmUp, perSecond }),
      );
      await context.quiet();
      const idle = await latencies(
        timing.arrivals,
        await putSteadily(database, eventApp, { from: warmUp, count, perSecond }),
      );
      const before = await sink.count();
      const campaignId = await startCampaign(server, bulkApp, 'EMAIL', prepared);
      await sink.received(before + 1_000, 120_000);
      const startedAt = performance.now();
      const committed = await putSteadily(database, eventApp, { from: warmUp + count, count, perSecond });
      const putMs = performance.now() - startedAt;
      const status = await campaignStatus(server, bulkApp, campaignId);
      if (status !== 'EXECUTING')
        throw new Error(`the bulk campaign was ${status} before the measuring ended`);
      const bulk = (await sink.count()) - before;
      const busy = await latencies(timing.arrivals, committed);
      await pauseCampaign(server, bulkApp, campaignId);
      const p99 = percentile(busy, 0.99);
      return [
        {
          name: 'trigger-latency',
          ratio: limitMs / p99,
          floor: 1,
          subject: `p99 ${rounded(p99)} ms, p50 ${rounded(percentile(busy, 0.5))} ms beside a bulk campaign (${busy.length} triggers at ${Math.round((count * 1000) / putMs)}/s)`,
          baseline: `the limit of ${limitMs} ms`,
          detail: `alone p99 ${rounded(percentile(idle, 0.99))} ms, p50 ${rounded(percentile(idle, 0.5))} ms; ${bulk} bulk mails went out meanwhile`,
        },
      ];
    } finally {
      await server?.stop();
      timing.stop();
      await sink.stop();
    }
  },
};
