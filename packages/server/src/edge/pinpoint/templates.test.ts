import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';
import {
  CreateEmailTemplateCommand,
  CreateSmsTemplateCommand,
  DeleteEmailTemplateCommand,
  DeleteSmsTemplateCommand,
  type EmailTemplateRequest,
  GetEmailTemplateCommand,
  GetSmsTemplateCommand,
  ListTagsForResourceCommand,
  ListTemplatesCommand,
  ListTemplateVersionsCommand,
  TagResourceCommand,
  type TemplateType,
  UpdateEmailTemplateCommand,
  UpdateSmsTemplateCommand,
  UpdateTemplateActiveVersionCommand,
} from '@aws-sdk/client-pinpoint';
import { afterAll, describe, expect, test } from 'vitest';
import { testDatabase } from '../../../../../tests/support/database.ts';
import { sendSigned } from '../../../../../tests/support/signed-request.ts';
import { wireServer } from '../../../../../tests/support/wire.ts';
import { createRenderer, templateExists } from '../../content/index.ts';
import { systemClock } from '../../platform/clock.ts';
import { silentLog } from '../../platform/log.ts';

const database = await testDatabase();
const renderer = createRenderer({ clock: systemClock, log: silentLog });
afterAll(() => renderer.close());
const server = await wireServer({
  database,
  services: {
    renderer,
    taggable: { templates: (db, { id, templateType = '' }) => templateExists(db, templateType, id) },
  },
});
const client = server.client();

const create = (TemplateName: string, request: EmailTemplateRequest = { Subject: 'v1' }) =>
  client.send(new CreateEmailTemplateCommand({ TemplateName, EmailTemplateRequest: request }));
const get = async (TemplateName: string, Version?: string) =>
  (await client.send(new GetEmailTemplateCommand({ TemplateName, Version }))).EmailTemplateResponse!;
const update = (
  TemplateName: string,
  request: EmailTemplateRequest,
  options: { Version?: string; CreateNewVersion?: boolean } = {},
) => client.send(new UpdateEmailTemplateCommand({ TemplateName, EmailTemplateRequest: request, ...options }));
const activate = (TemplateName: string, Version: string, TemplateType = 'email') =>
  client.send(
    new UpdateTemplateActiveVersionCommand({
      TemplateName,
      TemplateType,
      TemplateActiveVersionRequest: { Version },
    }),
  );

const full: EmailTemplateRequest = {
  Subject: 'Hi {{User.UserAttributes.FirstName}}',
  HtmlPart: '<p>{{#if Attributes.x}}ü{{/if}}</p>',
  TextPart: 'text',
  Headers: [{ Name: 'List-Unsubscribe', Value: '<https://x.test/{{Id}}>' }],
  DefaultSubstitutions: '{"User.UserAttributes.FirstName":"friend"}',
  TemplateDescription: 'd',
};

