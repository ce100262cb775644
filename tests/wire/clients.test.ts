import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';
import { CreateAppCommand, PayloadTooLargeException } from '@aws-sdk/client-pinpoint';
import { expect, test } from 'vitest';
import { testDatabase } from '../support/database.ts';
import { wireServer } from '../support/wire.ts';

const database = await testDatabase();
const server = await wireServer({ database });
const run = promisify(execFile);

const python = '/usr/bin/python3';
const aws = '/usr/bin/aws';
const boto3 = existsSync('/usr/lib/python3/dist-packages/boto3');

/** Runs a Python text in which `pinpoint` is a client of this server; gives what it prints as JSON. */
async function inPython(text: string, environment = server.environment()) {
  const prelude = `
import json, sys, boto3, botocore
pinpoint = boto3.client('pinpoint', endpoint_url='${server.url}')
def refused(call, **arguments):
    try:
        call(**arguments)
    except botocore.exceptions.ClientError as error:
        return [error.response['Error']['Code'], error.response['ResponseMetadata']['HTTPStatusCode'], error.response['Error']['Message']]
def bare(response):
    response = dict(response)
    response.pop('ResponseMetadata')
    return response
`;
  const { stdout } = await run(python, ['-c', prelude + text], { env: environment });
  return JSON.parse(stdout);
}

async function awsCli(...words: string[]) {
  const args = ['pinpoint', ...words, '--endpoint-url', server.url, '--output', 'json'];
  const { stdout } = await run(aws, args, { env: server.environment() });
  return stdout === '' ? undefined : JSON.parse(stdout);
}

test.skipIf(!boto3)('boto3 (needs the Debian package python3-boto3)', async () => {
  const seen = await inPython(`
app = pinpoint.create_app(CreateApplicationRequest={'Name': 'from boto', 'tags': {'a b': 'c/d'}})
id, arn = app['ApplicationResponse']['Id'], app['ApplicationResponse']['Arn']
pinpoint.tag_resource(ResourceArn=arn, TagsModel={'tags': {'x': 'y'}})
pinpoint.untag_resource(ResourceArn=arn, TagKeys=['a b', 'never & set'])
settings = pinpoint.update_application_settings(ApplicationId=id, WriteApplicationSettingsRequest={'Limits': {'Daily': 3}})
pinpoint.update_email_channel(ApplicationId=id, EmailChannelRequest={'FromAddress': 'a@b.c', 'Identity': 'b.c'})
print(json.dumps({
  'created': app['ResponseMetadata']['HTTPStatusCode'],
  'id': app['ResponseMetadata']['RequestId'],
  'tags': pinpoint.list_tags_for_resource(ResourceArn=arn)['TagsModel'],
  'app': bare(pinpoint.get_app(ApplicationId=id))['ApplicationResponse']['Name'],
  'settings': settings['ApplicationSettingsResource']['Limits'],
  'channels': pinpoint.get_channels(ApplicationId=id)['ChannelsResponse']['Channels']['EMAIL']['Enabled'],
  'pages': len(pinpoint.get_apps(PageSize='1')['ApplicationsResponse']['Item']),
  'odd': refused(pinpoint.get_app, ApplicationId='a/b c+ü*~'),
  'value': refused(pinpoint.update_application_settings, ApplicationId=id, WriteApplicationSettingsRequest={'QuietTime': {'Start': 'x', 'End': 'y'}}),
  'large': refused(pinpoint.create_app, CreateApplicationRequest={'Name': 'x' * 8_000_000})[:2],
  'missing': refused(pinpoint.get_recommender_configurations),
  'deleted': pinpoint.delete_app(ApplicationId=id)['ApplicationResponse']['Id'] == id,
}))`);
  expect(seen).toEqual({
    created: 201,
    id: expect.stringMatching(/^[0-9a-f-]{36}$/),
    tags: { tags: { x: 'y' } },
    app: 'from boto',
    settings: { Daily: 3 },
    channels: true,
    pages: 1,
    odd: ['NotFoundException', 404, 'Application a/b c+ü*~ not found'],
    value: ['BadRequestException', 400, '$.QuietTime.Start: expected a time of day such as 22:30'],
    large: ['PayloadTooLargeException', 413],
    missing: ['NotImplementedException', 501, expect.stringContaining('is not built in this version')],
    deleted: true,
  });
});

test.skipIf(!boto3)('boto3 with credentials of elsewhere is told what to do', async () => {
  const refusal = await inPython('print(json.dumps(refused(pinpoint.get_apps)))', {
    ...server.environment({ id: 'ASIAIOSFODNN7EXAMPLE', secret: 'x' }),
    AWS_SESSION_TOKEN: 'FwoGZXIvYXdzE',
  });
  expect(refusal).toEqual([
    'ForbiddenException',
    403,
    expect.stringContaining('leave AWS_SESSION_TOKEN unset'),
  ]);
});

test('the JS SDK reads the answer to a body that is too large', async () => {
  const CreateApplicationRequest = { Name: 'x'.repeat(8_000_000) };
  await expect(server.client().send(new CreateAppCommand({ CreateApplicationRequest }))).rejects.toThrow(
    PayloadTooLargeException,
  );
});

test.skipIf(!existsSync(aws))('aws-cli (needs the Debian package awscli)', async () => {
  const { ApplicationResponse: app } = await awsCli(
    'create-app',
    '--create-application-request',
    'Name=from-cli,tags={team=growth}',
  );
  await awsCli('tag-resource', '--resource-arn', app.Arn, '--tags-model', 'tags={a=b}');
  const { TagsModel } = await awsCli('list-tags-for-resource', '--resource-arn', app.Arn);
  expect(TagsModel.tags).toEqual({ team: 'growth', a: 'b' });
  const { SMSChannelResponse } = await awsCli(
    'update-sms-channel',
    '--application-id',
    app.Id,
    '--sms-channel-request',
    'Enabled=true,SenderId=SHOP',
  );
  expect(SMSChannelResponse).toMatchObject({ Enabled: true, SenderId: 'SHOP', Platform: 'SMS' });
  const { ApplicationsResponse } = await awsCli('get-apps', '--page-size', '1000');
  expect(ApplicationsResponse.Item.map((item: { Id: string }) => item.Id)).toContain(app.Id);
  await expect(awsCli('get-app', '--application-id', 'missing')).rejects.toThrow(
    /An error occurred \(NotFoundException\) when calling the GetApp operation.*: Application missing not found/,
  );
});
