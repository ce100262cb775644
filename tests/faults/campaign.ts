import { CreateAppCommand, type PinpointClient, UpdateEmailChannelCommand } from '@aws-sdk/client-pinpoint';
import type { Database } from '../../packages/server/src/platform/database.ts';
import { mailEverybody } from '../support/campaign.ts';
import { waitFor } from '../support/processes.ts';

export interface FaultCampaign {
  ApplicationId: string;
  CampaignId: string;
}

export interface FaultAccounting {
  audience: number;
  pending: number;
  state: string;
  outcomes: Record<string, number>;
  reasons: Record<string, number>;
}

/** An application with `count` e-mail endpoints `person.<n>@example.com`, written straight into the table. */
export async function createAudience(
  client: PinpointClient,
  database: Database,
  count: number,
): Promise<string> {
  const { ApplicationResponse } = await client.send(
    new CreateAppCommand({ CreateApplicationRequest: { Name: 'faults' } }),
  );
  const ApplicationId = ApplicationResponse!.Id!;
  await client.send(
    new UpdateEmailChannelCommand({
      ApplicationId,
      EmailChannelRequest: { FromAddress: 'shop@example.com', Identity: 'example.com', Enabled: true },
    }),
  );
  await database.query(
    `insert into endpoints (application_id, id, channel, address, cohort, attributes, effective_at)
     select $1, 'p' || n, 'EMAIL', 'person.' || n || '@example.com', n % 100, '{"name": ["N"]}', now()
     from generate_series(1, $2) as n`,
    [ApplicationId, count],
  );
  return ApplicationId;
}

/** A campaign to all of an application's endpoints that starts at once. */
export async function startCampaign(
  client: PinpointClient,
  ApplicationId: string,
  MessagesPerSecond?: number,
): Promise<FaultCampaign> {
  const words = { Title: 'Hello', HtmlBody: '<p>Hello {{Attributes.name}}</p>' };
  const Limits = { MessagesPerSecond };
  return { ApplicationId, CampaignId: await mailEverybody(client, ApplicationId, words, { Limits }) };
}

type Json = <T>(path: string, init?: RequestInit) => Promise<T>;

export function accountingOf(json: Json, campaign: FaultCampaign): Promise<FaultAccounting> {
  return json(`/api/apps/${campaign.ApplicationId}/campaigns/${campaign.CampaignId}/accounting`);
}

/** Everybody is in exactly one place of the accounting. */
export function sumOf({ pending, outcomes, reasons }: FaultAccounting): number {
  return Object.values({ ...outcomes, ...reasons }).reduce((sum, count) => sum + count, pending);
}

/** Waits for the end of a campaign, over answers that fail because a part of the product is away. */
export async function untilCompleted(
  json: Json,
  campaign: FaultCampaign,
  limitMs: number,
): Promise<FaultAccounting> {
  let last: FaultAccounting | undefined;
  try {
    await waitFor(
      'the campaign to end',
      async () => {
        await new Promise((resolve) => setTimeout(resolve, 100));
        last = await accountingOf(json, campaign).catch(() => undefined);
        return last?.state === 'COMPLETED';
      },
      limitMs,
    );
  } catch (error) {
    throw new Error(`${(error as Error).message}: ${JSON.stringify(last)}`);
  }
  return last!;
}
