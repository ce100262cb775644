import type { Calendar } from './calendar.ts';
import type { Purchase } from './purchase.ts';

/** An endpoint ('e') or a user ('u'). */
export type ActorKind = 'e' | 'u';

/** An actor with the days on which the facts at hand say that it was active. */
export interface SeenActor {
  kind: ActorKind;
  name: string;
  days: Set<number>;
  /** Known once its days are written. */
  id: number;
}

/** What the facts at hand say of one session of an endpoint. */
export interface SeenSession {
  endpoint: SeenActor;
  sessionId: string;
  startedMs: number | null;
  endedMs: number | null;
  hasUser: boolean;
}

export interface SeenPurchases {
  actor: SeenActor;
  day: number;
  currency: string;
  /** Millionths. */
  amount: bigint;
  units: bigint;
  purchases: number;
}

/** What some facts add to one rollup, gathered before anything is written. */
export interface RollupSlice {
  readonly rollupId: number;
  readonly calendar: Calendar;
  /** By kind and name. */
  readonly actors: Map<string, SeenActor>;
  /** By endpoint and session id. */
  readonly sessions: Map<string, SeenSession>;
  /** By actor, day and currency. */
  readonly purchases: Map<string, SeenPurchases>;
  /** Increments of analytics_counts, by measure, then by day and key. */
  readonly counts: Map<string, { measure: string; day: number; key: string; value: number }>;
}

export function createRollupSlice(rollupId: number, calendar: Calendar): RollupSlice {
  return {
    rollupId,
    calendar,
    actors: new Map(),
    sessions: new Map(),
    purchases: new Map(),
    counts: new Map(),
  };
}

export function seeActor(slice: RollupSlice, kind: ActorKind, name: string, day: number): SeenActor {
  const key = kind + name;
  let actor = slice.actors.get(key);
  if (!actor) {
    actor = { kind, name, days: new Set(), id: 0 };
    slice.actors.set(key, actor);
  }
  actor.days.add(day);
  return actor;
}

/** A session is told of by several events: the earliest start and the latest end count, whatever came first. */
export function seeSession(slice: RollupSlice, seen: SeenSession): void {
  const key = `${seen.endpoint.name}\n${seen.sessionId}`;
  const session = slice.sessions.get(key);
  if (!session) {
    slice.sessions.set(key, seen);
    return;
  }
  session.startedMs = earliest(session.startedMs, seen.startedMs);
  session.endedMs = latest(session.endedMs, seen.endedMs);
  session.hasUser ||= seen.hasUser;
}

export function earliest(a: number | null, b: number | null): number | null {
  if (a === null || b === null) return a ?? b;
  return Math.min(a, b);
}

export function latest(a: number | null, b: number | null): number | null {
  if (a === null || b === null) return a ?? b;
  return Math.max(a, b);
}

export function seePurchase(slice: RollupSlice, actor: SeenActor, day: number, purchase: Purchase): void {
  const key = `${actor.kind}${day} ${purchase.currency} ${actor.name}`;
  const seen = slice.purchases.get(key);
  if (!seen) {
    slice.purchases.set(key, { actor, day, ...purchase, purchases: 1 });
    return;
  }
  seen.amount += purchase.amount;
  seen.units += purchase.units;
  seen.purchases++;
}

export function count(slice: RollupSlice, measure: string, day: number, key: string, value: number): void {
  if (value === 0) return;
  const name = `${measure} ${day} ${key}`;
  const counted = slice.counts.get(name);
  if (counted) counted.value += value;
  else slice.counts.set(name, { measure, day, key, value });
}
