import { accountFor, searchMessages } from '../../messaging/index.ts';
import type { Queryable } from '../../platform/database.ts';
import { badMember } from '../../platform/errors.ts';
import { selectPending, selectRunIds } from './accounting.sql.ts';
import type { Page } from './campaigns.sql.ts';
import { getCampaign, getCampaignActivity } from './read.ts';

/** What became of those who were to get a message; every other status of the message log is a reason why not. */
const outcomeStatuses = [
  'sending',
  'deferred',
  'in_doubt',
  'sent',
  'delivered',
  'bounced',
  'complained',
  'failed',
  'expired',
] as const;
type Outcome = (typeof outcomeStatuses)[number];
type MessageSummary = Awaited<ReturnType<typeof searchMessages>>['items'][number];

/**
 * Where everybody in the audience of a campaign's runs is. Each member counts in exactly one place, so that
 * `audience` = all `outcomes` + all `reasons` + `pending`, at any moment.
 */
export interface CampaignAccounting {
  applicationId: string;
  campaignId: string;
  /** When not null: only the run of this activity, with all its treatments. */
  activityId: string | null;
  /** CampaignStatus, and why it is so where that needs words. */
  state: string;
  stateReason: string | null;
  audience: number;
  /** Of the outcomes, those that a provider accepted: `sent`, `delivered`, `complained`, and `bounced` afterwards. */
  accepted: number;
  /**
   * What became of those who were to get a message, by the last word about it: `sending` (in flight), `deferred`
   * (waits for its next attempt), `in_doubt` (may or may not have been taken), `sent`, `delivered`, `bounced`,
   * `complained`, `failed`, `expired`.
   */
  outcomes: Record<Outcome, number>;
  /** Those who got no message, by the decision that says why (`holdout`, `opted_out`, `daily_cap` …). */
  reasons: Record<string, number>;
  /** Those whose turn has not come. */
  pending: number;
}

/** Counted from the messages, their facts and the queues each time, not from counters. @throws CallerError not_found */
export async function campaignAccounting(
  db: Queryable,
  applicationId: string,
  campaignId: string,
  options: { activity?: string } = {},
): Promise<CampaignAccounting> {
  const campaign = await getCampaign(db, applicationId, campaignId);
  const dispatchIds = await runIds(db, applicationId, campaignId, options.activity);
  const { audience, pending, statuses } = await accountFor(db, applicationId, dispatchIds);
  const outcomes = Object.fromEntries(
    outcomeStatuses.map((outcome) => [outcome, statuses[outcome] ?? 0]),
  ) as Record<Outcome, number>;
  const reasons = Object.fromEntries(Object.entries(statuses).filter(([status]) => !isOutcome(status)));
  return {
    applicationId,
    campaignId,
    activityId: options.activity ?? null,
    state: campaign.state,
    stateReason: campaign.stateReason,
    audience,
    accepted: outcomes.sent + outcomes.delivered + outcomes.complained + outcomes.bounced,
    outcomes,
    reasons,
    pending,
  };
}

function isOutcome(status: string): status is Outcome {
  return (outcomeStatuses as readonly string[]).includes(status);
}

async function runIds(
  db: Queryable,
  applicationId: string,
  campaignId: string,
  activityId: string | undefined,
): Promise<string[]> {
  if (activityId !== undefined) await getCampaignActivity(db, applicationId, campaignId, activityId);
  return selectRunIds(db, applicationId, campaignId, activityId);
}

/** A name behind a number of the accounting; who is pending has no message yet. */
export type AccountingMember =
  | MessageSummary
  | { id: null; endpointId: string; dispatchId: string; status: 'pending' };

/**
 * The names behind a number of the accounting: `bucket` is an outcome, a reason or `pending`. Messages come newest
 * first, pending members in the order in which their turn comes.
 * @throws CallerError not_found, or bad_request for an unknown bucket or a token of another list
 */
export async function accountingMembers(
  db: Queryable,
  applicationId: string,
  campaignId: string,
  bucket: string,
  page: { limit: number; after?: string; activity?: string },
): Promise<Page<AccountingMember>> {
  await getCampaign(db, applicationId, campaignId);
  if (bucket === 'pending') {
    return pendingMembers(db, await runIds(db, applicationId, campaignId, page.activity), page);
  }
  if (page.after !== undefined && !/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(page.after))
    throw badToken();
  const dispatchId = page.activity && (await runIds(db, applicationId, campaignId, page.activity))[0];
  // An activity that could not be started has no dispatch, and so no members.
  if (page.activity !== undefined && !dispatchId) return { items: [] };
  const found = await searchMessages(
    db,
    applicationId,
    { campaignId, status: bucket, ...(dispatchId ? { dispatchId } : {}) },
    { limit: page.limit, ...(page.after === undefined ? {} : { before: page.after }) },
  );
  return found.next === null ? { items: found.items } : { items: found.items, next: found.next };
}

async function pendingMembers(
  db: Queryable,
  dispatchIds: string[],
  page: { limit: number; after?: string },
): Promise<Page<AccountingMember>> {
  const after =
    page.after === undefined
      ? undefined
      : /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}) (\d{1,9}) (\d{1,9})$/.exec(page.after);
  if (after === null) throw badToken();
  const rows = await selectPending(db, dispatchIds, {
    limit: page.limit + 1,
    ...(after ? { after: { dispatchId: after[1]!, number: Number(after[2]), place: Number(after[3]) } } : {}),
  });
  const shown = rows.slice(0, page.limit);
  const items = shown.map(
    ({ dispatchId, endpointId }): AccountingMember => ({
      id: null,
      endpointId,
      dispatchId,
      status: 'pending',
    }),
  );
  const last = shown.at(-1);
  return rows.length > page.limit && last
    ? { items, next: `${last.dispatchId} ${last.number} ${last.place}` }
    : { items };
}

function badToken() {
  return badMember('token', 'expected the token of an earlier page of the same list');
}
