import { SendMessagesCommand } from '@aws-sdk/client-pinpoint';
import { type Bench, type BenchContext, scaled } from '../bench.ts';
import { fillEndpoints } from '../support/audience.ts';
import {
  campaignStatus,
  createApplication,
  pauseCampaign,
  prepareCampaign,
  startCampaign,
} from '../support/campaign.ts';
import { percentile, rounded } from '../support/figures.ts';
import { type BenchServer, startServer } from '../support/server.ts';
import { signedGets } from '../support/signed-gets.ts';
import { startSmtpSink } from '../support/smtp-sink.ts';

const getConnections = 50;

/** One message after the other for `ms`; each call answers when the sink has said 250. Milliseconds of each. */
async function sendForAWhile(server: BenchServer, ApplicationId: string, ms: number): Promise<number[]> {
  const samples: number[] = [];
  const until = performance.now() + ms;
  for (let n = 0; performance.now() < until; n++) {
    const startedAt = performance.now();
    const address = `direct${n}@example.com`;
    const { MessageResponse } = await server.client.send(
      new SendMessagesCommand({
        ApplicationId,
        MessageRequest: {
          Addresses: { [address]: { ChannelType: 'EMAIL' } },
          MessageConfiguration: {
            EmailMessage: {
              SimpleEmail: {
                Subject: { Data: 'Your receipt' },
                TextPart: { Data: 'Thank you for your order.' },
              },
            },
          },
        },
      }),
    );
    const result = MessageResponse?.Result?.[address];
    if (result?.StatusCode !== 200) throw new Error(`SendMessages: ${JSON.stringify(result)}`);
    samples.push(performance.now() - startedAt);
  }
  return samples;
}

/** GetEndpoint of all over the application for `ms`; milliseconds of each call. */
async function getForAWhile(
  server: BenchServer,
  applicationId: string,
  endpoints: number,
  ms: number,
): Promise<number[]> {
  const paths = Array.from(
    { length: 2_000 },
    (_, n) => `/v1/apps/${applicationId}/endpoints/endpoint-${(n * 7_919) % endpoints}`,
  );
  return await signedGets(server, { paths, connections: getConnections, ms });
}

async function measureBoth(
  context: BenchContext,
  server: BenchServer,
  applicationId: string,
  endpoints: number,
): Promise<{ send: number; get: number; sends: number; gets: number }> {
  const ms = scaled(context, 20_000, 3_000);
  const sends = await sendForAWhile(server, applicationId, ms);
  const gets = await getForAWhile(server, applicationId, endpoints, ms);
  return {
    send: percentile(sends, 0.99),
    get: percentile(gets, 0.99),
    sends: sends.length,
    gets: gets.length,
  };
}

export const lanes: Bench = {
  name: 'lanes',
  description:
    'p99 of SendMessages and GetEndpoint while a campaign of 1,000,000 runs, against an idle server',
  async run(context) {
    const count = scaled(context, 1_000_000, 50_000);
    const database = await context.database();
    const sink = await startSmtpSink(context.directory);
    let server: BenchServer | undefined;
    try {
      server = await startServer({
        databaseUrl: database.url,
        directory: context.directory,
        env: { POSTRIDER_SMTP_URL: `smtp://127.0.0.1:${sink.port}` },
      });
      const applicationId = await createApplication(server, 'EMAIL');
      await fillEndpoints(database, applicationId, { count, channel: 'EMAIL' });
      const prepared = await prepareCampaign(server, applicationId, 'EMAIL');
      // Caches, connections and compiled code first: the figures are those of a server that has been running.
      await sendForAWhile(server, applicationId, 2_000);
      await getForAWhile(server, applicationId, count, 2_000);
      await context.quiet();
      const idle = await measureBoth(context, server, applicationId, count);
      const before = await sink.count();
      const campaignId = await startCampaign(server, applicationId, 'EMAIL', prepared);
      await sink.received(before + 1_000, 120_000);
      const busy = await measureBoth(context, server, applicationId, count);
      const status = await campaignStatus(server, applicationId, campaignId);
      if (status !== 'EXECUTING') throw new Error(`the campaign was ${status} before the measuring ended`);
      const sentMeanwhile = (await sink.count()) - before;
      await pauseCampaign(server, applicationId, campaignId);
      return [
        {
          name: 'lanes SendMessages',
          ratio: idle.send / busy.send,
          floor: 1 / 3,
          subject: `p99 ${rounded(busy.send)} ms while the campaign ran (${busy.sends} calls)`,
          baseline: `p99 ${rounded(idle.send)} ms idle (${idle.sends} calls)`,
          detail: `${sentMeanwhile} campaign mails reached the sink meanwhile`,
        },
        {
          name: 'lanes GetEndpoint',
          ratio: idle.get / busy.get,
          floor: 1 / 5,
          subject: `p99 ${rounded(busy.get)} ms on ${getConnections} connections (${busy.gets} calls)`,
          baseline: `p99 ${rounded(idle.get)} ms idle (${idle.gets} calls)`,
        },
      ];
    } finally {
      await server?.stop();
      await sink.stop();
    }
  },
};
