import {
  BadRequestException,
  CreateAppCommand,
  DeleteEndpointCommand,
  DeleteUserEndpointsCommand,
  type EndpointBatchItem,
  type EndpointRequest,
  GetEndpointCommand,
  GetUserEndpointsCommand,
  NotFoundException,
  RemoveAttributesCommand,
  UpdateEndpointCommand,
  UpdateEndpointsBatchCommand,
} from '@aws-sdk/client-pinpoint';
import { expect, test } from 'vitest';
import { testDatabase } from '../../../../../tests/support/database.ts';
import { sendSigned } from '../../../../../tests/support/signed-request.ts';
import { wireServer } from '../../../../../tests/support/wire.ts';
import { deleteApplication } from '../../accounts/index.ts';

const database = await testDatabase();
const server = await wireServer({ database, services: { endpointsPerUser: 15 } });
const client = server.client();

async function application(): Promise<string> {
  const { ApplicationResponse } = await client.send(
    new CreateAppCommand({ CreateApplicationRequest: { Name: 'n' } }),
  );
  return ApplicationResponse!.Id!;
}

const update = (ApplicationId: string, EndpointId: string, EndpointRequest: EndpointRequest) =>
  client.send(new UpdateEndpointCommand({ ApplicationId, EndpointId, EndpointRequest }));
const batch = (ApplicationId: string, Item: EndpointBatchItem[]) =>
  client.send(new UpdateEndpointsBatchCommand({ ApplicationId, EndpointBatchRequest: { Item } }));

async function get(ApplicationId: string, EndpointId: string) {
  const { EndpointResponse } = await client.send(new GetEndpointCommand({ ApplicationId, EndpointId }));
  return EndpointResponse!;
}

async function userEndpoints(ApplicationId: string, UserId: string) {
  const { EndpointsResponse } = await client.send(new GetUserEndpointsCommand({ ApplicationId, UserId }));
  return EndpointsResponse!.Item!.map(({ Id }) => Id);
}

test('an endpoint is updated, read at once, found by its user, and deleted', async () => {
  const app = await application();
  const id = 'eqmj8wpxszeqy/b3vch04sn41yw';
  const { MessageBody, $metadata } = await update(app, id, {
    Address: 'jo@example.com',
    ChannelType: 'EMAIL',
    Attributes: { plan: ['pro'], ['__proto__']: ['x'] },
    Metrics: { score: 1.5 },
    User: { UserId: 'u/1', UserAttributes: { name: ['Jo'] } },
  });
  expect($metadata.httpStatusCode).toBe(202);
  expect(MessageBody).toEqual({ Message: 'Accepted', RequestID: $metadata.requestId });
  const read = await get(app, id);
  expect(read).toMatchObject({
    ApplicationId: app,
    Id: id,
    EndpointStatus: 'ACTIVE',
    OptOut: 'NONE',
    Metrics: { score: 1.5 },
    User: { UserId: 'u/1', UserAttributes: { name: ['Jo'] } },
  });
  await update(app, 'second', { User: { UserId: 'u/1' } });
  expect(await userEndpoints(app, 'u/1')).toEqual([id, 'second']);
  const deleted = await client.send(new DeleteEndpointCommand({ ApplicationId: app, EndpointId: id }));
  expect(deleted.$metadata.httpStatusCode).toBe(202);
  expect(deleted.EndpointResponse).toEqual(read);
  await expect(get(app, id)).rejects.toThrow(NotFoundException);
  await expect(
    client.send(new DeleteEndpointCommand({ ApplicationId: app, EndpointId: id })),
  ).rejects.toThrow(NotFoundException);
  const all = await client.send(new DeleteUserEndpointsCommand({ ApplicationId: app, UserId: 'u/1' }));
  expect(all.EndpointsResponse?.Item?.map(({ Id }) => Id)).toEqual(['second']);
  await expect(userEndpoints(app, 'u/1')).rejects.toThrow(NotFoundException);
  // With its last endpoint the user has gone, and what was known of it.
  await update(app, 'third', { User: { UserId: 'u/1' } });
  expect((await get(app, 'third')).User).toEqual({ UserId: 'u/1', UserAttributes: {} });
});

test('null and [] in raw JSON delete a key; a plain string is a list of one', async () => {
  const app = await application();
  const put = (body: string) =>
    sendSigned({ method: 'PUT', path: `/v1/apps/${app}/endpoints/e`, body }, server);
  const first = await put('{"Attributes":{"a":["1"],"b":["2"],"c":["3"]},"Metrics":{"m":1,"n":2}}');
  expect(first.status).toBe(202);
  const second = await put('{"Attributes":{"a":null,"b":[],"d":"text"},"Metrics":{"m":null},"Address":null}');
  expect(second.status).toBe(202);
  expect(await get(app, 'e')).toMatchObject({ Attributes: { c: ['3'], d: ['text'] }, Metrics: { n: 2 } });
  expect(Object.keys((await get(app, 'e')).Attributes!).sort()).toEqual(['c', 'd']);
});

