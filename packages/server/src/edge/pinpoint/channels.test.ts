import {
  CreateAppCommand,
  DeleteSmsChannelCommand,
  GetApplicationSettingsCommand,
  GetChannelsCommand,
  GetEmailChannelCommand,
  GetSmsChannelCommand,
  NotFoundException,
  UpdateApplicationSettingsCommand,
  UpdateEmailChannelCommand,
  UpdateSmsChannelCommand,
  type WriteApplicationSettingsRequest,
} from '@aws-sdk/client-pinpoint';
import { expect, test } from 'vitest';
import { testDatabase } from '../../../../../tests/support/database.ts';
import { wireServer } from '../../../../../tests/support/wire.ts';
import { disabledChannels } from '../../accounts/index.ts';

const database = await testDatabase();
const server = await wireServer({ database });
const client = server.client();
const { ApplicationResponse } = await client.send(
  new CreateAppCommand({ CreateApplicationRequest: { Name: 'channels' } }),
);
const ApplicationId = ApplicationResponse!.Id!;

const email = {
  FromAddress: 'News <news@example.com>',
  Identity: 'arn:aws:ses:us-east-1:1:identity/example.com',
};

test('channels are configured, changed, listed and deleted', async () => {
  await expect(client.send(new GetEmailChannelCommand({ ApplicationId }))).rejects.toThrow(NotFoundException);
  const { EmailChannelResponse: made } = await client.send(
    new UpdateEmailChannelCommand({
      ApplicationId,
      EmailChannelRequest: { ...email, ConfigurationSet: 'set' },
    }),
  );
  expect(made).toMatchObject({
    ...email,
    ConfigurationSet: 'set',
    Enabled: true,
    Platform: 'EMAIL',
    Version: 1,
  });
  const { EmailChannelResponse: off } = await client.send(
    new UpdateEmailChannelCommand({ ApplicationId, EmailChannelRequest: { ...email, Enabled: false } }),
  );
  expect(off).toMatchObject({ Enabled: false, Version: 2, CreationDate: made!.CreationDate });
  expect(off!.ConfigurationSet).toBeUndefined();
  expect(await disabledChannels(database, ApplicationId)).toEqual(new Set(['EMAIL']));
  const { EmailChannelResponse: changed } = await client.send(
    new UpdateEmailChannelCommand({ ApplicationId, EmailChannelRequest: { ...email, FromAddress: 'a@b.c' } }),
  );
  expect(changed).toMatchObject({ Enabled: false, FromAddress: 'a@b.c', Version: 3 });
  expect((await client.send(new GetEmailChannelCommand({ ApplicationId }))).EmailChannelResponse).toEqual(
    changed,
  );

  await client.send(
    new UpdateSmsChannelCommand({
      ApplicationId,
      SMSChannelRequest: { SenderId: 'SHOP', ShortCode: '12345' },
    }),
  );
  const { ChannelsResponse } = await client.send(new GetChannelsCommand({ ApplicationId }));
  expect(ChannelsResponse!.Channels).toMatchObject({
    EMAIL: { Enabled: false, Id: 'email', Version: 3, ApplicationId },
    SMS: { Enabled: true, HasCredential: true, LastModifiedBy: `access_key:${server.key.id}` },
  });
  const { SMSChannelResponse: deleted } = await client.send(new DeleteSmsChannelCommand({ ApplicationId }));
  expect(deleted).toMatchObject({ Platform: 'SMS', SenderId: 'SHOP', ShortCode: '12345' });
  await expect(client.send(new GetSmsChannelCommand({ ApplicationId }))).rejects.toThrow(
    `Application ${ApplicationId} has no SMS channel`,
  );
});

test('what cannot be a channel is refused', async () => {
  const update = (FromAddress: string) =>
    client.send(
      new UpdateEmailChannelCommand({ ApplicationId, EmailChannelRequest: { ...email, FromAddress } }),
    );
  for (const bad of [
    '',
    'x',
    'a@b@c',
    'a b@c.d',
    'News <a@b.c',
    '<>',
    'a@b.c\r\nBcc: d@e.f',
    'News\n<a@b.c>',
    `${'x'.repeat(65)}@b.c`,
  ]) {
    await expect(update(bad)).rejects.toThrow('$.FromAddress: expected an address such as');
  }
  for (const good of ['a@b.c', '"Shop, Inc." <a@b.c>', 'Üñï 🛒 <news+tag@xn--ls8h.example>'])
    await update(good);
  const missing = { ApplicationId: 'missing' };
  await expect(client.send(new GetChannelsCommand(missing))).rejects.toThrow('Application missing not found');
  await expect(
    client.send(new UpdateSmsChannelCommand({ ...missing, SMSChannelRequest: {} })),
  ).rejects.toThrow('Application missing not found');
  // An SDK that does not check: the required member is missing on the wire.
  const partial = { FromAddress: 'a@b.c' } as typeof email;
  await expect(
    client.send(new UpdateEmailChannelCommand({ ApplicationId, EmailChannelRequest: partial })),
  ).rejects.toThrow('$.Identity: this member is required');
});

const update = (request: WriteApplicationSettingsRequest) =>
  client.send(
    new UpdateApplicationSettingsCommand({ ApplicationId, WriteApplicationSettingsRequest: request }),
  );

test('settings: given members replace, absent ones stay, switches are write-only', async () => {
  const { ApplicationSettingsResource: fresh } = await client.send(
    new GetApplicationSettingsCommand({ ApplicationId }),
  );
  expect(fresh).toEqual({ ApplicationId });
  await update({
    CloudWatchMetricsEnabled: true,
    EventTaggingEnabled: true,
    Limits: { Daily: 3, MessagesPerSecond: 50 },
    QuietTime: { Start: '22:00', End: '08:00' },
  });
  const JourneyLimits = { DailyCap: 1, TotalCap: 2, TimeframeCap: { Cap: 3, Days: 4 } };
  const { ApplicationSettingsResource: changed } = await update({ Limits: { Daily: 5 }, JourneyLimits });
  expect(changed).toEqual({
    ApplicationId,
    LastModifiedDate: expect.stringMatching(/Z$/),
    Limits: { Daily: 5 },
    JourneyLimits,
    QuietTime: { Start: '22:00', End: '08:00' },
  });
  const { ApplicationSettingsResource: cleared } = await update({ QuietTime: {} });
  expect(cleared!.QuietTime).toEqual({});
  const read = await client.send(new GetApplicationSettingsCommand({ ApplicationId }));
  expect(read.ApplicationSettingsResource).toEqual(cleared);
});

test.each([
  [{ Limits: { Daily: -1 } }, '$.Limits.Daily: expected a number from 0'],
  [{ Limits: { MessagesPerSecond: 0 } }, '$.Limits.MessagesPerSecond: expected a number from 1'],
  [{ Limits: { MaximumDuration: 59 } }, '$.Limits.MaximumDuration: expected a number from 60'],
  [{ QuietTime: { Start: '22:00' } }, '$.QuietTime.End: expected a time of day such as 22:30'],
  [{ QuietTime: { Start: '24:00', End: '08:00' } }, '$.QuietTime.Start: expected a time of day'],
  [{ JourneyLimits: { TimeframeCap: { Days: -1 } } }, '$.JourneyLimits.TimeframeCap.Days: expected'],
  [
    { CampaignHook: { Mode: 'SOMETIMES' as 'FILTER' } },
    '$.CampaignHook.Mode: expected one of DELIVERY, FILTER',
  ],
])('settings %j are refused', async (request, message) => {
  await expect(update(request)).rejects.toThrow(message);
});
