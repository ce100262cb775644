import { expect, test } from 'vitest';
import { testDatabase } from '../../../../../tests/support/database.ts';
import { hexId } from '../../platform/ids.ts';
import { touchActivity } from './activity.ts';
import { deleteEndpoint, deleteUserEndpoints } from './delete.ts';
import type { EndpointItem } from './item.ts';
import {
  type EndpointQuery,
  getEndpoint,
  getUserEndpoints,
  loadRecipients,
  searchEndpoints,
} from './read.ts';
import { shownUserId } from './row.ts';
import { upsertEndpoints } from './upsert.ts';

const database = await testDatabase(20);
const now = Date.UTC(2026, 0, 1);

const put = (app: string, items: EndpointItem[], segmentId?: string) =>
  database.transaction((tx) => upsertEndpoints(tx, app, items, { now, segmentId }));

test('recipients are loaded in one statement, with what their users have, members of segments included', async () => {
  const app = hexId();
  const segmentId = hexId();
  const items = Array.from({ length: 700 }, (_, index) => ({
    Id: `e${index}`,
    ChannelType: 'SMS',
    Address: `+${index}`,
    User: { UserId: `u${index % 50}`, UserAttributes: { n: [String(index % 50)] } },
  }));
  await put(app, items);
  await put(app, [{ Id: 'own', User: { UserId: 'u1', UserAttributes: { n: ['own'] } } }], segmentId);
  await put(hexId(), [{ Id: 'e1', Address: 'of another application' }]);
  const loaded = await loadRecipients(database, app, [
    ...items.map(({ Id }) => Id),
    `${segmentId}.own`,
    'absent',
  ]);
  expect(loaded.length).toBe(701);
  const one = loaded.find(({ id }) => id === 'e51');
  expect(one).toMatchObject({
    segmentId: null,
    channel: 'SMS',
    address: '+51',
    optOut: 'NONE',
    status: 'ACTIVE',
    userId: 'u1',
    userAttributes: { n: ['1'] },
    effectiveAt: now,
    createdAt: now,
  });
  const own = loaded.find(({ id }) => id === `${segmentId}.own`)!;
  expect(own.userAttributes).toEqual({ n: ['own'] });
  expect(shownUserId(own)).toBe('u1');
  expect(await loadRecipients(database, app, [])).toEqual([]);
});

test('endpoints are searched by each condition and all together, page by page', async () => {
  const app = hexId();
  await put(app, [
    { Id: 'a_1', ChannelType: 'EMAIL', Address: 'Jo@Example.com', Attributes: { plan: ['pro', 'x'] } },
    { Id: 'a_2', ChannelType: 'EMAIL', Address: 'jo@example.com', User: { UserId: 'u' } },
    { Id: 'ab3', ChannelType: 'SMS', Address: '+1', User: { UserId: 'u' }, Attributes: { plan: ['free'] } },
    { Id: 'b', ChannelType: 'SMS', Address: '+2', EndpointStatus: 'INACTIVE' },
    { Id: 'c', Attributes: JSON.parse('{"__proto__":["x"]}') },
  ]);
  await put(app, [{ Id: 'hidden', ChannelType: 'SMS', Address: '+1' }], hexId());
  const find = async (query: EndpointQuery) =>
    (await searchEndpoints(database, app, query)).endpoints.map(({ id }) => id);
  expect(await find({})).toEqual(['a_1', 'a_2', 'ab3', 'b', 'c']);
  expect(await find({ address: 'Jo@Example.com' })).toEqual(['a_1', 'a_2']);
  expect(await find({ address: '+1' })).toEqual(['ab3']);
  expect(await find({ userId: 'u' })).toEqual(['a_2', 'ab3']);
  expect(await find({ idPrefix: 'a_' })).toEqual(['a_1', 'a_2']);
  expect(await find({ channel: 'SMS', status: 'ACTIVE' })).toEqual(['ab3']);
  expect(await find({ attribute: { name: 'plan', value: 'pro' } })).toEqual(['a_1']);
  expect(await find({ attribute: { name: '__proto__', value: 'x' } })).toEqual(['c']);
  expect(await find({ attribute: { name: 'plan', value: 'pr' } })).toEqual([]);
  const first = await searchEndpoints(database, app, { limit: 3 });
  expect(first.next).toBe('ab3');
  const second = await searchEndpoints(database, app, { limit: 3, after: first.next });
  expect(second.endpoints.map(({ id }) => id)).toEqual(['b', 'c']);
  expect(second.next).toBeUndefined();
  await expect(find({ limit: 0 })).rejects.toThrow('from 1 to 1000');
});

