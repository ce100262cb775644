import { beforeAll, expect, test } from 'vitest';
import { testDatabase } from '../../../../tests/support/database.ts';
import { systemClock } from '../platform/clock.ts';
import { silentLog } from '../platform/log.ts';
import { createSecrets } from '../platform/secrets.ts';
import { storeInInbox } from './inbox.ts';
import type { OutgoingMessage, Provider, ProviderContext, SettingField } from './provider.ts';
import { type NewProviderAccount, ProviderAccounts } from './provider-account.ts';
import { createAccountLimits, reserveAccountDay } from './provider-account-limits.ts';
import { createRoutes } from './provider-account-route.ts';
import { smtpUrlAccount } from './provider-account-url.ts';

const database = await testDatabase();
const secrets = createSecrets(Buffer.alloc(32, 7));

const fields: SettingField[] = [
  {
    name: 'host',
    label: 'Host',
    type: 'string',
    required: true,
    pattern: '[a-z.0-9:\\-]+',
    description: 'A host name.',
  },
  { name: 'port', label: 'Port', type: 'number', minimum: 1, maximum: 65_535, description: '' },
  {
    name: 'tls',
    label: 'TLS',
    type: 'enum',
    options: ['none', 'opportunistic', 'implicit'],
    description: '',
  },
  { name: 'verifyCertificate', label: 'Check', type: 'boolean', description: '' },
  { name: 'user', label: 'User', type: 'string', description: '' },
  { name: 'password', label: 'Password', type: 'string', secret: true, description: '' },
];

const sent: { settings: unknown; secrets: unknown; message: OutgoingMessage }[] = [];

/** A vendor that keeps what it is given, so that a test can see what an account hands to it. */
const post: Provider = {
  name: 'post',
  channels: ['EMAIL', 'SMS'],
  fields,
  open: ({ settings, secrets: opened }, context) => ({
    limits: { concurrency: 1, batch: 1 },
    async send(messages) {
      for (const message of messages) sent.push({ settings, secrets: opened, message });
      await context.receive([]);
      return messages.map(({ id }) => ({ id, outcome: 'accepted', code: 250, response: 'ok' }));
    },
    check: () => Promise.resolve(),
    close: () => Promise.resolve(),
  }),
};

const context: ProviderContext = {
  log: silentLog,
  allowPrivateHosts: false,
  receive: () => Promise.reject(new Error('A test message has no receipts')),
  storeInInbox: (messages) => storeInInbox(database, messages),
};

const routes = createRoutes({ database, secrets, clock: systemClock });
const accounts = new ProviderAccounts({ database, secrets, providers: [post], routes });

function account(over: Partial<NewProviderAccount> = {}): NewProviderAccount {
  return {
    applicationId: 'app',
    channel: 'EMAIL',
    provider: 'post',
    name: 'Main',
    settings: { host: 'mail.example.com', port: 587, user: 'me', password: 'secret words' },
    ...over,
  };
}

beforeAll(async () => {
  await database.query("insert into applications (id, name) values ('app', 'App'), ('other', 'Other')");
});

test('an account is created as a draft, with its secret encrypted and never shown', async () => {
  const created = await accounts.create(account());
  expect(created).toMatchObject({
    applicationId: 'app',
    channel: 'EMAIL',
    provider: 'post',
    name: 'Main',
    settings: { host: 'mail.example.com', port: 587, user: 'me' },
    secretsSet: ['password'],
    priority: 100,
    state: 'draft',
    messagesPerSecond: null,
    dailyLimit: null,
    sentToday: 0,
  });
  expect(JSON.stringify(created)).not.toContain('secret words');
  const { rows } = await database.query('select settings, secrets from provider_accounts where id = $1', [
    created.id,
  ]);
  expect(JSON.stringify(rows[0].settings)).not.toContain('secret words');
  expect(rows[0].secrets.toString('latin1')).not.toContain('secret words');
  expect(await accounts.get(created.id)).toEqual(created);
  expect(await accounts.list('app')).toEqual([created]);
  expect(await accounts.list('other')).toEqual([]);
  await accounts.remove(created.id);
  await expect(accounts.get(created.id)).rejects.toThrow(`Provider account ${created.id} not found`);
  await expect(accounts.remove(created.id)).rejects.toThrow('not found');
});

