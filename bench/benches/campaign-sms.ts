import { type Bench, scaled } from '../bench.ts';
import { fillEndpoints } from '../support/audience.ts';
import { campaignCompleted, createApplication, prepareCampaign, startCampaign } from '../support/campaign.ts';
import { copyIn, copyOut } from '../support/copy.ts';
import { median, perSecond, timed } from '../support/figures.ts';
import { startServer } from '../support/server.ts';

const limitMs = 15 * 60_000;

export const campaignSms: Bench = {
  name: 'campaign-sms',
  description: 'an SMS campaign through the sandbox, against COPY of the same message rows on one connection',
  async run(context) {
    const count = scaled(context, 200_000, 2_000);
    const database = await context.database();
    const server = await startServer({ databaseUrl: database.url, directory: context.directory });
    try {
      const applicationId = await createApplication(server, 'SMS');
      await fillEndpoints(database, applicationId, { count, channel: 'SMS' });
      const prepared = await prepareCampaign(server, applicationId, 'SMS');
      await context.quiet();
      const ms = await timed(async () => {
        const campaignId = await startCampaign(server, applicationId, 'SMS', prepared);
        await campaignCompleted(server, applicationId, campaignId, limitMs);
      });
      const { rows } = await database.query<{ sent: number }>(
        `select count(distinct message_id) as sent from events where type = 'message.sent'`,
      );
      if (rows[0]!.sent !== count) throw new Error(`${rows[0]!.sent} of ${count} messages were sent`);
      const client = await database.connect();
      const copies: number[] = [];
      try {
        const pieces = await copyOut(client, 'select * from messages');
        await client.query('create table messages_copy (like messages including all)');
        for (let round = 0; round < 3; round++) {
          await client.query('truncate messages_copy');
          await context.quiet();
          copies.push(await timed(() => copyIn(client, 'messages_copy', pieces)));
        }
      } finally {
        client.release();
      }
      return [
        {
          name: 'campaign-sms',
          ratio: median(copies) / ms,
          floor: 0.1,
          subject: `${perSecond(count, ms)} messages from the start to COMPLETED`,
          baseline: `${perSecond(count, median(copies))} rows by COPY`,
          detail: `${count} messages, each with a row, a fact and an entry of the sandbox's phone`,
        },
      ];
    } finally {
      await server.stop();
    }
  },
};
