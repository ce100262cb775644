import type { SegmentImportResource } from '@aws-sdk/client-pinpoint';
import type { Database, Queryable, Transaction } from '../../platform/database.ts';
import { badMember, notFound } from '../../platform/errors.ts';
import { hexId } from '../../platform/ids.ts';
import { checkRetention } from './behaviour.ts';
import { behaviourConditions, readCriteria, type SegmentDefinition } from './criteria.ts';
import { isVersion, missingTarget, resolveSegment } from './resolve.ts';
import {
  deleteMembers,
  deleteOwnEndpoints,
  deleteOwnUsers,
  deleteSegmentRow,
  insertSegment,
  lockSegments,
  markDeleted,
  selectDeletedSegments,
  selectSegment,
  selectSegments,
  selectVersion,
  selectVersions,
  updateSegmentRow,
} from './segment.sql.ts';

/** A segment at one of its versions. */
export interface Segment {
  id: string;
  type: 'DIMENSIONAL' | 'IMPORT';
  name: string | null;
  version: number;
  /** As it was written: Dimensions or SegmentGroups, or neither; empty for an imported segment. */
  definition: SegmentDefinition;
  importDefinition: SegmentImportResource | null;
  createdAt: Date;
  /** When this version was made. */
  modifiedAt: Date;
}

/** What a caller says of a dimensional segment. */
export interface SegmentRequest extends SegmentDefinition {
  Name?: string;
}

interface SegmentRow {
  id: string;
  type: Segment['type'];
  name: string | null;
  version: number;
  definition: SegmentDefinition;
  import_definition: SegmentImportResource | null;
  created_at: Date;
  modified_at: Date;
}

function fromRow(row: SegmentRow): Segment {
  return {
    id: row.id,
    type: row.type,
    name: row.name,
    version: row.version,
    definition: row.definition,
    importDefinition: row.import_definition,
    createdAt: row.created_at,
    modifiedAt: row.modified_at,
  };
}

const mostNameCharacters = 1_000;

export interface WriteOptions {
  /** POSTRIDER_RETENTION_DAYS: a window must not ask for more than is kept. Absent or 0: everything is. */
  retentionDays?: number;
}

/**
 * Makes a dimensional segment, version 1. The caller has checked that the application exists.
 * @param now milliseconds since the epoch
 * @throws CallerError bad_request that names the member at fault, source segments that do not exist included
 */
export async function createSegment(
  tx: Transaction,
  applicationId: string,
  request: SegmentRequest,
  now: number,
  options: WriteOptions = {},
): Promise<Segment> {
  checkName(request.Name);
  const definition = definitionOf(request);
  checkRetention(behaviourConditions(readCriteria(definition)), now, options.retentionDays ?? 0);
  await tx.query(lockSegments(applicationId));
  await resolveSegment(tx, applicationId, { definition });
  const { rows } = await tx.query<SegmentRow>(
    insertSegment({
      applicationId,
      id: hexId(),
      type: 'DIMENSIONAL',
      name: request.Name ?? null,
      definition: JSON.stringify(definition),
      importDefinition: null,
      now: new Date(now).toISOString(),
    }),
  );
  return fromRow(rows[0]!);
}

/**
 * Makes the next version. A name or definition that the request leaves out stays; Dimensions and SegmentGroups
 * replace each other.
 * @throws CallerError not_found; bad_request also for criteria of an imported segment, whose members only an import
 *   changes
 */
export async function updateSegment(
  tx: Transaction,
  applicationId: string,
  id: string,
  request: SegmentRequest,
  now: number,
  options: WriteOptions = {},
): Promise<Segment> {
  checkName(request.Name);
  checkRetention(behaviourConditions(readCriteria(definitionOf(request))), now, options.retentionDays ?? 0);
  await tx.query(lockSegments(applicationId));
  const segment = await getSegment(tx, applicationId, id);
  const definition = definitionOf(request);
  const [member] = Object.keys(definition);
  if (member && segment.type === 'IMPORT') {
    throw badMember(`$.${member}`, 'an imported segment has no criteria; import into it instead');
  }
  if (member) await resolveSegment(tx, applicationId, { definition }, id);
  const { rows } = await tx.query<SegmentRow>(
    updateSegmentRow({
      applicationId,
      id,
      name: request.Name ?? null,
      definition: member ? JSON.stringify(definition) : null,
      importDefinition: null,
      now: new Date(now).toISOString(),
    }),
  );
  return fromRow(rows[0]!);
}

/**
 * What an import says of the segment that it defines: without `id` a new one, with `id` the next version of an
 * imported one that exists. Its members are the rows of segment_endpoints and segment_users, which the import writes
 * (in any transaction; they count at once).
 * @throws CallerError not_found; bad_request when the segment is not an imported one
 */
export async function saveImportedSegment(
  tx: Transaction,
  applicationId: string,
  imported: { id?: string; name?: string | null; importDefinition: SegmentImportResource },
  now: number,
): Promise<Segment> {
  checkName(imported.name ?? undefined);
  const importDefinition = JSON.stringify(imported.importDefinition);
  const common = {
    applicationId,
    name: imported.name ?? null,
    importDefinition,
    now: new Date(now).toISOString(),
  };
  if (imported.id === undefined) {
    const { rows } = await tx.query<SegmentRow>(
      insertSegment({ ...common, id: hexId(), type: 'IMPORT', definition: '{}' }),
    );
    return fromRow(rows[0]!);
  }
  await requireImportedSegment(tx, applicationId, imported.id);
  const { rows } = await tx.query<SegmentRow>(
    updateSegmentRow({ ...common, id: imported.id, definition: null }),
  );
  if (!rows[0]) throw notFound('Segment', imported.id);
  return fromRow(rows[0]);
}