test('a batch is all or nothing and names the item at fault', async () => {
  const app = await application();
  const { MessageBody } = await batch(app, [
    { Id: 'a', Metrics: { m: 1 } },
    { Id: 'b', Metrics: { m: 2 } },
  ]);
  expect(MessageBody?.Message).toBe('Accepted');
  await expect(
    batch(app, [
      { Id: 'a', Metrics: { m: 9 } },
      { Id: 'c', OptOut: 'SOME' },
    ]),
  ).rejects.toThrow('$.Item[1].OptOut: expected one of ALL, NONE');
  expect((await get(app, 'a')).Metrics).toEqual({ m: 1 });
  const many = Array.from({ length: 101 }, (_, index) => ({ Id: `${index}` }));
  await expect(batch(app, many)).rejects.toThrow('$.Item: expected at most 100');
  await expect(batch('f'.repeat(32), [{ Id: 'a' }])).rejects.toThrow(NotFoundException);
  await expect(update(app, 'e', { Location: { Latitude: 100 } })).rejects.toThrow('$.Location.Latitude: ');
});

test('the message about too many endpoints begins as clients of Pinpoint expect', async () => {
  const app = await application();
  const User = { UserId: 'u' };
  await batch(
    app,
    Array.from({ length: 15 }, (_, index) => ({
      Id: `${index}`,
      ChannelType: 'SMS',
      Address: `+${index}`,
      User,
    })),
  );
  const refused = update(app, 'one-more', { ChannelType: 'EMAIL', Address: 'x', User });
  await expect(refused).rejects.toThrow(BadRequestException);
  await expect(refused).rejects.toThrow(/^Exceeded maximum endpoint per user count: 15/);
});

test('RemoveAttributes removes for good, by name and by pattern, and says what it removed', async () => {
  const app = await application();
  const other = await application();
  const item = {
    Attributes: { plan: ['x'], tmp_1: ['x'], tmp_2: ['x'], 'odd%name': ['x'] },
    Metrics: { tmp_m: 1, kept: 2 },
    User: { UserId: 'u', UserAttributes: { tmp_u: ['x'], kept: ['y'] } },
  };
  for (const to of [app, other])
    await batch(
      to,
      ['a', 'b'].map((Id) => ({ ...item, Id })),
    );
  const remove = async (AttributeType: string, Blacklist: string[]) => {
    const { AttributesResource } = await client.send(
      new RemoveAttributesCommand({
        ApplicationId: app,
        AttributeType,
        UpdateAttributesRequest: { Blacklist },
      }),
    );
    return AttributesResource!;
  };
  expect(await remove('endpoint-custom-attributes', ['tmp_*', 'absent', 'od%e'])).toEqual({
    ApplicationId: app,
    AttributeType: 'endpoint-custom-attributes',
    Attributes: ['tmp_1', 'tmp_2'],
  });
  expect((await remove('endpoint-metric-attributes', ['*'])).Attributes).toEqual(['kept', 'tmp_m']);
  expect((await remove('endpoint-user-attributes', ['tmp_u'])).Attributes).toEqual(['tmp_u']);
  for (const id of ['a', 'b']) {
    expect(await get(app, id)).toMatchObject({
      Attributes: { plan: ['x'], 'odd%name': ['x'] },
      Metrics: {},
      User: { UserAttributes: { kept: ['y'] } },
    });
    expect(Object.keys((await get(app, id)).Attributes!).length).toBe(2);
  }
  expect(await get(other, 'a')).toMatchObject(item);
  await expect(remove('endpoint-colours', ['x'])).rejects.toThrow(
    'expected one of endpoint-custom-attributes',
  );
  await expect(remove('endpoint-user-attributes', [])).rejects.toThrow('$.Blacklist');
});

test('an endpoint that comes while its application is being deleted is not left behind', async () => {
  const app = await application();
  const late = await database.transaction(async (tx) => {
    await deleteApplication(tx, app);
    const update = expect(batch(app, [{ Id: 'late' }])).rejects.toThrow(NotFoundException);
    await new Promise((resolve) => setTimeout(resolve, 300));
    return [update];
  });
  await late[0];
  const { rowCount } = await database.query('select from endpoints where application_id = $1', [app]);
  expect(rowCount).toBe(0);
});
