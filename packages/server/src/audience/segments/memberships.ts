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

/** Whom a question is about; the ids are those that callers know, also of members that were imported unregistered. */
type Who = { endpointId: string } | { userId: string };

interface Question {
  segmentId: string;
  /** The latest when absent. */
  version?: number;
}

/**
 * Resolutions of segments that were asked for lately, so that a question costs one round trip. Each is checked
 * against the database with every use.
 */
const resolutionsOf = new WeakMap<Queryable, Map<string, Resolution>>();
const most = 1_000;

/**
 * Is this endpoint, or any endpoint of this user, in the segment's latest version? One statement on the ids' index,
 * however large the segment is.
 * @throws CallerError not_found when there is no such segment
 */
export async function isMember(
  db: Queryable,
  applicationId: string,
  segmentId: string,
  who: Who,
  options?: CompileOptions,
): Promise<boolean> {
  const question: Question = { segmentId };
  const find = () => resolutionOf(db, applicationId, question);
  const [member] = await ask(db, applicationId, who, [question], find, options);
  return member!;
}

/**
 * Of which of these segments (up to 1000) is the endpoint a member? One statement on the endpoint's index, however many
 * and however large they are. A segment that is gone, or that cannot be evaluated, has no members.
 */
export async function membershipsOf(
  db: Queryable,
  applicationId: string,
  endpointId: string,
  targets: readonly SegmentVersionTarget[],
  options?: CompileOptions,
): Promise<boolean[]> {
  if (targets.length === 0) return [];
  const find = (target: Question) =>
    resolutionOf(db, applicationId, target).catch((error: unknown) => {
      if (error instanceof CallerError) return undefined;
      throw error;
    });
  return ask(db, applicationId, { endpointId }, targets, find, options);
}

async function ask(
  db: Queryable,
  applicationId: string,
  who: Who,
  questions: readonly Question[],
  find: (question: Question) => Promise<Resolution | undefined>,
  options?: CompileOptions,
): Promise<boolean[]> {
  // The second time all are read anew, so it is the last.
  for (let attempt = 0; ; attempt++) {
    const resolutions = await Promise.all(questions.map(find));
    const members = resolutions.map((resolution) =>
      resolution
        ? isOneOf(compileResolved(applicationId, resolution.root, { ...options, fewEndpoints: true }), who)
        : sql`false`,
    );
    const states = new Map(resolutions.flatMap((resolution) => [...(resolution?.states ?? [])]));
    const { rows } = await db.query<{ members: boolean[]; states: Record<string, string> }>(
      sql`select array[${join(members)}] as members, (${selectStates(applicationId, [...states.keys()])}) as states`,
    );
    const now = new Map(Object.entries(rows[0]!.states));
    if (attempt > 0 || [...states].every(([id, state]) => now.get(id) === state)) return rows[0]!.members;
    for (const question of questions) resolutionsIn(db).delete(keyOf(applicationId, question));
  }
}

function resolutionsIn(db: Queryable): Map<string, Resolution> {
  const known = resolutionsOf.get(db) ?? new Map<string, Resolution>();
  resolutionsOf.set(db, known);
  return known;
}

function keyOf(applicationId: string, { segmentId, version }: Question): string {
  return `${applicationId} ${segmentId} ${version ?? 'latest'}`;
}

async function resolutionOf(db: Queryable, applicationId: string, question: Question): Promise<Resolution> {
  const known = resolutionsIn(db);
  const key = keyOf(applicationId, question);
  const resolution = known.get(key);
  if (resolution) return resolution;
  const resolved = await resolveSegment(db, applicationId, question);
  if (known.size >= most) known.delete(known.keys().next().value!);
  known.set(key, resolved);
  return resolved;
}
