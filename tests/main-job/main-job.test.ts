import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import {
  CreateAppCommand,
  CreateSegmentCommand,
  GetCampaignActivitiesCommand,
  GetImportJobCommand,
  UpdateEmailChannelCommand,
} from '@aws-sdk/client-pinpoint';
import { expect, test } from 'vitest';
import { startMailServer } from '../support/mail-server.ts';
import { waitFor } from '../support/processes.ts';
import { startProduct } from '../support/product.ts';
import { missing } from '../support/requires.ts';

const run = promisify(execFile);
const lacking = missing('aws', 'boto3');
const size = 10_000;
const broken = 40;

/** What row `index` of the file says, and whether its person belongs to the segment. */
function personOf(index: number) {
  const country = ['DE', 'FR', 'US'][index % 3]!;
  const tiers = index % 4 === 0 ? ['gold', 'early'] : ['silver'];
  const orders = index % 10;
  const blocked = index % 11 === 0;
  const inSegment = country === 'DE' && tiers.includes('gold') && orders > 3 && !blocked && index % 2 === 0;
  return { country, tiers, orders, blocked, inSegment, name: `Né "${index}", Jr.` };
}

const address = (index: number) => `p${index}@example.com`;

/** 10,000 people and 40 rows that cannot be read, scattered among them. */
function audienceFile(): string {
  const header =
    'Id,ChannelType,Address,OptOut,Location.Country,Attributes.Tier,Attributes.Tier,Attributes.Blocked,Metrics.Orders,User.UserId,User.UserAttributes.Name';
  const lines = [header];
  for (let index = 0; index < size; index++) {
    const { country, tiers, orders, blocked, name } = personOf(index);
    const optOut = index % 84 === 0 ? 'ALL' : 'NONE';
    const quoted = `"${name.replaceAll('"', '""')}"`;
    lines.push(
      [
        `e${index}`,
        'EMAIL',
        address(index),
        optOut,
        country,
        tiers[0],
        tiers[1] ?? '',
        blocked ? 'yes' : '',
        orders,
        `u${index}`,
        quoted,
      ].join(','),
    );
    if (index % (size / broken) === 0)
      lines.push(`broken${index},CARRIER_PIGEON,x,NONE,DE,,,,not a number,,`);
  }
  return `\ufeff${lines.join('\r\n')}\r\n`;
}

