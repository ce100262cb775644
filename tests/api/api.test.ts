import { randomUUID } from 'node:crypto';
import {
  CreateAppCommand,
  CreateEmailTemplateCommand,
  UpdateEmailChannelCommand,
} from '@aws-sdk/client-pinpoint';
import { beforeAll, expect, test } from 'vitest';
import { startProduct } from '../support/product.ts';

const product = await startProduct();
let app: string;

beforeAll(async () => {
  const client = product.client();
  const created = await client.send(new CreateAppCommand({ CreateApplicationRequest: { Name: 'api' } }));
  app = created.ApplicationResponse!.Id!;
  await client.send(
    new UpdateEmailChannelCommand({
      ApplicationId: app,
      EmailChannelRequest: { FromAddress: 'Shop <shop@example.com>', Identity: 'example.com' },
    }),
  );
});

interface SentMessages {
  messages: { messageId: string; status: string; address: string; detail?: string }[];
}

const send = (json: object, headers: Record<string, string> = {}) =>
  product.request(`/api/apps/${app}/messages`, { method: 'POST', json, headers });

test('without credentials, or with wrong ones, nothing is answered but how to sign in', async () => {
  for (const authorization of [
    '',
    'Bearer pr_wrong',
    `Basic ${Buffer.from(`${product.key.id}:wrong`).toString('base64')}`,
  ]) {
    const response = await product.request('/api/keys', { headers: { authorization } });
    expect(response.status).toBe(401);
    expect(response.headers.get('www-authenticate')).toMatch(/^Basic/);
    expect(response.headers.get('content-type')).toMatch(/^application\/problem\+json/);
    expect(await response.json()).toMatchObject({ code: 'unauthenticated', status: 401 });
  }
});

test('a token may do what its scopes say, until it is revoked', async () => {
  const scopes = { applications: [app], actions: ['postrider:ListMessages'], buckets: [] };
  const { id, token } = await product.json<{ id: string; token: string }>('/api/tokens', {
    method: 'POST',
    json: { name: 'reader', scopes },
  });
  const headers = { authorization: `Bearer ${token}` };
  expect((await product.request(`/api/apps/${app}/messages`, { headers })).status).toBe(200);
  expect((await product.request('/api/apps/other/messages', { headers })).status).toBe(403);
  expect((await product.request(`/api/apps/${app}/inbox`, { headers })).status).toBe(403);
  expect((await product.request('/api/keys', { headers })).status).toBe(403);
  expect((await product.request(`/api/tokens/${id}`, { method: 'DELETE' })).status).toBe(204);
  expect((await product.request(`/api/apps/${app}/messages`, { headers })).status).toBe(401);
});

test('a message is sent, found in the log with its timeline, and lies in the inbox', async () => {
  const attachment = {
    filename: 'invoice.txt',
    contentType: 'text/plain',
    dataBase64: Buffer.from('42 EUR').toString('base64'),
  };
  const { messages } = (await (
    await send({
      channel: 'EMAIL',
      to: [
        { address: 'ada@example.com', substitutions: { name: 'Ada' } },
        { address: 'reject@example.com', substitutions: { name: 'x' } },
      ],
      subject: 'Your code is 123456, {{name}}',
      html: '<p>Hello {{name}}</p>',
      attachments: [attachment],
      context: { order: '7' },
    })
  ).json()) as SentMessages;
  expect(messages.map(({ address, status }) => [address, status])).toEqual([
    ['ada@example.com', 'sent'],
    ['reject@example.com', 'failed'],
  ]);
  const found = await product.json<{ items: { id: string; summary: string }[] }>(
    `/api/apps/${app}/messages?address=ada@example.com`,
  );
  expect(found.items.map(({ id }) => id)).toEqual([messages[0]!.messageId]);
  // Codes are masked in every view but the sandbox, which is the recipient.
  expect(found.items[0]!.summary).toContain('Ada');
  expect(found.items[0]!.summary).not.toContain('123456');
  const message = await product.json<{ timeline: { event: string }[]; context: object }>(
    `/api/apps/${app}/messages/${messages[0]!.messageId}`,
  );
  expect(message.timeline.map(({ event }) => event).slice(0, 2)).toEqual(['decided', 'sent']);
  expect(message.context).toEqual({ order: '7' });
  const inbox = await product.json<{ items: { id: string; subject: string }[] }>(
    `/api/apps/${app}/inbox?address=ada@example.com`,
  );
  expect(inbox.items[0]!.subject).toBe('Your code is 123456, Ada');
  const whole = await product.json<{ content: { html: string; text: string; attachments: object[] } }>(
    `/api/apps/${app}/inbox/${inbox.items[0]!.id}`,
  );
  expect(whole.content).toMatchObject({
    html: '<p>Hello Ada</p>',
    text: 'Hello Ada',
    attachments: [attachment],
  });
  // The address that refused for good is suppressed.
  const suppressions = await product.json<{ items: { address: string; reason: string }[] }>(
    `/api/apps/${app}/suppressions`,
  );
  expect(suppressions.items).toMatchObject([{ address: 'reject@example.com', reason: 'bounce' }]);
});

