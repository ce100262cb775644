import {
  CreateAppCommand,
  CreateCampaignCommand,
  CreateEmailTemplateCommand,
  CreateImportJobCommand,
  CreateSegmentCommand,
  GetCampaignCommand,
  GetImportJobCommand,
  PinpointClient,
  UpdateEmailChannelCommand,
} from '@aws-sdk/client-pinpoint';
import { demoAudience, demoSize } from './audience-file.ts';
import { putHistory, sendOrderMails, showFigures } from './behaviour.ts';
import { bar, callJson, type DemoOptions, readAccounting, until } from './steps.ts';

export const demoName = 'Postrider demo';
export const demoTemplate = 'postrider-demo';
export const demoBucket = 'postrider-demo';
const importTimeoutMs = 60_000;
const campaignTimeoutMs = 60_000;
const receiptsTimeoutMs = 30_000;

/** What the printed examples name. */
export interface DemoResult {
  applicationId: string;
  segmentId: string;
  campaignId: string;
  /** The campaign that purchases trigger. */
  eventCampaignId: string;
  /** First and last day of the events, as dates. */
  days: { from: string; to: string };
}

/**
 * The main job, before a newcomer's eyes and over the same API that clients use: an application, 2,000 endpoints from
 * a CSV file, two segments, a template, a campaign through the sandbox, and its accounting; then a week of events of
 * these people, a campaign that their purchases trigger, and figures.
 */
export async function runDemo(options: DemoOptions): Promise<DemoResult> {
  const { url, region, key, print } = options;
  const client = new PinpointClient({
    endpoint: url,
    region,
    credentials: { accessKeyId: key.id, secretAccessKey: key.secret },
  });
  try {
    const created = await client.send(new CreateAppCommand({ CreateApplicationRequest: { Name: demoName } }));
    const applicationId = created.ApplicationResponse!.Id!;
    await client.send(
      new UpdateEmailChannelCommand({
        ApplicationId: applicationId,
        EmailChannelRequest: {
          FromAddress: 'Postrider <hello@example.com>',
          Identity: 'example.com',
          Enabled: true,
        },
      }),
    );
    await useSandbox(applicationId, options);
    print(`  application   ${demoName} (${applicationId})`);
    await importAudience(client, applicationId, options);
    const segmentId = await countSegments(client, applicationId, options);
    const campaignId = await sendCampaign(client, applicationId, segmentId, options);
    await printAccounting(applicationId, campaignId, options);
    const { days } = await putHistory(client, applicationId, options);
    const eventCampaignId = await sendOrderMails(client, applicationId, segmentId, options);
    await showFigures(applicationId, days, options);
    return { applicationId, segmentId, campaignId, eventCampaignId, days };
  } finally {
    client.destroy();
  }
}

/** An account of its own keeps the demo in the sandbox, also where POSTRIDER_SMTP_URL leads out of it. */
async function useSandbox(applicationId: string, options: DemoOptions): Promise<void> {
  const account = { applicationId, channel: 'EMAIL', provider: 'sandbox', name: demoName };
  const { id } = await callJson<{ id: string }>(options, 'POST', '/api/provider-accounts', account);
  await callJson(options, 'POST', `/api/provider-accounts/${id}/activate`);
}

async function importAudience(
  client: PinpointClient,
  applicationId: string,
  options: DemoOptions,
): Promise<void> {
  const key = 'audience.csv';
  await options.objects.put(demoBucket, key, [Buffer.from(demoAudience())]);
  const created = await client.send(
    new CreateImportJobCommand({
      ApplicationId: applicationId,
      ImportJobRequest: {
        Format: 'CSV',
        S3Url: `s3://${demoBucket}/${key}`,
        RoleArn: 'arn:aws:iam::000000000000:role/unused',
        RegisterEndpoints: true,
        DefineSegment: false,
      },
    }),
  );
  const jobId = created.ImportJobResponse!.Id!;
  await until(importTimeoutMs, 'The import', async () => {
    const { ImportJobResponse: job } = await client.send(
      new GetImportJobCommand({ ApplicationId: applicationId, JobId: jobId }),
    );
    const done = job?.TotalProcessed ?? 0;
    options.redraw?.(`  import        ${bar(done / demoSize)} ${done} of ${demoSize} endpoints`);
    if (job?.JobStatus === 'FAILED') throw new Error(`The import failed: ${job.Failures?.join('; ')}`);
    if (job?.JobStatus !== 'COMPLETED') return false;
    options.print(
      `  import        ${bar(1)} ${done} endpoints from s3://${demoBucket}/${key}, ${job.TotalFailures ?? 0} bad rows`,
    );
    return true;
  });
}

