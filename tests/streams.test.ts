import {
  CreateAppCommand,
  CreateCampaignCommand,
  CreateSegmentCommand,
  DeleteEventStreamCommand,
  type EndpointBatchItem,
  GetCampaignActivitiesCommand,
  GetEventStreamCommand,
  PutEventStreamCommand,
  PutEventsCommand,
  SendMessagesCommand,
  UpdateEmailChannelCommand,
  UpdateEndpointsBatchCommand,
} from '@aws-sdk/client-pinpoint';
import { Webhook } from 'standardwebhooks';
import { expect, test } from 'vitest';
import {
  awsKey,
  firehoseArn,
  kinesisArn,
  listen,
  type SeenRecord,
  startNats,
  startRecorder,
} from './streams-support.ts';
import { waitFor } from './support/processes.ts';
import { startProduct } from './support/product.ts';

const recorder = await startRecorder();
const product = await startProduct({
  POSTRIDER_AWS_ACCESS_KEY_ID: awsKey.accessKeyId,
  POSTRIDER_AWS_SECRET_ACCESS_KEY: awsKey.secretAccessKey,
  POSTRIDER_AWS_ENDPOINT_URL: recorder.url,
  POSTRIDER_ACCOUNT_ID: '123456789012',
});
const client = product.client();

async function createApp(): Promise<string> {
  const { ApplicationResponse } = await client.send(
    new CreateAppCommand({ CreateApplicationRequest: { Name: 'streams' } }),
  );
  return ApplicationResponse!.Id!;
}

async function putEvents(app: string, endpointId: string, ids: string[]): Promise<void> {
  const Events = Object.fromEntries(
    ids.map((id) => [
      id,
      {
        EventType: 'purchase',
        Timestamp: new Date().toISOString(),
        Attributes: { id, title: 'Ж"\\\u2028' },
        Metrics: { price: 1.5 },
        Session: { Id: 's1', StartTimestamp: '2026-01-02T03:04:05.678Z', Duration: 10 },
        AppPackageName: 'com.example',
        AppVersionCode: '7',
        SdkName: 'amplify',
        ClientSdkVersion: '6',
      },
    ]),
  );
  const Endpoint = {
    ChannelType: 'EMAIL' as const,
    Address: `${endpointId}@example.com`,
    Demographic: {
      Locale: 'de_AT',
      Make: 'Acme',
      Platform: 'android',
      PlatformVersion: '16',
      AppVersion: '2.0',
    },
    User: { UserId: 'u1' },
  };
  const { EventsResponse } = await client.send(
    new PutEventsCommand({
      ApplicationId: app,
      EventsRequest: { BatchItem: { [endpointId]: { Endpoint, Events } } },
    }),
  );
  for (const item of Object.values(EventsResponse!.Results![endpointId]!.EventsItemResponse!))
    expect(item.StatusCode).toBe(202);
}

test('an event stream is put, read and deleted as in Pinpoint', async () => {
  const app = await createApp();
  await expect(client.send(new GetEventStreamCommand({ ApplicationId: app }))).rejects.toMatchObject({
    name: 'NotFoundException',
  });
  const put = async (DestinationStreamArn: string) =>
    (
      await client.send(
        new PutEventStreamCommand({
          ApplicationId: app,
          WriteEventStream: { DestinationStreamArn, RoleArn: 'arn:aws:iam::123456789012:role/pinpoint' },
        }),
      )
    ).EventStream!;
  const first = await put(kinesisArn);
  expect(first).toEqual({
    ApplicationId: app,
    DestinationStreamArn: kinesisArn,
    RoleArn: 'arn:aws:iam::123456789012:role/pinpoint',
    ExternalId: expect.stringMatching(/^[0-9a-f]{32}$/),
    LastModifiedDate: expect.stringMatching(/^\d{4}-.*Z$/),
    LastUpdatedBy: `access_key:${product.key.id}`,
  });
  const second = await put(firehoseArn);
  expect(second).toMatchObject({ ExternalId: first.ExternalId, DestinationStreamArn: firehoseArn });
  const { EventStream: read } = await client.send(new GetEventStreamCommand({ ApplicationId: app }));
  expect(read).toEqual(second);
  const { EventStream: gone } = await client.send(new DeleteEventStreamCommand({ ApplicationId: app }));
  expect(gone).toEqual(second);
  for (const command of [GetEventStreamCommand, DeleteEventStreamCommand])
    await expect(client.send(new command({ ApplicationId: app }))).rejects.toMatchObject({
      name: 'NotFoundException',
    });
});

