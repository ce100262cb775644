import {
  type CampaignResponse,
  CreateAppCommand,
  CreateCampaignCommand,
  DeleteAppCommand,
  DeleteCampaignCommand,
  DeleteSegmentCommand,
  GetCampaignActivitiesCommand,
  GetCampaignCommand,
  UpdateCampaignCommand,
  UpdateEndpointCommand,
  UpdateEndpointsBatchCommand,
  type WriteCampaignRequest,
} from '@aws-sdk/client-pinpoint';
import { expect, test } from 'vitest';
import {
  createSegment,
  type EventPayload,
  eventFactType,
  saveImportedSegment,
} from '../packages/server/src/audience/index.ts';
import { listSkippedTriggers } from '../packages/server/src/engagement/index.ts';
import { appendFacts, type Fact } from '../packages/server/src/events/index.ts';
import { uuidv7 } from '../packages/server/src/platform/ids.ts';
import { erasers } from '../packages/server/src/roles/rooms.ts';
import { testDatabase } from './support/database.ts';
import { waitFor } from './support/processes.ts';
import { testSending } from './support/sending.ts';
import { wireServer } from './support/wire.ts';

const database = await testDatabase(20);
const { pipeline, renderer } = await testSending(database);
const client = (await wireServer({ database, services: { pipeline, renderer, erasers } })).client();

interface Person {
  id: string;
  address?: string;
  attributes?: Record<string, string[]>;
  timezone?: string;
}

/** An application with these endpoints (cohorts 0, 1, 2 …) and a segment of those of them whose `tier` is `gold`. */
async function audienceOf(people: Person[]): Promise<{ ApplicationId: string; SegmentId: string }> {
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

const people = (count: number, prefix = 'p'): Person[] =>
  Array.from({ length: count }, (_, index) => ({ id: `${prefix}${index}` }));

const EmailMessage = {
  FromAddress: 'shop@example.com',
  Title: 'Thanks',
  HtmlBody: '<p>Thank you</p>',
};
const purchase = { EventType: { DimensionType: 'INCLUSIVE' as const, Values: ['purchase'] } };
const onPurchase = (more: object = {}) => ({
  StartTime: 'IMMEDIATE',
  Frequency: 'EVENT' as const,
  EventFilter: { FilterType: 'ENDPOINT' as const, Dimensions: { ...purchase, ...more } },
});

async function create(
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

const update = ({ ApplicationId, Id }: CampaignResponse, WriteCampaignRequest: WriteCampaignRequest) =>
  client.send(new UpdateCampaignCommand({ ApplicationId, CampaignId: Id, WriteCampaignRequest }));

async function statusOf({ ApplicationId, Id }: CampaignResponse): Promise<string> {
  const { CampaignResponse } = await client.send(new GetCampaignCommand({ ApplicationId, CampaignId: Id }));
  return CampaignResponse!.State!.CampaignStatus!;
}

/** A fact as the ingest writes it. */
function event(
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

const put = (...facts: Fact[]) => database.transaction((tx) => appendFacts(tx, facts));

/** Waits until the subscriber is at the head, and all that it dispatched is decided. */
async function settled(): Promise<void> {
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

async function messagesOf({ Id }: CampaignResponse): Promise<Sent[]> {
  await settled();
  const { rows } = await database.query<Sent>(
    'select event_id, endpoint_id, decision from messages where campaign_id = $1 order by id',
    [Id],
  );
  return rows;
}

async function skippedOf({ ApplicationId, Id }: CampaignResponse) {
  await settled();
  return (await listSkippedTriggers(database, ApplicationId!, Id!, {}, { limit: 1000 })).items;
}

async function decisions(campaign: CampaignResponse): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { decision } of await messagesOf(campaign)) counts[decision] = (counts[decision] ?? 0) + 1;
  return counts;
}

async function reasons(campaign: CampaignResponse): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { reason } of await skippedOf(campaign)) counts[reason] = (counts[reason] ?? 0) + 1;
  return counts;
}

