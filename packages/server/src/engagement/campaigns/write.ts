import type { WriteCampaignRequest } from '@aws-sdk/client-pinpoint';
import { setDispatchState } from '../../messaging/index.ts';
import type { Transaction } from '../../platform/database.ts';
import { badMember, CallerError, notFound } from '../../platform/errors.ts';
import { hexId } from '../../platform/ids.ts';
import { setActivitiesState } from './activities.sql.ts';
import type { Campaign, CampaignDefinition, InheritedSettings } from './campaign.ts';
import { deleteCampaignRow, insertCampaign, selectCampaign, updateCampaignRow } from './campaigns.sql.ts';
import { checkInAppQuota, inAppState, isShown } from './in-app-state.ts';
import { planCampaign } from './plan.ts';
import { inheritSettings, loadInAppMessages, pinSegmentVersion, templateLoader } from './references.ts';
import { startRun } from './run.ts';
import { dueTime, isEventTriggered, isInApp, type ScheduleOptions } from './schedule.ts';
import {
  checkEventQuota,
  closeTriggered,
  endTrigger,
  nextTriggerState,
  openTriggered,
  saveTrigger,
  waitsForEvents,
} from './triggers.ts';
import { checkDefinition, sameJson } from './validate.ts';

/** `now` in milliseconds. */
export type WriteOptions = Pick<ScheduleOptions, 'now' | 'eventLeadMs'>;

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
  options: WriteOptions,
): Promise<Campaign> {
  const { tags: _, SegmentVersion: segmentVersion, ...definition } = request;
  const inherited = await inheritSettings(tx, applicationId);
  checkDefinition(definition, options.now, undefined, options);
  const pinned = await pinSegmentVersion(tx, applicationId, definition.SegmentId!, segmentVersion);
  await checkPlan(tx, definition, inherited);
  if (isInApp(definition.Schedule)) await checkInAppQuota(tx, applicationId);
  const campaign = await insertCampaign(tx, {
    applicationId,
    id: hexId(),
    definition,
    inherited,
    state: definition.IsPaused ? 'PAUSED' : 'SCHEDULED',
    segmentVersion: pinned,
    nextRunAt: dueTime(definition.Schedule!, options.now),
  });
  if (!isEventTriggered(definition.Schedule)) return campaign;
  if (waitsForEvents(campaign)) await checkEventQuota(tx, applicationId, campaign.id);
  return startIfDue(tx, campaign, options.now);
}

/**
 * Writes what events are compared with. A start that is due is made at once, in this transaction, so that an event that
 * is put after it triggers the campaign.
 */
async function startIfDue(tx: Transaction, campaign: Campaign, now: number): Promise<Campaign> {
  await saveTrigger(tx, campaign);
  const due = campaign.state === 'SCHEDULED' && campaign.nextRunAt && campaign.nextRunAt.getTime() <= now;
  if (!due || !isEventTriggered(campaign.definition.Schedule)) return campaign;
  await startRun(tx, campaign, { now, maxLatenessMs: maxHeldMs, lifetimeMs: maxHeldMs });
  return (await selectCampaign(tx, campaign.applicationId, campaign.id))!;
}

/**
 * Replaces the members that are given and makes the next version. A new `Schedule.StartTime` schedules a run, also for
 * a campaign that is over; anything else never sends again. `IsPaused` holds the run that is due or in progress and
 * lets it go on where it was. While a run is in progress, what it sends cannot be changed; an event-triggered campaign
 * can, for the events that come after.
 * @throws CallerError as `createCampaign`.
 */
