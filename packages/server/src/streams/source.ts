import type { EventPayload, Recipient } from '../audience/index.ts';
import { loadRecipients } from '../audience/index.ts';
import type { StoredFact } from '../events/index.ts';
import { heldMessages, type RecordedMessage, recordedMessages } from '../messaging/index.ts';
import type { Queryable } from '../platform/database.ts';
import { factId, type RenderContext } from './render.ts';

/** Ids of the activities of dispatches, by `<dispatch> <treatment>`; only what knows of campaigns can say them. */
export type ActivityIds = (db: Queryable, dispatchIds: readonly string[]) => Promise<Map<string, string>>;

export interface SourceOptions {
  database: Queryable;
  accountId: string;
  activityIds: ActivityIds;
}

const maxCachedCountries = 10_000;

/** Reads what the records of these facts need, in a few statements. All facts are of one application. */
export async function loadContext(
  { database, accountId, activityIds }: SourceOptions,
  applicationId: string,
  facts: readonly StoredFact[],
): Promise<RenderContext> {
  const messageIds = new Set(facts.flatMap(({ messageId }) => messageId ?? []));
  const [messages, held] = await Promise.all([
    recordedMessages(database, applicationId, [...messageIds]),
    loadHeld(database, applicationId, facts),
  ]);
  const all = [...messages, ...[...held.values()].flat()];
  const endpointIds = new Set([
    ...facts.filter(isAppEvent).flatMap(({ endpointId }) => endpointId ?? []),
    ...all.flatMap(({ endpointId }) => endpointId ?? []),
  ]);
  const dispatchIds = new Set(all.filter(({ campaignId }) => campaignId).map(({ dispatchId }) => dispatchId));
  const [recipients, activities, countryOf] = await Promise.all([
    loadRecipients(database, applicationId, [...endpointIds]),
    dispatchIds.size > 0 ? activityIds(database, [...dispatchIds]) : new Map<string, string>(),
    all.some(({ channel }) => channel === 'SMS') ? loadCountries() : () => undefined,
  ]);
  return {
    applicationId,
    accountId,
    endpoints: new Map(recipients.map((recipient): [string, Recipient] => [recipient.id, recipient])),
    messages: new Map(messages.map((message) => [message.id, message])),
    held,
    activityIdOf: (dispatchId, treatmentId) => activities.get(`${dispatchId} ${treatmentId}`),
    countryOf,
  };
}

function isAppEvent({ type, payload }: StoredFact): boolean {
  return type.startsWith('event.') && (payload as EventPayload).source !== 'archive';
}

async function loadHeld(
  database: Queryable,
  applicationId: string,
  facts: readonly StoredFact[],
): Promise<Map<string, RecordedMessage[]>> {
  const byFact = new Map<string, RecordedMessage[]>();
  const windows = facts.flatMap((fact) => {
    const { firstMessageId, lastMessageId } = fact.payload as {
      firstMessageId?: string;
      lastMessageId?: string;
    };
    if (fact.type !== 'dispatch.window' || !fact.dispatchId || !firstMessageId || !lastMessageId) return [];
    if (heldCount(fact) === 0) return [];
    return [{ fact, dispatchId: fact.dispatchId, firstMessageId, lastMessageId }];
  });
  const rows = await heldMessages(database, applicationId, windows);
  for (const [window, messages] of Map.groupBy(rows, (row) => row.window))
    byFact.set(factId(windows[window]!.fact), messages);
  return byFact;
}

/** How many members a window did not write to; 0 for other facts. */
export function heldCount(fact: StoredFact): number {
  const decisions = (fact.payload.decisions ?? {}) as Record<string, Record<string, number>>;
  if (fact.type !== 'dispatch.window') return 0;
  let held = 0;
  for (const counts of Object.values(decisions))
    for (const [decision, count] of Object.entries(counts)) if (decision !== 'sending') held += count;
  return held;
}

let countries: Promise<(address: string) => string | undefined> | undefined;

/** The library's tables are loaded when the first text message is streamed. */
function loadCountries(): Promise<(address: string) => string | undefined> {
  countries ??= import('libphonenumber-js').then(({ parsePhoneNumberFromString }) => {
    const known = new Map<string, string | undefined>();
    return (address: string) => {
      if (!known.has(address)) {
        if (known.size >= maxCachedCountries) known.clear();
        known.set(address, parsePhoneNumberFromString(address)?.country);
      }
      return known.get(address);
    };
  });
  return countries;
}
