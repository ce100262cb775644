import {
  CreateAppCommand,
  CreateCampaignCommand,
  CreateInAppTemplateCommand,
  CreateSegmentCommand,
  DeleteSegmentCommand,
  GetCampaignCommand,
  GetInAppMessagesCommand,
  GetInAppTemplateCommand,
  type InAppMessageCampaign,
  PutEventsCommand,
  UpdateCampaignCommand,
  UpdateEndpointCommand,
  UpdateInAppTemplateCommand,
  type WriteCampaignRequest,
} from '@aws-sdk/client-pinpoint';
import { expect, test } from 'vitest';
import { waitFor } from './support/processes.ts';
import { startProduct } from './support/product.ts';
import { sendSigned } from './support/signed-request.ts';

const product = await startProduct();
const client = product.client();
const hours = (count: number) => new Date(Date.now() + count * 3_600_000).toISOString();

const screen = {
  BackgroundColor: '#FFFFFF',
  HeaderConfig: { Header: 'Hello', Alignment: 'LEFT' as const, TextColor: '#000000' },
  BodyConfig: { Body: 'Half price today', Alignment: 'CENTER' as const, TextColor: '#111111' },
  PrimaryBtn: {
    DefaultConfig: { ButtonAction: 'LINK' as const, Text: 'Shop', Link: 'https://shop.example/' },
    Android: { ButtonAction: 'DEEP_LINK' as const, Link: 'shop://sale' },
  },
};
const message = {
  Layout: 'TOP_BANNER' as const,
  Content: [screen],
  CustomConfig: { __proto__x: 'y', colour: 'red' },
};
const purchase = {
  FilterType: 'ENDPOINT' as const,
  Dimensions: { EventType: { DimensionType: 'INCLUSIVE' as const, Values: ['purchase'] } },
};
const schedule = {
  Frequency: 'IN_APP_EVENT' as const,
  StartTime: 'IMMEDIATE',
  EndTime: hours(1),
  EventFilter: purchase,
};

async function createApp(): Promise<{ ApplicationId: string; SegmentId: string }> {
  const created = await client.send(new CreateAppCommand({ CreateApplicationRequest: { Name: 'in-app' } }));
  const ApplicationId = created.ApplicationResponse!.Id!;
  const segment = await client.send(
    new CreateSegmentCommand({
      ApplicationId,
      WriteSegmentRequest: {
        Name: 'pro',
        Dimensions: { Attributes: { plan: { AttributeType: 'INCLUSIVE', Values: ['pro'] } } },
      },
    }),
  );
  return { ApplicationId, SegmentId: segment.SegmentResponse!.Id! };
}

/** Endpoints get cohorts by chance; a test that cares sets its own. */
async function addEndpoint(
  ApplicationId: string,
  EndpointId: string,
  options: { plan?: string; cohort?: number; timezone?: string; user?: object } = {},
): Promise<void> {
  await client.send(
    new UpdateEndpointCommand({
      ApplicationId,
      EndpointId,
      EndpointRequest: {
        ChannelType: 'IN_APP',
        OptOut: 'ALL',
        Attributes: { plan: [options.plan ?? 'pro'] },
        ...(options.timezone && { Demographic: { Timezone: options.timezone } }),
        ...(options.user && { User: options.user }),
      },
    }),
  );
  if (options.cohort !== undefined)
    await product.database.query('update endpoints set cohort = $3 where application_id = $1 and id = $2', [
      ApplicationId,
      EndpointId,
      options.cohort,
    ]);
}

async function create(
  app: { ApplicationId: string; SegmentId: string },
  change: WriteCampaignRequest = {},
): Promise<string> {
  const { CampaignResponse } = await client.send(
    new CreateCampaignCommand({
      ApplicationId: app.ApplicationId,
      WriteCampaignRequest: {
        Name: 'sale',
        SegmentId: app.SegmentId,
        Schedule: schedule,
        MessageConfiguration: { InAppMessage: message },
        ...change,
      },
    }),
  );
  return CampaignResponse!.Id!;
}

