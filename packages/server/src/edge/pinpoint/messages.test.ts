import {
  CreateAppCommand,
  type MessageRequest,
  SendMessagesCommand,
  SendUsersMessagesCommand,
} from '@aws-sdk/client-pinpoint';
import { expect, test } from 'vitest';
import { testDatabase } from '../../../../../tests/support/database.ts';
import { waitFor } from '../../../../../tests/support/processes.ts';
import { testSending } from '../../../../../tests/support/sending.ts';
import { wireServer } from '../../../../../tests/support/wire.ts';
import { createTemplate } from '../../content/index.ts';
import { hexId } from '../../platform/ids.ts';
import { toResult } from './messages.ts';

const database = await testDatabase(20);
const { pipeline, renderer } = await testSending(database);
const client = (await wireServer({ database, services: { pipeline, renderer } })).client();
const { ApplicationResponse } = await client.send(
  new CreateAppCommand({ CreateApplicationRequest: { Name: 'messages' } }),
);
const ApplicationId = ApplicationResponse!.Id!;

async function send(MessageRequest: MessageRequest) {
  const { MessageResponse } = await client.send(new SendMessagesCommand({ ApplicationId, MessageRequest }));
  return MessageResponse!;
}

async function inboxOf(address: string) {
  const { rows } = await database.query(
    'select message_id, channel, sender, subject, content from inbox where application_id = $1 and address = $2 order by id',
    [ApplicationId, address],
  );
  return rows;
}

const email = (Data: string) => ({
  EmailMessage: {
    FromAddress: 'shop@example.com',
    SimpleEmail: { Subject: { Data: 'Subject' }, HtmlPart: { Data } },
  },
});
const EMAIL = { ChannelType: 'EMAIL' as const };
const SMS = { ChannelType: 'SMS' as const };

test('a text is accepted, and is in the inbox under the id of the reply', async () => {
  const response = await send({
    Addresses: { '+14255550182': SMS },
    MessageConfiguration: {
      SMSMessage: { Body: 'Your parcel is here', MessageType: 'TRANSACTIONAL', SenderId: 'Shop' },
    },
    TraceId: 'trace-1',
  });
  const result = response.Result!['+14255550182']!;
  expect(response).toEqual({
    ApplicationId,
    RequestId: expect.any(String),
    Result: {
      '+14255550182': {
        DeliveryStatus: 'SUCCESSFUL',
        StatusCode: 200,
        StatusMessage: `MessageId: ${result.MessageId}`,
        MessageId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      },
    },
  });
  expect(await inboxOf('+14255550182')).toMatchObject([
    {
      message_id: result.MessageId,
      channel: 'SMS',
      content: { body: 'Your parcel is here', messageType: 'TRANSACTIONAL', senderId: 'Shop' },
    },
  ]);
});

test('each recipient gets its own words and values', async () => {
  const { Result } = await send({
    Addresses: {
      'a@example.com': { ...EMAIL, Substitutions: { name: ['Anna'] } },
      'b@example.com': { ...EMAIL, TitleOverride: 'For you', BodyOverride: 'Only {{name}}' },
      'c@example.com': { ...EMAIL, Context: { order: '7' } },
    },
    MessageConfiguration: {
      EmailMessage: {
        FromAddress: 'Shop <shop@example.com>',
        ReplyToAddresses: ['help@example.com'],
        Substitutions: { name: ['you'] },
        SimpleEmail: {
          Subject: { Data: 'Hi {{name}}' },
          HtmlPart: { Data: '<p>{{name}}</p>' },
          TextPart: { Data: '{{name}}' },
        },
      },
    },
  });
  expect(Object.values(Result!).map((result) => result.DeliveryStatus)).toEqual(Array(3).fill('SUCCESSFUL'));
  expect(await inboxOf('a@example.com')).toMatchObject([
    {
      sender: 'Shop <shop@example.com>',
      subject: 'Hi Anna',
      content: { html: '<p>Anna</p>', text: 'Anna', replyTo: ['help@example.com'] },
    },
  ]);
  expect(await inboxOf('b@example.com')).toMatchObject([
    { subject: 'For you', content: { text: 'Only you' } },
  ]);
  expect(await inboxOf('c@example.com')).toMatchObject([{ subject: 'Hi you' }]);
  const { rows } = await database.query<{ context: object | null }>(
    `select d.plan->'context' as context from messages m join dispatches d on d.id = m.dispatch_id where m.address = 'c@example.com'`,
  );
  expect(rows).toEqual([{ context: { order: '7' } }]);
});

