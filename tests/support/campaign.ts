import {
  CreateCampaignCommand,
  CreateSegmentCommand,
  type PinpointClient,
  type WriteCampaignRequest,
} from '@aws-sdk/client-pinpoint';

/** Starts a campaign of e-mail at once to all of an application's endpoints that have such an address; its id. */
export async function mailEverybody(
  client: PinpointClient,
  ApplicationId: string,
  EmailMessage: { Title: string; HtmlBody: string },
  more: WriteCampaignRequest = {},
): Promise<string> {
  const segment = await client.send(
    new CreateSegmentCommand({
      ApplicationId,
      WriteSegmentRequest: {
        Name: 'all',
        Dimensions: { Demographic: { Channel: { DimensionType: 'INCLUSIVE', Values: ['EMAIL'] } } },
      },
    }),
  );
  const created = await client.send(
    new CreateCampaignCommand({
      ApplicationId,
      WriteCampaignRequest: {
        Name: 'everybody',
        SegmentId: segment.SegmentResponse!.Id!,
        Schedule: { StartTime: 'IMMEDIATE' },
        MessageConfiguration: { EmailMessage },
        ...more,
      },
    }),
  );
  return created.CampaignResponse!.Id!;
}
