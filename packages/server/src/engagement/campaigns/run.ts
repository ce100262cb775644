import sql, { type Sql } from 'sql-template-tag';
import { type DispatchPlan, startDispatch } from '../../messaging/index.ts';
import type { Transaction } from '../../platform/database.ts';
import { CallerError } from '../../platform/errors.ts';
import { uuidv7 } from '../../platform/ids.ts';
import { insertActivities, insertCancelledActivity } from './activities.sql.ts';
import type { Campaign } from './campaign.ts';
import { showInApp } from './in-app-state.ts';
import { effectiveLimits, planCampaign, planOfRun } from './plan.ts';
import { segmentExists, segmentMembers, templateLoader } from './references.ts';
import { isEventTriggered, isInApp, parseIsoTime } from './schedule.ts';
import { endTrigger, openTriggered } from './triggers.ts';

export interface RunOptions {
  /** The database's clock, in milliseconds. */
  now: number;
  /** A run that is later than this does not take place (an old backup must not send what was sent long ago). */
  maxLatenessMs: number;
  /** How long a run may try to reach its audience when it sets no MaximumDuration. */
  lifetimeMs: number;
}

/** What became of a run that was due. */
export type RunResult =
  | { started: true; dispatchId: string; audienceSize: number }
  | { started: false; reason: string };

/**
 * Starts the run of a campaign that the caller has locked and that is due: evaluates the segment, starts the dispatch
 * and writes the activities, all in the caller's transaction. What cannot run gets its state and reason instead.
 */
export async function startRun(tx: Transaction, campaign: Campaign, options: RunOptions): Promise<RunResult> {
  const { applicationId, definition } = campaign;
  const scheduledStart = campaign.nextRunAt!;
  if (isInApp(definition.Schedule)) return showInApp(tx, campaign);
  if (isEventTriggered(definition.Schedule)) return startTriggered(tx, campaign, options);
  const latenessMs = options.now - scheduledStart.getTime();
  if (latenessMs > options.maxLatenessMs) {
    const hours = (milliseconds: number) => Math.round(milliseconds / 360_000) / 10;
    const reason = `Not run: it was due ${hours(latenessMs)} hours ago, and a run starts at most ${hours(options.maxLatenessMs)} hours late. Set a new Schedule.StartTime to run it.`;
    return refuse(tx, campaign, 'INVALID', reason);
  }
  if (!(await segmentExists(tx, applicationId, definition.SegmentId!))) {
    return refuse(tx, campaign, 'DELETED', `Not run: segment ${definition.SegmentId} was deleted`);
  }
  const prepared = await prepareRun(tx, campaign, options.now);
  if ('reason' in prepared) return refuse(tx, campaign, 'INVALID', prepared.reason);
  const dispatchId = uuidv7();
  const plan = planOfRun(prepared.plan, scheduledStart);
  const endsAt = runEnd(campaign, options.now);
  const { audienceSize } = await startDispatch(tx, {
    id: dispatchId,
    applicationId,
    kind: 'campaign',
    class: 'promotional',
    lane: 'bulk',
    campaignId: campaign.id,
    plan,
    members: prepared.members,
    messagesPerSecond: effectiveLimits(definition, campaign.inherited).MessagesPerSecond,
    expiresAt: endsAt ?? new Date(options.now + options.lifetimeMs),
  });
  await insertActivities(tx, {
    applicationId,
    campaignId: campaign.id,
    dispatchId,
    scheduledStart,
    treatments: plan.treatments,
  });
  await tx.query(sql`
    update campaigns set state = 'EXECUTING', state_reason = null, next_run_at = null, dispatch_id = ${dispatchId},
      run_ends_at = ${endsAt ?? null}
    where application_id = ${applicationId} and id = ${campaign.id}`);
  return { started: true, dispatchId, audienceSize };
}

/** Lets events trigger the campaign from now on, however late it is: what happened before triggers nothing. */
async function startTriggered(tx: Transaction, campaign: Campaign, options: RunOptions): Promise<RunResult> {
  const { applicationId, definition, inherited } = campaign;
  const scheduledStart = campaign.nextRunAt!;
  const endTime = definition.Schedule!.EndTime;
  const refuseTrigger = async (state: 'INVALID' | 'DELETED' | 'COMPLETED', reason: string) => {
    await endTrigger(tx, campaign);
    return refuse(tx, campaign, state, reason);
  };
  if (endTime !== undefined && parseIsoTime(endTime)! <= options.now)
    return refuseTrigger('COMPLETED', 'Not run: its EndTime had passed when it could start');
  if (!(await segmentExists(tx, applicationId, definition.SegmentId!)))
    return refuseTrigger('DELETED', `Not run: segment ${definition.SegmentId} was deleted`);
  try {
    const plan = await planCampaign(definition, inherited, templateLoader(tx));
    const dispatchId = await openTriggered(tx, campaign, { plan, scheduledStart, paused: false });
    return { started: true, dispatchId, audienceSize: 0 };
  } catch (error) {
    if (error instanceof CallerError) return refuseTrigger('INVALID', `Not run: ${error.message}`);
    throw error;
  }
}

/** The plan and the members, or why there can be none (a template that was deleted since). */
async function prepareRun(
  tx: Transaction,
  campaign: Campaign,
  now: number,
): Promise<{ plan: DispatchPlan; members: Sql } | { reason: string }> {
  const { applicationId, definition, inherited, segmentVersion } = campaign;
  try {
    const plan = await planCampaign(definition, inherited, templateLoader(tx));
    return {
      plan,
      members: await segmentMembers(tx, applicationId, definition.SegmentId!, segmentVersion, now),
    };
  } catch (error) {
    if (error instanceof CallerError) return { reason: `Not run: ${error.message}` };
    throw error;
  }
}

/** MaximumDuration counts from the start of the run, EndTime is absolute; the earlier one stops it. */
function runEnd(campaign: Campaign, now: number): Date | undefined {
  const { MaximumDuration } = effectiveLimits(campaign.definition, campaign.inherited);
  const ends = [
    MaximumDuration ? now + MaximumDuration * 1000 : undefined,
    campaign.definition.Schedule?.EndTime ? parseIsoTime(campaign.definition.Schedule.EndTime) : undefined,
  ].filter((end) => end !== undefined);
  return ends.length ? new Date(Math.min(...ends)) : undefined;
}

async function refuse(
  tx: Transaction,
  campaign: Campaign,
  state: 'INVALID' | 'DELETED' | 'COMPLETED',
  reason: string,
): Promise<RunResult> {
  const { applicationId, id, nextRunAt } = campaign;
  await insertCancelledActivity(tx, { applicationId, campaignId: id, scheduledStart: nextRunAt!, reason });
  await tx.query(sql`
    update campaigns set state = ${state}, state_reason = ${reason}, next_run_at = null
    where application_id = ${applicationId} and id = ${id}`);
  return { started: false, reason };
}
