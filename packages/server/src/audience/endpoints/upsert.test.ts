import { expect, test } from 'vitest';
import { testDatabase } from '../../../../../tests/support/database.ts';
import { CallerError } from '../../platform/errors.ts';
import { hexId } from '../../platform/ids.ts';
import { type EndpointItem, pinpointLimits } from './item.ts';
import { getEndpoint, getUserEndpoints } from './read.ts';
import { toEndpointResponse } from './row.ts';
import { type UpsertOptions, upsertEndpoints } from './upsert.ts';

const database = await testDatabase(40);
const start = Date.UTC(2026, 0, 1);

async function put(applicationId: string, items: EndpointItem[], options: Partial<UpsertOptions> = {}) {
  return database.transaction((tx) => upsertEndpoints(tx, applicationId, items, { now: start, ...options }));
}

async function get(applicationId: string, id: string) {
  const found = await getEndpoint(database, applicationId, id);
  return found && toEndpointResponse(applicationId, found);
}

/** Which version of the row is stored: it differs after every rewrite. */
async function rowVersion(applicationId: string, id: string): Promise<string> {
  const { rows } = await database.query(
    'select xmin::text || ctid::text as version from endpoints where application_id = $1 and id = $2',
    [applicationId, id],
  );
  return rows[0].version;
}

test('an endpoint reads back as it was written, names that JavaScript treats specially included', async () => {
  const app = hexId();
  const item = {
    Id: 'device/1',
    Address: 'jo@example.com',
    ChannelType: 'EMAIL',
    OptOut: 'ALL',
    RequestId: 'r-1',
    EffectiveDate: '2026-02-03T04:05:06.789Z',
    Attributes: JSON.parse('{"__proto__":["a"],"constructor":["b","c"],"":null,"مرحبا":["\\u202eabc"]}'),
    Metrics: JSON.parse('{"__proto__":1.5,"toString":-3}'),
    Demographic: { Locale: 'en_US', Timezone: 'Europe/Berlin' },
    Location: { City: 'Bonn', Country: 'DE', Latitude: 50.7, Longitude: 7.1 },
    User: { UserId: 'u-1', UserAttributes: JSON.parse('{"hasOwnProperty":["x"]}') },
  };
  delete item.Attributes[''];
  await put(app, [item]);
  const read = await get(app, 'device/1');
  expect(Number(read?.CohortId)).toBeGreaterThanOrEqual(0);
  expect(Number(read?.CohortId)).toBeLessThan(100);
  expect(JSON.parse(JSON.stringify(read))).toEqual({
    ...item,
    ApplicationId: app,
    CohortId: read?.CohortId,
    CreationDate: new Date(start).toISOString(),
    EndpointStatus: 'ACTIVE',
  });
  expect(Object.keys(read?.Attributes ?? {}).sort()).toEqual(['__proto__', 'constructor', 'مرحبا']);
});

test('absent members stay, maps merge by key, [] and null delete, a plain string is a list of one', async () => {
  const app = hexId();
  await put(app, [
    {
      Id: 'a',
      ChannelType: 'SMS',
      Address: '+491701',
      Attributes: { keep: ['1'], replace: ['1', '2'], empty: ['1'], none: ['1'] },
      Metrics: { keep: 1, none: 2 },
      Demographic: { Make: 'x', Model: 'y' },
      Location: { City: 'Bonn', Country: 'DE' },
      User: { UserId: 'u', UserAttributes: { keep: ['1'], empty: ['2'] } },
    },
  ]);
  await put(
    app,
    [
      {
        Id: 'a',
        Attributes: { replace: ['3'], empty: [], none: null, plain: 'text' },
        Metrics: { none: null, more: 0 },
        Demographic: { Model: 'z' },
        Location: { City: 'Köln' },
        User: { UserAttributes: { empty: [], name: 'Wang' } },
      },
    ],
    { now: start + 1000 },
  );
  expect(await get(app, 'a')).toMatchObject({
    Address: '+491701',
    ChannelType: 'SMS',
    EffectiveDate: new Date(start + 1000).toISOString(),
    CreationDate: new Date(start).toISOString(),
    Demographic: { Make: 'x', Model: 'z' },
    Location: { City: 'Köln', Country: 'DE' },
  });
  const read = await get(app, 'a');
  expect({ ...read?.Attributes }).toEqual({ keep: ['1'], replace: ['3'], plain: ['text'] });
  expect({ ...read?.Metrics }).toEqual({ keep: 1, more: 0 });
  expect({ ...read?.User?.UserAttributes }).toEqual({ keep: ['1'], name: ['Wang'] });
});