test.each<[string, Partial<NewProviderAccount>, string]>([
  ['another channel', { channel: 'FAX' }, '$.channel: expected one of EMAIL, SMS'],
  ['a channel that the provider has not', { channel: 'PUSH' }, '$.channel: post serves EMAIL, SMS'],
  ['an unknown provider', { provider: 'pigeon' }, '$.provider: expected one of post'],
  ['no name', { name: '' }, '$.name: expected 1 to 200 characters'],
  ['a missing required setting', { settings: { port: 25 } }, '$.settings.host: expected a value (Host)'],
  [
    'an unknown setting',
    { settings: { host: 'a', colour: 'red' } },
    '$.settings.colour: post has no such setting',
  ],
  [
    'a prototype as setting',
    { settings: JSON.parse('{"host":"a","__proto__":{"x":1}}') },
    '$.settings.__proto__: post has no such setting',
  ],
  [
    'a port out of range',
    { settings: { host: 'a', port: 70_000 } },
    '$.settings.port: expected a whole number from 1 to 65535',
  ],
  ['a port as text', { settings: { host: 'a', port: '25' } }, '$.settings.port: expected a whole number'],
  ['a wrong choice', { settings: { host: 'a', tls: 'maybe' } }, '$.settings.tls: expected one of none'],
  [
    'a switch as text',
    { settings: { host: 'a', verifyCertificate: 'no' } },
    '$.settings.verifyCertificate: expected true or false',
  ],
  ['what does not match', { settings: { host: 'a b' } }, '$.settings.host: expected A host name'],
  [
    'a line break',
    { settings: { host: 'a', user: 'me\r\nRSET' } },
    '$.settings.user: expected text without control',
  ],
  [
    'half a character',
    { settings: { host: 'a', user: '\ud800' } },
    '$.settings.user: expected text without control',
  ],
  ['settings that are none', { settings: [] as never }, '$.settings: expected an object'],
  ['a rate of nothing', { messagesPerSecond: 0 }, '$.messagesPerSecond: expected a whole number from 1'],
  ['half a message a day', { dailyLimit: 0.5 }, '$.dailyLimit: expected a whole number from 1'],
  ['an application that is none', { applicationId: 'nobody' }, 'Application nobody not found'],
])('%s is refused', async (_what, over, message) => {
  await expect(accounts.create(account(over))).rejects.toThrow(message);
  expect(await accounts.list()).toEqual([]);
});

test('a change keeps the secrets that it does not name, and one that fails changes nothing', async () => {
  const { id } = await accounts.create(account({ dailyLimit: 100 }));
  const changed = await accounts.update(id, {
    name: 'New',
    settings: { port: null, tls: 'none' },
    dailyLimit: null,
    priority: 1,
  });
  expect(changed).toMatchObject({
    name: 'New',
    settings: { host: 'mail.example.com', user: 'me', tls: 'none' },
    secretsSet: ['password'],
    dailyLimit: null,
    priority: 1,
  });
  expect(changed.settings).not.toHaveProperty('port');
  await expect(accounts.update(id, { name: 'Newer', settings: { host: null } })).rejects.toThrow(
    '$.settings.host',
  );
  expect(await accounts.get(id)).toEqual(changed);
  expect((await accounts.update(id, { settings: { password: null } })).secretsSet).toEqual([]);
  await accounts.remove(id);
});

test('a test message reaches the provider with the decrypted secret, and leaves no receipts', async () => {
  const { id } = await accounts.create(account());
  await expect(accounts.testSend(id, { address: 'me@example.org' }, context)).rejects.toThrow('$.from');
  await expect(accounts.testSend(id, { address: '', from: 'a@b.c' }, context)).rejects.toThrow('$.address');
  const result = await accounts.testSend(
    id,
    { address: 'me@example.org', from: 'shop@example.com' },
    context,
  );
  expect(result).toMatchObject({ outcome: 'accepted', code: 250 });
  expect(sent.at(-1)).toMatchObject({
    settings: { host: 'mail.example.com', port: 587, user: 'me' },
    secrets: { password: 'secret words' },
    message: {
      id: result.id,
      address: 'me@example.org',
      channel: 'EMAIL',
      content: { kind: 'email', from: 'shop@example.com' },
    },
  });
  await accounts.remove(id);
});

test('the route: own active accounts by priority, then the shared ones; the sandbox only when there is none', async () => {
  const names = async (application: string, channel: 'EMAIL' | 'SMS' = 'EMAIL') =>
    (await routes.routeFor(application, channel)).map(({ name }) => name);
  expect(await names('app')).toEqual(['Sandbox']);
  const draft = await accounts.create(account({ name: 'own second', priority: 20 }));
  expect(await names('app')).toEqual(['Sandbox']);
  await accounts.activate(draft.id);
  expect(await names('app')).toEqual(['own second']);
  expect(await names('other')).toEqual(['Sandbox']);
  const first = await accounts.create(account({ name: 'own first', priority: 10 }));
  const shared = await accounts.create(account({ name: 'shared', priority: 1, applicationId: null }));
  await accounts.activate(first.id);
  await accounts.activate(shared.id);
  expect(await names('app')).toEqual(['own first', 'own second', 'shared']);
  expect(await names('other')).toEqual(['shared']);
  expect(await names('app', 'SMS')).toEqual(['Sandbox']);
  expect((await accounts.disable(first.id)).state).toBe('disabled');
  expect(await names('app')).toEqual(['own second', 'shared']);
  await accounts.update(shared.id, { name: 'shared, renamed' });
  expect(await names('other')).toEqual(['shared, renamed']);
  for (const { id } of [draft, first, shared]) await accounts.remove(id);
  expect(await names('app')).toEqual(['Sandbox']);
});

