import sql from 'sql-template-tag';
import type { Queryable, Transaction } from '../../platform/database.ts';
import { badMember } from '../../platform/errors.ts';
import type { Campaign, CampaignDefinition } from './campaign.ts';
import type { RunResult } from './run.ts';
import { dueTime, parseIsoTime } from './schedule.ts';

/** In-app campaigns of an application that are scheduled or shown at once (reference 10.1). */
export const maxInAppCampaigns = 25;

/** Does it count to the quota of in-app campaigns? */
export function isShown({ state }: Pick<Campaign, 'state'>): boolean {
  return state === 'SCHEDULED' || state === 'EXECUTING';
}

/**
 * The state of an in-app campaign after an update. Clients see the change at once, since what they get is decided by
 * the definition; the state follows with the scheduler's next look.
 */
export function inAppState(
  campaign: Campaign,
  definition: CampaignDefinition,
  now: number,
): Pick<Campaign, 'state' | 'stateReason' | 'nextRunAt'> {
  if (campaign.state === 'DELETED') {
    const { state, stateReason } = campaign;
    return { state, stateReason, nextRunAt: null };
  }
  const { StartTime, EndTime } = definition.Schedule!;
  if (parseIsoTime(EndTime!)! <= now) return { state: 'COMPLETED', stateReason: null, nextRunAt: null };
  const kept = StartTime === campaign.definition.Schedule?.StartTime && StartTime === 'IMMEDIATE';
  const startAt = kept ? new Date(now) : dueTime(definition.Schedule!, now);
  return { state: definition.IsPaused ? 'PAUSED' : 'SCHEDULED', stateReason: null, nextRunAt: startAt };
}

/** Its start has come: from now on clients show it, until its end. */
export async function showInApp(tx: Transaction, campaign: Campaign): Promise<RunResult> {
  const { applicationId, id, definition } = campaign;
  const endsAt = new Date(parseIsoTime(definition.Schedule!.EndTime!)!);
  await tx.query(sql`
    update campaigns set state = 'EXECUTING', state_reason = null, next_run_at = null, run_ends_at = ${endsAt}
    where application_id = ${applicationId} and id = ${id}`);
  return { started: false, reason: 'Clients show it from now on' };
}

/** Completes the in-app campaigns whose end has come. */
export async function completeInApp(db: Queryable): Promise<void> {
  await db.query(sql`
    update campaigns set state = 'COMPLETED', run_ends_at = null
    where (application_id, id) in (
      select application_id, id from campaigns
      where run_ends_at <= now() and dispatch_id is null and state = 'EXECUTING'
        and definition->'Schedule'->>'Frequency' = 'IN_APP_EVENT'
      order by application_id, id limit 200 for update skip locked)`);
}

/** @throws CallerError bad_request when the application has as many already as it may have */
export async function checkInAppQuota(tx: Transaction, applicationId: string): Promise<void> {
  // One at a time for each application, so that two together do not pass it.
  await tx.query(sql`select pg_advisory_xact_lock(hashtext('in-app-campaigns'), hashtext(${applicationId}))`);
  const { rows } = await tx.query<{ count: number }>(sql`
    select count(*)::int as count from campaigns
    where application_id = ${applicationId} and definition->'Schedule'->>'Frequency' = 'IN_APP_EVENT'
      and state in ('SCHEDULED', 'EXECUTING')`);
  if (rows[0]!.count >= maxInAppCampaigns)
    throw badMember(
      '$.Schedule.Frequency',
      `the application has ${maxInAppCampaigns} in-app campaigns that are scheduled or shown, which is the most; pause, end or delete one`,
    );
}
