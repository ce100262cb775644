import {
  type CampaignResponse,
  CreateAppCommand,
  CreateCampaignCommand,
  GetCampaignCommand,
  UpdateCampaignCommand,
  type WriteCampaignRequest,
} from '@aws-sdk/client-pinpoint';
import { createSegment, type EventPayload, eventFactType } from '../packages/server/src/audience/index.ts';
import { listSkippedTriggers } from '../packages/server/src/engagement/index.ts';
import { appendFacts, type Fact } from '../packages/server/src/events/index.ts';
import { uuidv7 } from '../packages/server/src/platform/ids.ts';
import { erasers } from '../packages/server/src/roles/rooms.ts';
import { testDatabase } from './support/database.ts';
import { waitFor } from './support/processes.ts';
import { testSending } from './support/sending.ts';
import { wireServer } from './support/wire.ts';

// Support of the tests of event-triggered campaigns: an audience, its campaigns, and what became of their events.
export const database = await testDatabase(20);
const { pipeline, renderer } = await testSending(database);
export const client = (await wireServer({ database, services: { pipeline, renderer, erasers } })).client();

export interface Person {
  id: string;
  address?: string;
  attributes?: Record<string, string[]>;
  timezone?: string;
}

/** An application with these endpoints (cohorts 0, 1, 2 …) and a segment of those of them whose `tier` is `gold`. */
export async function audienceOf(people: Person[]): Promise<{ ApplicationId: string; SegmentId: string }> {
  const { ApplicationResponse } = await client.send(
    new CreateAppCommand({ CreateApplicationRequest: { Name: 'triggers' } }),
  );
  const ApplicationId = ApplicationResponse!.Id!;
  const rows = people.map(({ id, address, attributes = { tier: ['gold'] }, timezone }, index) => ({
    id,
    address: address ?? `${id}@example.com`,
    cohort: index % 100,
    attributes,
    demographic: timezone ? { Timezone: timezone } : {},
  }));
  await database.query(
    `insert into endpoints (application_id, id, channel, address, cohort, attributes, demographic, effective_at)
     select $1, id, 'EMAIL', address, cohort, attributes, demographic, now()
     from jsonb_to_recordset($2) as r(id text, address text, cohort int, attributes jsonb, demographic jsonb)`,
    [ApplicationId, JSON.stringify(rows)],
  );
  const Dimensions = { Attributes: { tier: { AttributeType: 'INCLUSIVE' as const, Values: ['gold'] } } };
  const segment = await database.transaction((tx) =>
    createSegment(tx, ApplicationId, { Dimensions }, Date.now()),
  );
  return { ApplicationId, SegmentId: segment.id };
}

export const people = (count: number, prefix = 'p'): Person[] =>
  Array.from({ length: count }, (_, index) => ({ id: `${prefix}${index}` }));

export const EmailMessage = {
  FromAddress: 'shop@example.com',
  Title: 'Thanks',
  HtmlBody: '<p>Thank you</p>',
};
export const purchase = { EventType: { DimensionType: 'INCLUSIVE' as const, Values: ['purchase'] } };
export const onPurchase = (more: object = {}) => ({
  StartTime: 'IMMEDIATE',
  Frequency: 'EVENT' as const,
  EventFilter: { FilterType: 'ENDPOINT' as const, Dimensions: { ...purchase, ...more } },
});

export async function create(
  audience: { ApplicationId: string; SegmentId: string },
  change: WriteCampaignRequest = {},
): Promise<CampaignResponse> {
  const { ApplicationId, SegmentId } = audience;
  const WriteCampaignRequest = {
    SegmentId,
    Schedule: onPurchase(),
    MessageConfiguration: { EmailMessage },
    ...change,
  };
  return (await client.send(new CreateCampaignCommand({ ApplicationId, WriteCampaignRequest })))
    .CampaignResponse!;
}

export const update = ({ ApplicationId, Id }: CampaignResponse, WriteCampaignRequest: WriteCampaignRequest) =>
  client.send(new UpdateCampaignCommand({ ApplicationId, CampaignId: Id, WriteCampaignRequest }));

export async function statusOf({ ApplicationId, Id }: CampaignResponse): Promise<string> {
  const { CampaignResponse } = await client.send(new GetCampaignCommand({ ApplicationId, CampaignId: Id }));
  return CampaignResponse!.State!.CampaignStatus!;
}

/** A fact as the ingest writes it. */
export function event(
  applicationId: string,
  endpointId: string,
  payload: Partial<EventPayload> & { type?: string; at?: number } = {},
): Fact {
  const { type = 'purchase', at = Date.now(), ...rest } = payload;
  return {
    type: eventFactType(type),
    applicationId,
    endpointId,
    occurredAt: at,
    payload: { id: uuidv7(), ...rest },
  };
}

export const put = (...facts: Fact[]) => database.transaction((tx) => appendFacts(tx, facts));

/** Waits until the subscriber is at the head, and all that it dispatched is decided. */
export async function settled(): Promise<void> {
  await waitFor('the log to be read', async () => {
    const { rows } = await database.query<{ behind: boolean }>(
      `select exists (select from event_batches_unnumbered)
         or (select position from log_subscribers where name = 'campaign-triggers') < (select position from log_head)
         or exists (select from dispatch_chunks c join dispatches d on d.id = c.dispatch_id where d.state <> 'paused') as behind`,
    );
    return !rows[0]!.behind;
  });
}

interface Sent {
  event_id: string;
  endpoint_id: string;
  decision: string;
}

export async function messagesOf({ Id }: CampaignResponse): Promise<Sent[]> {
  await settled();
  const { rows } = await database.query<Sent>(
    'select event_id, endpoint_id, decision from messages where campaign_id = $1 order by id',
    [Id],
  );
  return rows;
}

export async function skippedOf({ ApplicationId, Id }: CampaignResponse) {
  await settled();
  return (await listSkippedTriggers(database, ApplicationId!, Id!, {}, { limit: 1000 })).items;
}

export async function decisions(campaign: CampaignResponse): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { decision } of await messagesOf(campaign)) counts[decision] = (counts[decision] ?? 0) + 1;
  return counts;
}

export async function reasons(campaign: CampaignResponse): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { reason } of await skippedOf(campaign)) counts[reason] = (counts[reason] ?? 0) + 1;
  return counts;
}
