import { type EndpointChange, type NameMap, nameMap } from './item.ts';
import type { EndpointRow } from './row.ts';

/** Puts `changes` into `target`, key by key; null deletes. Returns whether anything is different now. */
export function mergeMap<Value>(
  target: NameMap<Value>,
  changes: NameMap<Value | null>,
  same: (a: Value, b: Value) => boolean,
): boolean {
  let changed = false;
  for (const name of Object.keys(changes)) {
    const value = changes[name];
    const present = Object.hasOwn(target, name);
    if (value === null || value === undefined) {
      if (present) {
        delete target[name];
        changed = true;
      }
    } else if (!present || !same(target[name]!, value)) {
      target[name] = value;
      changed = true;
    }
  }
  return changed;
}

export const sameValue = (a: unknown, b: unknown): boolean => Object.is(a, b) || a === b;

export function sameValues(a: string[], b: string[]): boolean {
  return a.length === b.length && a.every((value, place) => value === b[place]);
}

/** Applies everything of a change but its user. Returns whether the row is different now. */
export function mergeEndpoint(row: EndpointRow, change: EndpointChange): boolean {
  let changed = false;
  const status = change.status ?? 'ACTIVE';
  if (row.status !== status) {
    row.status = status;
    changed = true;
  }
  if (change.channel !== undefined && row.channel !== change.channel) {
    row.channel = change.channel;
    changed = true;
  }
  if (change.address !== undefined && row.address !== change.address) {
    row.address = change.address;
    changed = true;
  }
  if (change.optOut !== undefined && row.optOut !== change.optOut) {
    row.optOut = change.optOut;
    changed = true;
  }
  if (change.requestId !== undefined && row.requestId !== change.requestId) {
    row.requestId = change.requestId;
    changed = true;
  }
  if (change.attributes && mergeMap(row.attributes, change.attributes, sameValues)) changed = true;
  if (change.metrics && mergeMap(row.metrics, change.metrics, sameValue)) changed = true;
  if (change.demographic && mergeMap(row.demographic, change.demographic, sameValue)) changed = true;
  if (change.location && mergeMap(row.location, change.location, sameValue)) changed = true;
  return changed;
}

/** A new endpoint before the change that makes it is merged into it. */
export function newRow(
  change: EndpointChange,
  segmentId: string | null,
  now: number,
  drawCohort: () => number,
): EndpointRow {
  return {
    id: change.id,
    segmentId,
    channel: null,
    address: null,
    optOut: 'NONE',
    status: 'ACTIVE',
    cohort: change.cohort ?? drawCohort(),
    userId: null,
    attributes: nameMap(),
    metrics: nameMap(),
    demographic: nameMap(),
    location: nameMap(),
    requestId: null,
    effectiveAt: now,
    createdAt: change.createdAt ?? now,
  };
}
