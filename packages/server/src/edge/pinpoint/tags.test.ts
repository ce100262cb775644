import {
  CreateAppCommand,
  DeleteAppCommand,
  ListTagsForResourceCommand,
  TagResourceCommand,
  UntagResourceCommand,
} from '@aws-sdk/client-pinpoint';
import { expect, test } from 'vitest';
import { testDatabase } from '../../../../../tests/support/database.ts';
import { sendSigned } from '../../../../../tests/support/signed-request.ts';
import { wireServer } from '../../../../../tests/support/wire.ts';

const database = await testDatabase();
const server = await wireServer({
  database,
  services: {
    taggable: { templates: async (_, { id, templateType }) => id === 'welcome' && templateType === 'EMAIL' },
  },
});
const client = server.client();

async function createApp(name: string, tags?: Record<string, string>) {
  const { ApplicationResponse } = await client.send(
    new CreateAppCommand({ CreateApplicationRequest: { Name: name, tags } }),
  );
  return { id: ApplicationResponse!.Id!, arn: ApplicationResponse!.Arn! };
}

async function tagsOf(ResourceArn: string) {
  return (await client.send(new ListTagsForResourceCommand({ ResourceArn }))).TagsModel!.tags;
}

const tag = (ResourceArn: string, tags: Record<string, string>) =>
  client.send(new TagResourceCommand({ ResourceArn, TagsModel: { tags } }));

test('tags of an application are added, changed and removed', async () => {
  const { arn } = await createApp('tagged', { team: 'growth' });
  const { $metadata } = await tag(arn, { team: 'core', 'cost center/ü': '', Team: 'case matters' });
  expect($metadata.httpStatusCode).toBe(204);
  expect(await tagsOf(arn)).toEqual({ team: 'core', 'cost center/ü': '', Team: 'case matters' });
  await client.send(
    new UntagResourceCommand({ ResourceArn: arn, TagKeys: ['team', 'cost center/ü', 'never set'] }),
  );
  expect(await tagsOf(arn)).toEqual({ Team: 'case matters' });
});

test('tags go with their application, and a template can be tagged by its ARN', async () => {
  const { id, arn } = await createApp('short-lived', { a: 'b' });
  await client.send(new DeleteAppCommand({ ApplicationId: id }));
  await expect(tagsOf(arn)).rejects.toThrow(`Resource ${arn} not found`);
  const { rows } = await database.query('select 1 from tags where arn = $1', [arn]);
  expect(rows).toEqual([]);
  const template = 'arn:aws:mobiletargeting:us-east-1:000000000000:templates/welcome/EMAIL';
  await tag(template, { a: 'b' });
  expect(await tagsOf(template)).toEqual({ a: 'b' });
});

test('limits of tags', async () => {
  const { arn } = await createApp('limits');
  const many = (count: number, prefix: string) =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => [`${prefix}${index}`, 'x']));
  await tag(arn, many(50, 'k'));
  await expect(tag(arn, { more: 'x' })).rejects.toThrow('$.tags: a resource has at most 50 tags');
  await expect(tag(arn, many(51, 'k'))).rejects.toThrow('at most 50');
  await tag(arn, { k0: 'changed' });
  expect((await tagsOf(arn))!.k0).toBe('changed');
  await expect(tag(arn, { ['x'.repeat(129)]: '' })).rejects.toThrow('$.tags: expected keys of 1 to 128');
  await expect(tag(arn, { '': '' })).rejects.toThrow('expected keys of 1 to 128');
  await expect(tag(arn, { k1: 'x'.repeat(257) })).rejects.toThrow('values of at most 256');
  await expect(tag(arn, { 'aws:x': '' })).rejects.toThrow('reserved');
  await expect(createApp('reserved', { 'AWS:x': '' })).rejects.toThrow('reserved');
  const { rows } = await database.query("select 1 from applications where name = 'reserved'");
  expect(rows).toEqual([]);
});

test.each([
  'x',
  'arn:aws:mobiletargeting:us-east-1:000000000000:apps/missing',
  'arn:aws:mobiletargeting:eu-west-1:000000000000:apps/missing',
  'arn:aws:mobiletargeting:us-east-1:000000000000:apps/x/campaigns/y',
  'arn:aws:mobiletargeting:us-east-1:000000000000:templates/other/EMAIL',
  'arn:aws:mobiletargeting:us-east-1:000000000000:apps/__proto__/constructor/x',
])('%s is not found', async (arn) => {
  await expect(tagsOf(arn)).rejects.toMatchObject({ name: 'NotFoundException' });
  await expect(tag(arn, { a: 'b' })).rejects.toMatchObject({ name: 'NotFoundException' });
});

test('__proto__ is a tag key like any other', async () => {
  const { arn } = await createApp('prototype');
  const path = `/v1/tags/${encodeURIComponent(arn)}`;
  const signer = { key: server.key, port: server.port };
  const body = '{"tags":{"__proto__":"p","constructor":"c"}}';
  expect((await sendSigned({ method: 'POST', path, body }, signer)).status).toBe(204);
  expect((await sendSigned({ method: 'GET', path }, signer)).text).toBe(body);
});