test('a stored template is sent by its name', async () => {
  await product.client().send(
    new CreateEmailTemplateCommand({
      TemplateName: 'welcome',
      EmailTemplateRequest: {
        Subject: 'Welcome {{name}}',
        TextPart: 'Hi {{name}}',
        DefaultSubstitutions: '{"name":"friend"}',
      },
    }),
  );
  const { messages } = (await (
    await send({ channel: 'EMAIL', to: [{ address: 'new@example.com' }], template: { name: 'welcome' } })
  ).json()) as SentMessages;
  expect(messages[0]!.status).toBe('sent');
  const inbox = await product.json<{ items: { subject: string }[] }>(
    `/api/apps/${app}/inbox?address=new@example.com`,
  );
  expect(inbox.items[0]!.subject).toBe('Welcome friend');
});

test('the same Idempotency-Key sends once, and refuses another request', async () => {
  const key = randomUUID();
  const body = { channel: 'SMS', to: [{ address: '+4915112345678' }], body: 'hello' };
  const first = await send(body, { 'idempotency-key': key });
  const second = await send(body, { 'idempotency-key': key });
  expect(first.status).toBe(202);
  expect(second.headers.get('idempotent-replayed')).toBe('true');
  expect(await second.json()).toEqual(await first.json());
  const inbox = await product.json<{ items: object[] }>(`/api/apps/${app}/inbox?channel=SMS`);
  expect(inbox.items).toHaveLength(1);
  const other = await send({ ...body, body: 'bye' }, { 'idempotency-key': key });
  expect(other.status).toBe(409);
  // What was refused is not kept: the corrected request may use the key.
  const another = randomUUID();
  expect((await send({ ...body, to: [] }, { 'idempotency-key': another })).status).toBe(400);
  expect((await send(body, { 'idempotency-key': another })).status).toBe(202);
});

test('bad input names the member and what was expected', async () => {
  const cases: [object, string][] = [
    [{ channel: 'FAX', to: [{ address: 'a@example.com' }] }, '$.channel'],
    [{ channel: 'EMAIL' }, '$.to'],
    [{ channel: 'EMAIL', to: [{ address: 'a@example.com' }] }, '$'],
    [{ channel: 'EMAIL', to: [{}], subject: 's', text: 't' }, '$.to[0]'],
    [{ channel: 'EMAIL', to: [{ address: 'a\0@example.com' }], subject: 's', text: 't' }, '$.to[0].address'],
    [{ channel: 'EMAIL', to: [{ address: 'a@example.com' }], subject: '\ud800', text: 't' }, '$.subject'],
    [{ channel: 'EMAIL', to: [{ address: 'a@example.com' }], subject: 's', text: 't', extra: 1 }, '$.extra'],
    [
      {
        channel: 'EMAIL',
        to: [{ address: 'a@example.com' }],
        subject: 's',
        text: 't',
        headers: [{ name: 'X:\r\n', value: '' }],
      },
      '$.headers.0.name',
    ],
  ];
  for (const [body, member] of cases) {
    const response = await send(body);
    const problem = (await response.json()) as { member?: string };
    expect([response.status, problem.member], JSON.stringify(problem)).toEqual([400, member]);
  }
  for (const path of [
    '/api/apps/none/messages',
    `/api/apps/${app}/messages/x`,
    '/api/nothing',
    `/api/apps/${app}/campaigns/none/accounting`,
  ]) {
    expect((await product.request(path)).status).toBe(404);
  }
  expect((await product.request(`/api/apps/${app}/messages?cursor=x`)).status).toBe(400);
  expect((await product.request(`/api/apps/${app}/messages?limit=0`)).status).toBe(400);
  expect((await product.request(`/api/apps/${app}/messages?status=nonsense`)).status).toBe(400);
});