test('a template speaks, with the attributes of the endpoint; words of the call win', async () => {
  const name = `t-${hexId()}`;
  const content = {
    Subject: 'Dear {{User.UserAttributes.First}}',
    HtmlPart: '<p>{{Attributes.plan}}</p>',
    DefaultSubstitutions: '{"User.UserAttributes.First":"friend"}',
  };
  await database.transaction((tx) => createTemplate(tx, 'EMAIL', name, content));
  await database.query(
    `insert into endpoints (application_id, id, channel, address, cohort, attributes, effective_at)
     values ($1, 'e/1', 'EMAIL', 'e1@example.com', 1, '{"plan": ["gold"]}', now())`,
    [ApplicationId],
  );
  const request = {
    Endpoints: { 'e/1': {} },
    MessageConfiguration: { EmailMessage: { FromAddress: 'shop@example.com' } },
    TemplateConfiguration: { EmailTemplate: { Name: name } },
  };
  const { EndpointResult, Result } = await send(request);
  expect(Result).toBeUndefined();
  expect(EndpointResult).toMatchObject({
    'e/1': { Address: 'e1@example.com', DeliveryStatus: 'SUCCESSFUL', StatusCode: 200 },
  });
  await send({
    ...request,
    MessageConfiguration: {
      EmailMessage: { FromAddress: 'shop@example.com', SimpleEmail: { Subject: { Data: 'Own' } } },
    },
  });
  expect(await inboxOf('e1@example.com')).toMatchObject([
    { subject: 'Dear friend', content: { html: '<p>gold</p>' } },
    { subject: 'Own', content: { html: '<p>gold</p>' } },
  ]);
});

test('a raw e-mail goes out as it is', async () => {
  const raw = 'From: a@example.com\r\nSubject: raw {{x}}\r\n\r\nbody\r\n';
  const { Result } = await send({
    Addresses: { 'raw@example.com': EMAIL },
    MessageConfiguration: {
      EmailMessage: { FromAddress: 'a@example.com', RawEmail: { Data: Buffer.from(raw) } },
    },
  });
  expect(Result!['raw@example.com']!.DeliveryStatus).toBe('SUCCESSFUL');
  const [stored] = await inboxOf('raw@example.com');
  expect(Buffer.from(stored.content.rawBase64, 'base64').toString()).toBe(raw);
});

test("every recipient has its own verdict, with the provider's words", async () => {
  await database.query(
    `insert into endpoints (application_id, id, channel, address, cohort, opt_out, effective_at) values
     ($1, 'out', 'EMAIL', 'out@example.com', 1, 'ALL', now()), ($1, 'twin', 'EMAIL', 'ok@example.com', 1, 'NONE', now())`,
    [ApplicationId],
  );
  await database.query(
    "insert into suppressions (application_id, channel, address, reason) values ($1, 'EMAIL', 'supp@example.com', 'manual')",
    [ApplicationId],
  );
  const { Result, EndpointResult } = await send({
    Addresses: {
      'ok@example.com': EMAIL,
      'retry@example.com': EMAIL,
      'reject@example.com': EMAIL,
      'supp@example.com': EMAIL,
      'not an address': EMAIL,
      '+14255550182': SMS,
    },
    Endpoints: { out: {}, twin: {}, nobody: {} },
    MessageConfiguration: email('<p>x</p>'),
  });
  expect(Result!['ok@example.com']).toMatchObject({ DeliveryStatus: 'SUCCESSFUL', StatusCode: 200 });
  expect(Result!['retry@example.com']).toMatchObject({
    DeliveryStatus: 'TEMPORARY_FAILURE',
    StatusCode: 451,
    StatusMessage: expect.stringMatching(/4\.3\.0 try again.*will be tried again/),
    MessageId: expect.any(String),
  });
  expect(Result!['reject@example.com']).toMatchObject({
    DeliveryStatus: 'PERMANENT_FAILURE',
    StatusCode: 550,
    StatusMessage: expect.stringContaining('no such mailbox'),
  });
  expect(Result!['supp@example.com']).toMatchObject({
    DeliveryStatus: 'PERMANENT_FAILURE',
    StatusCode: 400,
    StatusMessage: 'suppressed',
  });
  expect(Result!['not an address']).toMatchObject({
    DeliveryStatus: 'PERMANENT_FAILURE',
    StatusMessage: expect.stringMatching(/^address_invalid: /),
  });
  expect(Result!['+14255550182']).toMatchObject({
    DeliveryStatus: 'PERMANENT_FAILURE',
    StatusMessage: expect.stringMatching(/^channel_mismatch: /),
  });
  expect(EndpointResult).toMatchObject({
    out: { DeliveryStatus: 'OPT_OUT', Address: 'out@example.com' },
    twin: { DeliveryStatus: 'DUPLICATE', Address: 'ok@example.com' },
    nobody: {
      DeliveryStatus: 'PERMANENT_FAILURE',
      StatusMessage: expect.stringMatching(/^endpoint_missing/),
    },
  });
  await waitFor('the repeat', async () => (await inboxOf('retry@example.com')).length === 1);
  expect(await inboxOf('retry@example.com')).toMatchObject([
    { message_id: Result!['retry@example.com']!.MessageId },
  ]);
});

