import { forgetParkedFacts, holdSubscriber, oldestDay, type StoredFact } from '../events/index.ts';
import type { Database, Transaction } from '../platform/database.ts';
import { deleteRows } from '../platform/delete-rows.ts';
import {
  deleteResults,
  insertResults,
  outcomeBits,
  type ResultChange,
  selectResultApplications,
  upsertResults,
} from './kpi-results.sql.ts';
import { lockApplications } from './rollup.sql.ts';

/**
 * The log's subscriber that keeps what became of each message, in the transaction that moves its cursor. Which outcomes
 * a message had is a set, opens and clicks are sums: the result is a function of the log alone, so a rebuild from an
 * empty table comes to the same.
 */
export const kpiResults = {
  name: 'analytics-kpis',
  types: ['message.'],
  async handle(tx: Transaction, facts: StoredFact[]): Promise<void> {
    const alive = await holdApplications(tx, [...new Set(facts.map((fact) => fact.applicationId))]);
    const changes = sumUp(facts).filter(({ applicationId }) => alive.has(applicationId));
    if (changes.length > 0) await tx.query(upsertResults(changes));
  },
} as const;

/** Those that were not deleted; the deletion of these waits until the results are written, and then erases them. */
async function holdApplications(tx: Transaction, ids: readonly string[]): Promise<Set<string>> {
  const { rows } = await tx.query<{ id: string }>(lockApplications(ids));
  return new Set(rows.map(({ id }) => id));
}

function sumUp(facts: readonly StoredFact[]): ResultChange[] {
  const changes = new Map<string, ResultChange>();
  for (const fact of facts) {
    if (fact.messageId === null) continue;
    const key = `${fact.applicationId} ${fact.messageId}`;
    let change = changes.get(key);
    if (!change) {
      const { applicationId, messageId } = fact;
      const none = { opens: 0, clicks: 0, machineOpens: 0, machineClicks: 0 };
      change = { applicationId, messageId, outcomes: 0, errorCode: null, ...none };
      changes.set(key, change);
    }
    add(change, fact);
  }
  return [...changes.values()];
}

function add(change: ResultChange, { type, payload }: StoredFact): void {
  switch (type) {
    case 'message.sent':
      change.outcomes |= outcomeBits.sent;
      break;
    case 'message.delivered':
      change.outcomes |= outcomeBits.delivered;
      break;
    case 'message.complained':
      change.outcomes |= outcomeBits.complained;
      break;
    case 'message.bounced':
      change.outcomes |= payload.bounce === 'hard' ? outcomeBits.hardBounced : outcomeBits.otherwiseBounced;
      change.errorCode = higher(change.errorCode, codeOf(payload.code));
      break;
    case 'message.failed':
      change.outcomes |= outcomeBits.failed;
      change.errorCode = higher(change.errorCode, codeOf(payload.code));
      break;
    case 'message.opened':
      if (payload.machine === true) change.machineOpens += 1;
      else change.opens += 1;
      break;
    case 'message.clicked':
      if (payload.machine === true) change.machineClicks += 1;
      else change.clicks += 1;
      break;
  }
}

/** The higher one of several, so that the order of the facts does not matter. */
function higher(known: number | null, code: number | null): number | null {
  return known === null || code === null ? (known ?? code) : Math.max(known, code);
}

function codeOf(value: unknown): number | null {
  return Number.isInteger(value) && Math.abs(value as number) <= 0x7fffffff ? (value as number) : null;
}

/** Deletes an application's results; when it breaks off, calling it again goes on. */
export async function eraseKpiResults(database: Database, applicationId: string): Promise<void> {
  await deleteRows(database, 'message_results', 'application_id', applicationId);
}

/**
 * Computes the results of an application's messages (of all applications when undefined) again from the log, as far as
 * the subscriber has read it, which waits meanwhile. The old results answer until the new ones are there. Results of
 * messages from days that the log has dropped stay.
 */
export async function rebuildKpiResults(database: Database, applicationId?: string): Promise<void> {
  const { rows } = await database.query<{ id: string }>(selectResultApplications(applicationId));
  for (const { id } of rows) {
    await database.transaction(async (tx) => {
      const cursor = await holdSubscriber(tx, kpiResults.name);
      if (!(await holdApplications(tx, [id])).has(id)) return;
      // The facts themselves are in the log, and so in the new results.
      await forgetParkedFacts(tx, kpiResults.name, [id]);
      const day = await oldestDay(tx);
      if (day === undefined) return;
      await tx.query(deleteResults(id, day));
      await tx.query(insertResults(id, day, cursor));
    });
  }
}
