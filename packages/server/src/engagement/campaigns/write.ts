import type { WriteCampaignRequest } from '@aws-sdk/client-pinpoint';
import { setDispatchState } from '../../messaging/index.ts';
import type { Transaction } from '../../platform/database.ts';
import { badMember, CallerError, notFound } from '../../platform/errors.ts';
import { hexId } from '../../platform/ids.ts';
import { setActivitiesState } from './activities.sql.ts';
import type { Campaign, CampaignDefinition } from './campaign.ts';
import { deleteCampaignRow, insertCampaign, selectCampaign, updateCampaignRow } from './campaigns.sql.ts';
import { planCampaign } from './plan.ts';
import { inheritSettings, pinSegmentVersion, templateLoader } from './references.ts';
import { dueTime } from './schedule.ts';
import { checkDefinition, sameJson } from './validate.ts';

/** A run that was held past its start time for longer than this is not started by resuming. */
const maxHeldMs = 24 * 3_600_000;

/** Members that decide what a run sends, when and to whom: fixed while one is in progress. */
const runMembers = [
  'SegmentId',
  'Schedule',
  'MessageConfiguration',
  'TemplateConfiguration',
  'AdditionalTreatments',
  'HoldoutPercent',
  'Limits',
  'Hook',
  'CustomDeliveryConfiguration',
] as const satisfies (keyof CampaignDefinition)[];

/**
 * Creates a campaign and schedules its run; the scheduler of a worker starts it. With `IsPaused` it waits, also an
 * immediate one, until an update resumes it.
 * @throws CallerError not_found when there is no such application; bad_request or not_implemented with the member.
 */
export async function createCampaign(
  tx: Transaction,
  applicationId: string,
  request: WriteCampaignRequest,
  options: { now: number },
): Promise<Campaign> {
  const { tags: _, SegmentVersion: segmentVersion, ...definition } = request;
  const inherited = await inheritSettings(tx, applicationId);
  checkDefinition(definition, options.now);
  const pinned = await pinSegmentVersion(tx, applicationId, definition.SegmentId!, segmentVersion);
  await planCampaign(definition, inherited, templateLoader(tx));
  return insertCampaign(tx, {
    applicationId,
    id: hexId(),
    definition,
    inherited,
    state: definition.IsPaused ? 'PAUSED' : 'SCHEDULED',
    segmentVersion: pinned,
    nextRunAt: dueTime(definition.Schedule!, options.now),
  });
}

/**
 * Replaces the members that are given and makes the next version. A new `Schedule.StartTime` schedules a run, also for
 * a campaign that is over; anything else never sends again. `IsPaused` holds the run that is due or in progress and
 * lets it go on where it was. While a run is in progress, what it sends cannot be changed.
 * @throws CallerError as `createCampaign`.
 */
export async function updateCampaign(
  tx: Transaction,
  applicationId: string,
  id: string,
  request: WriteCampaignRequest,
  options: { now: number },
): Promise<Campaign> {
  const { tags: _, SegmentVersion: segmentVersion, ...given } = request;
  const campaign = await lockCampaign(tx, applicationId, id);
  const members = Object.entries(given).filter(([, value]) => value !== undefined);
  const definition: CampaignDefinition = { ...campaign.definition, ...Object.fromEntries(members) };
  let pinned = campaign.segmentVersion;
  // What is not changed is not checked again: a run must be held also when its segment or template is gone by now.
  const changed = changedRunMember(campaign, definition, segmentVersion);
  if (changed) {
    if (campaign.dispatchId) throw badMember(changed, changedDuringRun);
    checkDefinition(definition, options.now, campaign.definition);
    const sameSegment = definition.SegmentId === campaign.definition.SegmentId;
    const wanted = segmentVersion ?? (sameSegment ? campaign.segmentVersion : undefined);
    pinned = await pinSegmentVersion(tx, applicationId, definition.SegmentId!, wanted);
    await planCampaign(definition, campaign.inherited, templateLoader(tx));
  }
  const next = nextState(campaign, definition, options.now);
  if (campaign.dispatchId) await holdOrResume(tx, campaign, next.state);
  return updateCampaignRow(tx, { applicationId, id, definition, segmentVersion: pinned, ...next });
}

const changedDuringRun =
  'cannot be changed while a run is in progress; delete the campaign to stop it, or wait for its end';

