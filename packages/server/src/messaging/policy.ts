import { normaliseAddress } from '../audience/index.ts';
import type { CustomDelivery, DispatchPlan } from './dispatch.ts';
import { treatmentOf } from './dispatch.ts';
import { type DeliveryChannel, deliveryChannels } from './provider.ts';

/** Why a message was not sent, in the order in which the questions are asked. `sending` is the yes. */
export const decisions = [
  'sending',
  'stopped',
  'expired',
  'endpoint_missing',
  'channel_disabled',
  'channel_mismatch',
  'address_missing',
  'address_invalid',
  'inactive',
  'opted_out',
  'suppressed',
  'duplicate_address',
  'holdout',
  'daily_cap',
  'campaign_cap',
  'quiet_time',
  'hook_filtered',
  'hook_failure',
  'missing_variable',
  'template_error',
  'no_provider',
] as const;
export type Decision = (typeof decisions)[number];

/** What policy must know about a recipient; `null` where the endpoint has no value. */
export interface PolicySubject {
  channel: string | null;
  address: string | null;
  status: string;
  optOut: string;
  cohort: number;
  timezone: string | null;
  /** The event that the message would be about: messages about different events are no duplicates. */
  occasion?: { id: string; expiresAt: number };
}

export interface PolicyFacts {
  /** Channels that are switched off for the application. */
  disabledChannels: ReadonlySet<string>;
  /** Normalised addresses that must not be written to. */
  suppressed: ReadonlySet<string>;
  /** Addresses that this dispatch has already taken, by `addressKey`. */
  taken: Set<string>;
  now: number;
}

export interface Verdict {
  decision: Decision;
  detail?: string;
  channel: DeliveryChannel;
  /** The address as it is handed to the provider. */
  address: string;
  treatmentId?: string;
  /** Counts towards the caps: everything that asked for a message got this far. */
  targeted: boolean;
}

/** The channel on which an endpoint of this ChannelType is reached: all device kinds are PUSH. */
export function deliveryChannel(channelType: string | null): DeliveryChannel | undefined {
  if (!channelType) return undefined;
  const channel = deliveryChannels.find((name) => name === channelType);
  return channel ?? 'PUSH';
}

/** Does the customer's own function deliver to endpoints of this type? */
function isDelivered(delivery: CustomDelivery, channelType: string): boolean {
  const { endpointTypes } = delivery;
  if (endpointTypes.includes(channelType)) return true;
  return endpointTypes.includes('PUSH') && deliveryChannel(channelType) === 'PUSH';
}

/**
 * The channel on which a plan reaches an endpoint: CUSTOM where a function of the customer's delivers to its type, else
 * that of its type. Undefined for CUSTOM endpoints that the function does not deliver to, and without a type.
 */
export function channelIn(
  plan: DispatchPlan,
  endpoint: Pick<PolicySubject, 'channel' | 'cohort'>,
): DeliveryChannel | undefined {
  const channel = deliveryChannel(endpoint.channel);
  const chosen = treatmentOf(plan, endpoint.cohort);
  const treatment = chosen === 'holdout' ? plan.treatments.find(({ id }) => id === '0') : chosen;
  if (!treatment?.delivery || !endpoint.channel) return channel;
  if (isDelivered(treatment.delivery, endpoint.channel)) return 'CUSTOM';
  return channel === 'CUSTOM' ? undefined : channel;
}

const emailPattern = /^[^\s@<>(),;:"[\]\\]{1,64}@[^\s@<>(),;:"[\]\\]{1,253}$/;
const phonePattern = /^\+[1-9]\d{6,14}$/;

/** The address in the form that is sent to, or undefined when the channel cannot take it. */
export function deliverableAddress(channel: DeliveryChannel, address: string): string | undefined {
  if (channel === 'EMAIL') {
    const trimmed = address.trim();
    return emailPattern.test(trimmed) && !trimmed.includes('..') ? trimmed : undefined;
  }
  if (channel === 'SMS' || channel === 'VOICE') {
    const digits = address.replace(/[\s().-]/g, '');
    const number = digits.startsWith('+') ? digits : `+${digits}`;
    return phonePattern.test(number) ? number : undefined;
  }
  return address.length > 0 && address.length <= 4096 ? address : undefined;
}