test('an unchanged account stays the same object; a change by another process is seen within a second', async () => {
  let now = 1_000_000;
  const cached = createRoutes({ database, secrets, clock: { now: () => now } });
  const { id } = await accounts.create(account());
  await accounts.activate(id);
  const [before] = await cached.routeFor('app', 'EMAIL');
  expect(before).toMatchObject({ id, secrets: { password: 'secret words' } });
  await accounts.update(id, { name: 'Changed' });
  expect((await cached.routeFor('app', 'EMAIL'))[0]).toBe(before);
  now += 1000;
  const [after] = await cached.routeFor('app', 'EMAIL');
  expect(after?.name).toBe('Changed');
  now += 1000;
  expect((await cached.routeFor('app', 'EMAIL'))[0]).toBe(after);
  await accounts.remove(id);
});

test('accounts whose secrets cannot be read do not make way for the sandbox', async () => {
  const { id } = await accounts.create(account());
  await accounts.activate(id);
  const strange = createRoutes({ database, secrets: createSecrets(Buffer.alloc(32, 8)), clock: systemClock });
  await expect(strange.routeFor('app', 'EMAIL')).rejects.toThrow('master key');
  await accounts.remove(id);
});

test('the server of POSTRIDER_SMTP_URL comes after the accounts and instead of the sandbox', async () => {
  const url = smtpUrlAccount(
    'smtp://me%40x:p%20w@mail.example.com:2525?tls=none&verifyCertificate=off&messagesPerSecond=50',
    post,
  );
  expect(url).toEqual({
    id: 'smtp-url',
    applicationId: null,
    channel: 'EMAIL',
    provider: 'post',
    name: 'POSTRIDER_SMTP_URL',
    settings: { host: 'mail.example.com', port: 2525, tls: 'none', user: 'me@x', verifyCertificate: false },
    secrets: { password: 'p w' },
    messagesPerSecond: 50,
    dailyLimit: null,
    fromEnvironment: true,
  });
  const withUrl = createRoutes({ database, secrets, clock: systemClock, smtpUrlAccount: url });
  expect(await withUrl.routeFor('app', 'EMAIL')).toEqual([url]);
  expect((await withUrl.routeFor('app', 'SMS')).map(({ id }) => id)).toEqual(['sandbox-sms']);
  const { id } = await accounts.create(account());
  await accounts.activate(id);
  withUrl.invalidate();
  expect((await withUrl.routeFor('app', 'EMAIL')).map((one) => one.id)).toEqual([id, 'smtp-url']);
  await accounts.remove(id);
});

test('a URL that is wrong is refused without showing the password', () => {
  const cases: [string, string][] = [
    ['http://mail.example.com', 'expected a URL'],
    ['smtp://user:hunter2@', 'expected a URL'],
    ['smtp://user:hunter2@mail.example.com?tls=perhaps', '?.tls: expected one of'],
    ['smtp://user:hunter2@mail.example.com?speed=1', '?.speed: post has no such setting'],
    ['smtp://user:hunter2@mail.example.com?messagesPerSecond=fast', 'messagesPerSecond: expected'],
  ];
  for (const [url, words] of cases) {
    const read = () => smtpUrlAccount(url, post);
    expect(read).toThrow(`POSTRIDER_SMTP_URL: `);
    expect(read).toThrow(words);
    expect(read).not.toThrow('hunter2');
  }
  expect(smtpUrlAccount('smtps://[::1]', post).settings).toMatchObject({
    host: '::1',
    port: 465,
    tls: 'implicit',
  });
});

test('a daily limit is kept exactly by many that reserve at once', async () => {
  const { id } = await accounts.create(account({ dailyLimit: 100 }));
  const limits = createAccountLimits(database);
  const limited = { ...(await accounts.activate(id)), secrets: {} };
  const granted = await Promise.all(Array.from({ length: 40 }, () => limits.reserveDaily(limited, 7)));
  expect(granted.reduce((sum, n) => sum + n, 0)).toBe(100);
  expect(granted.filter((n) => n === 7)).toHaveLength(14);
  expect(await limits.reserveDaily(limited, 1)).toBe(0);
  expect((await accounts.get(id)).sentToday).toBe(100);
  // A reservation belongs to its transaction.
  await accounts.update(id, { dailyLimit: 150 });
  await database
    .transaction(async (tx) => {
      expect(await reserveAccountDay(tx, id, 30)).toBe(30);
      throw new Error('undone');
    })
    .catch(() => undefined);
  expect(await limits.reserveDaily(limited, 1000)).toBe(50);
  await database.query('update provider_account_days set day = day - 1 where account_id = $1', [id]);
  expect(await limits.reserveDaily(limited, 1000)).toBe(150);
  await accounts.remove(id);
});

test('accounts without limits grant all', async () => {
  const limits = createAccountLimits(database);
  const free = smtpUrlAccount('smtp://mail.example.com', post);
  expect(await limits.reserveDaily(free, 5)).toBe(5);
  expect(await limits.lease(free, 5)).toEqual({ granted: 5, waitMs: 0 });
  expect(await database.transaction((tx) => reserveAccountDay(tx, free.id, 5))).toBe(5);
  expect((await limits.lease({ ...free, messagesPerSecond: 8 }, 5)).granted).toBe(2);
});
