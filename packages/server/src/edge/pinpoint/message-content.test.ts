import { expect, test } from 'vitest';
import { testDatabase } from '../../../../../tests/support/database.ts';
import { directContent } from './message-content.ts';

const database = await testDatabase();
const content = (
  ...[message, templates]: [Parameters<typeof directContent>[1], Parameters<typeof directContent>[2]?]
) => directContent(database, message, templates);

test('an e-mail has the parts, sender and headers that were given', async () => {
  const { EMAIL, ...others } = await content({
    EmailMessage: {
      FromAddress: 'Shop <shop@example.com>',
      ReplyToAddresses: ['help@example.com'],
      Substitutions: { name: ['you'] },
      SimpleEmail: {
        Subject: { Data: 'Hi {{name}}', Charset: 'UTF-8' },
        HtmlPart: { Data: '<b>Hi</b>' },
        TextPart: { Data: 'Hi' },
        Headers: [{ Name: 'X-Campaign', Value: '7' }],
      },
    },
  });
  expect(others).toEqual({});
  expect(EMAIL).toEqual({
    inline: {
      subject: 'Hi {{name}}',
      html: '<b>Hi</b>',
      text: 'Hi',
      headers: [{ name: 'X-Campaign', value: '7' }],
    },
    sender: { from: 'Shop <shop@example.com>', replyTo: ['help@example.com'] },
    substitutions: { name: ['you'] },
  });
});

test('a raw e-mail goes out as it is', async () => {
  const Data = Buffer.from('Subject: x\r\n\r\nx');
  const { EMAIL } = await content({ EmailMessage: { RawEmail: { Data } } });
  expect(EMAIL).toEqual({ inline: { rawBase64: Data.toString('base64') }, sender: {} });
});

test('the default message serves what has nothing of its own', async () => {
  const all = await content({
    DefaultMessage: { Body: 'default', Substitutions: { a: ['1'], ['__proto__']: ['2'] } },
    SMSMessage: { Body: 'sms', MessageType: 'PROMOTIONAL', SenderId: 'Shop', Substitutions: { a: ['3'] } },
    GCMMessage: { Title: 'title' },
  });
  expect(all.EMAIL).toMatchObject({ inline: { text: 'default' } });
  expect(all.SMS).toMatchObject({
    inline: { body: 'sms' },
    sender: { messageType: 'PROMOTIONAL', senderId: 'Shop' },
  });
  expect(Object.entries(all.SMS!.substitutions!)).toEqual([
    ['a', ['3']],
    ['__proto__', ['2']],
  ]);
  expect(all.PUSH).toMatchObject({
    inline: { title: 'title', body: 'default', data: { GCMMessage: { Title: 'title' } } },
  });
  expect(all.VOICE).toMatchObject({ inline: { body: 'default' } });
  expect(all.CUSTOM).toMatchObject({ inline: { body: 'default' } });
});

test.each([
  ['$.MessageConfiguration', {}],
  [
    '$.MessageConfiguration.EmailMessage',
    { EmailMessage: { RawEmail: { Data: Buffer.from('x') }, SimpleEmail: {} } },
  ],
  [
    '$.MessageConfiguration.EmailMessage.ReplyToAddresses[1]',
    { EmailMessage: { Body: 'x', ReplyToAddresses: ['a@example.com', 'nobody'] } },
  ],
  [
    '$.MessageConfiguration.EmailMessage.FromAddress',
    { EmailMessage: { Body: 'x', FromAddress: 'a\nb@example.com' } },
  ],
  ['$.MessageConfiguration.SMSMessage.Body', { SMSMessage: { Body: 'x'.repeat(1601) } }],
])('refuses %s', async (member, message) => {
  await expect(content(message)).rejects.toMatchObject({ code: 'bad_request', member });
});

test('templates must be there; those of push, voice and in-app messages are not built', async () => {
  await expect(content({}, { EmailTemplate: { Name: 'none' } })).rejects.toMatchObject({
    member: '$.TemplateConfiguration.EmailTemplate.Name',
  });
  await expect(content({}, { SMSTemplate: {} })).rejects.toMatchObject({
    member: '$.TemplateConfiguration.SMSTemplate.Name',
  });
  await expect(content({}, { PushTemplate: { Name: 'x' } })).rejects.toMatchObject({
    code: 'not_implemented',
  });
});
