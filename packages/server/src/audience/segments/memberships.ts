import sql, { join } from 'sql-template-tag';
import type { Queryable } from '../../platform/database.ts';
import { CallerError } from '../../platform/errors.ts';
import { type CompileOptions, compileResolved } from './compile.ts';
import { isOneOf } from './membership.ts';
import { type Resolution, resolveSegment } from './resolve.ts';
import { selectStates } from './segment.sql.ts';

/** A segment as it was defined at a version. */
export interface SegmentVersionTarget {
  segmentId: string;
  version: number;
}

const most = 1_000;
const resolutionsOf = new WeakMap<Queryable, Map<string, Resolution>>();

/**
 * Of which of these segments (up to 1000) is the endpoint a member? One statement on the endpoint's index, however many
 * and however large they are. A segment that is gone, or that cannot be evaluated, has no members.
 * @param endpointId as callers know it, also of members that were imported without being registered.
 */
export async function membershipsOf(
  db: Queryable,
  applicationId: string,
  endpointId: string,
  targets: readonly SegmentVersionTarget[],
  options?: CompileOptions,
): Promise<boolean[]> {
  if (targets.length === 0) return [];
  const known = resolutionsOf.get(db) ?? new Map<string, Resolution>();
  resolutionsOf.set(db, known);
  // The second time all are read anew, so it is the last.
  for (let attempt = 0; ; attempt++) {
    const resolutions = await Promise.all(
      targets.map((target) => resolutionOf(db, known, applicationId, target)),
    );
    const members = resolutions.map((resolution) =>
      resolution
        ? isOneOf(compileResolved(applicationId, resolution.root, { ...options, fewEndpoints: true }), {
            endpointId,
          })
        : sql`false`,
    );
    const states = new Map(resolutions.flatMap((resolution) => [...(resolution?.states ?? [])]));
    const { rows } = await db.query<{ members: boolean[]; states: Record<string, string> }>(
      sql`select array[${join(members)}] as members, (${selectStates(applicationId, [...states.keys()])}) as states`,
    );
    const now = new Map(Object.entries(rows[0]!.states));
    if (attempt > 0 || [...states].every(([id, state]) => now.get(id) === state)) return rows[0]!.members;
    for (const target of targets) known.delete(keyOf(applicationId, target));
  }
}

function keyOf(applicationId: string, { segmentId, version }: SegmentVersionTarget): string {
  return `${applicationId} ${segmentId} ${version}`;
}

async function resolutionOf(
  db: Queryable,
  known: Map<string, Resolution>,
  applicationId: string,
  target: SegmentVersionTarget,
): Promise<Resolution | undefined> {
  const key = keyOf(applicationId, target);
  const resolution = known.get(key);
  if (resolution) return resolution;
  try {
    const resolved = await resolveSegment(db, applicationId, target);
    if (known.size >= most) known.delete(known.keys().next().value!);
    known.set(key, resolved);
    return resolved;
  } catch (error) {
    if (error instanceof CallerError) return undefined;
    throw error;
  }
}
