import {
  CreateAppCommand,
  DeleteEventStreamCommand,
  GetEventStreamCommand,
  PutEventStreamCommand,
  PutEventsCommand,
} from '@aws-sdk/client-pinpoint';
import { Webhook } from 'standardwebhooks';
import { expect, test } from 'vitest';
import {
  awsKey,
  firehoseArn,
  kinesisArn,
  listen,
  type SeenRecord,
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
  const delivered = await product.json<{ delivered: number; waitingFacts: number }>(path);
  expect(delivered).toMatchObject({ delivered: 3, waitingFacts: 0, state: 'active', failures: 0 });
  expect((await product.request(path, { method: 'DELETE' })).status).toBe(204);
  expect((await product.request(path)).status).toBe(404);
});
