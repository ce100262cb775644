import sql from 'sql-template-tag';
import { watchAttributes } from '../../audience/index.ts';
import { closeDispatch, type DispatchPlan, openDispatch, setDispatchState } from '../../messaging/index.ts';
import type { Transaction } from '../../platform/database.ts';
import { badMember, CallerError } from '../../platform/errors.ts';
import { uuidv7 } from '../../platform/ids.ts';
import { insertActivities, setActivitiesState } from './activities.sql.ts';
import type { Campaign, CampaignDefinition } from './campaign.ts';
import { markIdleDeleted } from './campaigns.sql.ts';
import { effectiveLimits, planOfRun } from './plan.ts';
import { dueTime, isEventTriggered, parseIsoTime } from './schedule.ts';
import { countTriggers, deleteTrigger, markTriggerEnded, upsertTrigger } from './trigger.sql.ts';
import { readEventFilter, watchesOf } from './trigger-filter.ts';

/** Event-triggered campaigns of an application that wait for their start or for events (reference 10.1). */
export const maxEventCampaigns = 25;

/** An open dispatch has no end of its own: each of its messages expires some minutes after the event. */
const never = new Date('9999-12-31T23:59:59Z');

/** @throws CallerError bad_request when the application has as many event-triggered campaigns as it may have */
export async function checkEventQuota(
  tx: Transaction,
  applicationId: string,
  campaignId: string | null,
): Promise<void> {
  if ((await countTriggers(tx, applicationId, campaignId)) < maxEventCampaigns) return;
  throw badMember(
    '$.Schedule.Frequency',
    `the application has ${maxEventCampaigns} event-triggered campaigns that wait for events, which is the most; pause, end or delete one`,
  );
}

/** Does it count to the quota? */
export function waitsForEvents({ state, definition }: Pick<Campaign, 'state' | 'definition'>): boolean {
  return isEventTriggered(definition.Schedule) && (state === 'SCHEDULED' || state === 'PENDING_NEXT_RUN');
}

function endOf(definition: CampaignDefinition): Date | null {
  const endTime = definition.Schedule?.EndTime;
  return endTime === undefined ? null : new Date(parseIsoTime(endTime)!);
}

/**
 * Makes what events are compared with the same as the campaign, which the caller has just written. From the commit on,
 * events are compared with this.
 */
export async function saveTrigger(tx: Transaction, campaign: Campaign): Promise<void> {
  const { applicationId, id: campaignId, definition, nextRunAt, dispatchId } = campaign;
  if (!isEventTriggered(definition.Schedule)) {
    const { rowCount } = await tx.query(deleteTrigger(applicationId, campaignId));
    if (rowCount) await watchAttributes(tx, applicationId, campaignId, []);
    return;
  }
  if (!nextRunAt && !dispatchId) return endTrigger(tx, campaign);
  const filter = readEventFilter(definition.Schedule!.EventFilter, '$.Schedule.EventFilter');
  await tx.query(
    upsertTrigger({
      applicationId,
      campaignId,
      segmentId: definition.SegmentId!,
      filter,
      activeFrom: nextRunAt,
      activeUntil: endOf(definition),
    }),
  );
  await watchAttributes(tx, applicationId, campaignId, watchesOf(filter));
}

/** Nothing triggers the campaign any more, from the commit on. */
export async function endTrigger(
  tx: Transaction,
  { applicationId, id }: Pick<Campaign, 'applicationId' | 'id'>,
): Promise<void> {
  await tx.query(markTriggerEnded(applicationId, id));
  await watchAttributes(tx, applicationId, id, []);
}

/**
 * Opens the dispatch of an event-triggered campaign, with an activity for each treatment: from now on what is triggered
 * goes into it. The caller has locked the campaign and closed the dispatch that it had.
 */