test('user attributes are one for all endpoints of the user; an empty UserId detaches and leaves them', async () => {
  const app = hexId();
  const user = (UserAttributes: Record<string, string[]>) => ({ UserId: 'u', UserAttributes });
  await put(app, [
    { Id: 'a', User: user({ tier: ['gold'] }) },
    { Id: 'b', User: { UserId: 'u' } },
  ]);
  expect(await get(app, 'b')).toMatchObject({ User: { UserAttributes: { tier: ['gold'] } } });
  await put(app, [{ Id: 'b', User: user({ tier: ['silver'] }) }]);
  expect(await get(app, 'a')).toMatchObject({ User: { UserAttributes: { tier: ['silver'] } } });
  await put(app, [{ Id: 'b', User: { UserId: '' } }]);
  expect((await get(app, 'b'))?.User).toBeUndefined();
  expect((await getUserEndpoints(database, app, 'u')).map(({ id }) => id)).toEqual(['a']);
  expect(await get(app, 'a')).toMatchObject({ User: { UserAttributes: { tier: ['silver'] } } });
  await expect(put(app, [{ Id: 'b', User: { UserAttributes: { x: ['y'] } } }])).rejects.toThrow(
    '$.Item[0].User.UserAttributes: needs User.UserId',
  );
});

test('items of one batch for the same endpoint apply in their order', async () => {
  const app = hexId();
  const result = await put(app, [
    { Id: 'a', Attributes: { x: ['1'] }, User: { UserId: 'u1', UserAttributes: { n: ['1'] } } },
    { Id: 'b', Attributes: { x: ['1'] } },
    { Id: 'a', Attributes: { x: ['2'], y: ['1'] }, User: { UserId: 'u2' } },
    { Id: 'a', Attributes: { y: [] }, User: { UserAttributes: { n: ['2'] } } },
  ]);
  expect(result).toMatchObject({ created: 2, updated: 0 });
  const read = await get(app, 'a');
  expect({ ...read?.Attributes }).toEqual({ x: ['2'] });
  expect(read?.User?.UserId).toBe('u2');
  expect({ ...read?.User?.UserAttributes }).toEqual({ n: ['2'] });
});

test('a row is not rewritten when nothing changed', async () => {
  const app = hexId();
  const item = {
    Id: 'a',
    ChannelType: 'EMAIL',
    Address: 'a@b.c',
    Attributes: { x: ['1', '2'] },
    Metrics: { m: 1 },
    Location: { City: 'Bonn' },
    User: { UserId: 'u', UserAttributes: { y: ['1'] } },
  };
  await put(app, [item]);
  const version = await rowVersion(app, 'a');
  expect(await put(app, [item, { Id: 'a' }], { now: start + 5000 })).toMatchObject({
    created: 0,
    updated: 0,
  });
  expect(await rowVersion(app, 'a')).toBe(version);
  expect((await get(app, 'a'))?.EffectiveDate).toBe(new Date(start).toISOString());
  expect(await put(app, [{ ...item, Metrics: { m: 2 } }])).toMatchObject({ updated: 1 });
  expect(await put(app, [{ Id: 'a', Metrics: { m: 3 } }])).toMatchObject({ updated: 1, restarted: false });
  expect((await get(app, 'a'))?.User?.UserAttributes).toMatchObject({ y: ['1'] });
  expect(await rowVersion(app, 'a')).not.toBe(version);
});

