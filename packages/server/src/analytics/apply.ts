import { createHash } from 'node:crypto';
import { type EventPayload, eventFactType, eventTypeOf, isAppActivity } from '../audience/index.ts';
import type { StoredFact } from '../events/index.ts';
import type { Transaction } from '../platform/database.ts';
import { writeActors } from './actors.ts';
import { calendarOf } from './calendar.ts';
import { addCounts, type CountColumns } from './count.sql.ts';
import { decimalOf, purchaseOf, purchaseType } from './purchase.ts';
import { addPurchases, type PurchaseSums } from './revenue.sql.ts';
import type { RollupRow } from './rollup.sql.ts';
import { isSessionEnd, sessionStart } from './session.ts';
import { writeSessions } from './sessions.ts';
import { count, createRollupSlice, type RollupSlice, seeActor, seePurchase, seeSession } from './slice.ts';

/** A longer name would not fit into an index, and stands there by its hash. */
const maxNameLength = 250;

const purchaseFact = eventFactType(purchaseType);

/**
 * Adds facts to rollups: a function of the facts alone, with the same result in whatever order and portions they come.
 * The caller holds the rollups' locks and sees to it that each fact comes once.
 * @param rollups by application; facts of other applications are passed over
 */
export async function applyFacts(
  tx: Transaction,
  rollups: readonly RollupRow[],
  facts: readonly StoredFact[],
): Promise<void> {
  const slices = new Map(
    rollups.map(({ applicationId, id, timeZone }) => [
      applicationId,
      createRollupSlice(id, calendarOf(timeZone)),
    ]),
  );
  for (const fact of facts) {
    const slice = slices.get(fact.applicationId);
    if (slice) see(slice, fact);
  }
  const all = [...slices.values()];
  await writeActors(tx, all);
  await writeSessions(tx, all);
  await writePurchases(tx, all);
  await writeCounts(tx, all);
}

function see(slice: RollupSlice, fact: StoredFact): void {
  const type = eventTypeOf(fact.type);
  if (type === undefined) return;
  const day = slice.calendar.dayOf(fact.occurredAt);
  count(slice, 'event', day, nameOf(type), 1);
  // What Pinpoint wrote about messages does not say that anybody used the app.
  if (!isAppActivity(type)) return;
  const payload = fact.payload as EventPayload;
  const userId = typeof payload.userId === 'string' && payload.userId !== '' ? payload.userId : undefined;
  const user = userId === undefined ? undefined : seeActor(slice, 'u', nameOf(userId), day);
  if (fact.endpointId === null) return;
  const endpoint = seeActor(slice, 'e', nameOf(fact.endpointId), day);
  if (fact.type === sessionStart || isSessionEnd(fact.type)) {
    const starts = fact.type === sessionStart;
    seeSession(slice, {
      endpoint,
      sessionId: sessionIdOf(payload, fact.occurredAt),
      startedMs: starts ? fact.occurredAt : null,
      endedMs: starts ? null : fact.occurredAt,
      hasUser: starts && user !== undefined,
    });
  } else if (fact.type === purchaseFact) {
    const purchase = purchaseOf(payload);
    if (!purchase) return;
    seePurchase(slice, endpoint, day, purchase);
    if (user) seePurchase(slice, user, day, purchase);
  }
}

/** An event without a session's id is about a session of its own. */
function sessionIdOf(payload: EventPayload, at: number): string {
  const id = payload.session?.id;
  return typeof id === 'string' && id !== '' ? nameOf(id) : `@${at}`;
}

function nameOf(name: string): string {
  return name.length <= maxNameLength ? name : createHash('sha256').update(name).digest('hex');
}

async function writePurchases(tx: Transaction, slices: readonly RollupSlice[]): Promise<void> {
  const sums: PurchaseSums = {
    rollupId: [],
    kind: [],
    day: [],
    currency: [],
    actorId: [],
    amount: [],
    units: [],
    purchases: [],
  };
  for (const { rollupId, purchases } of slices) {
    for (const { actor, day, currency, amount, units, purchases: number } of purchases.values()) {
      sums.rollupId.push(rollupId);
      sums.kind.push(actor.kind);
      sums.day.push(day);
      sums.currency.push(currency);
      sums.actorId.push(actor.id);
      sums.amount.push(decimalOf(amount));
      sums.units.push(decimalOf(units));
      sums.purchases.push(number);
    }
  }
  if (sums.actorId.length > 0) await tx.query(addPurchases(sums));
}

async function writeCounts(tx: Transaction, slices: readonly RollupSlice[]): Promise<void> {
  const columns: CountColumns = { rollupId: [], measure: [], day: [], key: [], value: [] };
  for (const { rollupId, counts } of slices) {
    for (const { measure, day, key, value } of counts.values()) {
      if (value === 0) continue;
      columns.rollupId.push(rollupId);
      columns.measure.push(measure);
      columns.day.push(day);
      columns.key.push(key);
      columns.value.push(value);
    }
  }
  if (columns.value.length > 0) await tx.query(addCounts(columns));
}