test('events trigger a campaign for who is in the segment, each once, with their own words', async () => {
  const audience = await audienceOf([
    ...people(3),
    { id: 'silver', attributes: { tier: ['silver'] } },
    { id: 'nobody', attributes: {} },
  ]);
  const { ApplicationId } = audience;
  const campaign = await create(audience, {
    Schedule: onPurchase({
      Attributes: { shop: { AttributeType: 'INCLUSIVE', Values: ['books', 'wine'] } },
      Metrics: { total: { ComparisonOperator: 'GREATER_THAN_OR_EQUAL', Value: 10 } },
    }),
    MessageConfiguration: {
      EmailMessage: { ...EmailMessage, Title: '{{Event.Attributes.title}} for {{Event.Metrics.total}}' },
    },
  });
  expect(campaign.State).toEqual({ CampaignStatus: 'PENDING_NEXT_RUN' });
  const buy = (endpoint: string, title: string, total = 20, shop = 'books', type = 'purchase') =>
    event(ApplicationId, endpoint, { type, attributes: { title, shop }, metrics: { total } });
  const facts = [
    buy('p0', 'Ulysses'),
    buy('p0', 'Dubliners'),
    buy('p1', 'Emma', 10, 'wine'),
    buy('p2', 'Cheap', 9.99),
    buy('p2', 'Other', 20, 'shoes'),
    buy('p2', 'Looking', 20, 'books', 'view'),
    buy('silver', 'Middlemarch'),
    buy('stranger', 'Dracula'),
  ];
  await put(...facts);
  const messages = await messagesOf(campaign);
  const idOf = (index: number) => facts[index]!.payload!.id as string;
  expect(messages.map(({ event_id, endpoint_id, decision }) => [event_id, endpoint_id, decision])).toEqual([
    [idOf(0), 'p0', 'sending'],
    [idOf(1), 'p0', 'sending'],
    [idOf(2), 'p1', 'sending'],
  ]);
  await waitFor('the mails', async () => {
    const { rows } = await database.query<{ subject: string }>(
      'select subject from inbox where application_id = $1 order by subject',
      [ApplicationId],
    );
    const subjects = rows.map(({ subject }) => subject);
    return JSON.stringify(subjects) === '["Dubliners for 20","Emma for 10","Ulysses for 20"]';
  });
  const skipped = await skippedOf(campaign);
  expect(skipped.map(({ eventId, endpointId, reason }) => [eventId, endpointId, reason]).sort()).toEqual(
    [
      [idOf(3), 'p2', 'metric_mismatch'],
      [idOf(4), 'p2', 'attribute_mismatch'],
      [idOf(6), 'silver', 'not_in_segment'],
      [idOf(7), 'stranger', 'endpoint_missing'],
    ].sort(),
  );
  expect(await statusOf(campaign)).toBe('PENDING_NEXT_RUN');
  await waitFor('the counters', async () => {
    const { ActivitiesResponse } = await client.send(
      new GetCampaignActivitiesCommand({ ApplicationId, CampaignId: campaign.Id }),
    );
    const [activity] = ActivitiesResponse!.Item!;
    return activity!.TotalEndpointCount === 3 && activity!.SuccessfulEndpointCount === 3;
  });
});