test('an address has one active endpoint of a channel: the one that got it last', async () => {
  const app = hexId();
  const statuses = async (...ids: string[]) =>
    Promise.all(ids.map(async (id) => (await get(app, id))?.EndpointStatus));
  await put(app, [{ Id: 'a', ChannelType: 'GCM', Address: 'token' }]);
  await put(app, [{ Id: 'sms', ChannelType: 'SMS', Address: 'token' }]);
  await put(app, [{ Id: 'b', ChannelType: 'GCM', Address: 'token' }]);
  expect(await statuses('a', 'b', 'sms')).toEqual(['INACTIVE', 'ACTIVE', 'ACTIVE']);
  // Any update makes an endpoint active again, so the other one is not any longer.
  await put(app, [{ Id: 'a', Metrics: { m: 1 } }]);
  expect(await statuses('a', 'b')).toEqual(['ACTIVE', 'INACTIVE']);
  await put(app, [{ Id: 'a', EndpointStatus: 'INACTIVE' }]);
  expect(await statuses('a', 'b')).toEqual(['INACTIVE', 'INACTIVE']);
  await put(app, [
    { Id: 'c', ChannelType: 'GCM', Address: 'other' },
    { Id: 'd', ChannelType: 'GCM', Address: 'other' },
    { Id: 'e', ChannelType: 'GCM', Address: 'other', EndpointStatus: 'INACTIVE' },
  ]);
  expect(await statuses('c', 'd', 'e')).toEqual(['INACTIVE', 'ACTIVE', 'INACTIVE']);
  await put(app, [{ Id: 'd', Address: 'moved' }]);
  await put(app, [{ Id: 'c', Metrics: { m: 1 } }]);
  expect(await statuses('c', 'd')).toEqual(['ACTIVE', 'ACTIVE']);
});

test.each([
  [15, 'Exceeded maximum endpoint per user count: 15'],
  [10, 'Exceeded maximum endpoint per user count 10'],
])('a user has at most %i endpoints; the oldest device gives way to a device', async (limit, message) => {
  const app = hexId();
  const User = { UserId: 'u' };
  const options = { endpointsPerUser: limit };
  const emails = Array.from({ length: limit - 2 }, (_, index) => ({
    Id: `mail-${index}`,
    ChannelType: 'EMAIL',
    Address: `u${index}@example.com`,
    User,
  }));
  await put(app, emails, options);
  await put(app, [{ Id: 'old', ChannelType: 'GCM', Address: 'old', User }], { ...options, now: start + 1 });
  await put(app, [{ Id: 'new', ChannelType: 'APNS', Address: 'new', User }], { ...options, now: start + 2 });
  const refused = put(
    app,
    [
      { Id: 'x', Metrics: { m: 1 } },
      { Id: 'sms', ChannelType: 'SMS', User },
    ],
    options,
  );
  await expect(refused).rejects.toThrow(new RegExp(`^${message}$`));
  await expect(refused).rejects.toBeInstanceOf(CallerError);
  expect(await get(app, 'x')).toBeUndefined();
  await put(app, [{ Id: 'third', ChannelType: 'ADM', Address: 'third', User }], options);
  expect(await get(app, 'old')).toMatchObject({ EndpointStatus: 'INACTIVE' });
  expect((await get(app, 'old'))?.User).toBeUndefined();
  expect((await getUserEndpoints(database, app, 'u')).length).toBe(limit);
  // With nothing but e-mail there is nobody who could give way.
  const mail = { ChannelType: 'EMAIL', User: { UserId: 'v' } };
  const many = Array.from({ length: limit }, (_, index) => ({ Id: `v-${index}`, ...mail }));
  await put(app, many, options);
  await expect(put(app, [{ Id: 'device', ChannelType: 'GCM', User: mail.User }], options)).rejects.toThrow(
    message,
  );
});

test('one bad item refuses the batch, names its member and changes nothing', async () => {
  const app = hexId();
  const good = { Id: 'good', Metrics: { m: 1 } };
  const bad = async (item: object, message: string | RegExp) => {
    await expect(put(app, [good, item as EndpointItem])).rejects.toThrow(message);
  };
  await bad({}, '$.Item[1].Id: expected');
  await bad({ Id: '' }, '$.Item[1].Id: expected');
  await bad({ Id: 'x'.repeat(1025) }, '$.Item[1].Id: expected at most 1024 bytes');
  await bad({ Id: 'x', ChannelType: 'FAX' }, '$.Item[1].ChannelType: expected one of PUSH');
  await bad({ Id: 'x', OptOut: 'SOME' }, '$.Item[1].OptOut: expected one of ALL, NONE');
  await bad({ Id: 'x', EndpointStatus: 'DEAD' }, '$.Item[1].EndpointStatus: expected one of');
  await bad({ Id: 'x', EffectiveDate: 'yesterday' }, '$.Item[1].EffectiveDate: expected a time');
  await bad({ Id: 'x', Location: { Latitude: 91 } }, '$.Item[1].Location.Latitude: expected a number from');
  await bad({ Id: 'x', Location: { Country: 'Germany' } }, '$.Item[1].Location.Country: expected a country');
  await bad(
    { Id: 'x', Attributes: { a: ['b\0'] } },
    '$.Item[1].Attributes.a[0]: expected text without U+0000',
  );
  await bad(
    { Id: 'x', Attributes: { a: ['\ud800'] } },
    '$.Item[1].Attributes.a[0]: expected text without lone',
  );
  await bad({ Id: 'x', Attributes: { '': ['b'] } }, '$.Item[1].Attributes: expected names');
  await bad({ Id: 'x', Metrics: { a: Number.NaN } }, '$.Item[1].Metrics.a: expected a number');
  await bad({ Id: 'x', Address: 'x'.repeat(3000) }, '$.Item[1].Address: expected at most 2000 bytes');
  await bad(
    { Id: 'x', Attributes: { a: 'x'.repeat(9_000).split('') } },
    '$.Item[1].Attributes.a: expected at',
  );
  await bad(
    { Id: 'x', Attributes: { a: Array(40).fill('x'.repeat(9_000)) } },
    '$.Item[1]: expected an endpoint',
  );
  expect(await get(app, 'good')).toBeUndefined();
});

