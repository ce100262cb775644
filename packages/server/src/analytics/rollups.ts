import type { StoredFact } from '../events/index.ts';
import type { Transaction } from '../platform/database.ts';
import { uuidTime } from '../platform/ids.ts';
import { applyFacts } from './apply.ts';
import { defaultTimeZone } from './calendar.ts';
import { insertLiveRollups, lockApplications, lockLiveRollups, type RollupRow } from './rollup.sql.ts';

/** Within a slice every table is reached through its key, however young (and so without statistics) it is. */
export const useIndexes = 'set local enable_seqscan = off';

/**
 * The log's subscriber that keeps the rollups up: what clients' events say of use, sessions and purchases, by day. It
 * runs in the transaction that moves the subscriber's cursor, so each event counts once; late events count on the day
 * on which they happened.
 */
export const analyticsRollups = {
  name: 'analytics-rollups',
  types: ['event.'],
  async handle(tx: Transaction, facts: StoredFact[]): Promise<void> {
    const rollups = await lockRollups(tx, facts);
    if (rollups.length === 0) return;
    await tx.query(useIndexes);
    await applyFacts(tx, rollups, facts);
  },
};

/**
 * The live rollups of the facts' applications, locked. An application that is deleted has none: what is on its way when
 * it is deleted is not counted, and whoever deletes it waits until we are done.
 */
async function lockRollups(tx: Transaction, facts: readonly StoredFact[]): Promise<RollupRow[]> {
  const applicationIds = new Set(facts.map((fact) => fact.applicationId));
  const { rows } = await tx.query<{ id: string }>(lockApplications([...applicationIds]));
  const present = rows.map((row) => row.id);
  if (present.length === 0) return [];
  const locked = await tx.query<RollupRow>(lockLiveRollups(present));
  if (locked.rows.length === present.length) return locked.rows;
  const since = firstArrivals(facts);
  await tx.query(
    insertLiveRollups(
      present,
      present.map((id) => since.get(id)!),
      defaultTimeZone,
    ),
  );
  return (await tx.query<RollupRow>(lockLiveRollups(present))).rows;
}

/** When the first of an application's facts arrived. */
function firstArrivals(facts: readonly StoredFact[]): Map<string, number> {
  const arrivals = new Map<string, number>();
  for (const { applicationId, batchId } of facts) {
    const earliest = arrivals.get(applicationId) ?? Number.POSITIVE_INFINITY;
    arrivals.set(applicationId, Math.min(earliest, uuidTime(batchId)));
  }
  return arrivals;
}