async function countSegments(
  client: PinpointClient,
  applicationId: string,
  options: DemoOptions,
): Promise<string> {
  const define = async (name: string, Dimensions: object) => {
    const { SegmentResponse } = await client.send(
      new CreateSegmentCommand({
        ApplicationId: applicationId,
        WriteSegmentRequest: { Name: name, Dimensions },
      }),
    );
    const id = SegmentResponse!.Id!;
    const { total } = await callJson<{ total: number }>(
      options,
      'GET',
      `/api/apps/${applicationId}/segments/${id}/count`,
    );
    options.print(`  segment       ${name}: ${total} endpoints`);
    return id;
  };
  await define('gold customers in Germany', {
    Location: { Country: { DimensionType: 'INCLUSIVE', Values: ['DE'] } },
    UserAttributes: { Tier: { AttributeType: 'INCLUSIVE', Values: ['gold'] } },
  });
  return await define('everyone who ordered', {
    Metrics: { Orders: { ComparisonOperator: 'GREATER_THAN', Value: 0 } },
  });
}

async function sendCampaign(
  client: PinpointClient,
  applicationId: string,
  segmentId: string,
  options: DemoOptions,
): Promise<string> {
  await client.send(
    new CreateEmailTemplateCommand({
      TemplateName: demoTemplate,
      EmailTemplateRequest: {
        Subject: 'Thank you, {{User.UserAttributes.FirstName}}',
        HtmlPart:
          '<h1>Hello {{User.UserAttributes.FirstName}}</h1><p>Your orders so far: {{Metrics.Orders}}. We think that you like {{Attributes.Interests.[0]}}.</p>',
      },
    }),
  );
  const created = await client.send(
    new CreateCampaignCommand({
      ApplicationId: applicationId,
      WriteCampaignRequest: {
        Name: 'thank you',
        SegmentId: segmentId,
        Schedule: { StartTime: 'IMMEDIATE' },
        TemplateConfiguration: { EmailTemplate: { Name: demoTemplate } },
      },
    }),
  );
  const campaignId = created.CampaignResponse!.Id!;
  let repeated = 0;
  await until(campaignTimeoutMs, 'The campaign', async () => {
    const accounting = await readAccounting(options, applicationId, campaignId);
    const { audience, pending, outcomes } = accounting;
    const deferred = outcomes.deferred ?? 0;
    const waiting = pending + (outcomes.sending ?? 0) + deferred;
    repeated = Math.max(repeated, deferred);
    options.redraw?.(
      `  campaign      ${bar(audience ? 1 - waiting / audience : 0)} ${audience - waiting} of ${audience}, ${deferred} wait for their next attempt`,
    );
    const { CampaignResponse } = await client.send(
      new GetCampaignCommand({ ApplicationId: applicationId, CampaignId: campaignId }),
    );
    if (CampaignResponse?.State?.CampaignStatus !== 'COMPLETED') return false;
    options.print(
      `  campaign      ${bar(1)} completed${repeated > 0 ? `, ${repeated} messages were refused at first and tried again` : ''}`,
    );
    return true;
  });
  return campaignId;
}

async function printAccounting(
  applicationId: string,
  campaignId: string,
  options: DemoOptions,
): Promise<void> {
  await until(receiptsTimeoutMs, 'The receipts of the sandbox', async () => {
    const { outcomes } = await readAccounting(options, applicationId, campaignId);
    return !outcomes.sent;
  });
  const { audience, outcomes, reasons } = await readAccounting(options, applicationId, campaignId);
  options.print(`  accounting    audience ${audience} =`);
  for (const [status, count] of Object.entries({ ...outcomes, ...reasons }).sort(([, a], [, b]) => b - a)) {
    if (count === 0) continue;
    options.print(`                ${String(count).padStart(6)} ${status}`);
  }
}