test("Pinpoint's quotas hold only where they are asked for", async () => {
  const app = hexId();
  const long = { Id: 'a', Attributes: { ['n'.repeat(51)]: ['v'.repeat(101)] } };
  await put(app, [long]);
  await expect(put(app, [long], { limits: pinpointLimits })).rejects.toThrow('a name of at most 50');
  const value = { Id: 'a', Attributes: { n: ['v'.repeat(101)] } };
  await expect(put(app, [value], { limits: pinpointLimits })).rejects.toThrow(
    '$.Item[0].Attributes.n[0]: expected at most 100 characters, got 101',
  );
});

test('concurrent batches of the same endpoints in different orders neither deadlock nor lose a change', async () => {
  const app = hexId();
  const endpoints = 40;
  const rounds = 5;
  const writers = 16;
  const before = await database.query(
    'select deadlocks from pg_stat_database where datname = current_database()',
  );
  await Promise.all(
    Array.from({ length: writers }, async (_, writer) => {
      for (let round = 0; round < rounds; round++) {
        const ids = Array.from({ length: endpoints }, (_, index) => index).sort(() => Math.random() - 0.5);
        await put(
          app,
          ids.map((index) => ({
            Id: `e-${index}`,
            ChannelType: 'GCM',
            // Addresses wander between endpoints, users between writers: both rules reach for others' rows.
            Address: `token-${(index + writer + round) % endpoints}`,
            Attributes: { [`w-${writer}`]: [String(round)] },
            User: {
              UserId: `u-${(index + round) % 7}`,
              UserAttributes: { [`w-${writer}`]: [String(round)] },
            },
          })),
          { now: start + round },
        );
      }
    }),
  );
  const { rows } = await database.query(
    "select id, attributes, user_id, address, status from endpoints where application_id = $1 and id like 'e-%'",
    [app],
  );
  expect(rows.length).toBe(endpoints);
  for (const row of rows) {
    expect(Object.keys(row.attributes).length).toBe(writers);
    expect(new Set(Object.values(row.attributes as Record<string, string[]>).flat())).toEqual(
      new Set([String(rounds - 1)]),
    );
  }
  const active = rows.filter((row) => row.status === 'ACTIVE').map((row) => row.address);
  expect(new Set(active).size).toBe(active.length);
  const users = await database.query('select id, attributes from users where application_id = $1', [app]);
  for (const row of users.rows) expect(Object.keys(row.attributes).length).toBe(writers);
  const perUser = await database.query(
    'select user_id, count(*) from endpoints where application_id = $1 and user_id is not null group by 1',
    [app],
  );
  for (const row of perUser.rows) expect(row.count).toBeLessThanOrEqual(15);
  await database.query('select pg_stat_force_next_flush()');
  const after = await database.query(
    'select deadlocks from pg_stat_database where datname = current_database()',
  );
  expect(after.rows[0].deadlocks).toBe(before.rows[0].deadlocks);
});

test('of many that register one address at the same moment, one stays active', async () => {
  const app = hexId();
  await Promise.all(
    Array.from({ length: 20 }, (_, index) =>
      put(app, [{ Id: `${index}`, ChannelType: 'GCM', Address: 't' }]),
    ),
  );
  const { rows } = await database.query(
    "select count(*) filter (where status = 'ACTIVE') as active, count(*) as all from endpoints where application_id = $1",
    [app],
  );
  expect(rows[0]).toEqual({ active: 1, all: 20 });
});