export async function updateCampaign(
  tx: Transaction,
  applicationId: string,
  id: string,
  request: WriteCampaignRequest,
  options: WriteOptions,
): Promise<Campaign> {
  const { tags: _, SegmentVersion: segmentVersion, ...given } = request;
  const campaign = await lockCampaign(tx, applicationId, id);
  const members = Object.entries(given).filter(([, value]) => value !== undefined);
  const definition: CampaignDefinition = { ...campaign.definition, ...Object.fromEntries(members) };
  let pinned = campaign.segmentVersion;
  // What is not changed is not checked again: a run must be held also when its segment or template is gone by now.
  const changed = changedRunMember(campaign, definition, segmentVersion);
  if (changed) {
    if (campaign.dispatchId && !isEventTriggered(campaign.definition.Schedule))
      throw badMember(changed, changedDuringRun);
    checkDefinition(definition, options.now, campaign.definition, options);
    const sameSegment = definition.SegmentId === campaign.definition.SegmentId;
    const wanted = segmentVersion ?? (sameSegment ? campaign.segmentVersion : undefined);
    pinned = await pinSegmentVersion(tx, applicationId, definition.SegmentId!, wanted);
    await checkPlan(tx, definition, campaign.inherited);
  }
  const changesKind =
    isInApp(definition.Schedule) !== isInApp(campaign.definition.Schedule) ||
    isEventTriggered(definition.Schedule) !== isEventTriggered(campaign.definition.Schedule);
  if (changesKind)
    throw badMember('$.Schedule.Frequency', 'expected to stay: make a new campaign of the other kind');
  if (isEventTriggered(definition.Schedule))
    return updateTriggered(tx, campaign, { definition, pinned, changed: changed !== undefined }, options.now);
  const next = nextState(campaign, definition, options.now);
  if (campaign.dispatchId) await holdOrResume(tx, campaign, next.state);
  const shown = isInApp(definition.Schedule) && next.state === 'SCHEDULED';
  if (shown && !isShown(campaign)) await checkInAppQuota(tx, applicationId);
  return updateCampaignRow(tx, { applicationId, id, definition, segmentVersion: pinned, ...next });
}

/**
 * An update of an event-triggered campaign. What is changed is for the events that come after: what was triggered before
 * keeps its words, in a dispatch that comes to its end.
 */
async function updateTriggered(
  tx: Transaction,
  campaign: Campaign,
  update: { definition: CampaignDefinition; pinned: number; changed: boolean },
  now: number,
): Promise<Campaign> {
  const { applicationId, id } = campaign;
  const { definition, pinned: segmentVersion, changed } = update;
  const next = nextTriggerState(campaign, definition, now);
  const held = next.state === 'PAUSED';
  const restarts = campaign.dispatchId !== null && next.nextRunAt !== null;
  const replaced = campaign.dispatchId !== null && changed;
  if (replaced) await closeTriggered(tx, campaign, { held });
  else if (campaign.dispatchId) await holdOrResume(tx, campaign, next.state);
  let updated = await updateCampaignRow(tx, { applicationId, id, definition, segmentVersion, ...next });
  if (waitsForEvents(updated) && !waitsForEvents(campaign)) await checkEventQuota(tx, applicationId, id);
  if (restarts) {
    await tx.query(
      'update campaigns set dispatch_id = null, run_ends_at = null where application_id = $1 and id = $2',
      [applicationId, id],
    );
    updated = { ...updated, dispatchId: null };
  } else if (replaced) {
    const plan = await planCampaign(definition, campaign.inherited, templateLoader(tx));
    await openTriggered(tx, updated, { plan, scheduledStart: new Date(now), paused: held });
    updated = (await selectCampaign(tx, applicationId, id))!;
  }
  return startIfDue(tx, updated, now);
}

/** Are its templates there? @throws CallerError bad_request with the member that names one that is not */
async function checkPlan(
  tx: Transaction,
  definition: CampaignDefinition,
  inherited: InheritedSettings,
): Promise<void> {
  if (isInApp(definition.Schedule)) await loadInAppMessages(tx, definition);
  else await planCampaign(definition, inherited, templateLoader(tx));
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
  if (isInApp(schedule)) return inAppState(campaign, definition, now);
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
  if (isEventTriggered(campaign.definition.Schedule)) await endTrigger(tx, campaign);
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
  if (isEventTriggered(campaign.definition.Schedule)) await endTrigger(tx, campaign);
  await deleteCampaignRow(tx, applicationId, id);
  return { ...campaign, state: 'DELETED' };
}
