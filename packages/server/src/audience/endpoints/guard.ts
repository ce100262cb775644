import type { Refusal } from './apply.ts';
import type { EndpointChange } from './item.ts';
import type { EndpointRow } from './row.ts';

/** Bounds of what a stranger may do to an endpoint: somebody with a publishable key, who may be anybody. */
export interface EndpointGuard {
  /** When the endpoint was created that the caller's token is for (ms); undefined: the endpoint must not exist yet. */
  createdAt: number | undefined;
  /** Did the customer's backend vouch that the caller is this user? */
  proves(userId: string): boolean;
}

/**
 * Channels whose addresses can be somebody else's: anybody can write down an e-mail address or a phone number, and
 * CUSTOM may be either. The token of a push channel comes from the device itself.
 */
const foreignChannels: ReadonlySet<string | null> = new Set(['EMAIL', 'SMS', 'VOICE', 'CUSTOM']);

/** Why a caller under this guard may not make the change; undefined when it may. */
export function guardRefusal(
  change: EndpointChange,
  existing: EndpointRow | undefined,
  guard: EndpointGuard,
): Omit<Refusal, 'index'> | undefined {
  if (existing?.createdAt !== guard.createdAt) return { ...foreignEndpoint, forbidden: true };
  const userId = change.userId === undefined ? (existing?.userId ?? null) : change.userId;
  const proven = userId !== null && guard.proves(userId);
  if (proven) return undefined;
  if (userId !== null && userId !== existing?.userId) {
    return refused('User.UserId', 'a publishable key sets a user only with an identity proof for it');
  }
  if (change.userAttributes) {
    return refused(
      'User.UserAttributes',
      'a publishable key sets these only with an identity proof of the user',
    );
  }
  return contactRefusal(change, existing);
}

const foreignEndpoint = {
  member: 'Id',
  message:
    'this endpoint exists already, and no token of it came with the request (X-Postrider-Endpoint-Token)',
};

function refused(member: string, message: string): Omit<Refusal, 'index'> {
  return { member, message, forbidden: true };
}

/** Address, channel, opt-out and status of an endpoint by which people are reached whom the caller may not be. */
function contactRefusal(
  change: EndpointChange,
  existing: EndpointRow | undefined,
): Omit<Refusal, 'index'> | undefined {
  const channelBefore = existing?.channel ?? null;
  const channel = change.channel ?? channelBefore;
  const address = change.address === undefined ? (existing?.address ?? null) : change.address;
  const addressChanges = address !== (existing?.address ?? null);
  const reaches = foreignChannels.has(channel) || foreignChannels.has(channelBefore);
  if (reaches && channel !== channelBefore) {
    return refused(
      'ChannelType',
      `a publishable key sets or takes away ${channel} only with an identity proof`,
    );
  }
  if (addressChanges && (reaches || channel === null)) {
    return refused(
      'Address',
      reaches
        ? 'a publishable key sets an address of EMAIL, SMS, VOICE and CUSTOM only with an identity proof'
        : 'a publishable key sets an address only together with its ChannelType',
    );
  }
  if (!reaches) return undefined;
  if (change.optOut !== undefined && change.optOut !== existing?.optOut) {
    return refused('OptOut', 'a publishable key changes this on this channel only with an identity proof');
  }
  if (change.status !== undefined && change.status !== existing?.status) {
    return refused(
      'EndpointStatus',
      'a publishable key changes this on this channel only with an identity proof',
    );
  }
  return undefined;
}

/**
 * The status that the endpoint gets by a change under a guard. An update makes it ACTIVE, and with that the only active
 * one of its address: a stranger's does neither to an endpoint with somebody's address, nor to an address that another
 * user's endpoint holds. No refusal, since that would tell who is known here.
 */
export function guardedStatus(
  change: EndpointChange,
  existing: EndpointRow | undefined,
  guard: EndpointGuard,
  isHeldByOthers: boolean,
): 'ACTIVE' | 'INACTIVE' {
  if (change.status === 'INACTIVE' || isHeldByOthers) return 'INACTIVE';
  if (existing?.status !== 'INACTIVE') return 'ACTIVE';
  const userId = change.userId === undefined ? existing.userId : change.userId;
  const mayReach =
    !foreignChannels.has(change.channel ?? existing.channel) || (userId !== null && guard.proves(userId));
  return mayReach ? 'ACTIVE' : 'INACTIVE';
}