test('members of a segment live apart from registered endpoints with the same ids and users', async () => {
  const app = hexId();
  const segmentId = hexId();
  await put(app, [{ Id: 'a', Address: 'x', ChannelType: 'SMS', User: { UserId: 'u' } }]);
  await put(
    app,
    [{ Id: 'a', Address: 'x', ChannelType: 'SMS', User: { UserId: 'u', UserAttributes: { n: ['1'] } } }],
    { segmentId },
  );
  expect(await get(app, 'a')).toMatchObject({ EndpointStatus: 'ACTIVE', User: { UserAttributes: {} } });
  expect(await get(app, `${segmentId}.a`)).toBeUndefined();
  expect((await getUserEndpoints(database, app, 'u')).length).toBe(1);
  await expect(put(app, [{ Id: `${segmentId}.a` }])).rejects.toThrow('this id is taken by a member');
});

test('a batch reads about as many rows as it has, however wrong the statistics of the tables are', async () => {
  const old = hexId();
  const app = hexId();
  const item = (index: number) => ({
    Id: `e${index}`,
    ChannelType: 'EMAIL',
    Address: `a${index}@example.com`,
    User: { UserId: `u${index}` },
  });
  const items = (from: number, count: number) =>
    Array.from({ length: count }, (_, index) => item(from + index));
  await put(old, items(0, 2000));
  await database.query('analyze endpoints; analyze users');
  // Now PostgreSQL knows of one application, and takes any other for almost empty.
  await put(app, items(0, 20_000));
  const read = await database.transaction(async (tx) => {
    for (let round = 0; round < 7; round++) {
      const more = items(round * 1000, 1000).map((given) => ({ ...given, Id: `${given.Id}x` }));
      await upsertEndpoints(tx, app, more, { now: start });
    }
    const { rows } = await tx.query(
      `select sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) as read from pg_stat_xact_user_tables
        where relname in ('endpoints', 'users')`,
    );
    return Number(rows[0].read);
  });
  expect(read).toBeGreaterThan(7 * 1000);
  expect(read).toBeLessThan(7 * 1000 * 20);
});

test('in a batch, an endpoint for which nothing is new is neither locked nor written', async () => {
  const app = hexId();
  const item = (id: string, plan: string) => ({
    Id: id,
    ChannelType: 'GCM',
    Address: `token-${id}`,
    Attributes: { plan: [plan] },
    User: { UserId: `user-${id}`, UserAttributes: { name: [id] } },
  });
  await put(app, [item('a', 'free'), item('b', 'free')]);
  const version = await rowVersion(app, 'a');
  const client = await database.connect();
  try {
    await client.query('begin');
    await client.query('select from endpoints where application_id = $1 and id = $2 for update', [app, 'a']);
    const result = await put(app, [item('a', 'free'), item('b', 'pro'), item('c', 'free')]);
    expect(result).toMatchObject({ created: 1, updated: 1 });
    expect([...result.accepted].sort()).toEqual(['a', 'b', 'c']);
    expect([...result.userIds].sort()).toEqual([
      [0, 'user-a'],
      [1, 'user-b'],
      [2, 'user-c'],
    ]);
  } finally {
    await client.query('rollback');
    client.release();
  }
  expect(await rowVersion(app, 'a')).toBe(version);
  expect((await get(app, 'b'))?.Attributes).toEqual({ plan: ['pro'] });
});

test('an endpoint for which nothing seems new takes part in what others of its batch do to it', async () => {
  const app = hexId();
  const [old, other] = [
    { Id: 'old', ChannelType: 'EMAIL', Address: 'jo@example.com', User: { UserId: 'jo' } },
    { Id: 'other', ChannelType: 'EMAIL', Address: 'al@example.com', User: { UserId: 'jo' } },
  ];
  await put(app, [old, other]);
  // The address goes to `other` and back.
  await put(app, [{ Id: 'other', Address: 'jo@example.com' }, old]);
  expect((await get(app, 'old'))?.EndpointStatus).toBe('ACTIVE');
  expect((await get(app, 'other'))?.EndpointStatus).toBe('INACTIVE');
  const says = (Id: string, plan: string) => ({
    Id,
    User: { UserId: 'jo', UserAttributes: { plan: [plan] } },
  });
  await put(app, [says('old', 'free')]);
  await put(app, [says('other', 'pro'), says('old', 'free')]);
  expect((await get(app, 'old'))?.User?.UserAttributes).toEqual({ plan: ['free'] });
});
