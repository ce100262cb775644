import sql from 'sql-template-tag';
import { type Database, isConnectionError } from '../../platform/database.ts';
import type { Log } from '../../platform/log.ts';
import type { Campaign } from './campaign.ts';
import { selectCampaign } from './campaigns.sql.ts';
import { completeInApp } from './in-app-state.ts';
import { startRun } from './run.ts';
import { isEventTriggered } from './schedule.ts';
import { completeTriggered } from './triggers.ts';
import { stopRun } from './write.ts';

export interface CampaignSchedulerOptions {
  database: Database;
  log: Log;
  /** Milliseconds between two looks for campaigns that are due. */
  pollMs?: number;
  /** A run that is later than this does not take place (POSTRIDER_CAMPAIGN_MAX_LATENESS_MS). */
  maxLatenessMs?: number;
  /** How long a run tries to reach its audience (POSTRIDER_CAMPAIGN_LIFETIME_MS). */
  lifetimeMs?: number;
}

export interface CampaignScheduler {
  start(): void;
  /** Looks at once, for example after a campaign was created in this process. */
  wake(): void;
  /** Starts and stops all that is due now; resolves with how many runs it started. For tests and one-shot commands. */
  runDue(): Promise<number>;
  /** Ends after the start that is in progress. */
  stop(): Promise<void>;
}

/** Starts that failed are tried again after this, so that one campaign does not keep the others waiting. */
const failedWaitMs = 30_000;
/** Most campaigns of one look; the next look takes the rest. */
const maxStartsPerLook = 200;

/**
 * Starts campaigns when they are due and stops those whose time is over. Any number of processes may run one: a
 * campaign is locked while it is started, and others pass over it.
 */
export function createCampaignScheduler(options: CampaignSchedulerOptions): CampaignScheduler {
  const { database, log, pollMs = 500 } = options;
  const limits = {
    maxLatenessMs: options.maxLatenessMs ?? 24 * 3_600_000,
    lifetimeMs: options.lifetimeMs ?? 72 * 3_600_000,
  };
  const failedUntil = new Map<string, number>();
  let timer: NodeJS.Timeout | undefined;
  let looking: Promise<void> | undefined;
  let lookAgain = false;
  let stopped = true;

  async function startNext(): Promise<'started' | 'refused' | 'none'> {
    const waiting = skipFailed(failedUntil);
    let campaign: Campaign | undefined;
    try {
      return await database.transaction(async (tx) => {
        const due = await lockDue(tx, waiting);
        campaign = due?.campaign;
        if (!due) return 'none';
        const result = await startRun(tx, due.campaign, { ...limits, now: due.now });
        const { applicationId, id: campaignId } = due.campaign;
        log.info(
          { applicationId, campaignId, ...result },
          result.started ? 'Campaign started' : 'Campaign not run',
        );
        return result.started ? 'started' : 'refused';
      });
    } catch (error) {
      if (!campaign || isConnectionError(error)) throw error;
      failedUntil.set(campaign.id, Date.now() + failedWaitMs);
      const { applicationId, id: campaignId } = campaign;
      log.error(
        { err: error, applicationId, campaignId },
        'A campaign could not be started; trying again later',
      );
      return 'refused';
    }
  }

  async function runDue(): Promise<number> {
    let runs = 0;
    for (let look = 0; look < maxStartsPerLook; look++) {
      const result = await startNext();
      if (result === 'none') break;
      if (result === 'started') runs += 1;
    }
    for (let look = 0; look < maxStartsPerLook; look++) {
      if (!(await stopNext(database, log))) break;
    }
    await completeInApp(database);
    return runs;
  }

  async function look(): Promise<void> {
    do {
      lookAgain = false;
      try {
        await runDue();
      } catch (error) {
        log.warn({ err: error }, 'The campaign scheduler could not look for campaigns that are due');
      }
    } while (lookAgain && !stopped);
  }

  function wake(): void {
    if (stopped) return;
    if (looking) {
      lookAgain = true;
      return;
    }
    clearTimeout(timer);
    looking = look().finally(() => {
      looking = undefined;
      if (!stopped) timer = setTimeout(wake, pollMs);
    });
  }

  return {
    start() {
      stopped = false;
      wake();
    },
    wake,
    runDue,
    async stop() {
      stopped = true;
      clearTimeout(timer);
      await looking;
    },
  };
}

function skipFailed(failedUntil: Map<string, number>): string[] {
  for (const [id, until] of failedUntil) if (until <= Date.now()) failedUntil.delete(id);
  return [...failedUntil.keys()];
}

/** Locks the campaign that is due longest, if no other process holds it; with the database's time. */
async function lockDue(
  tx: Parameters<typeof selectCampaign>[0],
  except: string[],
): Promise<{ campaign: Campaign; now: number } | undefined> {
  const { rows } = await tx.query<{ application_id: string; id: string; now: Date }>(sql`
    select application_id, id, clock_timestamp() as now from campaigns
    where next_run_at <= now() and state = 'SCHEDULED' and dispatch_id is null and id <> all(${except}::text[])
    order by next_run_at limit 1 for update skip locked`);
  if (!rows[0]) return undefined;
  const campaign = await selectCampaign(tx, rows[0].application_id, rows[0].id);
  return campaign && { campaign, now: rows[0].now.getTime() };
}

/** Stops one run whose MaximumDuration or EndTime has come, also a paused one. */
async function stopNext(database: Database, log: Log): Promise<boolean> {
  return database.transaction(async (tx) => {
    const { rows } = await tx.query<{ application_id: string; id: string }>(sql`
      select application_id, id from campaigns
      where run_ends_at <= now() and dispatch_id is not null
      order by run_ends_at limit 1 for update skip locked`);
    if (!rows[0]) return false;
    const { application_id: applicationId, id } = rows[0];
    const campaign = await selectCampaign(tx, applicationId, id);
    if (isEventTriggered(campaign!.definition.Schedule)) await completeTriggered(tx, campaign!);
    else await stopRun(tx, campaign!, 'Stopped: its MaximumDuration or EndTime was reached');
    log.info({ applicationId, campaignId: id }, 'Campaign run stopped at its time limit');
    return true;
  });
}
