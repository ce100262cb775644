import { addSuppressions } from '../audience/index.ts';
import type { Fact } from '../events/index.ts';
import type { Queryable } from '../platform/database.ts';
import { releaseDaily, releaseTotal } from './caps.sql.ts';
import type { InFlight, OutcomeType } from './outcome.ts';
import { sentWith } from './sent-with.ts';
import type { RoutedResult } from './session.ts';
import type { Retry } from './window.sql.ts';

/** An outcome, ready to be written. */
export interface Settled {
  inFlight: InFlight;
  result: RoutedResult;
  type: OutcomeType;
  retry?: Retry;
  /** When the provider answered, in milliseconds. */
  at: number;
  /** The last of its window: the window's row goes with it. */
  closesWindow: boolean;
}

/** The fact that an outcome is. */
export function factOf({ inFlight, result, type, retry, at }: Settled): Fact {
  const { message } = inFlight;
  return {
    type,
    applicationId: message.applicationId,
    occurredAt: at,
    endpointId: inFlight.endpointId ?? undefined,
    messageId: message.id,
    dispatchId: inFlight.dispatchId,
    payload: {
      attempt: message.attempt,
      treatmentId: inFlight.treatmentId ?? undefined,
      accountId: result.accountId ?? undefined,
      code: result.code,
      response: result.response,
      providerMessageId: result.providerMessageId,
      bounce: result.bounce,
      retryAt: retry?.dueAt.toISOString(),
      ...(type === 'message.sent' ? sentWith(message.content) : {}),
    },
  };
}

/** Hard bounces put their addresses on the suppression list. */
export async function suppressHardBounces(tx: Queryable, refused: Settled[]): Promise<void> {
  const byApplication = Map.groupBy(
    refused.filter(({ result }) => result.bounce === 'hard'),
    ({ inFlight }) => inFlight.message.applicationId,
  );
  for (const [applicationId, settled] of byApplication) {
    await addSuppressions(
      tx,
      applicationId,
      settled.map(({ inFlight: { message } }) => ({
        channel: message.channel,
        address: message.address,
        reason: 'bounce' as const,
        messageId: message.id,
      })),
    );
  }
}

/** Gives caps back that were reserved for messages that were then refused. */
export async function releaseRefused(tx: Queryable, refused: Settled[]): Promise<void> {
  const byCampaign = Map.groupBy(refused, ({ inFlight }) => inFlight.campaignId);
  for (const [campaignId, settled] of byCampaign) {
    const endpointIds = settled.flatMap(({ inFlight }) => inFlight.endpointId ?? []);
    const applicationId = settled[0]!.inFlight.message.applicationId;
    if (!campaignId || endpointIds.length === 0) continue;
    await releaseTotal(tx, campaignId, endpointIds);
    await releaseDaily(tx, applicationId, endpointIds);
  }
}

/** The same outcome in a form that the database takes in any case; a repeat that cannot be stored is none. */
export function withoutWords(settled: Settled, error: unknown): Pick<Settled, 'result' | 'type' | 'retry'> {
  const { result, type, retry } = settled;
  const words = error instanceof Error ? error.message : String(error);
  const { id, outcome, code, accountId } = result;
  const lost = retry ? 'it cannot be tried again' : "the provider's answer is lost";
  const response = `The outcome could not be stored as it was, and ${lost}: ${words}`.slice(0, 500);
  return {
    result: { id, outcome, code, accountId, response },
    type: retry && type === 'message.deferred' ? 'message.failed' : type,
    retry: undefined,
  };
}