test('a destination that is none is refused, and changes nothing', async () => {
  const app = await createApp();
  const bad = [
    'arn:aws:sqs:us-east-1:123456789012:queue',
    'arn:aws:kinesis:us-east-1:123456789012:stream/',
    'ftp://example.com/x',
    'https://user:password@example.com/hook',
    'nats://example.com',
    'nats://example.com/a.*',
    's3://b',
    's3://bucket/../up',
    'file:///etc/passwd',
    'x\0y',
    `https://example.com/${'x'.repeat(3000)}`,
  ];
  for (const DestinationStreamArn of bad)
    await expect(
      client.send(
        new PutEventStreamCommand({
          ApplicationId: app,
          WriteEventStream: { DestinationStreamArn, RoleArn: 'r' },
        }),
      ),
      DestinationStreamArn,
    ).rejects.toMatchObject({ name: 'BadRequestException' });
  await expect(client.send(new GetEventStreamCommand({ ApplicationId: app }))).rejects.toMatchObject({
    name: 'NotFoundException',
  });
  const response = await product.request(`/api/apps/${app}/streams/own`, {
    method: 'PUT',
    json: { destination: 'https://example.com/hook', settings: { gzip: true } },
  });
  expect(response.status).toBe(400);
  expect(await response.json()).toMatchObject({ detail: expect.stringContaining('$.settings.gzip') });
});

test.each([
  ['Kinesis', kinesisArn],
  ['Firehose', firehoseArn],
])('events reach %s in the shape of Pinpoint, signed', async (_, DestinationStreamArn) => {
  const app = await createApp();
  await putEvents(app, 'phone', ['before']);
  // Clocks of several machines may differ: what arrived in the second before may be in it.
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  await client.send(
    new PutEventStreamCommand({
      ApplicationId: app,
      WriteEventStream: { DestinationStreamArn, RoleArn: 'r' },
    }),
  );
  const before = Date.now();
  await putEvents(app, 'phone', ['one']);
  const seen = () =>
    recorder.accepted.filter((record) => (record.application as { app_id: string }).app_id === app);
  await waitFor('the record', async () => seen().some(({ attributes }) => attributes.id === 'one'));
  expect(recorder.faults).toEqual([]);
  const record = seen().find(({ attributes }) => attributes.id === 'one')!;
  expect(record).toEqual({
    event_type: 'purchase',
    event_timestamp: expect.any(Number),
    arrival_timestamp: expect.any(Number),
    event_version: '3.1',
    application: {
      app_id: app,
      package_name: 'com.example',
      sdk: { name: 'amplify', version: '6' },
      version_name: '2.0',
      version_code: '7',
    },
    client: { client_id: 'phone' },
    device: {
      locale: { code: 'de_AT', country: 'AT', language: 'de' },
      make: 'Acme',
      platform: { name: 'android', version: '16' },
    },
    session: { session_id: 's1', start_timestamp: Date.parse('2026-01-02T03:04:05.678Z') },
    attributes: { id: 'one', title: 'Ж"\\\u2028' },
    metrics: { price: 1.5 },
    client_context: {
      custom: {
        legacy_identifier: app,
        user_id: 'u1',
        record_id: expect.stringMatching(/^[0-9a-f-]{36}-\d+$/),
      },
    },
    facets: {},
    awsAccountId: '123456789012',
  });
  expect(record.arrival_timestamp).toBeGreaterThanOrEqual(before);
  // What arrived before the stream was there is not in it.
  expect(seen().map(({ attributes }) => attributes.id)).toEqual(['one']);
});

test('a webhook gets signed batches by Standard Webhooks; 410 disables it', async () => {
  const app = await createApp();
  const bodies: { type: string; data: { applicationId: string; stream: string; records: SeenRecord[] } }[] =
    [];
  let secret = '';
  let status = 200;
  const url = await listen((request, body) => {
    if (status !== 200) return { status, body: 'gone' };
    new Webhook(secret).verify(body.toString(), request.headers as Record<string, string>);
    bodies.push(JSON.parse(body.toString()));
    return { status };
  });
  const path = `/api/apps/${app}/streams/hook`;
  const made = await product.json<{ state: string; secretNames: string[] }>(path, {
    method: 'PUT',
    json: { destination: url },
  });
  expect(made).toMatchObject({ state: 'active', secretNames: ['secret'], kind: 'webhook', name: 'hook' });
  ({ secret } = await product.json<{ secret: string }>(`${path}/secret`));
  await putEvents(app, 'phone', ['one', 'two']);
  await waitFor('the batch', async () => bodies.flatMap(({ data }) => data.records).length === 2);
  expect(bodies[0]).toMatchObject({ type: 'stream.records', data: { applicationId: app, stream: 'hook' } });
  status = 410;
  await putEvents(app, 'phone', ['three']);
  await waitFor('the end', async () => (await product.json<{ state: string }>(path)).state === 'disabled');
  const disabled = await product.json<{ stateReason: string; waitingFacts: number; lagSeconds: number }>(
    path,
  );
  expect(disabled).toMatchObject({ stateReason: expect.stringContaining('410'), waitingFacts: 1 });
  status = 200;
  await product.json(path, { method: 'PUT', json: { destination: url } });
  await waitFor('the rest', async () => bodies.flatMap(({ data }) => data.records).length === 3);
  await waitFor('the cursor', async () => (await product.json<{ delivered: number }>(path)).delivered === 3);
  expect(await product.json(path)).toMatchObject({ waitingFacts: 0, state: 'active', failures: 0 });
  expect((await product.request(path, { method: 'DELETE' })).status).toBe(204);
  expect((await product.request(path)).status).toBe(404);
});

