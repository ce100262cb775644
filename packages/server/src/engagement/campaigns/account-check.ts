import type { WriteCampaignRequest } from '@aws-sdk/client-pinpoint';
import { badMember } from '../../platform/errors.ts';
import { fetchOutbound, OutboundError, type OutboundPolicy } from '../../platform/outbound.ts';
import { parseFunctionTarget } from '../../platform/remote-function.ts';

/** Looks at the URLs to which a request would have messages delivered, before it is carried out. */
export type AccountCheck = (
  request: Pick<WriteCampaignRequest, 'CustomDeliveryConfiguration' | 'AdditionalTreatments'>,
) => Promise<void>;

const timeoutMs = 15_000;
const header = 'x-amz-pinpoint-accountid';

/**
 * Pinpoint's check of webhooks (reference 11): a HEAD request to each new delivery URL has to answer with this
 * installation's account in `X-Amz-Pinpoint-AccountId`, by which the receiver says that it wants to be called. What the
 * check throws names the member: CallerError bad_request.
 */
export function createAccountCheck(options: {
  accountId: string;
  outbound: OutboundPolicy;
  /** Certificates of authorities to trust instead of the system's, PEM. For tests. */
  ca?: string;
}): AccountCheck {
  const { accountId, outbound, ca } = options;
  return async (request) => {
    const parts = [
      ['$', request] as const,
      ...(request.AdditionalTreatments ?? []).map(
        (treatment, index) => [`$.AdditionalTreatments[${index}]`, treatment] as const,
      ),
    ];
    const members = new Map<string, string>();
    for (const [path, { CustomDeliveryConfiguration: delivery }] of parts) {
      const target = parseFunctionTarget(delivery?.DeliveryUri ?? '');
      if (target?.kind === 'url' && !members.has(target.url))
        members.set(target.url, `${path}.CustomDeliveryConfiguration.DeliveryUri`);
    }
    // At most five: a campaign has no more treatments.
    await Promise.all(
      [...members].map(async ([url, member]) => {
        const expected = `expected a URL that answers HEAD with the header X-Amz-Pinpoint-AccountId: ${accountId}`;
        try {
          const { status, headers } = await fetchOutbound(url, {
            ...outbound,
            method: 'HEAD',
            timeoutMs,
            maxResponseBytes: 0,
            ca,
          });
          if (status >= 200 && status < 300 && headers[header] === accountId) return;
          throw badMember(
            member,
            `${expected}; it answered ${status}, ${String(headers[header] ?? 'without')}`,
          );
        } catch (error) {
          if (error instanceof OutboundError) throw badMember(member, `${expected}; ${error.message}`);
          throw error;
        }
      }),
    );
  };
}
