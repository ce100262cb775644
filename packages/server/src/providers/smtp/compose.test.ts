import fc from 'fast-check';
import MailComposer from 'nodemailer/lib/mail-composer';
import PostalMime from 'postal-mime';
import { describe, expect, test } from 'vitest';
import type { EmailContent, OutgoingMessage } from '../../messaging/provider.ts';
import { uuidTime, uuidv7 } from '../../platform/ids.ts';
import { composeMail } from './compose.ts';
import { encodeQuotedPrintable } from './encode.ts';

function messageTo(address: string, id = uuidv7()): OutgoingMessage {
  return {
    id,
    applicationId: 'app',
    channel: 'EMAIL',
    address,
    attempt: 1,
    content: { kind: 'custom', body: '' },
  };
}

function compose(content: Partial<EmailContent>, address = 'someone@example.org') {
  const message = messageTo(address);
  const mail = composeMail(message, { kind: 'email', from: 'shop@example.com', subject: 'Hi', ...content });
  return { id: message.id, ...mail, source: mail.bytes.toString('utf8') };
}

async function parse(bytes: Buffer) {
  const mail = await PostalMime.parse(bytes, { attachmentEncoding: 'base64', forceRfc822Attachments: true });
  // A part's last line breaks may belong to its boundary.
  const lines = (text: string | undefined) => text?.replace(/\r\n/g, '\n').replace(/\n+$/, '');
  return { ...mail, text: lines(mail.text), html: lines(mail.html) };
}

describe('a mail', () => {
  test('has its id, date, addresses and both texts', async () => {
    const { id, bytes, envelope } = compose({
      from: 'Grüße <shop@bücher.example>',
      replyTo: ['Help <help@example.com>', 'b@example.com'],
      subject: 'Ünïcode, "quotes" and more',
      html: '<p>Hello ü = "x"</p>\n'.repeat(20),
      text: 'Hello ü\nFrom here on.\n',
      headers: [
        { name: 'List-Unsubscribe', value: '<https://example.com/u/1>' },
        { name: 'X-Text', value: 'ä' },
      ],
    });
    const mail = await parse(bytes);
    expect(envelope).toEqual({ from: 'shop@xn--bcher-kva.example', to: 'someone@example.org' });
    expect(mail.from).toEqual({ name: 'Grüße', address: 'shop@xn--bcher-kva.example' });
    expect(mail.to).toEqual([{ name: '', address: 'someone@example.org' }]);
    expect(mail.replyTo).toEqual([
      { name: 'Help', address: 'help@example.com' },
      { name: '', address: 'b@example.com' },
    ]);
    expect(mail.subject).toBe('Ünïcode, "quotes" and more');
    expect(mail.messageId).toBe(`<${id}@xn--bcher-kva.example>`);
    expect(Date.parse(mail.date!)).toBe(Math.floor(uuidTime(id) / 1000) * 1000);
    const headers = new Map(mail.headers.map(({ key, value }) => [key, value]));
    expect(headers.get('x-postrider-id')).toBe(id);
    expect(headers.get('list-unsubscribe')).toBe('<https://example.com/u/1>');
    expect(headers.get('mime-version')).toBe('1.0');
    expect(mail.html).toBe('<p>Hello ü = "x"</p>\n'.repeat(20).trimEnd());
    expect(mail.text).toBe('Hello ü\nFrom here on.');
    expect(mail.headers.filter(({ key }) => key === 'message-id')).toHaveLength(1);
  });

  test('is the same each time it is composed', () => {
    const message = messageTo('a@example.org');
    const content: EmailContent = {
      kind: 'email',
      from: 'shop@example.com',
      subject: 'Hi',
      text: 'a',
      html: 'b',
      attachments: [{ filename: 'a.txt', contentType: 'text/plain', dataBase64: 'aGk=' }],
    };
    expect(
      composeMail(message, content).bytes.equals(composeMail({ ...message, attempt: 2 }, content).bytes),
    ).toBe(true);
  });

  test('carries files and inline pictures where readers look for them', async () => {
    const picture = Buffer.from(Array.from({ length: 5000 }, (_, i) => i % 256)).toString('base64');
    const { bytes } = compose({
      text: 'text',
      html: '<img src="cid:logo">',
      attachments: [
        { filename: 'logo.png', contentType: 'image/png', dataBase64: picture, contentId: 'logo' },
        { filename: 'Rechnung "März" 😀.pdf', contentType: 'application/pdf', dataBase64: picture },
        {
          filename: 'mail.eml',
          contentType: 'message/rfc822',
          dataBase64: Buffer.from('Subject: x\r\n\r\ny').toString('base64'),
        },
        {
          filename: 'ü.eml',
          contentType: 'message/rfc822',
          dataBase64: Buffer.from('Subject: ü\r\n\r\ny').toString('base64'),
        },
        { filename: '', contentType: 'text/csv; charset=utf-8', dataBase64: '' },
      ],
    });
    const mail = await parse(bytes);
    expect(mail.text).toBe('text');
    expect(mail.html).toBe('<img src="cid:logo">');
    expect(
      mail.attachments.map(({ filename, mimeType, disposition, contentId }) => [
        filename,
        mimeType,
        disposition,
        contentId,
      ]),
    ).toEqual([
      ['logo.png', 'image/png', 'inline', '<logo>'],
      ['Rechnung "März" 😀.pdf', 'application/pdf', 'attachment', undefined],
      ['mail.eml', 'message/rfc822', 'attachment', undefined],
      ['ü.eml', 'application/octet-stream', 'attachment', undefined],
      ['attachment', 'text/csv', 'attachment', undefined],
    ]);
    expect(mail.attachments[1]?.content).toBe(picture);
    expect(Buffer.from(mail.attachments[2]!.content as string, 'base64').toString()).toBe(
      'Subject: x\n\ny\n',
    );
  });

  test('that is raw goes out as it is', () => {
    const raw = Buffer.from('From: a@b.c\r\nX: \xe4\r\n\r\n.dot\r\n', 'latin1');
    const { bytes, envelope, eightBit } = compose({ rawBase64: raw.toString('base64') });
    expect(bytes.equals(raw)).toBe(true);
    expect(envelope).toEqual({ from: 'shop@example.com', to: 'someone@example.org' });
    expect(eightBit).toBe(true);
  });

  test('has short lines, CRLF only, and ASCII only', () => {
    const { source, utf8 } = compose({
      from: `${'Ein sehr langer Name mit Ümlauten '.repeat(8)}<shop@example.com>`,
      subject: `${'ä'.repeat(300)} ${'x'.repeat(3000)}`,
      text: `${'word '.repeat(500)}\n${'y'.repeat(5000)}\r\r\n\n \n.\nFrom me\n`,
      html: `<p>${'日本語'.repeat(500)}</p>`,
      headers: [{ name: 'X-Long', value: 'some words '.repeat(60) }],
    });
    expect(utf8).toBe(false);
    expect(source).toMatch(/^[\t\r\n\x20-\x7e]*$/);
    expect(source.replaceAll('\r\n', '')).not.toMatch(/[\r\n]/);
    const lines = source.split('\r\n');
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(78);
    expect(lines.filter((line) => /^[ \t]+$/.test(line))).toEqual([]);
    expect(lines.filter((line) => line.startsWith('From '))).toEqual([]);
  });
});