test('a pause, an edit, an end and a deletion count for the events that come after', async () => {
  const audience = await audienceOf(people(2));
  const { ApplicationId } = audience;
  const campaign = await create(audience);
  await put(event(ApplicationId, 'p0'));
  expect(await decisions(campaign)).toEqual({ sending: 1 });
  await update(campaign, { IsPaused: true });
  await put(event(ApplicationId, 'p0'));
  expect(await statusOf(campaign)).toBe('PAUSED');
  expect(await reasons(campaign)).toEqual({ paused: 1 });
  await update(campaign, {
    IsPaused: false,
    MessageConfiguration: { EmailMessage: { ...EmailMessage, Title: 'New' } },
  });
  expect(await statusOf(campaign)).toBe('PENDING_NEXT_RUN');
  await put(event(ApplicationId, 'p1'));
  expect(await decisions(campaign)).toEqual({ sending: 2 });
  const { rows } = await database.query<{ summary: string }>(
    'select summary from messages where campaign_id = $1 order by id',
    [campaign.Id],
  );
  expect(rows.map(({ summary }) => summary)).toEqual(['Thanks', 'New']);
  await waitFor('the first dispatch to be over', async () => {
    const { ActivitiesResponse } = await client.send(
      new GetCampaignActivitiesCommand({ ApplicationId, CampaignId: campaign.Id }),
    );
    const states = ActivitiesResponse!.Item!.map(({ State }) => State);
    return JSON.stringify(states) === '["RUNNING","COMPLETED"]';
  });

  await update(campaign, {
    Schedule: { ...onPurchase(), EndTime: new Date(Date.now() + 1_500).toISOString() },
  });
  await put(event(ApplicationId, 'p0'));
  expect(await decisions(campaign)).toEqual({ sending: 3 });
  await waitFor('the end', async () => (await statusOf(campaign)) === 'COMPLETED');
  await put(event(ApplicationId, 'p0'));
  expect(await reasons(campaign)).toEqual({ paused: 1, ended: 1 });
  // A new start, and again it waits for events.
  await update(campaign, {
    Schedule: { ...onPurchase(), StartTime: new Date(Date.now() + 500).toISOString() },
  });
  expect(await statusOf(campaign)).toBe('SCHEDULED');
  await put(event(ApplicationId, 'p0'));
  expect(await reasons(campaign)).toEqual({ paused: 1, ended: 1, not_started: 1 });
  await waitFor('the start', async () => (await statusOf(campaign)) === 'PENDING_NEXT_RUN');
  await put(event(ApplicationId, 'p0'));
  expect(await decisions(campaign)).toEqual({ sending: 4 });
  await client.send(new DeleteCampaignCommand({ ApplicationId, CampaignId: campaign.Id }));
  await put(event(ApplicationId, 'p0'));
  expect(await decisions(campaign)).toEqual({ sending: 4 });
  await waitFor('the dispatches to be over', async () => {
    const { rows: open } = await database.query(
      'select from dispatches where campaign_id = $1 and finished_at is null',
      [campaign.Id],
    );
    return open.length === 0;
  });
});

test('what waits while a campaign is paused goes out afterwards, unless it was changed meanwhile', async () => {
  const audience = await audienceOf(people(1));
  const { ApplicationId } = audience;
  const slow = { Limits: { MessagesPerSecond: 1 } };
  const [kept, changed] = [await create(audience, slow), await create(audience, slow)];
  await put(...Array.from({ length: 4 }, () => event(ApplicationId, 'p0')));
  await waitFor('both to begin', async () => {
    const { rows } = await database.query(
      'select from messages where campaign_id = any($1) group by campaign_id',
      [[kept.Id, changed.Id]],
    );
    return rows.length === 2;
  });
  await update(kept, { IsPaused: true });
  await update(changed, { IsPaused: true });
  await update(changed, { Limits: {} });
  await waitFor('the rest to have its reason', async () => {
    const { sending = 0, stopped = 0 } = await decisions(changed);
    return sending + stopped === 4 && stopped > 0;
  });
  await update(kept, { IsPaused: false });
  await waitFor('the others', async () => (await decisions(kept)).sending === 4);
});

