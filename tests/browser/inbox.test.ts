import { CreateAppCommand, UpdateEmailChannelCommand } from '@aws-sdk/client-pinpoint';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startBrowser } from '../support/browser.ts';
import { startProduct } from '../support/product.ts';
import { missing } from '../support/requires.ts';

describe.skipIf(missing('chromium').length > 0)('the inbox in Chromium', () => {
  let browser: Browser;
  let product: Awaited<ReturnType<typeof startProduct>>;

  beforeAll(async () => {
    product = await startProduct();
    browser = await startBrowser();
    await sendMails();
  });
  afterAll(() => browser?.close());

  /** A page of a signed-in browser; what it complains of on its console is a failure of `open`'s test. */
  async function open(path: string, options: { width?: number; signedIn?: boolean } = {}) {
    const { key, url } = product;
    const context = await browser.newContext({
      httpCredentials: options.signedIn === false ? undefined : { username: key.id, password: key.secret },
      viewport: { width: options.width ?? 1100, height: 700 },
    });
    const page = await context.newPage();
    const complaints: string[] = [];
    page.on('console', (message) => {
      if (message.type() === 'error') complaints.push(message.text());
    });
    page.on('pageerror', (error) => complaints.push(error.message));
    await page.goto(url + path, { waitUntil: 'networkidle' });
    return { page, complaints };
  }

  async function sendMails() {
    const { ApplicationResponse } = await product
      .client()
      .send(new CreateAppCommand({ CreateApplicationRequest: { Name: 'shop' } }));
    const app = ApplicationResponse!.Id!;
    await product.client().send(
      new UpdateEmailChannelCommand({
        ApplicationId: app,
        EmailChannelRequest: { FromAddress: 'Shop <shop@example.com>', Identity: 'example.com' },
      }),
    );
    const mails = [
      {
        address: 'ada@example.com',
        subject: 'Hello Ada',
        html: '<h1>Hi</h1><p>Your order is on its way.</p>',
      },
      {
        address: 'eve@example.com',
        subject: '<img src=x onerror=alert(1)>',
        html: '<form action="/api/keys"><button>Click</button></form><script>parent.document.title = "taken"</script>',
      },
    ];
    for (const { address, ...content } of mails)
      await product.json(`/api/apps/${app}/messages`, {
        method: 'POST',
        json: { channel: 'EMAIL', to: [{ address }], ...content },
      });
  }

  test('lists what was sent, finds an address, and shows a mail with what happened to it', async () => {
    const { page, complaints } = await open('/inbox');
    expect(await page.locator('.messages li').count()).toBe(2);
    await page.getByLabel('Address').fill('ada@example.com');
    await page.getByRole('button', { name: 'Search' }).click();
    expect(await page.locator('.messages li').count()).toBe(1);
    await page.getByRole('link', { name: /Hello Ada/ }).click();
    expect(await page.getByRole('heading', { level: 1 }).textContent()).toBe('Hello Ada');
    expect(await page.frameLocator('iframe').locator('p').textContent()).toBe('Your order is on its way.');
    expect(await page.locator('pre').textContent()).toContain('Your order is on its way.');
    expect(await page.locator('.timeline').textContent()).toMatch(/decided.*sent/s);
    expect(complaints).toEqual([]);
  });

  test('says so when there is nothing, and how to see all again', async () => {
    const { page } = await open('/inbox?address=nobody%40example.com');
    expect(await page.getByText('Nothing found').isVisible()).toBe(true);
    await page.getByRole('link', { name: 'Show all' }).click();
    expect(await page.locator('.messages li').count()).toBe(2);
  });

  test('lets a mail do nothing', async () => {
    const { page } = await open('/inbox?address=eve%40example.com');
    await page.locator('.messages a').click();
    expect(await page.getByRole('heading', { level: 1 }).textContent()).toBe('<img src=x onerror=alert(1)>');
    await page.frameLocator('iframe').getByRole('button').click();
    await page.waitForLoadState('networkidle');
    expect(await page.title()).not.toBe('taken');
    expect(page.frames().map((frame) => new URL(frame.url()).pathname)).not.toContain('/api/keys');
  });

  test('fits a telephone, and can be used with the keyboard alone', async () => {
    const { page } = await open('/inbox', { width: 360 });
    const width = await page.evaluate('document.documentElement.scrollWidth');
    expect(width).toBe(360);
    await page.locator('.messages a').first().focus();
    await page.keyboard.press('Enter');
    await page.waitForURL(/\/inbox\/[0-9a-f-]{36}$/);
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(360);
  });

  test('explains in a page what went wrong', async () => {
    const { page } = await open('/inbox/no-such-message');
    expect(await page.locator('main').textContent()).toContain('Inbox message no-such-message');
  });

  test('the pages of the API show its operations without complaints', async () => {
    const { page, complaints } = await open('/api/docs', { signedIn: false });
    await page.getByText('Make a key').waitFor();
    expect(await page.title()).toBe('Postrider API');
    expect(complaints).toEqual([]);
  });
});
