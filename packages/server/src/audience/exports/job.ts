import type { Queryable } from '../../platform/database.ts';
import { notFound } from '../../platform/errors.ts';
import { hexId } from '../../platform/ids.ts';
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
  RoleArn: string;
  S3UrlPrefix: string;
  SegmentId?: string;
  SegmentVersion?: number;
}

export interface ExportJob extends Job {
  definition: ExportDefinition;
}

/**
 * Writes a job that a worker picks up (`runExportJob`): all registered endpoints, or those of a segment.
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
  if (SegmentId && SegmentVersion !== undefined) {
    await getSegmentVersion(db, applicationId, SegmentId, SegmentVersion);
  } else if (SegmentId) {
    await getSegment(db, applicationId, SegmentId);
  }
  const { rows } = await db.query<ExportJob>(
    `insert into export_jobs (application_id, id, definition, status, segment_id, created_at)
      values ($1, $2, $3, 'CREATED', $4, to_timestamp($5 / 1000.0::float8)) returning ${jobColumns}`,
    [applicationId, hexId(), JSON.stringify(request), SegmentId || null, now],
  );
  return rows[0]!;
}

/** @throws CallerError not_found */
export async function getExportJob(db: Queryable, applicationId: string, id: string): Promise<ExportJob> {
  const { rows } = await db.query<ExportJob>(
    `select ${jobColumns} from export_jobs where application_id = $1 and id = $2`,
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
    `select ${jobColumns} from export_jobs where ${pageCondition} limit $5`,
    pageValues(applicationId, options),
  );
  return rows;
}