async function fetchMessages(ApplicationId: string, EndpointId: string): Promise<InAppMessageCampaign[]> {
  const { InAppMessagesResponse } = await client.send(
    new GetInAppMessagesCommand({ ApplicationId, EndpointId }),
  );
  return InAppMessagesResponse!.InAppMessageCampaigns!;
}

/** The same with a query of our own. */
async function fetchWith(
  ApplicationId: string,
  EndpointId: string,
  query: Record<string, string>,
): Promise<{ status: number; campaigns: InAppMessageCampaign[] }> {
  const search = new URLSearchParams(query).toString().replaceAll('+', '%20');
  const path = `/v1/apps/${ApplicationId}/endpoints/${EndpointId}/inappmessages?${search}`;
  const { port } = new URL(product.url);
  const reply = await sendSigned({ method: 'GET', path }, { key: product.key, port: Number(port) });
  const body = JSON.parse(reply.text) as { InAppMessageCampaigns?: InAppMessageCampaign[] };
  return { status: reply.status, campaigns: body.InAppMessageCampaigns ?? [] };
}

async function reasons(app: string, endpoint: string, query = ''): Promise<Record<string, string | null>> {
  const { campaigns } = await product.json<{ campaigns: { campaignId: string; reason: string | null }[] }>(
    `/api/apps/${app}/endpoints/${endpoint}/in-app${query}`,
  );
  return Object.fromEntries(campaigns.map(({ campaignId, reason }) => [campaignId, reason]));
}

test('members of the segment get the message in the shape that clients expect', async () => {
  const app = await createApp();
  await addEndpoint(app.ApplicationId, 'in/side');
  await addEndpoint(app.ApplicationId, 'outside', { plan: 'free' });
  const Limits = { Daily: 3, Session: 1, Total: 9 };
  const QuietTime = { Start: '22:00', End: '06:00' };
  const id = await create(app, { Limits, Priority: 2, Schedule: { ...schedule, QuietTime } });
  expect(await fetchMessages(app.ApplicationId, 'in/side')).toEqual([
    {
      CampaignId: id,
      TreatmentId: '0',
      Priority: 2,
      DailyCap: 3,
      SessionCap: 1,
      TotalCap: 9,
      InAppMessage: message,
      Schedule: { EndDate: expect.any(String), EventFilter: purchase, QuietTime },
    },
  ]);
  const [campaign] = await fetchMessages(app.ApplicationId, 'in/side');
  expect(new Date(campaign!.Schedule!.EndDate!)).toEqual(new Date(schedule.EndTime));
  expect(await fetchMessages(app.ApplicationId, 'outside')).toEqual([]);
  await expect(fetchMessages(app.ApplicationId, 'nobody')).rejects.toMatchObject({
    name: 'NotFoundException',
  });
});

test('changes are seen with the next request: pause, resume, words, end, the segment, deletion', async () => {
  const app = await createApp();
  const { ApplicationId } = app;
  await addEndpoint(ApplicationId, 'e');
  const CampaignId = await create(app);
  const update = (WriteCampaignRequest: WriteCampaignRequest) =>
    client.send(new UpdateCampaignCommand({ ApplicationId, CampaignId, WriteCampaignRequest }));
  const shown = async () => (await fetchMessages(ApplicationId, 'e')).length;
  expect(await shown()).toBe(1);
  await update({ IsPaused: true });
  expect(await shown()).toBe(0);
  await update({ IsPaused: false });
  expect(await shown()).toBe(1);
  await waitFor('the campaign to be shown', async () => {
    const { CampaignResponse } = await client.send(new GetCampaignCommand({ ApplicationId, CampaignId }));
    return CampaignResponse!.State!.CampaignStatus === 'EXECUTING';
  });
  await update({ MessageConfiguration: { InAppMessage: { ...message, Layout: 'OVERLAYS' } } });
  expect((await fetchMessages(ApplicationId, 'e'))[0]!.InAppMessage!.Layout).toBe('OVERLAYS');
  await update({ Schedule: { ...schedule, StartTime: hours(0.5) } });
  expect(await shown()).toBe(0);
  expect(await reasons(ApplicationId, 'e')).toEqual({ [CampaignId]: 'not_started' });
  await expect(update({ Schedule: { StartTime: 'IMMEDIATE' } })).rejects.toThrow(
    /\$\.Schedule\.Frequency|Message/,
  );
  await update({ Schedule: schedule });
  expect(await shown()).toBe(1);
  await client.send(new DeleteSegmentCommand({ ApplicationId, SegmentId: app.SegmentId }));
  expect(await shown()).toBe(0);
});