interface CampaignLife {
  app: string;
  campaignId: string;
  records(): SeenRecord[];
}

/** A campaign to four addresses, of which one is reached, streamed to the recorder. */
async function runCampaign(): Promise<CampaignLife> {
  const app = await createApp();
  await client.send(
    new PutEventStreamCommand({
      ApplicationId: app,
      WriteEventStream: { DestinationStreamArn: kinesisArn, RoleArn: 'r' },
    }),
  );
  await client.send(
    new UpdateEmailChannelCommand({
      ApplicationId: app,
      EmailChannelRequest: { FromAddress: 'shop@example.com', Identity: 'example.com' },
    }),
  );
  const endpoint = (Id: string, Address: string, OptOut = 'NONE'): EndpointBatchItem => ({
    Id,
    Address,
    OptOut,
    ChannelType: 'EMAIL' as const,
    Attributes: Id === 'nameless' ? undefined : { Name: [Id] },
  });
  await client.send(
    new UpdateEndpointsBatchCommand({
      ApplicationId: app,
      EndpointBatchRequest: {
        Item: [
          endpoint('reached', 'reached@example.com'),
          endpoint('twin', 'reached@example.com'),
          endpoint('quiet', 'quiet@example.com', 'ALL'),
          endpoint('nameless', 'nameless@example.com'),
        ],
      },
    }),
  );
  const segment = await client.send(
    new CreateSegmentCommand({ ApplicationId: app, WriteSegmentRequest: { Name: 'all', Dimensions: {} } }),
  );
  const { CampaignResponse } = await client.send(
    new CreateCampaignCommand({
      ApplicationId: app,
      WriteCampaignRequest: {
        Name: 'hello',
        SegmentId: segment.SegmentResponse!.Id!,
        Schedule: { StartTime: 'IMMEDIATE' },
        MessageConfiguration: { EmailMessage: { Title: 'Hi {{Attributes.Name}}', HtmlBody: '<p>Hello</p>' } },
      },
    }),
  );
  return {
    app,
    campaignId: CampaignResponse!.Id!,
    records: () =>
      recorder.accepted.filter((record) => (record.application as { app_id: string }).app_id === app),
  };
}

test('a campaign streams what became of each member of its audience', async () => {
  const { app, campaignId, records } = await runCampaign();
  const sends = () => records().filter(({ event_type }) => event_type === '_campaign.send');
  await waitFor('all members', async () => sends().length >= 4);
  const statuses = Object.fromEntries(
    sends().map(({ client: { client_id }, attributes }) => [client_id, attributes.campaign_send_status]),
  );
  // An address belongs to the endpoint that took it last.
  expect(statuses).toEqual({
    reached: 'FAILURE_PERMANENT',
    twin: 'SUCCESS',
    quiet: 'FAILURE_PERMANENT',
    nameless: 'FAILURE',
  });
  expect(sends()).toHaveLength(4);
  const { ActivitiesResponse } = await client.send(
    new GetCampaignActivitiesCommand({ ApplicationId: app, CampaignId: campaignId }),
  );
  const success = sends().find(({ attributes }) => attributes.campaign_send_status === 'SUCCESS')!;
  expect(success).toMatchObject({
    device: { platform: {} },
    session: {},
    metrics: {},
    facets: {},
    attributes: {
      campaign_id: campaignId,
      treatment_id: '0',
      campaign_activity_id: ActivitiesResponse!.Item![0]!.Id,
      delivery_type: 'EMAIL',
    },
  });
  expect(JSON.parse(success.client_context.custom.endpoint!)).toMatchObject({
    ChannelType: 'EMAIL',
    Address: 'reached@example.com',
    OptOut: 'NONE',
    EndpointStatus: 'ACTIVE',
  });
  const reasonOf = (id: string) =>
    sends().find(({ client: { client_id } }) => client_id === id)!.attributes.campaign_send_reason;
  expect(['reached', 'twin', 'quiet', 'nameless'].map(reasonOf)).toEqual([
    'inactive',
    undefined,
    'opted_out',
    'missing_variable',
  ]);
  await waitFor('the mail', async () => records().some(({ event_type }) => event_type === '_email.send'));
  const mail = records().find(({ event_type }) => event_type === '_email.send')!;
  expect(mail).toMatchObject({
    attributes: { feedback: 'received', campaign_id: campaignId },
    facets: {
      email_channel: {
        mail_event: {
          mail: {
            from_address: 'shop@example.com',
            destination: ['reached@example.com'],
            common_headers: { to: ['reached@example.com'], subject: 'Hi twin' },
          },
          send: {},
        },
      },
    },
  });
  expect(records().filter(({ event_type }) => event_type === '_email.rendering_failure')).toMatchObject([
    { client: { client_id: 'nameless' } },
  ]);
});