describe('nothing in a value becomes a header or a recipient', () => {
  const evil = 'x\r\nBcc: evil@example.com\r\n\r\nbody';
  const allowed = new Set(
    'from to reply-to subject message-id date x-postrider-id x-own mime-version content-type content-transfer-encoding'.split(
      ' ',
    ),
  );

  async function check(content: Partial<EmailContent>, address?: string) {
    const { bytes, envelope } = compose(content, address);
    const mail = await parse(bytes);
    expect(mail.headers.map(({ key }) => key).filter((key) => !allowed.has(key))).toEqual([]);
    expect(mail.to).toHaveLength(1);
    expect(mail.bcc ?? []).toEqual([]);
    expect(`${envelope.from}${envelope.to}`).not.toMatch(/[\r\n<>]/);
  }

  test('as subject, header, file name or content id', async () => {
    await check({ subject: evil });
    await check({ subject: 'x\u2028Bcc: a@b.c\u0085Bcc: a@b.c\0' });
    await check({ headers: [{ name: 'X-Own', value: evil }] });
    await check({
      html: '<p>',
      attachments: [{ filename: evil, contentType: 'text/plain', dataBase64: '', contentId: evil }],
    });
  });

  test.each<[string, Partial<EmailContent>, string]>([
    ['sender', { from: `Shop${evil} <a@b.c>` }, 'a@x.org'],
    ['address', {}, 'a@x.org\r\nBcc: evil@x.org'],
    ['reply address', { replyTo: [`a@b.c${evil}`] }, 'a@x.org'],
    ['header name', { headers: [{ name: `X${evil}`, value: '' }] }, 'a@x.org'],
    [
      'media type',
      { attachments: [{ filename: 'a', contentType: `text/plain${evil}`, dataBase64: '' }] },
      'a@x.org',
    ],
    ['reserved header', { headers: [{ name: 'message-ID', value: '<a@b>' }] }, 'a@x.org'],
    ['content header', { headers: [{ name: 'Content-Type', value: 'text/evil' }] }, 'a@x.org'],
    ['list of senders', { from: 'a@b.c, d@e.f' }, 'a@x.org'],
    ['list of recipients', {}, 'a@x.org,b@x.org'],
    [
      'header that cannot be folded',
      {
        headers: [{ name: 'X-Own', value: `<${'y'.repeat(760)}> <${'x'.repeat(1100)}>`.replace(/ /g, '') }],
        subject: 'ok',
      },
      'a@x.org',
    ],
  ])('as %s: refused', (what, content, address) => {
    if (what === 'header that cannot be folded') {
      // Words of more than 800 characters become encoded words, which fold.
      expect(() => compose(content, address)).not.toThrow();
      return;
    }
    expect(() => compose(content, address)).toThrow();
  });

  test('for any text at all', async () => {
    const text = fc.string({
      unit: fc.oneof(
        fc.constantFrom('\r', '\n', ':', ' ', '<', '>', '"', '=?', 'Bcc: a@b.c'),
        fc.string({ unit: 'binary', maxLength: 3 }),
      ),
    });
    await fc.assert(
      fc.asyncProperty(text, text, text, text, (subject, value, name, filename) =>
        check({
          from: `"${name.replace(/[\p{Cc}"\\]/gu, '')}" <shop@example.com>`,
          subject,
          headers: [{ name: 'X-Own', value }],
          attachments: [{ filename, contentType: 'text/plain', dataBase64: 'aGk=' }],
        }),
      ),
      { numRuns: 200 },
    );
  });
});