test('a channel that is switched off sends nothing', async () => {
  await database.query("insert into channels (application_id, type, enabled) values ($1, 'SMS', false)", [
    ApplicationId,
  ]);
  const { Result } = await send({
    Addresses: { '+14255550199': SMS },
    MessageConfiguration: { SMSMessage: { Body: 'x' } },
  });
  expect(Result!['+14255550199']).toMatchObject({
    DeliveryStatus: 'PERMANENT_FAILURE',
    StatusCode: 400,
    StatusMessage: expect.stringMatching(/^channel_disabled/),
  });
  expect(await inboxOf('+14255550199')).toEqual([]);
  await database.query('delete from channels where application_id = $1', [ApplicationId]);
});

test('wrong requests send nothing and name the member', async () => {
  const many = Object.fromEntries(
    Array.from({ length: 101 }, (_, index) => [`m${index}@example.com`, EMAIL]),
  );
  const cases: [MessageRequest, string][] = [
    [{ MessageConfiguration: email('x') }, '$.Addresses'],
    [{ Addresses: many, MessageConfiguration: email('x') }, '$.Addresses'],
    [
      { Addresses: { 'a@example.com': {} }, MessageConfiguration: email('x') },
      '$.Addresses["a@example.com"].ChannelType',
    ],
    [{ Addresses: { 'a@example.com': EMAIL }, MessageConfiguration: {} }, '$.MessageConfiguration'],
    [
      {
        Addresses: { 'a@example.com': EMAIL },
        MessageConfiguration: {},
        TemplateConfiguration: { EmailTemplate: { Name: 'nothing' } },
      },
      '$.TemplateConfiguration.EmailTemplate.Name',
    ],
  ];
  for (const [request, member] of cases) {
    await expect(send(request)).rejects.toMatchObject({
      name: 'BadRequestException',
      message: expect.stringContaining(`${member}: `),
    });
  }
  await expect(
    client.send(
      new SendMessagesCommand({
        ApplicationId: hexId(),
        MessageRequest: { Addresses: { 'a@example.com': EMAIL }, MessageConfiguration: email('x') },
      }),
    ),
  ).rejects.toMatchObject({ name: 'NotFoundException' });
  const SendUsersMessageRequest = { MessageConfiguration: {}, Users: { u: {} } };
  await expect(
    client.send(new SendUsersMessagesCommand({ ApplicationId, SendUsersMessageRequest })),
  ).rejects.toMatchObject({ $metadata: { httpStatusCode: 501 } });
});

test.each([
  [undefined, 'SUCCESSFUL', 202, /first attempt is still running/],
  ['message.in_doubt', 'UNKNOWN_FAILURE', 500, /broke.*will be sent again/],
  ['message.expired', 'PERMANENT_FAILURE', 500, /broke/],
] as const)('an outcome that is %s', (outcome, DeliveryStatus, StatusCode, words) => {
  const result = {
    id: 'm',
    outcome: 'unknown',
    code: 0,
    response: 'The connection broke',
    accountId: null,
  } as const;
  const direct = {
    messageId: 'm',
    address: 'a',
    decision: 'sending',
    ...(outcome ? { outcome, result } : {}),
  } as const;
  expect(toResult(direct, 'address')).toEqual({
    MessageId: 'm',
    DeliveryStatus,
    StatusCode,
    StatusMessage: expect.stringMatching(words),
  });
});
