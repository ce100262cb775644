import type { Bench, BenchContext } from '../bench.ts';
import { scaled } from '../bench.ts';
import { fillEndpoints } from '../support/audience.ts';
import { campaignCompleted, createApplication, prepareCampaign, startCampaign } from '../support/campaign.ts';
import { perSecond, timed } from '../support/figures.ts';
import { sendBare } from '../support/nodemailer-pool.ts';
import { type BenchServer, startServer } from '../support/server.ts';
import { startSmtpSink } from '../support/smtp-sink.ts';

const limitMs = 15 * 60_000;

/** Each of the audience has one message row, and one `message.sent` among the facts. */
async function checkLog(
  database: Awaited<ReturnType<BenchContext['database']>>,
  count: number,
): Promise<void> {
  const { rows } = await database.query<{ messages: number; sent: number }>(
    `select (select count(*) from messages where decision = 'sending') as messages,
       (select count(distinct message_id) from events where type = 'message.sent') as sent`,
  );
  const { messages, sent } = rows[0]!;
  if (messages !== count || sent !== count) {
    throw new Error(`${messages} message rows and ${sent} sent facts for an audience of ${count}`);
  }
}

export const campaignSmtp: Bench = {
  name: 'campaign-smtp',
  description: 'a campaign of 5 kB HTML into smtp-sink, against a bare nodemailer pool to the same sink',
  async run(context) {
    const count = scaled(context, 100_000, 1_000);
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
      // Half before and half after, so that a machine that changes its speed changes both sides.
      const bareCount = Math.ceil(count / 4);
      await context.quiet();
      let bareMs = await sendBare(sink, bareCount);
      const before = await sink.count();
      await context.quiet();
      let campaignId = '';
      const running = server;
      const ms = await timed(async () => {
        campaignId = await startCampaign(running, applicationId, 'EMAIL', prepared);
        await sink.received(before + count, limitMs);
      });
      await campaignCompleted(server, applicationId, campaignId, 60_000);
      await checkLog(database, count);
      const accepted = (await sink.count()) - before;
      if (accepted !== count) throw new Error(`the sink accepted ${accepted} of ${count}`);
      await context.quiet();
      bareMs += await sendBare(sink, bareCount);
      const bareRate = (2 * bareCount) / bareMs;
      return [
        {
          name: 'campaign-smtp',
          ratio: count / ms / bareRate,
          floor: 0.6,
          subject: `${perSecond(count, ms)} mails from the start to the last at the sink`,
          baseline: `${perSecond(2 * bareCount, bareMs)} by a nodemailer pool of 20`,
          detail: `${count} mails, each with a row and a fact; segment, chunks and rendering included`,
        },
      ];
    } finally {
      await server?.stop();
      await sink.stop();
    }
  },
};
