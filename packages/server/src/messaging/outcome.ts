import type { DispatchClass, Lane } from './dispatch.ts';
import type { OutgoingMessage } from './provider.ts';
import type { RoutedResult } from './session.ts';
import type { Retry } from './window.sql.ts';

/** A message that was handed to a provider, with what its outcome must say. */
export interface InFlight {
  windowId: string;
  dispatchId: string;
  campaignId: string | null;
  endpointId: string | null;
  treatmentId: string | null;
  class: DispatchClass;
  lane: Lane;
  expiresAt: Date;
  message: OutgoingMessage;
}

/** What becomes of the message after this attempt. */
export type OutcomeType =
  | 'message.sent'
  | 'message.deferred'
  | 'message.failed'
  | 'message.in_doubt'
  | 'message.expired';

const backoffFactors = [1, 5, 10, 20, 40, 60, 120, 240];

/**
 * A message of the transactional class whose fate is unknown is sent again; from this attempt on it is not any more,
 * since a server that takes messages and says nothing would have the recipient get it for two days.
 */
const maxDoubtfulAttempts = 5;

/** Attempts after which a provider's advice may make a wait longer, but no longer shorter. */
const advisedAttempts = 3;
const longestAdviceMs = 4 * 3_600_000;

/**
 * Milliseconds before attempt `attempt + 1`: growing, ±20 %. A provider that says when to come back is believed for
 * the first attempts; later its advice only ever adds.
 */
export function retryDelayMs(
  attempt: number,
  firstDelayMs: number,
  retryAfterMs?: number,
  random = Math.random(),
): number {
  const factor = backoffFactors[Math.min(attempt, backoffFactors.length) - 1]!;
  const delay = Math.round(firstDelayMs * factor * (0.8 + 0.4 * random));
  if (retryAfterMs === undefined) return delay;
  const advice = Math.min(Math.max(retryAfterMs, 1_000), longestAdviceMs);
  return attempt <= advisedAttempts ? advice : Math.max(delay, advice);
}

/** The fact that a result is, and the retry that it asks for. */
export function settle(
  inFlight: InFlight,
  result: RoutedResult,
  options: { now: number; firstDelayMs: number },
): { type: OutcomeType; retry?: Retry } {
  if (result.outcome === 'accepted') return { type: 'message.sent' };
  if (result.outcome === 'rejected') return { type: 'message.failed' };
  const { message } = inFlight;
  const unknown = result.outcome === 'unknown';
  if (unknown && (inFlight.class === 'promotional' || message.attempt >= maxDoubtfulAttempts))
    return { type: 'message.in_doubt' };
  // Nobody has looked at a message that no account could take: it is not the message that should wait longer.
  const refusals = result.accountUnusable ? 1 : message.attempt;
  const dueAt = options.now + retryDelayMs(refusals, options.firstDelayMs, result.retryAfterMs);
  if (dueAt >= inFlight.expiresAt.getTime()) {
    return { type: unknown ? 'message.in_doubt' : 'message.expired' };
  }
  const { attempt, ...content } = message;
  const retry: Retry = {
    messageId: message.id,
    applicationId: message.applicationId,
    dispatchId: inFlight.dispatchId,
    endpointId: inFlight.endpointId,
    treatmentId: inFlight.treatmentId,
    class: inFlight.class,
    lane: inFlight.lane,
    dueAt: new Date(dueAt),
    expiresAt: inFlight.expiresAt,
    attempt: attempt + 1,
    message: content,
  };
  return { type: unknown ? 'message.in_doubt' : 'message.deferred', retry };
}
