import { applyChanges } from './apply.ts';
import type { UserRow } from './endpoint.sql.ts';
import type { EndpointChange } from './item.ts';
import { nameMap } from './item.ts';
import type { EndpointRow } from './row.ts';

/**
 * What changes make of registered endpoints, when nothing but their own rows bears on it: nobody gets a user, an
 * address or a status, and no attributes of users are given.
 * @param rows by id, as they are stored
 * @returns the rows that are different then, by id; undefined when more has to be looked at than these rows
 */
export function changeAlone(
  changes: readonly EndpointChange[],
  rows: Map<string, EndpointRow>,
  now: number,
): EndpointRow[] | undefined {
  const users = new Map<string, UserRow>();
  const asked: EndpointChange[] = [];
  for (const change of changes) {
    const row = rows.get(change.id);
    if (!row || row.segmentId !== null) return undefined;
    if (change.onlyIfNew && !change.mustBeNew) continue;
    if (!isAboutItself(change, row)) return undefined;
    if (row.userId !== null) users.set(row.userId, { id: row.userId, attributes: nameMap() });
    asked.push(change);
  }
  const applied = applyChanges(
    asked,
    { endpoints: rows, users, userEndpoints: [], active: [] },
    // Of no matter: no endpoint is made, and none gets a user.
    { segmentId: null, now, endpointsPerUser: 1, drawCohort: () => 0 },
  );
  return applied.refusals.length === 0 ? applied.changedEndpoints : undefined;
}

function isAboutItself(change: EndpointChange, row: EndpointRow): boolean {
  if (change.mustBeNew || change.guard || change.userAttributes) return false;
  return (
    (change.userId === undefined || change.userId === row.userId) &&
    (change.channel === undefined || change.channel === row.channel) &&
    (change.address === undefined || change.address === row.address) &&
    (change.status ?? 'ACTIVE') === row.status
  );
}
