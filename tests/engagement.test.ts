import { CreateAppCommand, UpdateEmailChannelCommand } from '@aws-sdk/client-pinpoint';
import { beforeAll, expect, test } from 'vitest';
import { waitFor } from './support/processes.ts';
import { startProduct } from './support/product.ts';

const product = await startProduct();
let app: string;

beforeAll(async () => {
  const client = product.client();
  const created = await client.send(new CreateAppCommand({ CreateApplicationRequest: { Name: 'opens' } }));
  app = created.ApplicationResponse!.Id!;
  await client.send(
    new UpdateEmailChannelCommand({
      ApplicationId: app,
      EmailChannelRequest: { FromAddress: 'shop@example.com', Identity: 'example.com' },
    }),
  );
});

interface Timeline {
  status: string;
  timeline: { event: string; machine?: boolean; url?: string; userAgent?: string }[];
}

/** Sends a mail and waits until it is in the inbox. */
async function sendMail(html: string): Promise<{ messageId: string; inboxId: string }> {
  const { messages } = await product.json<{ messages: { messageId: string }[] }>(
    `/api/apps/${app}/messages`,
    {
      method: 'POST',
      json: { channel: 'EMAIL', to: [{ address: 'ada@example.com' }], subject: 'Hello', html },
    },
  );
  const { messageId } = messages[0]!;
  let inboxId: string | undefined;
  await waitFor('the mail', async () => {
    const { items } = await product.json<{ items: { id: string; messageId: string }[] }>(
      `/api/apps/${app}/inbox`,
    );
    inboxId = items.find((item) => item.messageId === messageId)?.id;
    return inboxId !== undefined;
  });
  return { messageId, inboxId: inboxId! };
}

const detail = (id: string) => product.json<Timeline>(`/api/apps/${app}/messages/${id}`);
const engagements = ({ timeline }: Timeline) =>
  timeline.filter(({ event }) => event === 'opened' || event === 'clicked');

test('a person opens and clicks, a machine does: each is a fact, and the message stays delivered', async () => {
  const { messageId, inboxId } = await sendMail('<p>Hi</p>');
  const post = (word: string, json: object) =>
    product.request(`/api/apps/${app}/inbox/${inboxId}/${word}`, { method: 'POST', json });
  expect((await post('open', { userAgent: 'Mail/1.0' })).status).toBe(204);
  expect((await post('open', { machine: true })).status).toBe(204);
  expect((await post('click', { url: 'https://example.com/sale' })).status).toBe(204);
  await waitFor('the delivery', async () => (await detail(messageId)).status === 'delivered');
  expect(engagements(await detail(messageId))).toMatchObject([
    { event: 'opened', machine: false, userAgent: 'Mail/1.0' },
    { event: 'opened', machine: true },
    { event: 'clicked', machine: false, url: 'https://example.com/sale' },
  ]);
});

test('who reads a mail in the inbox opens it, and its links count as clicks on their way to where they lead', async () => {
  const { messageId, inboxId } = await sendMail('<a href="https://example.com/a?b=1&amp;c=2">Sale</a>');
  expect((await product.request(`/inbox/${inboxId}`)).status).toBe(200);
  const frame = await (await product.request(`/inbox/${inboxId}/html`)).text();
  const path = /href="(\/inbox\/[^"]+)"/.exec(frame)![1]!;
  const answer = await product.request(path, { redirect: 'manual' });
  expect(answer.status).toBe(303);
  expect(answer.headers.get('location')).toBe('https://example.com/a?b=1&c=2');
  expect(engagements(await detail(messageId))).toMatchObject([
    { event: 'opened', machine: false },
    { event: 'clicked', machine: false, url: 'https://example.com/a?b=1&c=2' },
  ]);
});

test('what is not there cannot be opened, and wrong members are named', async () => {
  const { inboxId } = await sendMail('<p>No links</p>');
  const post = (path: string, json: object) => product.request(path, { method: 'POST', json });
  expect((await post(`/api/apps/${app}/inbox/nothing/open`, {})).status).toBe(404);
  expect((await product.request(`/inbox/${inboxId}/links/0`, { redirect: 'manual' })).status).toBe(404);
  const wrong = await post(`/api/apps/${app}/inbox/${inboxId}/click`, { link: 'x' });
  expect(wrong.status).toBe(400);
  expect(await wrong.json()).toMatchObject({ member: '$.link' });
});
