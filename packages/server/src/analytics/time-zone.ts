import type { Clock } from '../platform/clock.ts';
import { systemClock } from '../platform/clock.ts';
import type { Database, Queryable } from '../platform/database.ts';
import { notFound } from '../platform/errors.ts';
import { checkTimeZone, defaultTimeZone } from './calendar.ts';
import { requestRebuild } from './rebuild.ts';
import {
  insertLiveRollups,
  lockApplications,
  lockLiveRollups,
  type RollupRow,
  retireRollups,
  selectBuildingRollup,
} from './rollup.sql.ts';
import { liveRollup } from './usage.ts';

export interface AnalyticsTimeZone {
  /** In whose days the figures are. */
  timeZone: string;
  /** In whose days they will be when the rebuild that runs is done; undefined when none runs. */
  rebuildingTo?: string;
}

/** The time zone of an application's figures. */
export async function getTimeZone(db: Queryable, applicationId: string): Promise<AnalyticsTimeZone> {
  const live = await liveRollup(db, applicationId);
  const { rows } = await db.query<RollupRow>(selectBuildingRollup(applicationId));
  return {
    timeZone: live?.timeZone ?? defaultTimeZone,
    ...(rows[0] ? { rebuildingTo: rows[0].timeZone } : {}),
  };
}

/**
 * Sets the time zone of an application's figures. Where there are figures, they are rebuilt from the log beside the old
 * ones, which answer until then: enqueue the job `rebuild-analytics` after it.
 * @param forgetDroppedDays also when the log no longer holds all that is in the figures
 * @throws CallerError bad_request, not_found, conflict
 */
export async function setTimeZone(
  database: Database,
  applicationId: string,
  name: string,
  { forgetDroppedDays = false, clock = systemClock }: { forgetDroppedDays?: boolean; clock?: Clock } = {},
): Promise<AnalyticsTimeZone> {
  const timeZone = checkTimeZone(name, 'timeZone');
  await database.transaction(async (tx) => {
    const { rowCount } = await tx.query(lockApplications([applicationId]));
    if (rowCount === 0) throw notFound('Application', applicationId);
    // Before the first event there is nothing to rebuild.
    await tx.query(insertLiveRollups([applicationId], [clock.now()], timeZone));
    const { rows } = await tx.query<RollupRow>(lockLiveRollups([applicationId]));
    await tx.query(retireRollups([applicationId], ['building']));
    if (rows[0]!.timeZone === timeZone) return;
    await requestRebuild(tx, { applicationId, timeZone, forgetDroppedDays });
  });
  return getTimeZone(database, applicationId);
}