test('lists come in pages', async () => {
  const addresses = Array.from({ length: 5 }, (_, index) => `page.${index}@example.com`);
  for (const address of addresses)
    await product.json(`/api/apps/${app}/suppressions`, {
      method: 'POST',
      json: { channel: 'EMAIL', address },
    });
  const seen: string[] = [];
  let cursor: string | null = null;
  do {
    const query: string = new URLSearchParams({ limit: '2', ...(cursor ? { cursor } : {}) }).toString();
    const page: { items: { address: string }[]; next: string | null } = await product.json(
      `/api/apps/${app}/suppressions?${query}`,
    );
    expect(page.items.length).toBeLessThanOrEqual(2);
    seen.push(...page.items.map(({ address }) => address));
    cursor = page.next;
  } while (cursor);
  expect(seen.filter((address) => address.startsWith('page.'))).toEqual(addresses);
  expect(
    (
      await product.request(`/api/apps/${app}/suppressions?channel=EMAIL&address=page.1@example.com`, {
        method: 'DELETE',
      })
    ).status,
  ).toBe(204);
});

test('a provider account is made, tried, activated, and never shows its secret', async () => {
  const account = await product.json<{ id: string; state: string }>('/api/provider-accounts', {
    method: 'POST',
    json: {
      channel: 'EMAIL',
      provider: 'smtp',
      name: 'closed',
      settings: { host: '127.0.0.1', port: 1, tls: 'none', user: 'u', password: 'hunter2' },
    },
  });
  expect(account.state).toBe('draft');
  const shown = await (await product.request(`/api/provider-accounts/${account.id}`)).text();
  expect(shown).not.toContain('hunter2');
  const verdict = await product.json<{ outcome: string; accountUnusable: boolean }>(
    `/api/provider-accounts/${account.id}/test-send`,
    {
      method: 'POST',
      json: { address: 'me@example.com', from: 'shop@example.com' },
    },
  );
  expect(verdict).toMatchObject({ outcome: 'deferred', accountUnusable: true });
  expect(
    await product.json(`/api/provider-accounts/${account.id}/activate`, { method: 'POST' }),
  ).toMatchObject({ state: 'active' });
  expect((await product.request(`/api/provider-accounts/${account.id}`, { method: 'DELETE' })).status).toBe(
    204,
  );
  const bad = await product.request('/api/provider-accounts', {
    method: 'POST',
    json: { channel: 'EMAIL', provider: 'smtp', name: 'x', settings: { port: 25 } },
  });
  expect(bad.status).toBe(400);
});

test('the document describes every route, and its pages are served', async () => {
  const document = await product.json<{ openapi: string; paths: Record<string, object> }>(
    '/api/openapi.json',
  );
  expect(document.openapi).toBe('3.1.0');
  expect(Object.keys(document.paths)).toEqual(
    expect.arrayContaining([
      '/api/keys',
      '/api/apps/{app}/messages',
      '/api/apps/{app}/campaigns/{id}/accounting',
      '/api/apps/{app}/segments/{id}/explain',
    ]),
  );
  const page = await fetch(`${product.url}/api/docs/`);
  expect(await page.text()).toContain('swagger');
});

test('the inbox page shows mails without letting them do anything', async () => {
  await send({
    channel: 'EMAIL',
    to: [{ address: 'evil@example.com' }],
    subject: '<script>alert(1)</script>',
    html: '<script>alert(2)</script>',
  });
  const page = await product.request('/inbox?address=evil@example.com');
  const html = await page.text();
  expect(page.headers.get('content-security-policy')).toContain("default-src 'none'");
  expect(html).not.toContain('<script>');
  const id = /href="\/inbox\/([0-9a-f-]{36})"/.exec(html)![1]!;
  const part = await product.request(`/inbox/${id}/html`);
  expect(part.headers.get('content-security-policy')).toContain('sandbox');
  expect((await fetch(`${product.url}/inbox`)).status).toBe(401);
});
