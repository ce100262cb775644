import type { Queryable } from '../../platform/database.ts';
import { notFound } from '../../platform/errors.ts';
import { hexId } from '../../platform/ids.ts';
import { checkS3Url, type JobPosition, pageCondition, pageValues } from '../imports/job.ts';

/** An archive of events that is read into the log. */
export interface EventImport {
  id: string;
  /** `s3://bucket/prefix` */
  url: string;
  status: 'CREATED' | 'PROCESSING' | 'COMPLETED' | 'FAILED';
  /** Undefined before the files are listed. */
  totalFiles: number | null;
  completedFiles: number;
  failedFiles: number;
  /** Records that were looked at: imported, met before, failed. */
  processed: number;
  imported: number;
  duplicates: number;
  failures: number;
  /** The first 100 reasons, each with file and line. */
  firstFailures: string[];
  warnings: string[];
  /** Why the import as a whole, or its first broken file, failed. */
  error: string | null;
  createdAt: number;
  completedAt: number | null;
}

const columns = `id, url, status, jsonb_array_length(files) as "totalFiles", completed_files as "completedFiles",
  failed_files as "failedFiles", processed, imported, duplicates, failures, first_failures as "firstFailures",
  warnings, error, floor(extract(epoch from created_at) * 1000)::int8 as "createdAt",
  floor(extract(epoch from completed_at) * 1000)::int8 as "completedAt"`;

/**
 * Writes an import that a worker picks up (`runEventImport`).
 * @throws CallerError bad_request
 */
export async function createEventImport(
  db: Queryable,
  applicationId: string,
  url: string,
  now: number,
): Promise<EventImport> {
  checkS3Url(url, '$.url');
  const { rows } = await db.query<EventImport>(
    `insert into event_imports (application_id, id, url, status, created_at)
      values ($1, $2, $3, 'CREATED', to_timestamp($4 / 1000.0::float8)) returning ${columns}`,
    [applicationId, hexId(), url, now],
  );
  return rows[0]!;
}

/** @throws CallerError not_found */
export async function getEventImport(db: Queryable, applicationId: string, id: string): Promise<EventImport> {
  const { rows } = await db.query<EventImport>(
    `select ${columns} from event_imports where application_id = $1 and id = $2`,
    [applicationId, id],
  );
  if (!rows[0]) throw notFound('Event import', id);
  return rows[0];
}

/** Newest first. */
export async function listEventImports(
  db: Queryable,
  applicationId: string,
  options: { after?: JobPosition; limit: number },
): Promise<EventImport[]> {
  const { rows } = await db.query<EventImport>(
    `select ${columns} from (select *, null::text as segment_id from event_imports) as event_imports
      where ${pageCondition} limit $5`,
    pageValues(applicationId, options),
  );
  return rows;
}

/** Imports that nobody works on: new ones, and those whose worker has gone. Oldest first. */
export async function waitingEventImports(
  db: Queryable,
  limit = 10,
): Promise<{ applicationId: string; id: string }[]> {
  const { rows } = await db.query<{ applicationId: string; id: string }>(
    `select application_id as "applicationId", id from event_imports
      where completed_at is null and (leased_until is null or leased_until < now())
      order by created_at limit $1`,
    [limit],
  );
  return rows;
}
