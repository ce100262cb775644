import type { Queryable } from '../../platform/database.ts';
import { badMember } from '../../platform/errors.ts';
import type { Page } from './campaigns.sql.ts';
import { getCampaign } from './read.ts';
import { selectSkipped } from './trigger-log.sql.ts';
import { type SkipReason, skipReasons } from './trigger-subscriber.ts';

/** An event that could have triggered a campaign and did not. */
export interface SkippedTrigger {
  /** When the event happened. */
  at: Date;
  /** When it was compared with the campaign. */
  decidedAt: Date;
  /** The client's id of the event. */
  eventId: string;
  eventType: string;
  /** Null when the event is about a user without endpoints. */
  endpointId: string | null;
  reason: SkipReason;
}

/** All that are given must fit. */
export interface SkippedFilter {
  endpointId?: string | undefined;
  eventId?: string | undefined;
  reason?: string | undefined;
}

/**
 * The events that did not trigger a campaign though their type is one that it waits for, the latest first. (Those
 * that did have a message each, with its own reason where it was not sent.)
 * @throws CallerError not_found; bad_request for an unknown reason or a token of another list
 */
export async function listSkippedTriggers(
  db: Queryable,
  applicationId: string,
  campaignId: string,
  filter: SkippedFilter,
  page: { limit: number; after?: string },
): Promise<Page<SkippedTrigger>> {
  await getCampaign(db, applicationId, campaignId);
  if (filter.reason !== undefined && !skipReasons.some((reason) => reason === filter.reason))
    throw badMember('$.reason', `expected one of ${skipReasons.join(', ')}`);
  // PostgreSQL cannot be asked for a text with NUL, and holds none.
  if ([filter.endpointId, filter.eventId].some((text) => text?.includes('\0'))) return { items: [] };
  const after = page.after === undefined ? undefined : parsePosition(page.after);
  const rows = await selectSkipped(db, applicationId, campaignId, filter, { limit: page.limit + 1, after });
  const shown = rows.slice(0, page.limit);
  const items = shown.map(({ batchId: _batchId, seq: _seq, ...item }) => item);
  const last = shown.at(-1);
  return rows.length > page.limit && last ? { items, next: `${last.batchId} ${last.seq}` } : { items };
}

function parsePosition(token: string): { batchId: string; seq: number } {
  const match = /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}) (\d{1,9})$/.exec(token);
  if (!match) throw badMember('token', 'expected the token of an earlier page of the same list');
  return { batchId: match[1]!, seq: Number(match[2]) };
}
