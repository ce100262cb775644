import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Cursor,
  forgetParkedFacts,
  holdSubscriber,
  oldestDay,
  replayFacts,
  subscriberCursor,
} from '../events/index.ts';
import type { Database, Queryable, Transaction } from '../platform/database.ts';
import { deleteRows } from '../platform/delete-rows.ts';
import { CallerError } from '../platform/errors.ts';
import type { Log } from '../platform/log.ts';
import { applyFacts } from './apply.ts';
import { eraseKpiResults } from './kpi-results.ts';
import {
  type BuildingRow,
  deleteActors,
  deleteRollup,
  insertBuildingRollups,
  lockApplications,
  lockBuildingRollups,
  lockHindmostRollups,
  lockLiveRollups,
  moveBuildingRollups,
  publishRollups,
  type RollupRow,
  retireRollups,
  selectHindmostRollups,
  selectNextBuildingPlace,
  selectOlderThanLog,
  selectRetiredRollups,
  selectRollupIds,
} from './rollup.sql.ts';
import { analyticsRollups, useIndexes } from './rollups.ts';

/** Facts of one transaction of a rebuild. */
const sliceFacts = 20_000;

const actorChunk = 5_000;

/** Bound of each statement, and of each wait for a lock. */
const timeoutMs = 120_000;

/** A question that began before a rollup was retired may read it for so long. */
const retiredForMs = 5 * 60_000;

/** Wait for another process that rebuilds. */
const busyMs = 500;

export interface RebuildOptions {
  /** One application; all of them when absent. */
  applicationId?: string;
  timeZone?: string;
  /** Also where the log no longer holds all that is in the figures. */
  forgetDroppedDays?: boolean;
}

/**
 * Marks rollups for being rebuilt from the log; `runRebuilds` does it. The live ones answer until then.
 * @throws CallerError conflict when figures would be lost, since the log has dropped what they were made of
 */
export async function requestRebuild(db: Queryable, options: RebuildOptions = {}): Promise<void> {
  const { applicationId, timeZone } = options;
  const day = await oldestDay(db);
  if (!options.forgetDroppedDays) {
    const { rows } = await db.query<{ applicationId: string }>(selectOlderThanLog(day, applicationId));
    if (rows[0]) {
      throw new CallerError(
        'conflict',
        `The log ${day ? `reaches back to ${day} only` : 'is empty'}; the figures of application ${rows[0].applicationId} from before would be lost. Say that dropped days are to be forgotten to do it all the same`,
      );
    }
  }
  await db.query(insertBuildingRollups({ applicationId, timeZone, oldestDay: day }));
}

export interface RebuildContext {
  database: Database;
  log: Log;
}

/**
 * Works off all rebuilds that were requested: reads the log up to where the subscriber is, portion by portion, while it
 * goes on; then holds it for a moment, adds the rest, and lets the new figures take the place of the old ones, all in one
 * transaction. Any number of processes may run it, and whoever comes after a crash goes on where it ended.
 */
export async function runRebuilds({ database, log }: RebuildContext, signal?: AbortSignal): Promise<void> {
  for (;;) {
    signal?.throwIfAborted();
    const { rows } = await database.query<BuildingRow>(selectHindmostRollups());
    if (rows.length === 0) return;
    const done = await database.transaction(takeSlice);
    if (done === 'busy') await sleep(busyMs, undefined, { signal });
    if (done !== 'reached') continue;
    const published = await database.transaction(publish);
    if (published.length > 0) log.info({ rollups: published }, 'figures were rebuilt');
  }
}

/** One portion for those that are the furthest behind. */
async function takeSlice(tx: Transaction): Promise<'some' | 'reached' | 'busy'> {
  await tx.query(`set local statement_timeout = ${timeoutMs}`);
  const { rows: rollups } = await tx.query<BuildingRow>(lockHindmostRollups());
  const first = rollups[0];
  if (!first) return 'busy';
  const cursor = await subscriberCursor(tx, analyticsRollups.name);
  // Those that are further are met there, and go on together.
  const { rows } = await tx.query<Cursor>(selectNextBuildingPlace(first.position, first.seq));
  const until = rows[0] && isBefore(rows[0], cursor) ? rows[0] : cursor;
  return (await addSlice(tx, rollups, first, until)) ? 'some' : 'reached';
}

