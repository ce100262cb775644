import { CallerError } from '../platform/errors.ts';

/** Something that happened, as it is written to the log. */
export interface Fact {
  /** `message.sent`, `dispatch.done` …: the noun it is about, a dot, what happened. */
  type: string;
  applicationId: string;
  /** Milliseconds since the epoch by the clock of whoever saw it; the time of the append when absent. */
  occurredAt?: number;
  endpointId?: string | null;
  /** UUIDv7 of the message that it is about. */
  messageId?: string | null;
  /** UUIDv7 of the dispatch that it belongs to. */
  dispatchId?: string | null;
  /** JSON; `{}` when absent. */
  payload?: Record<string, unknown>;
  /**
   * The payload as JSON text, instead of `payload`: from a caller that has it as text already, and has made sure that
   * it holds neither U+0000 nor half of a surrogate pair.
   */
  payloadJson?: string;
}

/** A fact as it is read back. `batchId` and `seq` name it; both together order the facts of one writer. */
export interface StoredFact {
  batchId: string;
  /** Place in its batch, from 0. */
  seq: number;
  /** UTC day of arrival (`2026-11-21`): the partition in which it lies. */
  day: string;
  type: string;
  applicationId: string;
  /** Milliseconds since the epoch. */
  occurredAt: number;
  endpointId: string | null;
  messageId: string | null;
  dispatchId: string | null;
  payload: Record<string, unknown>;
}

/** Facts of one batch, and so the unit of numbering. A longer append becomes several batches. */
export const maxBatchFacts = 10_000;

/** Last millisecond of the year 9999: what both ISO 8601 with four digits and PostgreSQL can hold. */
const latestTime = 253_402_300_799_999;

/**
 * Refuses what the table cannot hold before anything is sent, naming the fact.
 * @throws CallerError bad_request
 */
export function checkFact(fact: Fact, index: number): void {
  const at = fact.occurredAt;
  if (at !== undefined && !(Number.isInteger(at) && at >= 0 && at <= latestTime)) {
    throw new CallerError(
      'bad_request',
      `facts[${index}].occurredAt: expected milliseconds between 1970 and 9999`,
    );
  }
  if (!fact.type || !fact.applicationId) {
    throw new CallerError('bad_request', `facts[${index}]: expected type and applicationId`);
  }
}

// PostgreSQL holds neither U+0000 nor half a surrogate pair. What arrives here comes from other people's servers as
// well (the words of a provider), where refusing the fact would lose the outcome: U+FFFD takes the place.
const unstorableEscape = /\\u(?:0000|d[89a-f][0-9a-f]{2})/;

/** The payload as JSON text that jsonb takes. */
export function payloadText({ payload, payloadJson }: Pick<Fact, 'payload' | 'payloadJson'>): string {
  if (payloadJson !== undefined) return payloadJson;
  if (payload === undefined) return '{}';
  const text = JSON.stringify(payload);
  // JSON.stringify escapes exactly these characters, so the common case is one scan. The escape may also be the text
  // of an escaped backslash, which the second look leaves alone.
  if (!unstorableEscape.test(text)) return text;
  return text.replace(/\\(u(?:0000|d[89a-f][0-9a-f]{2})|.)/g, (escaped, code: string) =>
    code.length === 5 ? '\ufffd' : escaped,
  );
}

/** A string that a text column takes. */
export function columnText(value: string): string {
  if (value.isWellFormed() && !value.includes('\0')) return value;
  return value.toWellFormed().replaceAll('\0', '\ufffd');
}
