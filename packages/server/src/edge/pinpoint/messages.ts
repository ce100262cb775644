import type { EndpointMessageResult, EndpointSendConfiguration } from '@aws-sdk/client-pinpoint';
import { getApplication } from '../../accounts/index.ts';
import type { DirectRecipient, DirectResult } from '../../messaging/index.ts';
import { badMember } from '../../platform/errors.ts';
import type { OperationHandlers } from '../aws/index.ts';
import { directContent } from './message-content.ts';

/** Recipients of one call (reference 7.1). */
const maxRecipients = 100;
/** How long a call waits for the first attempts. */
const firstAttemptMs = 10_000;

/** One recipient of a call: its key in `Addresses` or `Endpoints`, and what it is sent. */
interface Addressed {
  kind: 'address' | 'endpoint';
  key: string;
  recipient: DirectRecipient;
  context: Record<string, string>;
}

/** Direct messages: reference 7.1. Users' messages and one-time passwords are not built yet. */
export const messages = {
  async SendMessages({ ApplicationId, MessageRequest: request }, ctx) {
    const addressed = [
      ...Object.entries(request.Addresses ?? {}).map(([address, own]): Addressed => {
        if (!own.ChannelType) {
          throw badMember(
            `$.Addresses[${JSON.stringify(address.slice(0, 60))}].ChannelType`,
            'this member is required',
          );
        }
        const recipient = { address, channel: own.ChannelType, ...overridesOf(own) };
        return { kind: 'address', key: address, recipient, context: { ...request.Context, ...own.Context } };
      }),
      ...Object.entries(request.Endpoints ?? {}).map(
        ([endpointId, own]): Addressed => ({
          kind: 'endpoint',
          key: endpointId,
          recipient: { endpointId, ...overridesOf(own) },
          context: { ...request.Context, ...own.Context },
        }),
      ),
    ];
    if (addressed.length === 0)
      throw badMember('$.Addresses', 'expected at least one recipient, here or in Endpoints');
    if (addressed.length > maxRecipients)
      throw badMember(
        '$.Addresses',
        `expected at most ${maxRecipients} recipients in Addresses and Endpoints together`,
      );
    await getApplication(ctx.database, ApplicationId);
    const content = await directContent(
      ctx.database,
      request.MessageConfiguration,
      request.TemplateConfiguration,
    );
    const results = new Map<Addressed, DirectResult>();
    await Promise.all(
      groupByContext(addressed).map(async (group) => {
        const sent = await ctx.services.pipeline.sendDirect({
          applicationId: ApplicationId,
          recipients: group.map(({ recipient }) => recipient),
          content,
          context: group[0]!.context,
          ...(request.TraceId === undefined ? {} : { traceId: request.TraceId }),
          waitMs: firstAttemptMs,
        });
        group.forEach((one, index) => {
          results.set(one, sent[index]!);
        });
      }),
    );
    const answer = (kind: Addressed['kind']) => {
      const ofKind = addressed.filter((one) => one.kind === kind);
      if (ofKind.length === 0) return undefined;
      return Object.fromEntries(ofKind.map((one) => [one.key, toResult(results.get(one)!, kind)]));
    };
    return {
      MessageResponse: {
        ApplicationId,
        RequestId: ctx.requestId,
        Result: answer('address'),
        EndpointResult: answer('endpoint'),
      },
    };
  },
} satisfies OperationHandlers;

/** Recipients with a Context of their own are dispatched by themselves, since a dispatch has one. */
function groupByContext(addressed: Addressed[]): Addressed[][] {
  return [
    ...Map.groupBy(addressed, ({ context }) => JSON.stringify(Object.entries(context).sort())).values(),
  ];
}

function overridesOf(own: EndpointSendConfiguration): Pick<DirectRecipient, 'overrides'> {
  const overrides = {
    ...(own.BodyOverride === undefined ? {} : { body: own.BodyOverride }),
    ...(own.TitleOverride === undefined ? {} : { title: own.TitleOverride }),
    ...(own.RawContent === undefined ? {} : { data: { RawContent: own.RawContent } }),
    ...(own.Substitutions === undefined ? {} : { substitutions: own.Substitutions }),
  };
  return Object.keys(overrides).length ? { overrides } : {};
}

/**
 * A result in Pinpoint's terms. SUCCESSFUL says that the provider accepted the message, or (202) that the first attempt
 * is still running; the message log has what follows. TEMPORARY_FAILURE is, unlike in Pinpoint, tried again.
 */
export function toResult(direct: DirectResult, kind: Addressed['kind']): EndpointMessageResult {
  const base = {
    ...(kind === 'endpoint' ? { Address: direct.address } : {}),
    MessageId: direct.messageId,
  };
  const words = direct.result?.response;
  const code = direct.result?.code;
  switch (direct.decision) {
    case 'sending':
      break;
    case 'opted_out':
      return {
        ...base,
        DeliveryStatus: 'OPT_OUT',
        StatusCode: 400,
        StatusMessage: 'The recipient has opted out',
      };
    case 'duplicate_address':
      return {
        ...base,
        DeliveryStatus: 'DUPLICATE',
        StatusCode: 400,
        StatusMessage: 'Another recipient of this call has the same address',
      };
    default:
      return {
        ...base,
        DeliveryStatus: 'PERMANENT_FAILURE',
        StatusCode: 400,
        StatusMessage: direct.detail ? `${direct.decision}: ${direct.detail}` : direct.decision,
      };
  }
  switch (direct.outcome) {
    case undefined:
      return {
        ...base,
        DeliveryStatus: 'SUCCESSFUL',
        StatusCode: 202,
        StatusMessage: 'Accepted; the first attempt is still running',
      };
    case 'message.sent':
      return {
        ...base,
        DeliveryStatus: 'SUCCESSFUL',
        StatusCode: 200,
        StatusMessage: `MessageId: ${direct.messageId}`,
      };
    case 'message.deferred':
      return {
        ...base,
        DeliveryStatus: 'TEMPORARY_FAILURE',
        StatusCode: code || 503,
        StatusMessage: `${words || 'The provider could not be reached'} (will be tried again)`,
      };
    case 'message.in_doubt':
      return {
        ...base,
        DeliveryStatus: 'UNKNOWN_FAILURE',
        StatusCode: code || 500,
        StatusMessage: `${words || 'The connection broke'} (the message may have been taken; it will be sent again)`,
      };
    case 'message.expired':
    case 'message.failed':
      return {
        ...base,
        DeliveryStatus: 'PERMANENT_FAILURE',
        StatusCode: code || 500,
        StatusMessage: words || 'The provider refused the message',
      };
  }
}