test('a campaign is over at its end, by itself', async () => {
  const app = await createApp();
  const { ApplicationId } = app;
  await addEndpoint(ApplicationId, 'e');
  const CampaignId = await create(app, {
    Schedule: { ...schedule, EndTime: new Date(Date.now() + 1_500).toISOString() },
  });
  await waitFor('the end', async () => {
    const { CampaignResponse } = await client.send(new GetCampaignCommand({ ApplicationId, CampaignId }));
    return CampaignResponse!.State!.CampaignStatus === 'COMPLETED';
  });
  expect(await fetchMessages(ApplicationId, 'e')).toEqual([]);
});

test('cohorts decide who is held out and who gets which treatment; priorities the order', async () => {
  const app = await createApp();
  const other = { InAppMessage: { ...message, Layout: 'BOTTOM_BANNER' as const } };
  const split = await create(app, {
    HoldoutPercent: 10,
    AdditionalTreatments: [{ SizePercent: 30, MessageConfiguration: other }],
  });
  const first = await create(app, { Priority: 1 });
  const third = await create(app, { Priority: 3 });
  const found: Record<number, unknown> = {};
  for (const cohort of [9, 10, 39, 40, 99]) {
    await addEndpoint(app.ApplicationId, `c${cohort}`, { cohort });
    const messages = await fetchMessages(app.ApplicationId, `c${cohort}`);
    expect(messages.map(({ CampaignId }) => CampaignId).slice(0, 2)).toEqual([first, third]);
    const own = messages.find(({ CampaignId }) => CampaignId === split);
    found[cohort] = own && [own.TreatmentId, own.InAppMessage!.Layout];
  }
  expect(found).toEqual({
    9: undefined,
    10: ['1', 'BOTTOM_BANNER'],
    39: ['1', 'BOTTOM_BANNER'],
    40: ['0', 'TOP_BANNER'],
    99: ['0', 'TOP_BANNER'],
  });
  expect((await reasons(app.ApplicationId, 'c9'))[split]).toBe('holdout');
});