test('a campaign that starts later and is paused before its start waits for both', async () => {
  const audience = await audienceOf(people(1));
  const campaign = await create(audience, { IsPaused: true });
  expect(campaign.State).toEqual({ CampaignStatus: 'PAUSED' });
  await put(event(audience.ApplicationId, 'p0'));
  expect(await reasons(campaign)).toEqual({ paused: 1 });
  await update(campaign, { IsPaused: false });
  expect(await statusOf(campaign)).toBe('PENDING_NEXT_RUN');
  await put(event(audience.ApplicationId, 'p0'));
  expect(await decisions(campaign)).toEqual({ sending: 1 });
});

test('what happened too long ago is not written about, also when the subscriber was away for two days', async () => {
  const audience = await audienceOf(people(1));
  const campaign = await create(audience);
  const twoDays = 2 * 86_400_000;
  await put(
    event(audience.ApplicationId, 'p0', { at: Date.now() - 301_000 }),
    event(audience.ApplicationId, 'p0', { at: Date.now() - twoDays }),
    event(audience.ApplicationId, 'p0', { at: Date.now() - 200_000 }),
    event(audience.ApplicationId, 'p0', { source: 'archive' }),
  );
  expect(await reasons(campaign)).toEqual({ too_late: 2 });
  expect(await decisions(campaign)).toEqual({ sending: 1 });
});

test('caps, holdout and treatments hold for each event, also for several at once', async () => {
  const audience = await audienceOf(people(100));
  const { ApplicationId } = audience;
  const total = await create(audience, { Limits: { Total: 3 } });
  const other = { MessageConfiguration: { EmailMessage: { ...EmailMessage, Title: 'Other' } } };
  const split = await create(audience, {
    HoldoutPercent: 10,
    AdditionalTreatments: [{ SizePercent: 20, ...other }],
  });
  const facts = people(100).flatMap(({ id }) => [event(ApplicationId, id), event(ApplicationId, id)]);
  await put(...facts, ...Array.from({ length: 8 }, () => event(ApplicationId, 'p99')));
  // p99 has ten events, the others two each.
  expect(await decisions(total)).toEqual({ sending: 201, campaign_cap: 7 });
  expect(await decisions(split)).toEqual({ sending: 188, holdout: 20 });
  const { rows } = await database.query(
    'select treatment_id, count(*) from messages where campaign_id = $1 and decision = $2 group by 1 order by 1',
    [split.Id, 'sending'],
  );
  expect(rows).toEqual([
    { treatment_id: '0', count: 148 },
    { treatment_id: '1', count: 40 },
  ]);
});

test('the daily cap counts over campaigns and events together', async () => {
  const audience = await audienceOf(people(20));
  const { ApplicationId } = audience;
  const campaigns = [
    await create(audience, { Limits: { Daily: 3 } }),
    await create(audience, { Limits: { Daily: 3 } }),
  ];
  for (let round = 0; round < 3; round++) await put(...people(20).map(({ id }) => event(ApplicationId, id)));
  const counts = await Promise.all(campaigns.map(decisions));
  const sum = (decision: string) => counts.reduce((all, count) => all + (count[decision] ?? 0), 0);
  expect(sum('sending')).toBe(60);
  expect(sum('daily_cap')).toBe(60);
});

test('quiet time is that of the recipient at the event', async () => {
  const hour = new Date().getUTCHours();
  const at = (hours: number) => `${String((hour + hours + 24) % 24).padStart(2, '0')}:00`;
  const audience = await audienceOf([
    { id: 'here', timezone: 'UTC' },
    { id: 'there', timezone: 'Asia/Tokyo' },
    { id: 'unknown' },
  ]);
  const campaign = await create(audience, {
    Schedule: { ...onPurchase(), QuietTime: { Start: at(-1), End: at(2) } },
  });
  await put(...['here', 'there', 'unknown'].map((id) => event(audience.ApplicationId, id)));
  const messages = await messagesOf(campaign);
  expect(messages.map(({ endpoint_id, decision }) => [endpoint_id, decision])).toEqual([
    ['here', 'quiet_time'],
    ['there', 'sending'],
    ['unknown', 'sending'],
  ]);
});

