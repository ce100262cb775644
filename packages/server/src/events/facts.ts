import type { Queryable } from '../platform/database.ts';
import { CallerError } from '../platform/errors.ts';
import { uuidTime } from '../platform/ids.ts';
import type { StoredFact } from './fact.ts';
import { type FactPosition, selectFactsByType, selectMessageFacts } from './facts.sql.ts';

const dayMs = 86_400_000;
const latestTime = 253_402_300_799_999;

/** Messages whose timelines one call reads, and facts of one of them. */
const maxMessages = 1_000;
const maxFactsPerMessage = 500;

/** Facts of one page. */
const maxPage = 1_000;

/**
 * What happened to these messages, in the order of arrival: the timeline of each. Reads only the partitions from the
 * messages' own day on.
 * @param messageIds UUIDv7s, at most 1,000; of each the first 500 facts are answered
 */
export async function messageFacts(db: Queryable, messageIds: readonly string[]): Promise<StoredFact[]> {
  if (messageIds.length === 0) return [];
  if (messageIds.length > maxMessages) {
    throw new CallerError('bad_request', `Timelines of at most ${maxMessages} messages can be read at once`);
  }
  const oldest = messageIds.reduce((least, id) => Math.min(least, uuidTime(id)), Number.POSITIVE_INFINITY);
  // A day of slack for servers whose clocks differ around midnight.
  const fromDay = new Date(Math.max(oldest - dayMs, 0)).toISOString().slice(0, 10);
  const { rows } = await db.query<StoredFact>(
    selectMessageFacts([...new Set(messageIds)], fromDay, maxFactsPerMessage),
  );
  return rows;
}

export interface FactsQuery {
  applicationId: string;
  type: string;
  /** occurredAt at or after this, in milliseconds. */
  from?: number;
  /** occurredAt before this. */
  to?: number;
  /** The last fact of the page before. */
  after?: FactPosition;
  /** At most 1,000; 100 when absent. */
  limit?: number;
}

/** Facts of one type of an application, newest first; the next page begins `after` the last fact of this one. */
export async function factsByType(db: Queryable, query: FactsQuery): Promise<StoredFact[]> {
  const limit = Math.max(1, Math.min(query.limit ?? 100, maxPage));
  const range = { from: query.from ?? 0, to: query.to ?? latestTime };
  const { rows } = await db.query<StoredFact>(selectFactsByType({ ...query, ...range }, limit));
  return rows;
}