test('direct text and push messages are streamed as well', async () => {
  const app = await createApp();
  await client.send(
    new PutEventStreamCommand({
      ApplicationId: app,
      WriteEventStream: { DestinationStreamArn: kinesisArn, RoleArn: 'r' },
    }),
  );
  await client.send(
    new SendMessagesCommand({
      ApplicationId: app,
      MessageRequest: {
        Addresses: { '+14255550199': { ChannelType: 'SMS' }, token: { ChannelType: 'GCM' } },
        Context: { order: '7' },
        MessageConfiguration: {
          SMSMessage: {
            Body: 'x'.repeat(161),
            MessageType: 'TRANSACTIONAL',
            OriginationNumber: '+12065550142',
          },
          GCMMessage: { Title: 'Hi', Body: 'there' },
        },
      },
    }),
  );
  const records = () =>
    recorder.accepted.filter((record) => (record.application as { app_id: string }).app_id === app);
  await waitFor('both', async () =>
    ['_SMS.BUFFERED', '_push.send'].every((type) => records().some(({ event_type }) => event_type === type)),
  );
  expect(records().find(({ event_type }) => event_type === '_SMS.BUFFERED')!.attributes).toEqual({
    order: '7',
    sender_request_id: expect.any(String),
    message_id: expect.any(String),
    record_status: 'PENDING',
    message_type: 'Transactional',
    origination_phone_number: '+12065550142',
    destination_phone_number: '+14255550199',
    iso_country_code: 'US',
    number_of_message_parts: '2',
  });
});

test('NATS JetStream gets each record once, though it is sent again', async () => {
  const nats = await startNats();
  const app = await createApp();
  const path = `/api/apps/${app}/streams/bus`;
  await product.json(path, {
    method: 'PUT',
    json: { destination: `${nats.url}/app.events`, settings: { user: 'pr', password: 'secret' } },
  });
  expect(await product.json(path)).toMatchObject({ settings: { user: 'pr' }, secretNames: ['password'] });
  // The password is not shown to another server.
  const elsewhere = `/api/apps/${app}/streams/elsewhere`;
  const given = { destination: `${nats.url}/app.events`, settings: { user: 'pr', password: 'secret' } };
  await product.json(elsewhere, { method: 'PUT', json: given });
  const moved = { destination: 'nats://127.0.0.1:9/app.events', state: 'paused' };
  expect(await product.json(elsewhere, { method: 'PUT', json: moved })).toMatchObject({ secretNames: [] });
  await product.request(elsewhere, { method: 'DELETE' });
  // No JetStream stream listens yet.
  await putEvents(app, 'phone', ['one', 'two']);
  await waitFor('the error', async () =>
    Boolean((await product.json<{ lastError: string | null }>(path)).lastError?.includes('app.events')),
  );
  await nats.addStream('events', 'app.events');
  await waitFor('delivery', async () => (await product.json<{ delivered: number }>(path)).delivered === 2);
  const { rows } = await product.database.query<{ id: string }>('select id from streams where name = $1', [
    'bus',
  ]);
  await product.database.query(
    `insert into stream_slices (stream_id, position, application_id, day, batch_id, facts, arrived_at)
     select $1, 0, e.application_id, e.day, e.batch_id, 2, now() from events e
     where e.application_id = $2 and e.type = 'event.purchase' limit 1`,
    [rows[0]!.id, app],
  );
  await waitFor('the repeat', async () => (await product.json<{ delivered: number }>(path)).delivered === 4);
  const messages = await nats.messages('events');
  expect(messages.map(({ attributes }) => attributes.id)).toEqual(['one', 'two']);
});
