import {
  CreateAppCommand,
  CreateCampaignCommand,
  CreateSegmentCommand,
  DeleteAppCommand,
  GetCampaignCommand,
  ListTagsForResourceCommand,
  TagResourceCommand,
  UpdateEmailChannelCommand,
  UpdateEndpointsBatchCommand,
} from '@aws-sdk/client-pinpoint';
import { expect, test } from 'vitest';
import { waitFor } from './support/processes.ts';
import { startProduct } from './support/product.ts';

const product = await startProduct();

/** An application with people, a segment and a campaign that has run. */
async function createLife(name: string): Promise<{ app: string; segmentArn: string; campaignArn: string }> {
  const client = product.client();
  const created = await client.send(new CreateAppCommand({ CreateApplicationRequest: { Name: name } }));
  const app = created.ApplicationResponse!.Id!;
  await client.send(
    new UpdateEmailChannelCommand({
      ApplicationId: app,
      EmailChannelRequest: { FromAddress: 'a@example.com', Identity: 'example.com' },
    }),
  );
  const Item = ['one', 'two'].map((id) => ({
    Id: id,
    ChannelType: 'EMAIL' as const,
    Address: `${id}@example.com`,
    User: { UserId: `user-${id}`, UserAttributes: { Name: [id] } },
  }));
  await client.send(new UpdateEndpointsBatchCommand({ ApplicationId: app, EndpointBatchRequest: { Item } }));
  const segment = await client.send(
    new CreateSegmentCommand({ ApplicationId: app, WriteSegmentRequest: { Name: 'all', Dimensions: {} } }),
  );
  const campaign = await client.send(
    new CreateCampaignCommand({
      ApplicationId: app,
      WriteCampaignRequest: {
        Name: 'hello',
        SegmentId: segment.SegmentResponse!.Id!,
        Schedule: { StartTime: 'IMMEDIATE' },
        Limits: { Daily: 5, Total: 5 },
        MessageConfiguration: {
          EmailMessage: { Title: 'Hi', HtmlBody: '<p>{{User.UserAttributes.Name}}</p>' },
        },
      },
    }),
  );
  const { Id, Arn } = campaign.CampaignResponse!;
  await waitFor('the campaign', async () => {
    const { CampaignResponse } = await client.send(
      new GetCampaignCommand({ ApplicationId: app, CampaignId: Id }),
    );
    return CampaignResponse?.State?.CampaignStatus === 'COMPLETED';
  });
  return { app, segmentArn: segment.SegmentResponse!.Arn!, campaignArn: Arn! };
}

/** Every table that has rows of the application, by the columns that can say so. */
async function tablesWith(app: string): Promise<string[]> {
  const { rows } = await product.database.query<{ name: string }>(
    `select c.table_name as name from information_schema.columns c join information_schema.tables t using (table_schema, table_name)
     where c.table_schema = 'public' and c.column_name = 'application_id' and t.table_type = 'BASE TABLE' order by 1`,
  );
  const found: string[] = [];
  for (const { name } of rows) {
    const { rowCount } = await product.database.query(
      `select from "${name}" where application_id = $1 limit 1`,
      [app],
    );
    if (rowCount) found.push(name);
  }
  return found;
}

test('campaigns and segments carry tags by their ARN', async () => {
  const { segmentArn, campaignArn } = await createLife('tagged');
  const client = product.client();
  for (const ResourceArn of [segmentArn, campaignArn]) {
    await client.send(new TagResourceCommand({ ResourceArn, TagsModel: { tags: { team: 'growth' } } }));
    const { TagsModel } = await client.send(new ListTagsForResourceCommand({ ResourceArn }));
    expect(TagsModel!.tags).toEqual({ team: 'growth' });
  }
  const ResourceArn = campaignArn.replace(/[0-9a-f]{32}$/, '0'.repeat(32));
  await expect(client.send(new ListTagsForResourceCommand({ ResourceArn }))).rejects.toMatchObject({
    name: 'NotFoundException',
  });
});

test('a deleted application leaves nothing behind but the audit, and the others are untouched', async () => {
  const [kept, gone] = [await createLife('kept'), await createLife('gone')];
  const before = await tablesWith(kept.app);
  expect(before).toEqual(
    expect.arrayContaining([
      'messages',
      'events',
      'endpoints',
      'users',
      'campaigns',
      'inbox',
      'endpoint_sends',
    ]),
  );
  await product.client().send(new DeleteAppCommand({ ApplicationId: gone.app }));
  await waitFor('the erasure', async () =>
    (await tablesWith(gone.app)).every((name) => name === 'audit_entries'),
  );
  expect(await tablesWith(kept.app)).toEqual(before);
});