test('members of imported segments are triggered, also those that were never registered', async () => {
  const audience = await audienceOf(people(3));
  const { ApplicationId } = audience;
  const segment = await database.transaction((tx) =>
    saveImportedSegment(
      tx,
      ApplicationId,
      { importDefinition: { Format: 'JSON', S3Url: 's3://b/k', RoleArn: 'r', ExternalId: 'x', Size: 2 } },
      Date.now(),
    ),
  );
  const own = `${segment.id}.guest`;
  await database.query(
    `insert into endpoints (application_id, id, segment_id, channel, address, cohort, effective_at)
     values ($1, $2, $3, 'EMAIL', 'guest@example.com', 5, now()),
            ($1, 'guest', null, null, null, 5, now())`,
    [ApplicationId, own, segment.id],
  );
  await database.query(
    "insert into segment_endpoints (application_id, segment_id, endpoint_id) values ($1, $2, 'p1'), ($1, $2, $3)",
    [ApplicationId, segment.id, own],
  );
  const campaign = await create({ ApplicationId, SegmentId: segment.id });
  await put(...['p0', 'p1', 'guest'].map((id) => event(ApplicationId, id)));
  const messages = await messagesOf(campaign);
  expect(messages.map(({ endpoint_id, decision }) => [endpoint_id, decision])).toEqual([
    ['p1', 'sending'],
    [own, 'sending'],
  ]);
  expect(await reasons(campaign)).toEqual({ not_in_segment: 1 });
});

test('a campaign whose segment is deleted ends, and says so to its events', async () => {
  const audience = await audienceOf(people(1));
  const { ApplicationId, SegmentId } = audience;
  const campaign = await create(audience);
  await client.send(new DeleteSegmentCommand({ ApplicationId, SegmentId }));
  expect(await statusOf(campaign)).toBe('DELETED');
  await put(event(ApplicationId, 'p0'));
  expect(await reasons(campaign)).toEqual({ segment_deleted: 1 });
  expect(await messagesOf(campaign)).toEqual([]);
});

const onChange = (
  Attributes: Record<string, { AttributeType: 'INCLUSIVE' | 'EXCLUSIVE'; Values: string[] }>,
) => ({
  StartTime: 'IMMEDIATE',
  Frequency: 'EVENT' as const,
  EventFilter: {
    FilterType: 'ENDPOINT' as const,
    Dimensions: {
      EventType: { DimensionType: 'INCLUSIVE' as const, Values: ['_endpoint.changed'] },
      Attributes,
    },
  },
});