test.skipIf(lacking.length > 0)(
  'a campaign reaches exactly the right people with exactly the right text, through boto3, aws-cli and the JS SDK',
  async () => {
    const mail = await startMailServer();
    const product = await startProduct({ POSTRIDER_SMTP_URL: `smtp://127.0.0.1:${mail.port}?tls=none` });
    const client = product.client();
    const boto = async <T>(operation: string, parameters: object): Promise<T> => {
      const script = new URL('boto.py', import.meta.url).pathname;
      const { stdout } = await run('/usr/bin/python3', [script, operation, JSON.stringify(parameters)], {
        env: product.environment(),
      });
      return JSON.parse(stdout) as T;
    };
    const aws = async (...args: string[]): Promise<unknown> => {
      const { stdout } = await run('/usr/bin/aws', ['--endpoint-url', product.url, 'pinpoint', ...args], {
        env: product.environment(),
      });
      return stdout ? JSON.parse(stdout) : undefined;
    };

    const created = await client.send(
      new CreateAppCommand({ CreateApplicationRequest: { Name: 'main job' } }),
    );
    const app = created.ApplicationResponse!.Id!;
    await client.send(
      new UpdateEmailChannelCommand({
        ApplicationId: app,
        EmailChannelRequest: {
          FromAddress: 'Shop <shop@example.com>',
          Identity: 'example.com',
          Enabled: true,
        },
      }),
    );

    await mkdir(join(product.objects, 'files'), { recursive: true });
    await writeFile(join(product.objects, 'files', 'audience.csv'), audienceFile());
    const job = await boto<{ ImportJobResponse: { Id: string } }>('create_import_job', {
      ApplicationId: app,
      ImportJobRequest: {
        Format: 'CSV',
        S3Url: 's3://files/audience.csv',
        RoleArn: 'arn:aws:iam::000000000000:role/x',
        RegisterEndpoints: true,
        DefineSegment: false,
      },
    });
    await waitFor(
      'the import',
      async () => {
        const { ImportJobResponse } = await client.send(
          new GetImportJobCommand({ ApplicationId: app, JobId: job.ImportJobResponse.Id }),
        );
        return ['COMPLETED', 'FAILED'].includes(ImportJobResponse!.JobStatus!);
      },
      60_000,
    );
    const imported = await client.send(
      new GetImportJobCommand({ ApplicationId: app, JobId: job.ImportJobResponse.Id }),
    );
    expect(imported.ImportJobResponse).toMatchObject({ JobStatus: 'COMPLETED', TotalFailures: broken });
    expect(imported.ImportJobResponse!.TotalProcessed).toBe(size + broken);
    expect(imported.ImportJobResponse!.Failures).toHaveLength(broken);

    const members = Array.from({ length: size }, (_, index) => index).filter(
      (index) => personOf(index).inSegment,
    );
    // Signs of life: all members but three were active lately.
    const sleepers = members.slice(10, 13);
    await product.database.query(
      `insert into endpoint_activity (application_id, endpoint_id, active_at)
       select $1, id, case when id = any($2) then now() - interval '40 days' else now() end from endpoints where application_id = $1
       on conflict (application_id, endpoint_id) do update set active_at = excluded.active_at`,
      [app, sleepers.map((index) => `e${index}`)],
    );
    const segment = await client.send(
      new CreateSegmentCommand({
        ApplicationId: app,
        WriteSegmentRequest: {
          Name: 'gold customers',
          SegmentGroups: {
            Include: 'ALL',
            Groups: [
              {
                Type: 'ALL',
                Dimensions: [
                  {
                    Attributes: { Tier: { AttributeType: 'INCLUSIVE', Values: ['gold'] } },
                    Metrics: { Orders: { ComparisonOperator: 'GREATER_THAN', Value: 3 } },
                    Location: { Country: { DimensionType: 'INCLUSIVE', Values: ['DE'] } },
                    Behavior: { Recency: { Duration: 'DAY_30', RecencyType: 'ACTIVE' } },
                  },
                ],
              },
              {
                Type: 'NONE',
                Dimensions: [{ Attributes: { Blocked: { AttributeType: 'INCLUSIVE', Values: ['yes'] } } }],
              },
            ],
          },
        },
      }),
    );
    const segmentId = segment.SegmentResponse!.Id!;
    const audience = members.filter((index) => !sleepers.includes(index));
    expect(await product.json(`/api/apps/${app}/segments/${segmentId}/count`)).toMatchObject({
      total: audience.length,
    });

    // Some of the audience must not be written to, each for a reason of its own.
    const optedOut = audience.filter((index) => index % 84 === 0);
    const others = audience.filter((index) => index % 84 !== 0);
    const [inactive, suppressed, capped] = [others.slice(0, 4), others.slice(4, 9), others.slice(9, 15)];
    for (const index of inactive) {
      await boto('update_endpoint', {
        ApplicationId: app,
        EndpointId: `e${index}`,
        EndpointRequest: { EndpointStatus: 'INACTIVE' },
      });
    }
    for (const index of suppressed) {
      await product.json(`/api/apps/${app}/suppressions`, {
        method: 'POST',
        json: { channel: 'EMAIL', address: address(index) },
      });
    }
    await product.database.query(
      'insert into endpoint_sends (application_id, endpoint_id, recent) select $1, id, array[now()] from unnest($2::text[]) as id',
      [app, capped.map((index) => `e${index}`)],
    );
    const template = {
      Subject: 'For {{User.UserAttributes.Name}}',
      HtmlPart:
        '<p>Dear {{User.UserAttributes.Name}}, you ordered {{Metrics.Orders}} times and are {{Attributes.Tier.[0]}}.</p>',
    };
    await aws(
      'create-email-template',
      '--template-name',
      'thanks',
      '--email-template-request',
      JSON.stringify(template),
    );
    const campaign = await boto<{ CampaignResponse: { Id: string } }>('create_campaign', {
      ApplicationId: app,
      WriteCampaignRequest: {
        Name: 'thanks',
        SegmentId: segmentId,
        Schedule: { StartTime: 'IMMEDIATE' },
        TemplateConfiguration: { EmailTemplate: { Name: 'thanks' } },
        Limits: { Daily: 1 },
      },
    });
    const campaignId = campaign.CampaignResponse.Id;
    await waitFor(
      'the campaign',
      async () => {
        const answer = (await aws('get-campaign', '--application-id', app, '--campaign-id', campaignId)) as {
          CampaignResponse: { State: { CampaignStatus: string } };
        };
        return answer.CampaignResponse.State.CampaignStatus === 'COMPLETED';
      },
      60_000,
    );

    const reached = others.slice(15);
    expect(mail.received.map(({ to }) => to.join()).toSorted()).toEqual(reached.map(address).toSorted());
    const byAddress = new Map(mail.received.map((received) => [received.to[0], received]));
    for (const index of reached) {
      const { name, orders } = personOf(index);
      const { mail: message, from } = byAddress.get(address(index))!;
      expect(from).toBe('shop@example.com');
      expect(message.subject).toBe(`For ${name}`);
      expect(message.text?.trim()).toBe(`Dear ${name}, you ordered ${orders} times and are gold.`);
      expect(message.html).toContain(`Dear ${name.replaceAll('"', '&quot;')}, you ordered ${orders} times`);
    }
    const accounting = await product.json<{
      audience: number;
      outcomes: Record<string, number>;
      reasons: Record<string, number>;
    }>(`/api/apps/${app}/campaigns/${campaignId}/accounting`);
    expect(accounting).toMatchObject({
      audience: audience.length,
      pending: 0,
      outcomes: { sent: reached.length, failed: 0, in_doubt: 0 },
      reasons: {
        opted_out: optedOut.length,
        inactive: inactive.length,
        suppressed: suppressed.length,
        daily_cap: capped.length,
      },
    });
    const names = await product.json<{ items: { endpointId: string }[] }>(
      `/api/apps/${app}/campaigns/${campaignId}/accounting/suppressed`,
    );
    expect(names.items.map(({ endpointId }) => endpointId).toSorted()).toEqual(
      suppressed.map((index) => `e${index}`).toSorted(),
    );
    const { ActivitiesResponse } = await client.send(
      new GetCampaignActivitiesCommand({ ApplicationId: app, CampaignId: campaignId }),
    );
    expect(ActivitiesResponse!.Item).toMatchObject([
      {
        State: 'COMPLETED',
        Result: 'SUCCESS',
        TotalEndpointCount: reached.length,
        SuccessfulEndpointCount: reached.length,
      },
    ]);
  },
  180_000,
);