test('templates: their words, their variables, and their next version', async () => {
  const app = await createApp();
  const { ApplicationId } = app;
  const TemplateName = `sale-${ApplicationId.slice(0, 8)}`;
  const content = {
    Layout: 'OVERLAYS' as const,
    Content: [
      {
        HeaderConfig: {
          ...screen.HeaderConfig,
          Header: 'Dear {{User.UserAttributes.FirstName}}{{Attributes.nothing}}',
        },
        PrimaryBtn: {
          DefaultConfig: { ButtonAction: 'LINK' as const, Text: 'Go', Link: 'https://shop.example/{{Id}}' },
        },
      },
    ],
    CustomConfig: { plan: '{{Attributes.plan}}' },
  };
  await client.send(new CreateInAppTemplateCommand({ TemplateName, InAppTemplateRequest: content }));
  const { InAppTemplateResponse } = await client.send(new GetInAppTemplateCommand({ TemplateName }));
  expect(InAppTemplateResponse).toMatchObject({ ...content, TemplateType: 'INAPP', Version: '1' });
  await addEndpoint(ApplicationId, 'ada', {
    user: { UserId: 'u', UserAttributes: { FirstName: ['Ada "A" <b>'] } },
  });
  await create(app, {
    MessageConfiguration: undefined,
    TemplateConfiguration: { InAppTemplate: { Name: TemplateName } },
  });
  const shown = async () => (await fetchMessages(ApplicationId, 'ada'))[0]!.InAppMessage!;
  const { Content, CustomConfig } = await shown();
  expect(Content![0]!.HeaderConfig!.Header).toBe('Dear Ada "A" <b>');
  expect(Content![0]!.PrimaryBtn!.DefaultConfig!.Link).toBe('https://shop.example/ada');
  expect(CustomConfig).toEqual({ plan: 'pro' });
  await client.send(
    new UpdateInAppTemplateCommand({
      TemplateName,
      InAppTemplateRequest: { ...content, Layout: 'MIDDLE_BANNER' },
    }),
  );
  expect((await shown()).Layout).toBe('MIDDLE_BANNER');
  const broken = { ...content, CustomConfig: { plan: '{{#if x}}' } };
  await expect(
    client.send(new UpdateInAppTemplateCommand({ TemplateName, InAppTemplateRequest: broken })),
  ).rejects.toThrow(/CustomConfig\["plan"\]/);
});

test('what no client could show is refused with the member at fault', async () => {
  const app = await createApp();
  const filter = (Dimensions: object) => ({ ...schedule, EventFilter: { FilterType: 'SYSTEM', Dimensions } });
  const cases: [RegExp, object][] = [
    [/\$\.Schedule\.EndTime/, { Schedule: { ...schedule, EndTime: undefined } }],
    [/\$\.Schedule\.EndTime/, { Schedule: { ...schedule, EndTime: hours(-1) } }],
    [/\$\.Schedule\.StartTime/, { Schedule: { ...schedule, StartTime: hours(-1) } }],
    [/\$\.Schedule\.EventFilter/, { Schedule: { ...schedule, EventFilter: undefined } }],
    [/EventType/, { Schedule: filter({ EventType: { DimensionType: 'INCLUSIVE', Values: [] } }) }],
    [
      /EventType/,
      {
        Schedule: filter({
          EventType: { DimensionType: 'INCLUSIVE', Values: ['_endpoint.changed'] },
          Attributes: { 'Attributes.plan': { Values: ['pro'] } },
        }),
      },
    ],
    [/\$\.Priority/, { Priority: 6 }],
    [/\$\.Hook/, { Hook: { WebUrl: 'https://hook.example/' } }],
    [/CustomDeliveryConfiguration/, { CustomDeliveryConfiguration: { DeliveryUri: 'https://a.example/' } }],
    [/InAppMessage/, { MessageConfiguration: { EmailMessage: { Title: 'a', Body: 'b' } } }],
    [/InAppMessage/, { MessageConfiguration: {} }],
    [/Content/, { MessageConfiguration: { InAppMessage: { Layout: 'OVERLAYS' } } }],
    [/CAROUSEL/, { MessageConfiguration: { InAppMessage: { ...message, Content: [screen, screen] } } }],
    [/InAppTemplate/, { TemplateConfiguration: { InAppTemplate: { Name: 'nothing-of-the-kind' } } }],
    [/InAppMessage/, { Schedule: { StartTime: 'IMMEDIATE' } }],
  ];
  for (const [member, change] of cases)
    await expect(create(app, change), JSON.stringify(change)).rejects.toThrow(member);
  await create(app, {
    MessageConfiguration: {
      InAppMessage: { ...message, Layout: 'CAROUSEL', Content: Array(5).fill(screen) },
    },
  });
});

