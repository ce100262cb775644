import { describe, expect, test } from 'vitest';
import { maskSecrets, summary } from './masking.ts';

describe('codes', () => {
  test.each([
    ['Your code is 123456.', 'Your code is ****.'],
    ['123456 is your verification code', '**** is your verification code'],
    ['G-482913 is your Google code', '**** is your Google code'],
    ['PIN: 0042', 'PIN: ****'],
    ['Ihr Bestätigungscode lautet 123 456', 'Ihr Bestätigungscode lautet ****'],
    ['Tu código: 9876-5432', 'Tu código: ****'],
    ['Ваш код 55555', 'Ваш код ****'],
    ['您的验证码是1234', '您的验证码是****'],
    ['認証コード：87654321', '認証コード：****'],
    ['Dein Passwort ist 1234', 'Dein Passwort ist ****'],
    [' 123456 ', ' **** '],
    ['0815', '****'],
  ])('%s', (text, masked) => {
    expect(maskSecrets(text)).toBe(masked);
  });

  test.each([
    'Order 123456 has shipped',
    'See you in 2026',
    'It costs 1234.50 with the code of conduct',
    'Call +491701234567',
    'Your code is 12',
    'decoded 123456',
  ])('%s stays', (text) => {
    expect(maskSecrets(text)).toBe(text);
  });
});

describe('links', () => {
  test.each([
    ['https://x.test/reset?token=abc&lang=en', 'https://x.test/reset?token=****&lang=en'],
    ['<a href="https://x.test/?a=1&amp;sig=Zm9v">', '<a href="https://x.test/?a=1&amp;sig=****">'],
    ['https://x.test/l/9f86d081884c7d659a2feaa0c55ad015/open', 'https://x.test/l/****/open'],
    ['https://x.test/#access_token=eyJhbGciOi.J9', 'https://x.test/#access_token=****'],
    ['https://x.test/c?x=9f86d081884c7d659a2feaa0', 'https://x.test/c?x=****'],
    ['https://user:pass@x.test/', 'https://****@x.test/'],
    ['myapp://login?code=123456', 'myapp://login?code=****'],
  ])('%s', (text, masked) => {
    expect(maskSecrets(text)).toBe(masked);
  });

  test.each([
    'https://x.test/products/summer-collection-for-everyone-2026?page=2',
    'https://x.test/a/very-long-article-title-with-many-words-in-it.html',
    'https://x.test/orders/123456',
  ])('%s stays', (text) => {
    expect(maskSecrets(text)).toBe(text);
  });
});

test('long and hostile texts take no time worth mentioning', () => {
  for (const part of ['?', '//', 'a://', '1 ', '123-', 'code ', '&=', 'a.', '\uF8FE0\uF8FF', '😀']) {
    expect(maskSecrets(part.repeat(100_000))).toEqual(expect.any(String));
  }
});

test('a summary is one line of at most 120 characters without secrets', () => {
  expect(summary('Hello\r\n  Jane, your code is 123456')).toBe('Hello Jane, your code is ****');
  const long = summary('😀'.repeat(200));
  expect([...long]).toHaveLength(120);
  expect(long.endsWith('😀…')).toBe(true);
  expect(summary('x '.repeat(500))).toHaveLength(120);
});