test('a changed attribute of an endpoint or a user triggers, by any operation that changes endpoints', async () => {
  const audience = await audienceOf([]);
  const { ApplicationId } = audience;
  const plan = await create(audience, {
    Schedule: onChange({ 'Attributes.plan': { AttributeType: 'INCLUSIVE', Values: ['pro', 'team'] } }),
    MessageConfiguration: { EmailMessage: { ...EmailMessage, Title: 'Plan {{Event.Attributes.plan}}' } },
  });
  const city = await create(audience, {
    Schedule: onChange({ 'User.UserAttributes.city': { AttributeType: 'EXCLUSIVE', Values: [] } }),
  });
  const person = (id: string, attributes: Record<string, string[]>, User?: object) => ({
    Id: id,
    ChannelType: 'EMAIL' as const,
    Address: `${id}@example.com`,
    Attributes: { tier: ['gold'], ...attributes },
    ...(User && { User }),
  });
  const batch = (...Item: ReturnType<typeof person>[]) =>
    client.send(new UpdateEndpointsBatchCommand({ ApplicationId, EndpointBatchRequest: { Item } }));
  const user = (city: string) => ({ UserId: 'u', UserAttributes: { city: [city] } });
  // New: `plan` is set for the first time. Then: nothing of it changes. Then: to another value; to one that is not asked for.
  await batch(person('a', { plan: ['pro'] }), person('b', { plan: ['free'] }), person('c', {}));
  await batch(person('a', { plan: ['pro'], x: ['1'] }), person('b', { x: ['1'] }));
  const { Id: EndpointId, ...EndpointRequest } = person('b', { plan: ['team'] });
  await client.send(new UpdateEndpointCommand({ ApplicationId, EndpointId, EndpointRequest }));
  await batch(person('a', { plan: [] }));
  await put(event(ApplicationId, 'a', { type: '_endpoint.changed', attributes: { plan: 'pro' } }));
  const messages = await messagesOf(plan);
  expect(messages.map(({ endpoint_id }) => endpoint_id)).toEqual(['a', 'b']);
  expect(await reasons(plan)).toEqual({ attribute_mismatch: 2 });
  const { rows } = await database.query('select summary from messages where campaign_id = $1 order by id', [
    plan.Id,
  ]);
  expect(rows).toEqual([{ summary: 'Plan pro' }, { summary: 'Plan team' }]);

  await batch(person('a', {}, user('Rome')), person('b', {}, { UserId: 'u' }));
  await batch(person('b', {}, user('Oslo')));
  await batch(person('b', {}, user('Oslo')));
  expect((await messagesOf(city)).map(({ endpoint_id }) => endpoint_id)).toEqual(['a', 'b', 'a', 'b']);

  // Nobody asks any more: changes are facts no longer.
  await update(plan, { Schedule: onPurchase() });
  await client.send(new DeleteCampaignCommand({ ApplicationId, CampaignId: city.Id }));
  const before = await changes(ApplicationId);
  await batch(person('a', { plan: ['pro'] }, user('Kyiv')));
  expect(await changes(ApplicationId)).toBe(before);
});

async function changes(applicationId: string): Promise<number> {
  const { rows } = await database.query<{ count: number }>(
    "select count(*)::int as count from events where application_id = $1 and type = 'endpoint.changed'",
    [applicationId],
  );
  return rows[0]!.count;
}

test('what machines do to a message triggers nothing, nor does anything else that is no event of an app', async () => {
  const audience = await audienceOf(people(1));
  const campaign = await create(audience, {
    Schedule: {
      StartTime: 'IMMEDIATE',
      Frequency: 'EVENT',
      EventFilter: {
        FilterType: 'SYSTEM',
        Dimensions: { EventType: { DimensionType: 'EXCLUSIVE', Values: ['nothing'] } },
      },
    },
  });
  const fact = (type: string, machine: boolean): Fact => ({
    type,
    applicationId: audience.ApplicationId,
    endpointId: 'p0',
    messageId: uuidv7(),
    payload: { id: uuidv7(), machine },
  });
  await put(
    fact('message.opened', true),
    fact('message.clicked', true),
    fact('message.clicked', false),
    fact('message.sent', false),
  );
  expect(await messagesOf(campaign)).toEqual([]);
  expect(await reasons(campaign)).toEqual({});
  await put(event(audience.ApplicationId, 'p0', { type: 'anything' }));
  expect(await decisions(campaign)).toEqual({ sending: 1 });
});

