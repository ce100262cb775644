import type { Queryable } from '../../platform/database.ts';
import { badMember, notFound } from '../../platform/errors.ts';
import { hexId } from '../../platform/ids.ts';
import { parseS3Url } from '../../platform/objects.ts';
import { requireImportedSegment } from '../segments/segment.ts';

/** The members of ImportJobRequest. */
export interface ImportDefinition {
  Format: 'CSV' | 'JSON';
  S3Url: string;
  RoleArn: string;
  RegisterEndpoints?: boolean;
  DefineSegment?: boolean;
  SegmentName?: string;
  SegmentId?: string;
  ExternalId?: string;
}

/** JobStatus of the API. */
export type JobStatus =
  | 'CREATED'
  | 'PREPARING_FOR_INITIALIZATION'
  | 'INITIALIZING'
  | 'PROCESSING'
  | 'PENDING_JOB'
  | 'COMPLETING'
  | 'COMPLETED'
  | 'FAILING'
  | 'FAILED';

/** What imports and exports have in common. */
export interface Job {
  id: string;
  status: JobStatus;
  /** The segment that an import makes or adds to, or that is exported. */
  segmentId: string | null;
  totalPieces: number;
  completedPieces: number;
  failedPieces: number;
  /** Records that were looked at, the failed ones included. */
  processed: number;
  failures: number;
  /** The first 100 reasons. */
  firstFailures: string[];
  /** Why the job as a whole failed. */
  error: string | null;
  createdAt: number;
  completedAt: number | null;
}

export interface ImportJob extends Job {
  definition: ImportDefinition;
  /** What was left out without being a failure: unknown columns, files of another format. */
  warnings: string[];
  /** s3:// address of a CSV file with every failed record, once the job has ended. */
  errorFile: string | null;
}

/** Columns of both tables, under the names of `Job`. */
export const jobColumns = `id, definition, status, segment_id as "segmentId", total_pieces as "totalPieces",
  completed_pieces as "completedPieces", failed_pieces as "failedPieces", processed, failures,
  first_failures as "firstFailures", error,
  floor(extract(epoch from created_at) * 1000)::int8 as "createdAt",
  floor(extract(epoch from completed_at) * 1000)::int8 as "completedAt"`;
const importColumns = `${jobColumns}, warnings, error_file as "errorFile"`;

/**
 * Writes a job that a worker picks up (`runImportJob`). With neither RegisterEndpoints nor DefineSegment the
 * endpoints are registered, since a job that does nothing is wanted by nobody.
 * @throws CallerError bad_request; not_found for a SegmentId that does not exist.
 */
export async function createImportJob(
  db: Queryable,
  applicationId: string,
  request: ImportDefinition,
  now: number,
): Promise<ImportJob> {
  checkS3Url(request.S3Url, '$.S3Url');
  if (request.SegmentName !== undefined && [...request.SegmentName].length > 100) {
    throw badMember('$.SegmentName', 'expected at most 100 characters');
  }
  const definesSegment = request.DefineSegment === true || Boolean(request.SegmentId);
  if (request.SegmentId) {
    if (request.DefineSegment === false) {
      throw badMember('$.DefineSegment', 'expected true, since a SegmentId is given');
    }
    await requireImportedSegment(db, applicationId, request.SegmentId);
  }
  const segmentId = definesSegment ? request.SegmentId || hexId() : null;
  const { rows } = await db.query<ImportJob>(
    `insert into import_jobs (application_id, id, definition, status, segment_id, created_at)
      values ($1, $2, $3, 'CREATED', $4, to_timestamp($5 / 1000.0::float8)) returning ${importColumns}`,
    [applicationId, hexId(), JSON.stringify(request), segmentId, now],
  );
  return rows[0]!;
}

/** `s3://bucket/…` or a complaint. */
export function checkS3Url(url: string, path: string): { bucket: string; key: string } {
  const parsed = parseS3Url(url);
  if (!parsed) throw badMember(path, 'expected an address of the form s3://bucket/folder/');
  return parsed;
}

/** @throws CallerError not_found */
export async function getImportJob(db: Queryable, applicationId: string, id: string): Promise<ImportJob> {
  const { rows } = await db.query<ImportJob>(
    `select ${importColumns} from import_jobs where application_id = $1 and id = $2`,
    [applicationId, id],
  );
  if (!rows[0]) throw notFound('Import job', id);
  return rows[0];
}

/** Where a page of jobs begins: after this job. */
export interface JobPosition {
  createdAt: number;
  id: string;
}

/** Jobs, newest first; with `segmentId` those that made or added to that segment. */
export async function listImportJobs(
  db: Queryable,
  applicationId: string,
  options: { segmentId?: string; after?: JobPosition; limit: number },
): Promise<ImportJob[]> {
  const { rows } = await db.query<ImportJob>(
    `select ${importColumns} from import_jobs where ${pageCondition} limit $5`,
    pageValues(applicationId, options),
  );
  return rows;
}

/** Shared with export jobs. A page boundary is a millisecond and an id, so the order is by these, too. */
const createdMs = 'floor(extract(epoch from created_at) * 1000)';
export const pageCondition = `application_id = $1 and ($2::text is null or segment_id = $2)
    and ($3::int8 is null or (${createdMs}, id) < ($3, $4))
  order by ${createdMs} desc, id desc`;

export function pageValues(
  applicationId: string,
  options: { segmentId?: string; after?: JobPosition; limit: number },
): unknown[] {
  return [
    applicationId,
    options.segmentId ?? null,
    options.after?.createdAt ?? null,
    options.after?.id ?? '',
    options.limit,
  ];
}

/** Jobs that nobody works on: new ones, and those whose worker has gone. Oldest first. */
export async function waitingJobs(
  db: Queryable,
  table: 'import_jobs' | 'export_jobs',
  limit = 10,
): Promise<{ applicationId: string; id: string }[]> {
  const { rows } = await db.query<{ applicationId: string; id: string }>(
    `select application_id as "applicationId", id from ${table}
      where completed_at is null and (leased_until is null or leased_until < now())
      order by created_at limit $1`,
    [limit],
  );
  return rows;
}

/** Jobs of one kind that run at once, over all workers: the others keep their slots for other work. */
export const maxRunningJobs = 2;

export async function countRunningJobs(db: Queryable, table: 'import_jobs' | 'export_jobs'): Promise<number> {
  const { rows } = await db.query<{ count: number }>(
    `select count(*) as count from ${table} where completed_at is null and leased_until >= clock_timestamp()`,
  );
  return rows[0]!.count;
}
