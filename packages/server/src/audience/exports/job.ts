import type { Queryable } from '../../platform/database.ts';
import { badMember, notFound } from '../../platform/errors.ts';
import { hexId } from '../../platform/ids.ts';
import { type ObjectInfo, type ObjectStore, parseS3Url } from '../../platform/objects.ts';
import {
  checkS3Url,
  type Job,
  type JobPosition,
  jobColumns,
  pageCondition,
  pageValues,
} from '../imports/job.ts';
import { getSegment, getSegmentVersion } from '../segments/segment.ts';

/** The members of ExportJobRequest. */
export interface ExportDefinition {
  S3UrlPrefix: string;
  RoleArn: string;
  /** Without it, every registered endpoint of the application. */
  SegmentId?: string;
  /** Without it, the version that is the latest when the job is created. */
  SegmentVersion?: number;
}

/** `processed`: endpoints in the pieces that are written. `failures` is always 0, since an endpoint cannot fail. */
export interface ExportJob extends Job {
  definition: ExportDefinition;
  segmentVersion: number | null;
  /** Endpoints when the job began; null before. */
  total: number | null;
}

const exportColumns = `${jobColumns}, segment_version as "segmentVersion", total`;

/**
 * Writes a job that a worker picks up (`runExportJob`).
 * @throws CallerError bad_request; not_found for a segment or version that does not exist.
 */
export async function createExportJob(
  db: Queryable,
  applicationId: string,
  request: ExportDefinition,
  now: number,
): Promise<ExportJob> {
  checkS3Url(request.S3UrlPrefix, '$.S3UrlPrefix');
  const { SegmentId, SegmentVersion } = request;
  if (SegmentVersion !== undefined && !SegmentId) {
    throw badMember('$.SegmentVersion', 'expected a SegmentId beside it');
  }
  const version = SegmentId ? await segmentVersion(db, applicationId, SegmentId, SegmentVersion) : null;
  const { rows } = await db.query<ExportJob>(
    `insert into export_jobs (application_id, id, definition, status, segment_id, segment_version, created_at)
      values ($1, $2, $3, 'CREATED', $4, $5, to_timestamp($6 / 1000.0::float8)) returning ${exportColumns}`,
    [applicationId, hexId(), JSON.stringify(request), SegmentId || null, version, now],
  );
  return rows[0]!;
}

const maxVersion = 0x7fffffff;

async function segmentVersion(
  db: Queryable,
  applicationId: string,
  id: string,
  version: number | undefined,
): Promise<number> {
  if (version === undefined) return (await getSegment(db, applicationId, id)).version;
  if (!Number.isInteger(version) || version < 1 || version > maxVersion) {
    throw badMember('$.SegmentVersion', `expected a whole number from 1 to ${maxVersion}`);
  }
  return (await getSegmentVersion(db, applicationId, id, version)).version;
}

/** @throws CallerError not_found */
export async function getExportJob(db: Queryable, applicationId: string, id: string): Promise<ExportJob> {
  const { rows } = await db.query<ExportJob>(
    `select ${exportColumns} from export_jobs where application_id = $1 and id = $2`,
    [applicationId, id],
  );
  if (!rows[0]) throw notFound('Export job', id);
  return rows[0];
}

/** Jobs, newest first; with `segmentId` those that exported that segment. */
export async function listExportJobs(
  db: Queryable,
  applicationId: string,
  options: { segmentId?: string; after?: JobPosition; limit: number },
): Promise<ExportJob[]> {
  const { rows } = await db.query<ExportJob>(
    `select ${exportColumns} from export_jobs where ${pageCondition} limit $5`,
    pageValues(applicationId, options),
  );
  return rows;
}

/**
 * Bucket and key prefix of a job's pieces: `<S3UrlPrefix>/<application>/<job>/`, so that jobs with the same prefix do
 * not mix.
 */
export function exportFolder(
  applicationId: string,
  job: { id: string; definition: ExportDefinition },
): { bucket: string; prefix: string } {
  const { bucket, key } = parseS3Url(job.definition.S3UrlPrefix)!;
  const base = key === '' || key.endsWith('/') ? key : `${key}/`;
  return { bucket, prefix: `${base}${applicationId}/${job.id}/` };
}

/** Name of piece `number` (from 1): gzip of newline-delimited JSON. Names sort in the order of the pieces. */
export function pieceName(number: number): string {
  return `part-${String(number).padStart(6, '0')}.json.gz`;
}

export interface ExportFile extends ObjectInfo {
  /** `s3://…` */
  url: string;
}

/** The pieces of a job that are written and still there, in their order. */
export async function listExportFiles(
  objects: ObjectStore,
  applicationId: string,
  job: ExportJob,
): Promise<ExportFile[]> {
  if (job.completedPieces === 0) return [];
  const { bucket, prefix } = exportFolder(applicationId, job);
  const last = prefix + pieceName(job.completedPieces);
  const listed = await objects.list(bucket, `${prefix}part-`);
  return listed
    .filter(({ key }) => key <= last)
    .map((object) => ({ ...object, url: `s3://${bucket}/${object.key}` }));
}
