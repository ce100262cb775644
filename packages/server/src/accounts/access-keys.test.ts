import { expect, test } from 'vitest';
import { testDatabase } from '../../../../tests/support/database.ts';
import { silentLog } from '../platform/log.ts';
import { createSecrets } from '../platform/secrets.ts';
import { createAccessKeys } from './access-keys.ts';
import { listAudit } from './audit.ts';
import { authorize, authorizeBucket, visibleApplications } from './authorize.ts';
import { fullScopes, type Principal, type Scopes } from './principal.ts';
import { createTokens } from './tokens.ts';

const database = await testDatabase();
const secrets = createSecrets(Buffer.alloc(32, 1));
let now = 1_790_000_000_000;
const clock = { now: () => now };
const options = { database, secrets, clock, log: silentLog };
const makeKeys = () => createAccessKeys(options);

test('the first key is made once, by one of several processes that start at once', async () => {
  const made = await Promise.all(Array.from({ length: 4 }, () => makeKeys().ensureFirst(undefined)));
  const keys = made.filter((key) => key !== undefined);
  expect(keys).toHaveLength(1);
  expect(keys[0]!.id).toMatch(/^PRAK[A-Z0-9]{16}$/);
  expect(await makeKeys().find(keys[0]!.id)).toMatchObject({
    principal: { kind: 'access_key', id: keys[0]!.id, name: 'first key', scopes: fullScopes },
    secret: keys[0]!.secret,
  });
  const { rows } = await database.query('select secret from access_keys');
  expect(rows[0].secret.includes(Buffer.from(keys[0]!.secret))).toBe(false);
});

test('the key of the settings is stored, follows its secret, and stays revoked', async () => {
  const keys = makeKeys();
  const given = { id: 'configured', secret: 'first secret' };
  expect(await keys.ensureFirst(given)).toBeUndefined();
  expect((await keys.find('configured'))!.secret).toBe('first secret');
  await keys.ensureFirst({ ...given, secret: 'second secret' });
  expect((await keys.find('configured'))!.secret).toBe('second secret');
  await keys.revoke('configured', 'system');
  await keys.ensureFirst(given);
  expect(await keys.find('configured')).toBeUndefined();
  await expect(keys.revoke('configured', 'system')).rejects.toThrow('Access key configured not found');
});

test('a key that another process revoked stops within a second; look-ups in between cost no statement', async () => {
  const [here, there] = [makeKeys(), makeKeys()];
  const { id } = await here.create({ name: 'k', by: 'system' });
  expect(await there.find(id)).toBeDefined();
  await here.revoke(id, 'system');
  expect(await here.find(id)).toBeUndefined();
  now += 999;
  expect(await there.find(id)).toBeDefined();
  now += 1;
  expect(await there.find(id)).toBeUndefined();
});

test('the last use is written, but not for each request', async () => {
  const keys = makeKeys();
  const { id } = await keys.create({ name: 'used', by: 'system' });
  const lastUsed = async () => (await keys.list()).find((key) => key.id === id)!.lastUsedAt?.getTime();
  const rowVersion = async () =>
    (await database.query('select xmin from access_keys where id = $1', [id])).rows[0].xmin;
  await keys.find(id);
  expect(await lastUsed()).toBeUndefined();
  const use = async () => (await keys.find(id))!.used();
  await use();
  await expect.poll(lastUsed).toBeDefined();
  const version = await rowVersion();
  for (let request = 0; request < 20; request++) {
    now += 500;
    await use();
  }
  expect(await rowVersion()).toBe(version);
  now += 60_000;
  await use();
  await expect.poll(rowVersion).not.toBe(version);
});

