import { setTimeout as sleep } from 'node:timers/promises';
import {
  CreateAppCommand,
  CreateCampaignCommand,
  CreateEmailTemplateCommand,
  CreateSegmentCommand,
  CreateSmsTemplateCommand,
  GetCampaignCommand,
  UpdateCampaignCommand,
  UpdateEmailChannelCommand,
  UpdateSmsChannelCommand,
} from '@aws-sdk/client-pinpoint';
import type { BenchServer } from './server.ts';

export const subject = 'Hello {{Attributes.FirstName}}';

/** HTML of about 5 kB that names its reader; `{{Attributes.FirstName}}` and `{{User.UserId}}` are the variables. */
export const html = `<html><body><h1>Hello {{Attributes.FirstName}}</h1><p>Your number is {{User.UserId}}.</p>
${Array.from(
  { length: 30 },
  (_, n) =>
    `<p style="color:#333;font-family:sans-serif;margin:0 0 12px">Paragraph ${n}: we thought that this might be worth a look, dear reader, and hope that you like it.</p>`,
).join('\n')}
<p>Goodbye, {{Attributes.FirstName}}.</p></body></html>`;

export const smsBody = 'Hello {{Attributes.FirstName}}, your table is ready. Customer {{User.UserId}}.';

/** An application with an enabled channel. */
export async function createApplication(server: BenchServer, channel: 'EMAIL' | 'SMS'): Promise<string> {
  const { client } = server;
  const created = await client.send(
    new CreateAppCommand({ CreateApplicationRequest: { Name: `bench ${channel}` } }),
  );
  const ApplicationId = created.ApplicationResponse!.Id!;
  if (channel === 'EMAIL') {
    const EmailChannelRequest = { FromAddress: 'bench@example.com', Identity: 'example.com', Enabled: true };
    await client.send(new UpdateEmailChannelCommand({ ApplicationId, EmailChannelRequest }));
  } else {
    await client.send(new UpdateSmsChannelCommand({ ApplicationId, SMSChannelRequest: { Enabled: true } }));
  }
  return ApplicationId;
}

/** A campaign to everybody, ready to be started by `startCampaign`. */
export async function prepareCampaign(
  server: BenchServer,
  ApplicationId: string,
  channel: 'EMAIL' | 'SMS',
): Promise<{ segmentId: string; templateName: string }> {
  const { client } = server;
  const templateName = `bench-${channel.toLowerCase()}`;
  if (channel === 'EMAIL') {
    const EmailTemplateRequest = {
      Subject: subject,
      HtmlPart: html,
      TextPart: 'Hello {{Attributes.FirstName}}',
    };
    await client.send(new CreateEmailTemplateCommand({ TemplateName: templateName, EmailTemplateRequest }));
  } else {
    const SMSTemplateRequest = { Body: smsBody };
    await client.send(new CreateSmsTemplateCommand({ TemplateName: templateName, SMSTemplateRequest }));
  }
  return { segmentId: await createEverybody(server, ApplicationId, channel), templateName };
}

/** A segment of everybody with the channel; its id. */
export async function createEverybody(
  server: BenchServer,
  ApplicationId: string,
  channel: 'EMAIL' | 'SMS',
): Promise<string> {
  const segment = await server.client.send(
    new CreateSegmentCommand({
      ApplicationId,
      WriteSegmentRequest: {
        Name: 'everybody',
        Dimensions: { Demographic: { Channel: { DimensionType: 'INCLUSIVE', Values: [channel] } } },
      },
    }),
  );
  return segment.SegmentResponse!.Id!;
}

export async function startCampaign(
  server: BenchServer,
  ApplicationId: string,
  channel: 'EMAIL' | 'SMS',
  prepared: { segmentId: string; templateName: string },
): Promise<string> {
  const template = { Name: prepared.templateName };
  const created = await server.client.send(
    new CreateCampaignCommand({
      ApplicationId,
      WriteCampaignRequest: {
        Name: 'bench',
        SegmentId: prepared.segmentId,
        Schedule: { StartTime: 'IMMEDIATE' },
        TemplateConfiguration: channel === 'EMAIL' ? { EmailTemplate: template } : { SMSTemplate: template },
      },
    }),
  );
  return created.CampaignResponse!.Id!;
}

export async function campaignStatus(
  server: BenchServer,
  ApplicationId: string,
  CampaignId: string,
): Promise<string | undefined> {
  const { CampaignResponse } = await server.client.send(
    new GetCampaignCommand({ ApplicationId, CampaignId }),
  );
  return CampaignResponse?.State?.CampaignStatus;
}

export async function campaignCompleted(
  server: BenchServer,
  applicationId: string,
  campaignId: string,
  withinMs: number,
): Promise<void> {
  const until = performance.now() + withinMs;
  for (;;) {
    const status = await campaignStatus(server, applicationId, campaignId);
    if (status === 'COMPLETED') return;
    if (performance.now() > until) throw new Error(`the campaign is ${status} after ${withinMs} ms`);
    await sleep(50);
  }
}

export async function pauseCampaign(
  server: BenchServer,
  ApplicationId: string,
  CampaignId: string,
): Promise<void> {
  await server.client.send(
    new UpdateCampaignCommand({ ApplicationId, CampaignId, WriteCampaignRequest: { IsPaused: true } }),
  );
}