describe('e-mail templates', () => {
  test('are created, read, changed and deleted', async () => {
    const created = await create('welcome', { ...full, tags: { team: 'growth' } });
    const Arn = 'arn:aws:mobiletargeting:us-east-1:000000000000:templates/welcome/EMAIL';
    expect(created.$metadata.httpStatusCode).toBe(201);
    expect(created.CreateTemplateMessageBody).toEqual({
      Arn,
      Message: 'Success',
      RequestID: created.$metadata.requestId,
    });
    const time = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    expect(await get('welcome')).toEqual({
      ...full,
      Arn,
      tags: { team: 'growth' },
      TemplateName: 'welcome',
      TemplateType: 'EMAIL',
      Version: '1',
      CreationDate: time,
      LastModifiedDate: time,
    });
    const changed = await update('welcome', { Subject: 'new', tags: { ignored: 'yes' } });
    expect(changed.$metadata.httpStatusCode).toBe(202);
    const after = await get('welcome');
    expect(after).toMatchObject({ Subject: 'new', Version: '1', tags: { team: 'growth' } });
    expect(after.HtmlPart).toBeUndefined();
    const deleted = await client.send(new DeleteEmailTemplateCommand({ TemplateName: 'welcome' }));
    expect(deleted.$metadata.httpStatusCode).toBe(202);
    expect(deleted.MessageBody?.RequestID).toBe(deleted.$metadata.requestId);
    await expect(get('welcome')).rejects.toMatchObject({
      name: 'NotFoundException',
      message: 'EMAIL template welcome not found',
    });
    await create('welcome');
    expect((await get('welcome')).tags).toBeUndefined();
  });

  test('have versions of which one is active', async () => {
    await create('versions');
    await update('versions', { Subject: 'v2', TemplateDescription: 'second' }, { CreateNewVersion: true });
    expect((await get('versions')).Subject).toBe('v1');
    const { $metadata } = await activate('versions', 'latest', 'EMAIL');
    expect($metadata.httpStatusCode).toBe(200);
    expect((await get('versions')).Subject).toBe('v2');
    await activate('versions', '1');
    expect((await get('versions')).Version).toBe('1');
    expect((await get('versions', '2')).Subject).toBe('v2');
    const { TemplateVersionsResponse: page } = await client.send(
      new ListTemplateVersionsCommand({ TemplateName: 'versions', TemplateType: 'email', PageSize: '1' }),
    );
    expect(page!.Item).toMatchObject([
      { TemplateName: 'versions', TemplateType: 'EMAIL', Version: '2', TemplateDescription: 'second' },
    ]);
    const { TemplateVersionsResponse: rest } = await client.send(
      new ListTemplateVersionsCommand({
        TemplateName: 'versions',
        TemplateType: 'EMAIL',
        NextToken: page!.NextToken,
      }),
    );
    expect(rest!.Item!.map(({ Version }) => Version)).toEqual(['1']);
    expect(rest!.NextToken).toBeUndefined();
    await client.send(new DeleteEmailTemplateCommand({ TemplateName: 'versions', Version: '2' }));
    await expect(get('versions', '2')).rejects.toMatchObject({ name: 'NotFoundException' });
  });

  test('are tagged by their ARN, also from the start', async () => {
    const { CreateTemplateMessageBody } = await create('tagged', { Subject: 's', tags: { a: '1' } });
    const ResourceArn = CreateTemplateMessageBody!.Arn!;
    await client.send(new TagResourceCommand({ ResourceArn, TagsModel: { tags: { b: '2' } } }));
    const { TagsModel } = await client.send(new ListTagsForResourceCommand({ ResourceArn }));
    expect(TagsModel!.tags).toEqual({ a: '1', b: '2' });
    expect((await get('tagged')).tags).toEqual({ a: '1', b: '2' });
    await expect(
      client.send(new ListTagsForResourceCommand({ ResourceArn: ResourceArn.replace('tagged', 'other') })),
    ).rejects.toMatchObject({ name: 'NotFoundException' });
  });
});