test('tokens: shown once, stored as a hash, revoked', async () => {
  const tokens = createTokens(options);
  const scopes: Scopes = { applications: ['a'], actions: ['postrider:*'], buckets: [] };
  const { id, token } = await tokens.create({ name: 'ci', scopes, by: 'system' });
  expect(token).toMatch(/^pr_/);
  expect(await tokens.find(token)).toEqual({ kind: 'token', id, name: 'ci', scopes });
  for (const wrong of ['', 'pr_', `${token}x`, token.toLowerCase(), 'pr_\u0000']) {
    expect(await tokens.find(wrong)).toBeUndefined();
  }
  const { rows } = await database.query('select * from tokens');
  expect(JSON.stringify(rows)).not.toContain(token.slice(3));
  expect((await tokens.list()).map((entry) => entry.name)).toEqual(['ci']);
  await tokens.revoke(id, 'system');
  expect(await tokens.find(token)).toBeUndefined();
  await expect(tokens.revoke(id, 'system')).rejects.toThrow(`Token ${id} not found`);
});

test('names and scopes from outside are checked', async () => {
  const keys = makeKeys();
  const create = (name: string, scopes?: unknown) =>
    keys.create({ name, scopes: scopes as Scopes, by: 'system' });
  await expect(create('')).rejects.toThrow('name: expected 1 to 100 printable characters');
  await expect(create('a\u0000')).rejects.toThrow('name:');
  await expect(create('x', { ...fullScopes, applications: 'all' })).rejects.toThrow(
    'applications: expected "*" or',
  );
  await expect(create('x', { ...fullScopes, buckets: [1] })).rejects.toThrow('buckets: expected');
  await expect(create('x', { ...fullScopes, actions: ['Get*App'] })).rejects.toThrow('actions: expected');
});

test('changes of keys and tokens are in the audit, newest first', async () => {
  const entries = await listAudit(database, { limit: 100 });
  expect(entries.map((entry) => entry.action)).toEqual(
    expect.arrayContaining([
      'postrider:CreateAccessKey',
      'postrider:RevokeToken',
      'postrider:ReplaceAccessKeySecret',
    ]),
  );
  expect(JSON.stringify(entries)).not.toContain('second secret');
  const [newest, next] = entries;
  expect(newest!.id > next!.id).toBe(true);
  const [afterNewest] = await listAudit(database, { limit: 1, before: newest!.id });
  expect(afterNewest).toEqual(next);
});

test('authorize', () => {
  const may = (scopes: Partial<Scopes>, action: string, applicationId?: string) => {
    const principal: Principal = { kind: 'token', id: 't', name: 't', scopes: { ...fullScopes, ...scopes } };
    try {
      authorize(principal, action, applicationId);
      return true;
    } catch (error) {
      expect(error).toMatchObject({ code: 'forbidden' });
      return false;
    }
  };
  expect(may({}, 'mobiletargeting:DeleteApp', 'a')).toBe(true);
  const reader = { actions: ['mobiletargeting:Get*', 'mobiletargeting:SendMessages'] };
  expect(may(reader, 'mobiletargeting:GetApp', 'a')).toBe(true);
  expect(may(reader, 'mobiletargeting:SendMessages', 'a')).toBe(true);
  expect(may(reader, 'mobiletargeting:SendMessagesX', 'a')).toBe(false);
  expect(may(reader, 'postrider:GetApp', 'a')).toBe(false);
  expect(may({ actions: [] }, 'mobiletargeting:GetApp', 'a')).toBe(false);
  const bound = { applications: ['a'] };
  expect(may(bound, 'mobiletargeting:DeleteApp', 'a')).toBe(true);
  expect(may(bound, 'mobiletargeting:GetApp', 'b')).toBe(false);
  expect(may(bound, 'mobiletargeting:GetApps')).toBe(true);
  expect(may(bound, 'mobiletargeting:CreateApp')).toBe(false);
  expect(may({ applications: [] }, 'mobiletargeting:GetApp', '__proto__')).toBe(false);
  const principal: Principal = {
    kind: 'token',
    id: 't',
    name: 't',
    scopes: { ...fullScopes, ...bound, buckets: ['in'] },
  };
  expect(visibleApplications(principal)).toEqual(['a']);
  authorizeBucket(principal, 'in');
  expect(() => authorizeBucket(principal, 'out')).toThrow('bucket out is not in its scope');
});
