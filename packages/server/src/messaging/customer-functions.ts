import { type Recipient, toEndpointResponse } from '../audience/index.ts';
import type { Dispatch, Treatment } from './dispatch.ts';
import type { MessageContent } from './provider.ts';

const endpointMembers = [
  ...(['ChannelType', 'Address', 'EndpointStatus', 'OptOut', 'RequestId', 'Location'] as const),
  ...(['Demographic', 'EffectiveDate', 'Attributes', 'User', 'CreationDate'] as const),
] as const;

/** An endpoint as Pinpoint shows it to functions, with its id; metrics only where it has some (Pinpoint left them out). */
export function functionEndpoint(
  applicationId: string,
  recipient: Recipient,
): { id: string; endpoint: Record<string, unknown> } {
  const response = toEndpointResponse(applicationId, recipient);
  const endpoint: Record<string, unknown> = {};
  for (const name of endpointMembers) if (response[name] !== undefined) endpoint[name] = response[name];
  if (Object.keys(response.Metrics ?? {}).length > 0) endpoint.Metrics = response.Metrics;
  return { id: response.Id!, endpoint };
}

/** The words for a recipient with what the delivering function is told; unchanged where none delivers. */
export function withDelivery(
  content: MessageContent,
  dispatch: Pick<Dispatch, 'applicationId' | 'campaignId' | 'plan'>,
  treatment: Treatment,
  recipient: Recipient,
): MessageContent {
  if (content.kind !== 'custom' || !treatment.delivery) return content;
  const { id: endpointId, endpoint } = functionEndpoint(dispatch.applicationId, recipient);
  return {
    ...content,
    delivery: {
      uri: treatment.delivery.uri,
      campaignId: dispatch.campaignId,
      treatmentId: treatment.id,
      ...(treatment.activityId === undefined ? {} : { activityId: treatment.activityId }),
      ...(dispatch.plan.scheduledTime === undefined ? {} : { scheduledTime: dispatch.plan.scheduledTime }),
      endpointId,
      endpoint,
    },
  };
}
