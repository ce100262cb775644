import {
  CreateAppCommand,
  DeleteAppCommand,
  GetAppCommand,
  GetAppsCommand,
  GetCampaignsCommand,
  NotFoundException,
} from '@aws-sdk/client-pinpoint';
import { expect, test } from 'vitest';
import { testDatabase } from '../../../../../tests/support/database.ts';
import { wireServer } from '../../../../../tests/support/wire.ts';

const database = await testDatabase();
const erased: string[] = [];
const server = await wireServer({
  database,
  services: {
    erasers: [
      {
        room: 'audience',
        erase: async (_, applicationId) => {
          erased.push(applicationId);
        },
      },
    ],
  },
});
const client = server.client();

async function create(name: string, tags?: Record<string, string>): Promise<string> {
  const { ApplicationResponse } = await client.send(
    new CreateAppCommand({ CreateApplicationRequest: { Name: name, tags } }),
  );
  return ApplicationResponse!.Id!;
}

test('an application is made, read, listed page by page and deleted with what rooms hold of it', async () => {
  const names = ['a', 'b', 'c', 'd', 'e'];
  const ids = await Promise.all(names.map((name) => create(name)));
  const id = await create('Shop ünï 🛒', { team: 'growth', ['__proto__']: 'kept' });
  const { ApplicationResponse: read, $metadata } = await client.send(
    new GetAppCommand({ ApplicationId: id }),
  );
  expect($metadata.httpStatusCode).toBe(200);
  expect($metadata.requestId).toMatch(/^[0-9a-f-]{36}$/);
  expect(read).toMatchObject({
    Id: id,
    Name: 'Shop ünï 🛒',
    Arn: `arn:aws:mobiletargeting:us-east-1:000000000000:apps/${id}`,
  });
  expect(id).toMatch(/^[0-9a-f]{32}$/);
  expect(read!.CreationDate).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);

  const listed: string[] = [];
  let token: string | undefined;
  do {
    const { ApplicationsResponse } = await client.send(new GetAppsCommand({ PageSize: '2', Token: token }));
    listed.push(...ApplicationsResponse!.Item!.map((item) => item.Id!));
    expect(ApplicationsResponse!.Item!.length).toBeLessThanOrEqual(2);
    token = ApplicationsResponse!.NextToken;
  } while (token);
  expect(listed).toEqual([...ids, id].sort());

  const { ApplicationResponse: deleted } = await client.send(new DeleteAppCommand({ ApplicationId: id }));
  expect(deleted).toEqual(read);
  expect(erased).toContain(id);
  await expect(client.send(new GetAppCommand({ ApplicationId: id }))).rejects.toThrow(NotFoundException);
  const { rows } = await database.query('select * from deleted_applications');
  expect(rows).toEqual([]);
  const { rows: audit } = await database.query(
    'select action, principal from audit_entries where application_id = $1 order by id',
    [id],
  );
  expect(audit).toEqual([
    { action: 'mobiletargeting:CreateApp', principal: `access_key:${server.key.id}` },
    { action: 'mobiletargeting:DeleteApp', principal: `access_key:${server.key.id}` },
  ]);
});

test('bad names, tokens and page sizes are refused with the member', async () => {
  const createNamed = (Name: string) =>
    client.send(new CreateAppCommand({ CreateApplicationRequest: { Name } }));
  await expect(createNamed('')).rejects.toMatchObject({
    name: 'BadRequestException',
    message: '$.Name: expected 1 to 256 characters',
  });
  await expect(createNamed('a\u0000b')).rejects.toThrow('$.Name: the character NUL');
  await expect(createNamed('x'.repeat(1_000_000))).rejects.toThrow('$.Name');
  for (const Token of ['x', 'bm90IGpzb24', Buffer.from('["a\\u0000"]').toString('base64url')]) {
    await expect(client.send(new GetAppsCommand({ Token }))).rejects.toThrow(
      /^token: expected the NextToken/,
    );
  }
  for (const PageSize of ['0', '-1', '1001', '1e2', 'ten', '1.5']) {
    await expect(client.send(new GetAppsCommand({ PageSize }))).rejects.toThrow(
      /^page-size: expected a whole/,
    );
  }
});

test('a key that is bound to applications sees and changes only those', async () => {
  const mine = await create('mine');
  const other = await create('other');
  const bound = server.client(
    await server.accessKeys.create({
      name: 'bound',
      scopes: { applications: [mine], actions: ['mobiletargeting:Get*'], buckets: [] },
      by: 'system',
    }),
  );
  const { ApplicationsResponse } = await bound.send(new GetAppsCommand({}));
  expect(ApplicationsResponse!.Item!.map((item) => item.Id)).toEqual([mine]);
  await bound.send(new GetAppCommand({ ApplicationId: mine }));
  await expect(bound.send(new GetAppCommand({ ApplicationId: other }))).rejects.toMatchObject({
    name: 'ForbiddenException',
    message: expect.stringContaining(`application ${other} is not in its scope`),
  });
  await expect(bound.send(new DeleteAppCommand({ ApplicationId: mine }))).rejects.toThrow(
    'mobiletargeting:DeleteApp is not among its actions',
  );
  await expect(bound.send(new GetCampaignsCommand({ ApplicationId: other }))).rejects.toThrow(
    /scope|not built/,
  );
});