describe('refused with 400', () => {
  const big = 'x'.repeat(600_001);
  test.each<[string, EmailTemplateRequest, string | RegExp]>([
    [
      'a part that does not compile',
      { HtmlPart: 'a\n\n{{#if x}}' },
      '$.HtmlPart: line 3: the block "if" is not closed',
    ],
    [
      'a header that does not compile',
      {
        Subject: 's',
        Headers: [
          { Name: 'X-A', Value: 'ok' },
          { Name: 'X-B', Value: '{{' },
        ],
      },
      /^\$\.Headers\[1\]\.Value: line 1: /,
    ],
    ['an unknown helper', { Subject: '{{nope x}}' }, '$.Subject: line 1: there is no helper "nope"'],
    [
      'blocks without end',
      { TextPart: '{{#if a}}'.repeat(50_000) },
      '$.TextPart: line 1: blocks are nested deeper than 64',
    ],
    ['too long a text', { HtmlPart: big }, '$.HtmlPart: an e-mail template has at most 600000 characters'],
    [
      'too much together',
      { Subject: 's', HtmlPart: big.slice(1), TextPart: 'x' },
      '$.HtmlPart: an e-mail template has at most 600000 characters',
    ],
    ['nothing to say', { TemplateDescription: 'd' }, '$: expected Subject, HtmlPart or TextPart'],
    [
      'defaults that are no JSON',
      { Subject: 's', DefaultSubstitutions: '{a:1}' },
      /^\$\.DefaultSubstitutions: expected a text that is a JSON object/,
    ],
    [
      'defaults that are a list',
      { Subject: 's', DefaultSubstitutions: '["a"]' },
      /^\$\.DefaultSubstitutions: expected a text that is a JSON object/,
    ],
    [
      'a default that is an object',
      { Subject: 's', DefaultSubstitutions: '{"a":{}}' },
      '$.DefaultSubstitutions: "a": expected a text',
    ],
    [
      'a default with NUL',
      { Subject: 's', DefaultSubstitutions: '{"a":"\\u0000"}' },
      /^\$\.DefaultSubstitutions: "a": expected a text without NUL/,
    ],
    [
      'a header that is none',
      { Subject: 's', Headers: [{ Name: 'a b', Value: 'x' }] },
      /^\$\.Headers\[0\]\.Name: /,
    ],
    [
      'a reserved tag',
      { Subject: 's', tags: { 'aws:x': 'y' } },
      '$.tags: keys that begin with aws: are reserved',
    ],
  ])('%s', async (_name, request, message) => {
    await expect(create('refused', request)).rejects.toMatchObject({
      name: 'BadRequestException',
      message: typeof message === 'string' ? message : expect.stringMatching(message),
    });
    // Bad input changes nothing.
    await expect(get('refused')).rejects.toMatchObject({ name: 'NotFoundException' });
  });

  test('a name that exists, or that is none', async () => {
    await create('twice');
    await expect(create('twice')).rejects.toMatchObject({
      name: 'BadRequestException',
      message: 'A template twice of type EMAIL already exists',
    });
    for (const name of ['-x', 'a b', 'a/b', 'ü', 'x'.repeat(129), '__proto__'])
      await expect(create(name)).rejects.toMatchObject({
        message: expect.stringMatching(/^template-name: /),
      });
  });

  test('versions that do not fit', async () => {
    await create('fit');
    await update('fit', { Subject: 'v2' }, { CreateNewVersion: true });
    await expect(
      update('fit', { Subject: 'x' }, { CreateNewVersion: true, Version: '2' }),
    ).rejects.toMatchObject({
      name: 'BadRequestException',
      message: 'version: not allowed together with create-new-version',
    });
    await expect(update('fit', { Subject: 'x' }, { Version: '1' })).rejects.toMatchObject({
      name: 'BadRequestException',
      message: 'version: expected the latest version, which is 2',
    });
    await expect(
      client.send(new DeleteEmailTemplateCommand({ TemplateName: 'fit', Version: '1' })),
    ).rejects.toMatchObject({ name: 'BadRequestException', message: /is the active one/ });
    await expect(get('fit', 'v1')).rejects.toMatchObject({ name: 'BadRequestException' });
    await expect(activate('fit', 'newest')).rejects.toMatchObject({
      message: '$.Version: expected the number of a version',
    });
    await expect(activate('fit', '9')).rejects.toMatchObject({ name: 'NotFoundException' });
    await expect(activate('fit', '1', 'letter')).rejects.toMatchObject({
      message: 'template-type: expected one of EMAIL, SMS, PUSH, VOICE, INAPP',
    });
  });

  test('a recommender, with 501', async () => {
    const request = { Subject: 's', RecommenderId: 'r' };
    await expect(create('recommended', request)).rejects.toMatchObject({
      $metadata: { httpStatusCode: 501 },
    });
  });
});