/** Path of the first member that would change what a run sends; undefined when there is none. */
function changedRunMember(
  campaign: Campaign,
  definition: CampaignDefinition,
  segmentVersion: number | undefined,
): string | undefined {
  const member = runMembers.find((name) => !sameJson(definition[name], campaign.definition[name]));
  if (member) return `$.${member}`;
  return segmentVersion !== undefined && segmentVersion !== campaign.segmentVersion
    ? '$.SegmentVersion'
    : undefined;
}

/** The state after an update, and when the next run is due. */
function nextState(
  campaign: Campaign,
  definition: CampaignDefinition,
  now: number,
): Pick<Campaign, 'state' | 'stateReason' | 'nextRunAt'> {
  const paused = definition.IsPaused === true;
  if (campaign.dispatchId) {
    return { state: paused ? 'PAUSED' : 'EXECUTING', stateReason: campaign.stateReason, nextRunAt: null };
  }
  const schedule = definition.Schedule!;
  if (schedule.StartTime !== campaign.definition.Schedule?.StartTime) {
    return { state: paused ? 'PAUSED' : 'SCHEDULED', stateReason: null, nextRunAt: dueTime(schedule, now) };
  }
  if (!campaign.nextRunAt)
    return { state: campaign.state, stateReason: campaign.stateReason, nextRunAt: null };
  if (paused) return { state: 'PAUSED', stateReason: null, nextRunAt: campaign.nextRunAt };
  const resumed = campaign.state === 'PAUSED';
  if (resumed && schedule.StartTime !== 'IMMEDIATE' && now - campaign.nextRunAt.getTime() > maxHeldMs) {
    throw badMember(
      '$.Schedule.StartTime',
      'the start time passed more than 24 hours ago while the campaign was paused; expected a new one, or IMMEDIATE',
    );
  }
  // A run that was held past its time starts now: resuming it asks for that.
  const nextRunAt = resumed && campaign.nextRunAt.getTime() < now ? new Date(now) : campaign.nextRunAt;
  return { state: 'SCHEDULED', stateReason: null, nextRunAt };
}

async function holdOrResume(tx: Transaction, campaign: Campaign, state: Campaign['state']): Promise<void> {
  if (state === campaign.state) return;
  await setRunState(tx, campaign, state === 'PAUSED' ? 'paused' : 'running');
}

/** Holds, resumes or stops the run in progress. One that ended in this very moment is left to its end. */
async function setRunState(
  tx: Transaction,
  campaign: Campaign,
  state: 'running' | 'paused' | 'stopped',
): Promise<void> {
  try {
    await setDispatchState(tx, campaign.applicationId, campaign.dispatchId!, state);
  } catch (error) {
    if (error instanceof CallerError && error.code === 'conflict') return;
    throw error;
  }
  if (state !== 'stopped')
    await setActivitiesState(tx, campaign.dispatchId!, state === 'paused' ? 'PAUSED' : 'RUNNING');
}

async function lockCampaign(tx: Transaction, applicationId: string, id: string): Promise<Campaign> {
  const campaign = await selectCampaign(tx, applicationId, id, { lock: true });
  if (!campaign) throw notFound('Campaign', id);
  return campaign;
}

/**
 * Stops the run in progress for good: who was not reached gets the reason `stopped`, the activities become CANCELLED,
 * the campaign COMPLETED.
 * @throws CallerError conflict when no run is in progress.
 */
export async function stopCampaignRun(
  tx: Transaction,
  applicationId: string,
  id: string,
  options: { reason: string },
): Promise<Campaign> {
  const campaign = await lockCampaign(tx, applicationId, id);
  if (!campaign.dispatchId) throw new CallerError('conflict', `Campaign ${id} has no run in progress`);
  return stopRun(tx, campaign, options.reason);
}

/** Stops the run of a locked campaign and notes why. */
export async function stopRun(tx: Transaction, campaign: Campaign, reason: string): Promise<Campaign> {
  await setRunState(tx, campaign, 'stopped');
  await tx.query(
    'update campaigns set state_reason = $3, run_ends_at = null where application_id = $1 and id = $2',
    [campaign.applicationId, campaign.id, reason],
  );
  return { ...campaign, stateReason: reason };
}

/** Deletes a campaign with its versions and activities; a run in progress is stopped. The message log keeps its rows. */
export async function deleteCampaign(tx: Transaction, applicationId: string, id: string): Promise<Campaign> {
  const campaign = await lockCampaign(tx, applicationId, id);
  if (campaign.dispatchId) await setRunState(tx, campaign, 'stopped');
  await deleteCampaignRow(tx, applicationId, id);
  return { ...campaign, state: 'DELETED' };
}
