import {
  type CampaignResponse,
  DeleteCampaignCommand,
  GetCampaignActivitiesCommand,
  UpdateEndpointCommand,
  UpdateEndpointsBatchCommand,
  type WriteCampaignRequest,
} from '@aws-sdk/client-pinpoint';
import { expect, test } from 'vitest';
import { saveImportedSegment } from '../packages/server/src/audience/index.ts';
import type { Fact } from '../packages/server/src/events/index.ts';
import { uuidv7 } from '../packages/server/src/platform/ids.ts';
import { waitFor } from './support/processes.ts';
import {
  audienceOf,
  client,
  create,
  database,
  decisions,
  EmailMessage,
  event,
  messagesOf,
  onPurchase,
  people,
  purchase,
  put,
  reasons,
  skippedOf,
  statusOf,
  update,
} from './triggers-support.ts';

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