export async function openTriggered(
  tx: Transaction,
  campaign: Campaign,
  options: { plan: DispatchPlan; scheduledStart: Date; paused: boolean },
): Promise<string> {
  const { applicationId, id: campaignId, definition } = campaign;
  const { paused, scheduledStart } = options;
  const plan = planOfRun(options.plan, scheduledStart);
  const dispatchId = uuidv7();
  await openDispatch(tx, {
    id: dispatchId,
    applicationId,
    kind: 'campaign',
    class: 'promotional',
    lane: 'triggered',
    campaignId,
    plan,
    messagesPerSecond: effectiveLimits(definition, campaign.inherited).MessagesPerSecond,
    expiresAt: never,
    paused,
  });
  await insertActivities(tx, {
    applicationId,
    campaignId,
    dispatchId,
    scheduledStart,
    treatments: plan.treatments,
  });
  if (paused) await setActivitiesState(tx, dispatchId, 'PAUSED');
  await tx.query(sql`
    update campaigns set state = ${paused ? 'PAUSED' : 'PENDING_NEXT_RUN'}, state_reason = null, next_run_at = null,
      dispatch_id = ${dispatchId}, run_ends_at = ${endOf(definition)}
    where application_id = ${applicationId} and id = ${campaignId}`);
  return dispatchId;
}

/**
 * Lets the dispatch that a campaign had come to its end: what was triggered is sent, except while the campaign is
 * held, when it gets the reason `stopped`.
 */
export async function closeTriggered(
  tx: Transaction,
  { applicationId, dispatchId }: Campaign,
  options: { held: boolean },
): Promise<void> {
  if (!dispatchId) return;
  try {
    await setDispatchState(tx, applicationId, dispatchId, options.held ? 'stopped' : 'running');
  } catch (error) {
    // It came to its end in this moment.
    if (!(error instanceof CallerError && error.code === 'conflict')) throw error;
  }
  await closeDispatch(tx, applicationId, dispatchId);
}

/** The state of an event-triggered campaign after an update, and when it starts, if that is ahead. */
export function nextTriggerState(
  campaign: Campaign,
  definition: CampaignDefinition,
  now: number,
): Pick<Campaign, 'state' | 'stateReason' | 'nextRunAt'> {
  const schedule = definition.Schedule!;
  const paused = definition.IsPaused === true;
  if (schedule.StartTime !== campaign.definition.Schedule?.StartTime) {
    return { state: paused ? 'PAUSED' : 'SCHEDULED', stateReason: null, nextRunAt: dueTime(schedule, now) };
  }
  const { stateReason, nextRunAt } = campaign;
  if (campaign.dispatchId)
    return { state: paused ? 'PAUSED' : 'PENDING_NEXT_RUN', stateReason, nextRunAt: null };
  if (!nextRunAt) return { state: campaign.state, stateReason, nextRunAt: null };
  // One that was held at its start begins when it is let go, not with what happened meanwhile.
  const resumed = campaign.state === 'PAUSED' && !paused && nextRunAt.getTime() < now;
  return {
    state: paused ? 'PAUSED' : 'SCHEDULED',
    stateReason: null,
    nextRunAt: resumed ? new Date(now) : nextRunAt,
  };
}

/** The end of an event-triggered campaign has come: what was triggered before is still sent, then it is COMPLETED. */
export async function completeTriggered(tx: Transaction, campaign: Campaign): Promise<void> {
  await closeTriggered(tx, campaign, { held: campaign.state === 'PAUSED' });
  await endTrigger(tx, campaign);
  await tx.query(sql`
    update campaigns set run_ends_at = null
    where application_id = ${campaign.applicationId} and id = ${campaign.id}`);
}

/**
 * Ends the campaigns of a segment that was deleted: those that wait for a run or for events cannot go on. A run in
 * progress has its audience and goes on.
 */
export async function markSegmentDeleted(
  tx: Transaction,
  applicationId: string,
  segmentId: string,
): Promise<void> {
  const { rows } = await tx.query<{ id: string; dispatch_id: string | null }>(sql`
    select c.id, c.dispatch_id
    from campaign_triggers t join campaigns c on c.application_id = t.application_id and c.id = t.campaign_id
    where t.application_id = ${applicationId} and t.segment_id = ${segmentId} and t.ended_at is null
    order by c.application_id, c.id for update of c`);
  for (const { id, dispatch_id: dispatchId } of rows) {
    await endTrigger(tx, { applicationId, id });
    if (!dispatchId) continue;
    await setDispatchState(tx, applicationId, dispatchId, 'stopped');
    await tx.query(sql`
      update campaigns set state = 'DELETED', state_reason = ${`Segment ${segmentId} was deleted`},
        dispatch_id = null, next_run_at = null, run_ends_at = null
      where application_id = ${applicationId} and id = ${id}`);
  }
  await markIdleDeleted(tx, applicationId, segmentId);
}
