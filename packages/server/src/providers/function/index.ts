import type {
  AttemptResult,
  CustomerFunctions,
  FunctionDelivery,
  OutgoingMessage,
  Provider,
  ProviderSession,
} from '../../messaging/provider.ts';
import {
  callId,
  type FunctionAnswer,
  functionBatch,
  functionBatches,
} from '../../platform/remote-function.ts';

const longestResponse = 500;

/**
 * Custom delivery: hands messages to a function of the customer's, at most 50 in one call with the payload of Pinpoint
 * (reference 11). A 2xx answer takes all of them over. A failure after three tries is `CUSTOM_DELIVERY_FAILURE` of all:
 * for good where the function said no, in doubt where it may have got them, and for now (it is tried again later) where
 * it could not be reached at all.
 */
export function createFunctionProvider(functions: CustomerFunctions): Provider {
  return {
    name: 'function',
    channels: ['CUSTOM'],
    fields: [],
    open: (_account, _context, { maxConnections }) => openSession(functions, maxConnections),
  };
}

function openSession(functions: CustomerFunctions, concurrency: number): ProviderSession {
  const calls = new Set<Promise<unknown>>();
  return {
    limits: { concurrency, batch: functionBatch },
    send(messages, signal) {
      const sending = send(functions, messages, signal);
      calls.add(sending);
      return sending.finally(() => calls.delete(sending));
    },
    // There is nothing to log in to; a call would deliver.
    check: () => Promise.resolve(),
    async close() {
      await Promise.allSettled(calls);
    },
  };
}

type Delivered = { message: OutgoingMessage; delivery: FunctionDelivery };

async function send(
  functions: CustomerFunctions,
  messages: OutgoingMessage[],
  signal: AbortSignal,
): Promise<AttemptResult[]> {
  const results = new Map<string, AttemptResult>();
  const delivered = messages.flatMap((message): Delivered[] => {
    const delivery = message.content.kind === 'custom' ? message.content.delivery : undefined;
    if (delivery) return [{ message, delivery }];
    const response = 'The message names no function';
    results.set(message.id, { id: message.id, outcome: 'rejected', code: 0, response, bounce: 'other' });
    return [];
  });
  // One after the other: several at once are several calls of `send`, within the session's concurrency.
  for (const group of Map.groupBy(delivered, commonOf).values()) {
    for (const batch of functionBatches(group, ({ delivery }) => delivery.endpointId)) {
      const result = await deliver(functions, batch, signal);
      for (const { message } of batch) results.set(message.id, { ...result, id: message.id });
    }
  }
  return messages.map(({ id }) => results.get(id)!);
}

/** What the messages of one call have in common. */
function commonOf({ message, delivery }: Delivered): string {
  const { uri, campaignId, treatmentId, activityId, scheduledTime } = delivery;
  const { applicationId } = message;
  return JSON.stringify([
    applicationId,
    uri,
    campaignId,
    treatmentId,
    activityId,
    scheduledTime,
    bodyOf(message),
  ]);
}

function bodyOf({ content }: OutgoingMessage): string {
  return content.kind === 'custom' ? content.body : '';
}

async function deliver(
  functions: CustomerFunctions,
  batch: Delivered[],
  signal: AbortSignal,
): Promise<Omit<AttemptResult, 'id'>> {
  if (signal.aborted)
    return { outcome: 'deferred', code: 0, response: 'Stopped before the message was handed over' };
  const { message, delivery } = batch[0]!;
  const id = callId(
    'delivery',
    batch.map((one) => one.message.id),
  );
  const body = payload(batch);
  let answer: FunctionAnswer;
  try {
    answer = await functions.call(message.applicationId, delivery.uri, { id, body, signal });
  } catch (error) {
    // Nothing was called: the secret could not be read.
    const response = `The function could not be called: ${(error as Error).message}`.slice(
      0,
      longestResponse,
    );
    return { outcome: 'deferred', code: 0, response, accountUnusable: true };
  }
  if (answer.ok)
    return {
      outcome: 'accepted',
      code: 200,
      response: `200 taken over by call ${id}`,
      providerMessageId: id,
    };
  return refusal(answer);
}

function refusal({ why, words, tries }: FunctionAnswer & { ok: false }): Omit<AttemptResult, 'id'> {
  const text = `CUSTOM_DELIVERY_FAILURE after ${tries} tries: ${words}`;
  const response = text.slice(0, longestResponse).toWellFormed();
  if (why === 'unreachable') return { outcome: 'deferred', code: 0, response, accountUnusable: true };
  if (why === 'doubtful') return { outcome: 'unknown', code: 0, response };
  const status = Number(/^answered (\d{3})/.exec(words)?.[1] ?? 0);
  return { outcome: 'rejected', code: status, response, bounce: 'other' };
}

/** The payload of Pinpoint's custom channel. */
function payload(batch: Delivered[]): string {
  const { message, delivery } = batch[0]!;
  const endpoints: Record<string, unknown> = Object.create(null);
  for (const { delivery: one } of batch) endpoints[one.endpointId] = one.endpoint;
  return JSON.stringify({
    Message: {},
    Data: bodyOf(message),
    ApplicationId: message.applicationId,
    CampaignId: delivery.campaignId,
    TreatmentId: delivery.treatmentId,
    ActivityId: delivery.activityId,
    ScheduledTime: delivery.scheduledTime,
    Endpoints: endpoints,
  });
}
