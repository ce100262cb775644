import type { Decision } from '../messaging/index.ts';

/** `campaign_send_status` as Pinpoint has them. */
export const campaignSendStatuses = [
  'SUCCESS',
  'FAILURE',
  'DAILY_CAP',
  'CAMPAIGN_CAP',
  'EXPIRED',
  'QUIET_TIME',
  'HOLDOUT',
  'DUPLICATE_ADDRESS',
  'FAILURE_PERMANENT',
  'TRANSIENT_FAILURE',
  'THROTTLED',
  'UNKNOWN',
  'HOOK_FAILURE',
  'CUSTOM_DELIVERY_FAILURE',
  'RECOMMENDATION_FAILURE',
  'UNSUPPORTED_CHANNEL',
] as const;
export type CampaignSendStatus = (typeof campaignSendStatuses)[number];

/**
 * The status of each decision not to send. Pinpoint streamed nothing for members that its audience left out (opted out,
 * inactive …); here they are FAILURE_PERMANENT, and `campaign_send_reason` says which.
 */
export const statusOfDecision: Record<Exclude<Decision, 'sending'>, CampaignSendStatus> = {
  stopped: 'FAILURE',
  expired: 'EXPIRED',
  endpoint_missing: 'FAILURE_PERMANENT',
  channel_disabled: 'UNSUPPORTED_CHANNEL',
  channel_mismatch: 'UNSUPPORTED_CHANNEL',
  address_missing: 'FAILURE_PERMANENT',
  address_invalid: 'FAILURE_PERMANENT',
  inactive: 'FAILURE_PERMANENT',
  opted_out: 'FAILURE_PERMANENT',
  suppressed: 'FAILURE_PERMANENT',
  duplicate_address: 'DUPLICATE_ADDRESS',
  holdout: 'HOLDOUT',
  daily_cap: 'DAILY_CAP',
  campaign_cap: 'CAMPAIGN_CAP',
  quiet_time: 'QUIET_TIME',
  hook_failure: 'HOOK_FAILURE',
  hook_filtered: 'FAILURE_PERMANENT',
  missing_variable: 'FAILURE',
  template_error: 'FAILURE',
  no_provider: 'FAILURE',
};

/** The status that an outcome of an attempt is; undefined when more is to come. */
export function statusOfOutcome(
  type: string,
  payload: { bounce?: unknown; retryAt?: unknown },
  channel: string,
): CampaignSendStatus | undefined {
  switch (type) {
    case 'message.sent':
      return 'SUCCESS';
    case 'message.expired':
      return 'EXPIRED';
    case 'message.in_doubt':
      return payload.retryAt === undefined ? 'UNKNOWN' : undefined;
    case 'message.failed':
      if (channel === 'CUSTOM') return 'CUSTOM_DELIVERY_FAILURE';
      if (payload.bounce === 'hard') return 'FAILURE_PERMANENT';
      return payload.bounce === 'soft' ? 'TRANSIENT_FAILURE' : 'FAILURE';
    default:
      return undefined;
  }
}