test('signs of life: the latest counts, small steps are not written', async () => {
  const app = hexId();
  const read = async () => {
    const { rows } = await database.query(
      'select endpoint_id as id, active_at as at from endpoint_activity where application_id = $1 order by 1',
      [app],
    );
    return rows.map(({ id, at }) => [id, (at.getTime() - now) / 1000]);
  };
  await touchActivity(database, app, [
    { endpointId: 'b', at: now },
    { endpointId: 'a', at: now + 5_000 },
    { endpointId: 'a', at: now },
  ]);
  await touchActivity(database, app, [
    { endpointId: 'a', at: now + 50_000 },
    { endpointId: 'b', at: now + 60_000 },
  ]);
  await touchActivity(database, app, [{ endpointId: 'b', at: now - 60_000 }]);
  expect(await read()).toEqual([
    ['a', 5],
    ['b', 60],
  ]);
});

test('deleting leaves nothing of the endpoint; the user goes with the last one', async () => {
  const app = hexId();
  const User = { UserId: 'u', UserAttributes: { n: ['1'] } };
  await put(app, [{ Id: 'a', User }, { Id: 'b', User }, { Id: 'c' }]);
  await touchActivity(database, app, [{ endpointId: 'a', at: now }]);
  const left = async (table: string) =>
    (await database.query(`select from ${table} where application_id = $1`, [app])).rows.length;
  expect((await deleteEndpoint(database, app, 'a'))?.userAttributes).toEqual({ n: ['1'] });
  expect(await deleteEndpoint(database, app, 'a')).toBeUndefined();
  expect([await left('endpoints'), await left('users'), await left('endpoint_activity')]).toEqual([2, 1, 0]);
  expect((await deleteUserEndpoints(database, app, 'u')).map(({ id }) => id)).toEqual(['b']);
  expect(await deleteUserEndpoints(database, app, 'u')).toEqual([]);
  expect([await left('endpoints'), await left('users')]).toEqual([1, 0]);
  expect(await getUserEndpoints(database, app, 'u')).toEqual([]);
});

test('a user whose last endpoint goes while another comes keeps its attributes, or has those of the new one', async () => {
  const app = hexId();
  for (let round = 0; round < 40; round++) {
    const UserId = `u${round}`;
    await put(app, [{ Id: `old${round}`, User: { UserId, UserAttributes: { n: ['1'] } } }]);
    await Promise.all([
      deleteEndpoint(database, app, `old${round}`),
      put(app, [{ Id: `new${round}`, User: { UserId, UserAttributes: { m: ['2'] } } }]),
      put(app, [{ Id: `old${round}`, Metrics: { x: round } }]),
    ]);
    expect((await getEndpoint(database, app, `new${round}`))?.userAttributes).toMatchObject({ m: ['2'] });
  }
});

test('reading looks at the rows it answers, however wrong the statistics of the tables are', async () => {
  const app = hexId();
  const items = (count: number) =>
    Array.from({ length: count }, (_, index) => ({
      Id: `e${index}`,
      ChannelType: 'EMAIL',
      Address: `a${index}@example.com`,
      User: { UserId: `u${index}`, UserAttributes: { n: ['1'] } },
    }));
  await put(hexId(), items(2000));
  // PostgreSQL knows of one application now, and takes any other for almost empty.
  await database.query('analyze endpoints, users');
  await put(app, items(10_000));
  const read = await database.transaction(async (tx) => {
    const ids = items(1000).map(({ Id }) => Id);
    expect((await loadRecipients(tx, app, ids)).length).toBe(1000);
    for (let index = 0; index < 20; index++) {
      expect((await getUserEndpoints(tx, app, `u${index}`)).length).toBe(1);
      expect((await searchEndpoints(tx, app, { address: `a${index}@example.com` })).endpoints.length).toBe(1);
    }
    const { rows } = await tx.query(
      `select sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) as read from pg_stat_xact_user_tables
        where relname in ('endpoints', 'users')`,
    );
    return Number(rows[0].read);
  });
  expect(read).toBeGreaterThan(2000);
  expect(read).toBeLessThan(3000);
});