/** @throws CallerError not_found; bad_request when it is not an imported segment */
export async function requireImportedSegment(
  db: Queryable,
  applicationId: string,
  id: string,
): Promise<Segment> {
  const segment = await getSegment(db, applicationId, id);
  if (segment.type !== 'IMPORT') {
    throw badMember('$.SegmentId', `expected an imported segment, but ${id} is made of criteria`);
  }
  return segment;
}

/** The latest version. @throws CallerError not_found */
export async function getSegment(db: Queryable, applicationId: string, id: string): Promise<Segment> {
  const { rows } = await db.query<SegmentRow>(selectSegment(applicationId, id));
  if (!rows[0]) throw notFound('Segment', id);
  return fromRow(rows[0]);
}

export async function segmentExists(db: Queryable, applicationId: string, id: string): Promise<boolean> {
  const { rows } = await db.query(selectSegment(applicationId, id));
  return rows.length > 0;
}

/** @throws CallerError not_found when there is no such segment or version */
export async function getSegmentVersion(
  db: Queryable,
  applicationId: string,
  id: string,
  version: number,
): Promise<Segment> {
  const { rows } = isVersion(version)
    ? await db.query<SegmentRow>(selectVersion(applicationId, id, version))
    : { rows: [] };
  if (!rows[0]) throw missingTarget(id, version);
  return fromRow(rows[0]);
}

/** Up to `limit` segments after the position given, the newest first. */
export async function listSegments(
  db: Queryable,
  applicationId: string,
  options: { after?: { createdAt: Date; id: string } | undefined; limit: number },
): Promise<Segment[]> {
  const { after, limit } = options;
  const position = after && { createdAt: after.createdAt.toISOString(), id: after.id };
  const { rows } = await db.query<SegmentRow>(selectSegments(applicationId, position, limit));
  return rows.map(fromRow);
}

/**
 * Up to `limit` versions below the one given, the newest first.
 * @throws CallerError not_found when there is no such segment
 */
export async function listSegmentVersions(
  db: Queryable,
  applicationId: string,
  id: string,
  options: { below?: number | undefined; limit: number },
): Promise<Segment[]> {
  const { below = 2_147_483_647, limit } = options;
  const { rows } = await db.query<SegmentRow>(selectVersions(applicationId, id, below, limit));
  if (rows.length === 0) await getSegment(db, applicationId, id);
  return rows.map(fromRow);
}

/**
 * Deletes a segment with all versions, for readers at once. Its members go in chunks: `sweepDeletedSegments`.
 * Segments that are built upon it stay, and say so when they are evaluated.
 * @throws CallerError not_found
 */
export async function deleteSegment(
  tx: Transaction,
  applicationId: string,
  id: string,
  now: number,
): Promise<Segment> {
  await tx.query(lockSegments(applicationId));
  const { rows } = await tx.query<SegmentRow>(markDeleted(applicationId, id, new Date(now).toISOString()));
  if (!rows[0]) throw notFound('Segment', id);
  return fromRow(rows[0]);
}

/** Rows of one deleting statement: few enough that others wait only briefly. */
const sweptRows = 5_000;
const sweptSegments = 100;

/**
 * Removes what is left of deleted segments: members, endpoints that only they saw, versions. May run anywhere, also
 * several at a time, and goes on where another broke off. Stops after `mostChunks` statements that
 * found something.
 * @returns whether all is done
 */
export async function sweepDeletedSegments(database: Database, mostChunks = 1_000): Promise<boolean> {
  const { rows } = await database.query<{ application_id: string; id: string }>(
    selectDeletedSegments(sweptSegments),
  );
  let left = mostChunks;
  for (const { application_id: applicationId, id } of rows) {
    for (const statement of [
      deleteOwnEndpoints(applicationId, id, sweptRows),
      deleteOwnUsers(applicationId, id, sweptRows),
      deleteMembers('segment_endpoints', applicationId, id, sweptRows),
      deleteMembers('segment_users', applicationId, id, sweptRows),
    ]) {
      for (;;) {
        if (left === 0) return false;
        const { rowCount } = await database.query(statement);
        if (rowCount) left -= 1;
        if ((rowCount ?? 0) < sweptRows) break;
      }
    }
    await database.query(deleteSegmentRow(applicationId, id));
  }
  return rows.length < sweptSegments;
}

/** The member that defines the segment, alone; none when the request has none. */
function definitionOf({ Dimensions, SegmentGroups }: SegmentRequest): SegmentDefinition {
  return {
    ...(Dimensions != null && { Dimensions }),
    ...(SegmentGroups != null && { SegmentGroups }),
  };
}

function checkName(name: string | undefined): void {
  if (name !== undefined && [...name.slice(0, 2 * mostNameCharacters + 1)].length > mostNameCharacters) {
    throw badMember('$.Name', `expected at most ${mostNameCharacters} characters`);
  }
}