test('reads the same as what MailComposer makes of it', async () => {
  const words = fc.string({
    unit: fc.oneof(
      fc.constantFrom(' ', 'a', 'word', 'ü', '日本', '😀', '.', '=', 'From '),
      fc.string({ maxLength: 4 }),
    ),
  });
  const line = words.map((text) =>
    text
      .replace(/[\p{Cc}]+/gu, ' ')
      .replace(/ {2,}/g, ' ')
      .trim(),
  );
  const body = fc.array(line, { maxLength: 12 }).map((lines) => lines.join('\n'));
  await fc.assert(
    fc.asyncProperty(line, body, body, fc.boolean(), async (subject, text, html, withFile) => {
      const attachments = withFile
        ? [{ filename: 'a.bin', contentType: 'application/x-test', dataBase64: 'AAECAw==' }]
        : [];
      const content = { from: 'Shop <shop@example.com>', subject, text, html: `<p>${html}</p>`, attachments };
      const ours = await parse(compose(content).bytes);
      const theirs = await parse(
        await new MailComposer({
          ...content,
          to: 'someone@example.org',
          attachments: attachments.map(({ filename, contentType, dataBase64 }) => ({
            filename,
            contentType,
            content: Buffer.from(dataBase64, 'base64'),
          })),
        })
          .compile()
          .build(),
      );
      expect(ours.subject ?? '').toBe(theirs.subject ?? '');
      expect(ours.text ?? '').toBe(theirs.text ?? '');
      expect(ours.html).toBe(theirs.html);
      expect(ours.from).toEqual(theirs.from);
      expect(ours.to).toEqual(theirs.to);
      expect(ours.attachments).toEqual(theirs.attachments);
    }),
    { numRuns: 200 },
  );
});

test('quoted-printable decodes to what was encoded, in lines of at most 76', () => {
  const bytes = fc.uint8Array({ maxLength: 400 }).map((array) => Buffer.from(array));
  const texts = fc
    .string({ unit: fc.constantFrom('a', ' ', '\t', '\r\n', '=', 'ü', 'From ', 'F', '.'), maxLength: 400 })
    .map((text) => Buffer.from(text));
  fc.assert(
    fc.property(fc.oneof(bytes, texts), (input) => {
      const encoded = encodeQuotedPrintable(input).toString('latin1');
      expect(encoded.split('\r\n').every((line) => line.length <= 76 && !/[ \t]$|^From /.test(line))).toBe(
        true,
      );
      const decoded = encoded
        .replace(/=\r\n/g, '')
        .replace(/=([0-9A-F]{2})/g, (_all, digits) => String.fromCharCode(Number.parseInt(digits, 16)));
      expect(decoded).toBe(input.toString('latin1').replace(/\r\n?|\n/g, '\r\n'));
    }),
    { numRuns: 1000 },
  );
});

describe('addresses', () => {
  test.each([
    ['someone@example.org', 'someone@example.org'],
    ['Name <someone@example.org>', 'someone@example.org'],
    ['"a b"@example.org', '"a b"@example.org'],
    ['a..b@example.org', '"a..b"@example.org'],
    ["o'neil+tag@sub.example.org", "o'neil+tag@sub.example.org"],
    ['user@[192.0.2.1]', 'user@[192.0.2.1]'],
    ['user@BÜCHER.example', 'user@xn--bcher-kva.example'],
    ['jürgen@bücher.example', 'jürgen@bücher.example'],
  ])('%s', (address, expected) => {
    const { envelope, utf8 } = compose({}, address);
    expect(envelope.to).toBe(expected);
    expect(utf8).toBe(address.startsWith('jürgen'));
  });

  test.each([
    '',
    'nobody',
    '@example.org',
    'a@',
    'a@b@c.org',
    'a b@example.org',
    'a@exa mple.org',
    'a@-x.org>',
    'a@x.org;b@y.org',
    'group: a@x.org;',
    'a\ud800@x.org',
    `${'a'.repeat(320)}@x.org`,
    'a@x.org\0',
  ])('%j is none', (address) => {
    expect(() => compose({}, address)).toThrow(/address/);
  });
});