test('what is no filter is refused with its member, and no more than 25 campaigns wait for events', async () => {
  const audience = await audienceOf(people(1));
  const refused = async (Schedule: object, message: RegExp) =>
    expect(create(audience, { Schedule: Schedule as WriteCampaignRequest['Schedule'] })).rejects.toThrow(
      message,
    );
  const filter = (Dimensions: object) => ({
    ...onPurchase(),
    EventFilter: { FilterType: 'ENDPOINT', Dimensions },
  });
  await refused({ StartTime: 'IMMEDIATE', Frequency: 'EVENT' }, /\$\.Schedule\.EventFilter: /);
  await refused(filter({}), /Dimensions\.EventType: /);
  await refused(filter({ EventType: { DimensionType: 'INCLUSIVE', Values: [] } }), /EventType\.Values: /);
  await refused(
    filter({ ...purchase, Attributes: { a: { AttributeType: 'BEFORE', Values: ['soon'] } } }),
    /Attributes\.a\.Values\[0\]: /,
  );
  await refused(
    filter({ ...purchase, Metrics: { m: { ComparisonOperator: 'ABOUT', Value: 1 } } }),
    /Metrics\.m\.ComparisonOperator/,
  );
  const change = { EventType: { DimensionType: 'INCLUSIVE', Values: ['_endpoint.changed'] } };
  await refused(filter(change), /Dimensions\.Attributes: /);
  await refused(
    filter({ ...change, Attributes: { plan: { AttributeType: 'INCLUSIVE', Values: ['pro'] } } }),
    /begins with Attributes\. or User\.UserAttributes\./,
  );
  await refused({ ...onPurchase(), Frequency: 'ONCE' }, /\$\.Schedule\.EventFilter: /);
  const made: CampaignResponse[] = [];
  for (let count = 0; count < 25; count++) made.push(await create(audience));
  await expect(create(audience)).rejects.toThrow(/25 event-triggered campaigns/);
  await update(made[0]!, { IsPaused: true });
  await create(audience);
  await expect(update(made[0]!, { IsPaused: false })).rejects.toThrow(/25 event-triggered campaigns/);
});

test('caps that count what was sent give back what was refused, for each event of an endpoint', async () => {
  const { releaseDaily, releaseTotal, reserveDaily, reserveTotal } = await import(
    '../packages/server/src/messaging/caps.sql.ts'
  );
  const [app, campaign] = [uuidv7(), uuidv7()];
  await database.transaction(async (tx) => {
    for (let n = 0; n < 3; n++) {
      expect((await reserveTotal(tx, campaign, ['a', 'b'], 3)).size).toBe(2);
      expect((await reserveDaily(tx, app, ['a', 'b'], 3)).size).toBe(2);
    }
    await releaseTotal(tx, campaign, ['a', 'a', 'b']);
    await releaseDaily(tx, app, ['a', 'a', 'b']);
    const { rows } = await tx.query(
      `select c.endpoint_id, c.count, cardinality(s.recent) as recent from campaign_sends c
       join endpoint_sends s using (endpoint_id) where c.campaign_id = $1 and s.application_id = $2 order by 1`,
      [campaign, app],
    );
    expect(rows).toEqual([
      { endpoint_id: 'a', count: 1, recent: 1 },
      { endpoint_id: 'b', count: 2, recent: 2 },
    ]);
  });
});

test('an application that is deleted while events come leaves nothing open, and the others go on', async () => {
  const [doomed, other] = [await audienceOf(people(50)), await audienceOf(people(1))];
  await create(doomed, { Limits: { MessagesPerSecond: 50 } });
  const campaign = await create(other);
  let putting = true;
  const load = (async () => {
    while (putting) await put(...people(50).map(({ id }) => event(doomed.ApplicationId, id)));
  })();
  await waitFor('the first messages', async () => {
    const { rows } = await database.query('select from messages where application_id = $1 limit 1', [
      doomed.ApplicationId,
    ]);
    return rows.length === 1;
  });
  await client.send(new DeleteAppCommand({ ApplicationId: doomed.ApplicationId }));
  putting = false;
  await load;
  await put(event(other.ApplicationId, 'p0'));
  expect(await decisions(campaign)).toEqual({ sending: 1 });
  const { rows } = await database.query(
    `select from campaign_triggers where application_id = $1
     union all select from dispatches where application_id = $1 and finished_at is null`,
    [doomed.ApplicationId],
  );
  expect(rows).toEqual([]);
  const { rows: parked } = await database.query(
    "select from log_parked_facts where subscriber = 'campaign-triggers'",
  );
  expect(parked).toEqual([]);
});