/** Under which an address is compared with those that a dispatch has taken already. */
export function addressKey(channel: DeliveryChannel, address: string, occasion?: { id: string }): string {
  const key = `${channel} ${normaliseAddress(channel, address)}`;
  return occasion ? `${key}\n${occasion.id}` : key;
}

/**
 * Decides about one member of a dispatch, all but the caps, which are reserved with the message row.
 * The questions come in this order: in time (of what an event caused) → channel → address → active and opted in → suppression → duplicate → holdout →
 * quiet time; the first no is the message's reason.
 */
export function decide(plan: DispatchPlan, subject: PolicySubject, facts: PolicyFacts): Verdict {
  const planned = channelIn(plan, subject);
  const channel = planned ?? 'CUSTOM';
  const verdict: Verdict = { decision: 'sending', channel, address: subject.address ?? '', targeted: false };
  const no = (decision: Decision, detail?: string): Verdict => ({ ...verdict, decision, detail });
  const { occasion } = subject;
  if (occasion && occasion.expiresAt <= facts.now)
    return no('expired', `The event ${occasion.id} is too long ago`);
  if (!subject.channel) return no('channel_mismatch', 'The endpoint has no channel');
  if (facts.disabledChannels.has(subject.channel))
    return no('channel_disabled', `${subject.channel} is switched off`);
  if (!planned || !plan.treatments.some((treatment) => treatment.content[channel])) {
    return no('channel_mismatch', `There is no message for ${planned ?? subject.channel}`);
  }
  if (!subject.address) return no('address_missing');
  const address = deliverableAddress(channel, subject.address);
  if (!address) return no('address_invalid', `Not a valid address for ${channel}`);
  verdict.address = address;
  if (subject.status !== 'ACTIVE') return no('inactive');
  if (subject.optOut !== 'NONE') return no('opted_out');
  // Also where a function delivers: the address is suppressed on the channel of its own.
  if (facts.suppressed.has(normaliseAddress(deliveryChannel(subject.channel)!, address)))
    return no('suppressed');
  if (facts.taken.has(addressKey(channel, address, occasion))) return no('duplicate_address');
  const treatment = treatmentOf(plan, subject.cohort);
  if (treatment === 'holdout') return no('holdout', `Cohort ${subject.cohort}`);
  verdict.treatmentId = treatment.id;
  if (!treatment.content[channel]) {
    return no('channel_mismatch', `Treatment ${treatment.id} has no message for ${channel}`);
  }
  facts.taken.add(addressKey(channel, address, occasion));
  verdict.targeted = true;
  if (plan.quietTime && isQuiet(plan.quietTime, subject.timezone, facts.now)) {
    return no('quiet_time', `${plan.quietTime.start}–${plan.quietTime.end} in ${subject.timezone}`);
  }
  return verdict;
}

const zoneFormats = new Map<string, Intl.DateTimeFormat | undefined>();

/** Minutes since midnight in a zone of the tz database; undefined when there is no such zone. */
function minuteOfDay(timezone: string, now: number): number | undefined {
  let format = zoneFormats.get(timezone);
  if (!zoneFormats.has(timezone)) {
    try {
      format = new Intl.DateTimeFormat('en-GB', {
        timeZone: timezone,
        hour: '2-digit',
        minute: '2-digit',
        hourCycle: 'h23',
      });
    } catch {
      // Not a zone: such a recipient has no quiet time, as in Pinpoint.
      format = undefined;
    }
    if (zoneFormats.size < 1000) zoneFormats.set(timezone, format);
  }
  if (!format) return undefined;
  const [hour, minute] = format.format(now).split(':').map(Number);
  return hour! * 60 + minute!;
}

/** Is it quiet time for this recipient? A range may pass midnight; one without a valid zone is never quiet. */
export function isQuiet(
  quiet: { start: string; end: string },
  timezone: string | null,
  now: number,
): boolean {
  if (!timezone) return false;
  const minute = minuteOfDay(timezone, now);
  if (minute === undefined) return false;
  const [start, end] = [quiet.start, quiet.end].map((time) => {
    const [hours, minutes] = time.split(':').map(Number);
    return hours! * 60 + minutes!;
  }) as [number, number];
  if (start === end) return false;
  return start < end ? minute >= start && minute < end : minute >= start || minute < end;
}