test('an application has 25 of them at once, also when many are made together', async () => {
  const app = await createApp();
  const made = await Promise.allSettled(Array.from({ length: 30 }, () => create(app)));
  const ids = made.flatMap((result) => (result.status === 'fulfilled' ? result.value : []));
  expect(ids).toHaveLength(25);
  await addEndpoint(app.ApplicationId, 'e');
  expect(await fetchMessages(app.ApplicationId, 'e')).toHaveLength(25);
  const { ApplicationId } = app;
  const pause = (IsPaused: boolean) =>
    client.send(
      new UpdateCampaignCommand({
        ApplicationId,
        CampaignId: ids[0]!,
        WriteCampaignRequest: { IsPaused },
      }),
    );
  await pause(true);
  await create(app);
  await expect(pause(false)).rejects.toThrow(/25 in-app campaigns/);
});

async function report(
  ApplicationId: string,
  endpoint: string,
  kind: string,
  attributes: Record<string, string>,
  session?: string,
): Promise<void> {
  await client.send(
    new PutEventsCommand({
      ApplicationId,
      EventsRequest: {
        BatchItem: {
          [endpoint]: {
            Endpoint: {},
            Events: {
              [`${kind}-${Math.random()}`]: {
                EventType: `_inapp.message_${kind}`,
                Timestamp: new Date().toISOString(),
                Attributes: attributes,
                ...(session && { Session: { Id: session, StartTimestamp: new Date().toISOString() } }),
              },
            },
          },
        },
      },
    }),
  );
}

async function displays(ApplicationId: string): Promise<number> {
  const { rows } = await product.database.query(
    'select coalesce(sum(displayed), 0)::int as n from in_app_counts where application_id = $1',
    [ApplicationId],
  );
  return rows[0].n;
}

test('caps by what clients reported: asked for, or by the setting of the application', async () => {
  const app = await createApp();
  const { ApplicationId } = app;
  await addEndpoint(ApplicationId, 'e');
  await addEndpoint(ApplicationId, 'f');
  const total = await create(app, { Limits: { Total: 2 } });
  const daily = await create(app, { Limits: { Daily: 3 } });
  const session = await create(app, { Limits: { Session: 1 } });
  for (let n = 1; n <= 2; n++)
    await report(ApplicationId, 'e', 'displayed', { campaign_id: total, treatment_id: '0' });
  await report(ApplicationId, 'e', 'clicked', { campaign_id: total, treatment_id: '0' });
  await report(ApplicationId, 'e', 'displayed', { campaign_id: 'made-up', treatment_id: '0' });
  await report(ApplicationId, 'e', 'displayed', { treatment_id: '0' });
  await report(ApplicationId, 'e', 'displayed', { campaign_id: session, treatment_id: '0' }, 's1');
  await waitFor('the counts', async () => (await displays(ApplicationId)) === 3);
  const ids = (campaigns: InAppMessageCampaign[]) => campaigns.map(({ CampaignId }) => CampaignId).sort();
  const all = [total, daily, session].sort();
  expect(ids(await fetchMessages(ApplicationId, 'e'))).toEqual(all);
  const asked = (query: Record<string, string>, endpoint = 'e') =>
    fetchWith(ApplicationId, endpoint, query).then(({ campaigns }) => ids(campaigns));
  expect(await asked({ evaluate: 'server' })).toEqual([session]);
  expect(await asked({ evaluate: 'server' }, 'f')).toEqual(all);
  expect(await asked({ evaluate: 'server', 'session-id': 's1' })).toEqual([]);
  expect(await asked({ evaluate: 'server', 'session-id': 's2' })).toEqual([session]);
  expect(await reasons(ApplicationId, 'e', '?evaluate=server&session-id=s1')).toEqual({
    [total]: 'total_cap',
    [daily]: 'daily_cap',
    [session]: 'session_cap',
  });
  const path = `/api/apps/${ApplicationId}/in-app-settings`;
  expect(await product.json(path)).toEqual({ evaluation: 'client' });
  await product.json(path, { method: 'PUT', json: { evaluation: 'server' } });
  expect(ids(await fetchMessages(ApplicationId, 'e'))).toEqual([session]);
  expect(await asked({ evaluate: 'client' })).toEqual(all);
  // A day later only the total counts.
  await product.database.query(
    `update in_app_counts set recent = array(select at - interval '25 hours' from unnest(recent) as at)`,
  );
  expect(ids(await fetchMessages(ApplicationId, 'e'))).toEqual([daily, session].sort());
});

