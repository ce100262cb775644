import type { ChannelResponse, EmailChannelResponse, SMSChannelResponse } from '@aws-sdk/client-pinpoint';
import {
  type Channel,
  deleteChannel,
  getApplication,
  getChannel,
  listChannels,
  principalName,
  putChannel,
  recordAudit,
} from '../../accounts/index.ts';
import { isoTime } from '../../platform/clock.ts';
import { badMember } from '../../platform/errors.ts';
import type { OperationContext, OperationHandlers, OperationName } from '../aws/operation.ts';
import { checkLength } from './check.ts';

export const channels = {
  GetChannels: async ({ ApplicationId }, ctx) => {
    await getApplication(ctx.database, ApplicationId);
    const found = await listChannels(ctx.database, ApplicationId);
    const responses = found.map((channel) => [channel.type, commonResponse(ApplicationId, channel)]);
    return { ChannelsResponse: { Channels: Object.fromEntries(responses) } };
  },

  GetEmailChannel: async ({ ApplicationId }, ctx) => {
    const channel = await getChannel(ctx.database, ApplicationId, 'EMAIL');
    return { EmailChannelResponse: emailResponse(ApplicationId, channel) };
  },

  UpdateEmailChannel: async ({ ApplicationId, EmailChannelRequest: request }, ctx) => {
    checkFromAddress('$.FromAddress', request.FromAddress);
    checkLength('$.Identity', request.Identity, 1, 2048);
    checkLength('$.ConfigurationSet', request.ConfigurationSet, 0, 2048);
    checkLength('$.RoleArn', request.RoleArn, 0, 2048);
    checkLength('$.OrchestrationSendingRoleArn', request.OrchestrationSendingRoleArn, 0, 2048);
    const { Enabled, ...rest } = request;
    const channel = await update(ctx, 'UpdateEmailChannel', ApplicationId, 'EMAIL', Enabled, rest);
    return { EmailChannelResponse: emailResponse(ApplicationId, channel) };
  },

  DeleteEmailChannel: async ({ ApplicationId }, ctx) => {
    const channel = await remove(ctx, 'DeleteEmailChannel', ApplicationId, 'EMAIL');
    return { EmailChannelResponse: emailResponse(ApplicationId, channel) };
  },

  GetSmsChannel: async ({ ApplicationId }, ctx) => {
    const channel = await getChannel(ctx.database, ApplicationId, 'SMS');
    return { SMSChannelResponse: smsResponse(ApplicationId, channel) };
  },

  UpdateSmsChannel: async ({ ApplicationId, SMSChannelRequest: request }, ctx) => {
    checkLength('$.SenderId', request.SenderId, 0, 100);
    checkLength('$.ShortCode', request.ShortCode, 0, 100);
    const { Enabled, ...rest } = request;
    const channel = await update(ctx, 'UpdateSmsChannel', ApplicationId, 'SMS', Enabled, rest);
    return { SMSChannelResponse: smsResponse(ApplicationId, channel) };
  },

  DeleteSmsChannel: async ({ ApplicationId }, ctx) => {
    const channel = await remove(ctx, 'DeleteSmsChannel', ApplicationId, 'SMS');
    return { SMSChannelResponse: smsResponse(ApplicationId, channel) };
  },
} satisfies OperationHandlers;

/** `Enabled` absent keeps what it is (a new channel is enabled); the other members are replaced. */
function update(
  ctx: OperationContext,
  operation: OperationName,
  applicationId: string,
  type: string,
  enabled: boolean | undefined,
  settings: Record<string, unknown>,
): Promise<Channel> {
  return ctx.database.transaction(async (tx) => {
    const channel = await putChannel(tx, applicationId, type, {
      enabled,
      settings,
      modifiedBy: principalName(ctx.principal),
    });
    await audit(tx, ctx, operation, applicationId);
    return channel;
  });
}

function remove(
  ctx: OperationContext,
  operation: OperationName,
  applicationId: string,
  type: string,
): Promise<Channel> {
  return ctx.database.transaction(async (tx) => {
    const channel = await deleteChannel(tx, applicationId, type);
    await audit(tx, ctx, operation, applicationId);
    return channel;
  });
}

function audit(
  tx: Parameters<typeof recordAudit>[0],
  { principal }: OperationContext,
  operation: OperationName,
  applicationId: string,
): Promise<void> {
  return recordAudit(tx, { principal, action: `mobiletargeting:${operation}`, applicationId });
}

/** `a@b.c` or `Name <a@b.c>`, without line breaks, which would end the header it goes into. */
function checkFromAddress(path: string, value: string): void {
  const address = /^(?:[^<>\p{Cc}]*<([^<>\s]+)>|([^<>\s]+))$/u.exec(value.trim());
  const found = address?.[1] ?? address?.[2] ?? '';
  if (value.length > 998 || !/^[^@\s\p{Cc}]{1,64}@[^@\s\p{Cc}]{1,255}$/u.test(found)) {
    throw badMember(path, 'expected an address such as news@example.com or News <news@example.com>');
  }
}

function commonResponse(applicationId: string, channel: Channel): ChannelResponse {
  return {
    ApplicationId: applicationId,
    CreationDate: isoTime(channel.createdAt),
    Enabled: channel.enabled,
    HasCredential: true,
    Id: channel.type.toLowerCase(),
    IsArchived: false,
    LastModifiedBy: channel.modifiedBy,
    LastModifiedDate: isoTime(channel.modifiedAt),
    Version: channel.version,
  };
}

function text(channel: Channel, member: string): string | undefined {
  const value = channel.settings[member];
  return typeof value === 'string' ? value : undefined;
}

function emailResponse(applicationId: string, channel: Channel): EmailChannelResponse {
  return {
    ...commonResponse(applicationId, channel),
    Platform: channel.type,
    ConfigurationSet: text(channel, 'ConfigurationSet'),
    FromAddress: text(channel, 'FromAddress'),
    Identity: text(channel, 'Identity'),
    OrchestrationSendingRoleArn: text(channel, 'OrchestrationSendingRoleArn'),
    RoleArn: text(channel, 'RoleArn'),
  };
}

function smsResponse(applicationId: string, channel: Channel): SMSChannelResponse {
  return {
    ...commonResponse(applicationId, channel),
    Platform: channel.type,
    SenderId: text(channel, 'SenderId'),
    ShortCode: text(channel, 'ShortCode'),
  };
}