/** Where the rollups stand after the next portion; undefined when there is none before `until`. */
async function addSlice(
  tx: Transaction,
  rollups: readonly RollupRow[],
  from: Cursor,
  until: Cursor,
): Promise<Cursor | undefined> {
  const slice = await replayFacts(tx, {
    from: { position: from.position, seq: from.seq },
    until: { position: until.position, seq: until.seq },
    limit: sliceFacts,
    types: analyticsRollups.types,
    applicationIds: rollups.map((rollup) => rollup.applicationId),
  });
  if (!slice) return undefined;
  await tx.query(useIndexes);
  if (slice.facts.length > 0) await applyFacts(tx, rollups, slice.facts);
  const ids = rollups.map((rollup) => rollup.id);
  await tx.query(moveBuildingRollups(ids, slice.next.position, slice.next.seq));
  return slice.next;
}

function isBefore(a: Cursor, b: Cursor): boolean {
  return a.position < b.position || (a.position === b.position && a.seq < b.seq);
}

/**
 * Brings the hindmost rollups level with the subscriber, which waits, and publishes them. Locks in the order of all
 * others: cursor, applications, parked facts, live rollups, building ones.
 */
async function publish(tx: Transaction): Promise<number[]> {
  await tx.query(`set local statement_timeout = ${timeoutMs}`);
  const cursor = await holdSubscriber(tx, analyticsRollups.name);
  const { rows: hindmost } = await tx.query<BuildingRow>(selectHindmostRollups());
  const { rows: present } = await tx.query<{ id: string }>(
    lockApplications(hindmost.map((rollup) => rollup.applicationId)),
  );
  const applicationIds = present.map((row) => row.id);
  const gone = hindmost.map((rollup) => rollup.applicationId).filter((id) => !applicationIds.includes(id));
  if (gone.length > 0) await tx.query(retireRollups(gone, ['building']));
  // The facts themselves are in the log, and so in the new figures.
  await forgetParkedFacts(tx, analyticsRollups.name, applicationIds);
  await tx.query(lockLiveRollups(applicationIds));
  const { rows } = await tx.query<BuildingRow>(lockBuildingRollups(hindmost.map((rollup) => rollup.id)));
  const rollups = rows.filter((rollup) => applicationIds.includes(rollup.applicationId));
  const first = rollups[0];
  // Others were faster, or did a part of it.
  if (!first || rollups.some((rollup) => rollup.position !== first.position || rollup.seq !== first.seq)) {
    return [];
  }
  for (let at: Cursor | undefined = first; at; ) at = await addSlice(tx, rollups, at, cursor);
  await tx.query(
    retireRollups(
      rollups.map((rollup) => rollup.applicationId),
      ['live'],
    ),
  );
  const ids = rollups.map((rollup) => rollup.id);
  await tx.query(publishRollups(ids));
  return ids;
}

/** Deletes retired rollups, when no question can be reading them any more. */
export async function sweepRetiredRollups(database: Database, olderThanMs = retiredForMs): Promise<void> {
  const { rows } = await database.query<RollupRow>(selectRetiredRollups(olderThanMs, 100));
  for (const { id } of rows) await eraseRollup(database, id);
}

/** Deletes all figures of an application. May be called again, and alongside itself. */
export async function eraseAnalytics(database: Database, applicationId: string): Promise<void> {
  await eraseKpiResults(database, applicationId);
  // Whoever is writing into them ends first, and nobody begins.
  for (const state of ['live', 'building']) await database.query(retireRollups([applicationId], [state]));
  const { rows } = await database.query<{ id: number }>(selectRollupIds(applicationId));
  for (const { id } of rows) await eraseRollup(database, id);
}

async function eraseRollup(database: Database, id: number): Promise<void> {
  for (const table of ['analytics_activity', 'analytics_cohorts', 'analytics_counts', 'analytics_payers']) {
    await deleteRows(database, table, 'rollup_id', String(id));
  }
  for (let deleted = actorChunk; deleted === actorChunk; ) {
    const { rows } = await database.query<{ deleted: number }>(deleteActors(id, actorChunk));
    deleted = rows[0]!.deleted;
  }
  await database.query(deleteRollup(id));
}