test('the server compares an event for the client: EXCLUSIVE, a metric of 0, names of all kinds', async () => {
  const app = await createApp();
  const { ApplicationId } = app;
  await addEndpoint(ApplicationId, 'e');
  const withFilter = (Dimensions: object) =>
    create(app, { Schedule: { ...schedule, EventFilter: { FilterType: 'ENDPOINT', Dimensions } as never } });
  const EventType = { DimensionType: 'INCLUSIVE', Values: ['purchase'] };
  const exclusive = await withFilter({
    EventType,
    Attributes: { kind: { AttributeType: 'EXCLUSIVE', Values: ['gift'] } },
  });
  const zero = await withFilter({
    EventType,
    Metrics: { price: { ComparisonOperator: 'EQUAL', Value: 0 } },
  });
  const others = await withFilter({ EventType: { DimensionType: 'EXCLUSIVE', Values: ['purchase'] } });
  const proto = await withFilter({
    EventType,
    Attributes: { constructor: { AttributeType: 'INCLUSIVE', Values: ['x'] } },
  });
  const matching = async (query: Record<string, string>) =>
    (await fetchWith(ApplicationId, 'e', query)).campaigns.map(({ CampaignId }) => CampaignId).sort();
  const event = { 'event-type': 'purchase' };
  expect(await matching(event)).toEqual([exclusive]);
  expect(await matching({ ...event, attribute: 'kind=gift', metric: 'price=0' })).toEqual([zero]);
  expect(await matching({ ...event, attribute: 'kind=book', metric: 'price=1e1' })).toEqual([exclusive]);
  expect(await matching({ ...event, attribute: 'constructor=x' })).toEqual([exclusive, proto].sort());
  expect(await matching({ 'event-type': 'login' })).toEqual([others]);
  expect(await matching({})).toEqual([exclusive, zero, others, proto].sort());
  const { campaigns } = await fetchWith(ApplicationId, 'e', { ...event, metric: 'price=0' });
  expect(campaigns.map(({ Schedule }) => Schedule!.EventFilter!.Dimensions)).toEqual(
    Array(2).fill({ EventType: { DimensionType: 'INCLUSIVE', Values: ['purchase'] } }),
  );
  for (const query of [{ metric: 'price=0' }, { ...event, metric: 'price=NaN' }, { evaluate: 'perhaps' }])
    expect((await fetchWith(ApplicationId, 'e', query as never)).status, JSON.stringify(query)).toBe(400);
});

test('quiet time in the zone of the endpoint, where the server evaluates', async () => {
  const app = await createApp();
  const { ApplicationId } = app;
  const at = (minutes: number) => new Date(Date.now() + minutes * 60_000).toISOString().slice(11, 16);
  await addEndpoint(ApplicationId, 'utc', { timezone: 'Etc/UTC' });
  await addEndpoint(ApplicationId, 'far', { timezone: 'Etc/GMT-12' });
  await addEndpoint(ApplicationId, 'unknown');
  const id = await create(app, {
    Schedule: { ...schedule, QuietTime: { Start: at(-60), End: at(60) } },
  });
  const query = '?evaluate=server';
  expect(await reasons(ApplicationId, 'utc', query)).toEqual({ [id]: 'quiet_time' });
  expect(await reasons(ApplicationId, 'far', query)).toEqual({ [id]: null });
  expect(await reasons(ApplicationId, 'unknown', query)).toEqual({ [id]: null });
  expect(await reasons(ApplicationId, 'utc')).toEqual({ [id]: null });
});