test('SMS templates', async () => {
  const TemplateName = 'sms';
  const send = (Body: string) =>
    client.send(new CreateSmsTemplateCommand({ TemplateName, SMSTemplateRequest: { Body } }));
  await expect(send('x'.repeat(1_601))).rejects.toMatchObject({
    message: '$.Body: an SMS template has at most 1600 characters',
  });
  await expect(send('{{/if}}')).rejects.toMatchObject({
    message: expect.stringMatching(/^\$\.Body: line 1: /),
  });
  const { CreateTemplateMessageBody } = await send('Hi {{Address}}');
  expect(CreateTemplateMessageBody!.Arn).toMatch(/templates\/sms\/SMS$/);
  await client.send(
    new UpdateSmsTemplateCommand({
      TemplateName,
      SMSTemplateRequest: { Body: 'v2' },
      CreateNewVersion: true,
    }),
  );
  const read = (Version?: string) => client.send(new GetSmsTemplateCommand({ TemplateName, Version }));
  expect((await read()).SMSTemplateResponse).toMatchObject({ Body: 'Hi {{Address}}', TemplateType: 'SMS' });
  expect((await read('2')).SMSTemplateResponse!.Body).toBe('v2');
  await activate(TemplateName, '2', 'sms');
  expect((await read()).SMSTemplateResponse!.Version).toBe('2');
  await client.send(new DeleteSmsTemplateCommand({ TemplateName }));
  await expect(read()).rejects.toMatchObject({ name: 'NotFoundException' });
});

test('lists', async () => {
  for (const name of ['l-a', 'l-b', 'l-c']) await create(name);
  await client.send(new CreateSmsTemplateCommand({ TemplateName: 'l-b', SMSTemplateRequest: { Body: 'x' } }));
  const list = async (TemplateType?: TemplateType) => {
    const names: string[] = [];
    let NextToken: string | undefined;
    do {
      const { TemplatesResponse } = await client.send(
        new ListTemplatesCommand({ Prefix: 'l-', PageSize: '2', NextToken, TemplateType }),
      );
      for (const item of TemplatesResponse!.Item!) {
        expect(Object.keys(item).sort()).toEqual([
          'CreationDate',
          'LastModifiedDate',
          'TemplateName',
          'TemplateType',
          'Version',
        ]);
        names.push(`${item.TemplateName} ${item.TemplateType}`);
      }
      NextToken = TemplatesResponse!.NextToken;
    } while (NextToken);
    return names;
  };
  expect(await list()).toEqual(['l-a EMAIL', 'l-b EMAIL', 'l-b SMS', 'l-c EMAIL']);
  expect(await list('SMS')).toEqual(['l-b SMS']);
  const answer = await sendSigned({ method: 'GET', path: '/v1/templates?template-type=LETTER' }, server);
  expect(answer.status).toBe(400);
});

const boto3 = existsSync('/usr/lib/python3/dist-packages/boto3') && existsSync('/usr/bin/aws');

test.skipIf(!boto3)('boto3 and aws-cli (need the Debian packages python3-boto3 and awscli)', async () => {
  const env = server.environment();
  const run = promisify(execFile);
  const python = `
import boto3, json, os
c = boto3.client('pinpoint', endpoint_url=os.environ['AWS_ENDPOINT_URL_PINPOINT'])
c.create_email_template(TemplateName='boto', EmailTemplateRequest={'Subject': 'v1', 'DefaultSubstitutions': '{"a":"b"}'})
c.update_email_template(TemplateName='boto', CreateNewVersion=True, EmailTemplateRequest={'Subject': 'v2'})
c.update_template_active_version(TemplateName='boto', TemplateType='EMAIL', TemplateActiveVersionRequest={'Version': 'latest'})
print(json.dumps([c.get_email_template(TemplateName='boto')['EmailTemplateResponse']['Subject'],
  [v['Version'] for v in c.list_template_versions(TemplateName='boto', TemplateType='EMAIL')['TemplateVersionsResponse']['Item']],
  c.delete_email_template(TemplateName='boto', Version='1')['MessageBody']['Message']]))`;
  const boto = await run('/usr/bin/python3', ['-c', python], { env });
  expect(JSON.parse(boto.stdout)).toEqual(['v2', ['2', '1'], 'Success']);
  const cli = await run(
    '/usr/bin/aws',
    [
      'pinpoint',
      'get-email-template',
      '--template-name',
      'boto',
      '--endpoint-url',
      server.url,
      '--output',
      'json',
    ],
    { env },
  );
  expect(JSON.parse(cli.stdout).EmailTemplateResponse).toMatchObject({ Subject: 'v2', Version: '2' });
});
