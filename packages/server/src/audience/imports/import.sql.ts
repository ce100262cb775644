import type { Queryable, Transaction } from '../../platform/database.ts';
import { LeaseLostError } from '../lease.ts';
import type { ImportDefinition, JobStatus } from './job.ts';

export interface ImportFile {
  key: string;
  size: number;
  /** Milliseconds since the epoch. */
  modifiedAt: number;
}

/** What a run starts from. */
export interface ImportState {
  definition: ImportDefinition;
  status: JobStatus;
  segmentId: string | null;
  files: ImportFile[] | null;
  fileIndex: number;
  positions: number[];
  completedPieces: number;
  failedPieces: number;
  processed: number;
  failures: number;
  warnings: string[];
}

const stateColumns = `definition, status, segment_id as "segmentId", files, file_index as "fileIndex", positions,
  completed_pieces as "completedPieces", failed_pieces as "failedPieces", processed, failures, warnings`;

/** Takes the job for `leaseMs`, when nobody has it and it is not finished. */
export async function takeImport(
  db: Queryable,
  applicationId: string,
  id: string,
  token: string,
  leaseMs: number,
): Promise<ImportState | undefined> {
  const { rows } = await db.query<ImportState>(
    `update import_jobs set lease_token = $3, leased_until = clock_timestamp() + $4 * interval '1 millisecond'
      where application_id = $1 and id = $2 and completed_at is null
        and (leased_until is null or leased_until < clock_timestamp())
      returning ${stateColumns}`,
    [applicationId, id, token, leaseMs],
  );
  return rows[0];
}

/** Writes to a job within the caller's transaction; the lease is renewed with it. */
export class ImportRow {
  readonly #applicationId: string;
  readonly #id: string;
  readonly #token: string;
  readonly #leaseMs: number;

  constructor(applicationId: string, id: string, token: string, leaseMs: number) {
    this.#applicationId = applicationId;
    this.#id = id;
    this.#token = token;
    this.#leaseMs = leaseMs;
  }

  /** @throws LeaseLostError */
  async #update(db: Queryable, assignments: string, values: unknown[]): Promise<void> {
    const { rowCount } = await db.query(
      `update import_jobs set leased_until = clock_timestamp() + $4 * interval '1 millisecond', ${assignments}
        where application_id = $1 and id = $2 and lease_token = $3`,
      [this.#applicationId, this.#id, this.#token, this.#leaseMs, ...values],
    );
    if (rowCount !== 1) throw new LeaseLostError();
  }

  renew(db: Queryable): Promise<void> {
    return this.#update(db, 'lease_token = $3', []);
  }

  setStatus(db: Queryable, status: JobStatus): Promise<void> {
    return this.#update(db, 'status = $5', [status]);
  }

  begin(db: Queryable, files: ImportFile[], lanes: number, warnings: string[]): Promise<void> {
    return this.#update(
      db,
      "status = 'PROCESSING', files = $5, total_pieces = $6, positions = array_fill(0::bigint, array[$7::int]), warnings = $8",
      [JSON.stringify(files), files.length, lanes, JSON.stringify(warnings)],
    );
  }

  /** A chunk of a lane is done up to (and with) the record `position`. Belongs into the chunk's transaction. */
  advance(
    db: Queryable,
    done: { lane: number; position: number; processed: number; failures: string[] },
  ): Promise<void> {
    return this.#update(
      db,
      `positions[$5] = $6, processed = processed + $7, failures = failures + $8,
        first_failures = case when jsonb_array_length(first_failures) >= 100 then first_failures else
          jsonb_path_query_array(first_failures || $9::jsonb, '$[0 to 99]') end`,
      [done.lane + 1, done.position, done.processed, done.failures.length, JSON.stringify(done.failures)],
    );
  }

  /** The current file is finished, or (`error`) given up. */
  finishFile(db: Queryable, lanes: number, error: string | undefined): Promise<void> {
    return this.#update(
      db,
      `file_index = file_index + 1, positions = array_fill(0::bigint, array[$5::int]),
        completed_pieces = completed_pieces + $6, failed_pieces = failed_pieces + $7, error = coalesce(error, $8)`,
      [lanes, error === undefined ? 1 : 0, error === undefined ? 0 : 1, error ?? null],
    );
  }

  warn(db: Queryable, warnings: string[]): Promise<void> {
    return this.#update(db, "warnings = jsonb_path_query_array(warnings || $5::jsonb, '$[0 to 99]')", [
      JSON.stringify(warnings),
    ]);
  }

  end(
    db: Queryable,
    end: { status: 'COMPLETED' | 'FAILED'; error: string | null; errorFile: string | null },
  ): Promise<void> {
    return this.#update(
      db,
      `status = $5, error = coalesce($6, error), error_file = $7, completed_at = clock_timestamp()`,
      [end.status, end.error, end.errorFile],
    );
  }

  /** Lets another worker go on at once. Not an error when the lease is lost already. */
  async release(db: Queryable): Promise<void> {
    await db.query(
      `update import_jobs set lease_token = null, leased_until = null
        where application_id = $1 and id = $2 and lease_token = $3`,
      [this.#applicationId, this.#id, this.#token],
    );
  }
}

export interface FailedRecord {
  record: number;
  line: number;
  reason: string;
  content: string;
}

export async function insertFailures(
  tx: Transaction,
  applicationId: string,
  jobId: string,
  fileIndex: number,
  failures: FailedRecord[],
): Promise<void> {
  if (failures.length === 0) return;
  await tx.query(
    `insert into import_failures (application_id, job_id, file_index, record, line, reason, content)
      select $1, $2, $3, f.* from unnest($4::int8[], $5::int8[], $6::text[], $7::text[]) as f`,
    [
      applicationId,
      jobId,
      fileIndex,
      failures.map((failure) => failure.record),
      failures.map((failure) => failure.line),
      failures.map((failure) => failure.reason),
      failures.map((failure) => failure.content),
    ],
  );
}

export async function insertSegmentEndpoints(
  tx: Transaction,
  applicationId: string,
  segmentId: string,
  endpointIds: string[],
): Promise<void> {
  await tx.query({
    name: 'segment-endpoints-insert',
    text: `insert into segment_endpoints (application_id, segment_id, endpoint_id)
      select $1, $2, id from unnest($3::text[]) as id on conflict do nothing`,
    values: [applicationId, segmentId, endpointIds],
  });
}

export async function insertSegmentUsers(
  tx: Transaction,
  applicationId: string,
  segmentId: string,
  userIds: string[],
): Promise<void> {
  await tx.query(
    `insert into segment_users (application_id, segment_id, user_id)
      select $1, $2, id from unnest($3::text[]) as id on conflict do nothing`,
    [applicationId, segmentId, userIds],
  );
}

/** Members of an imported segment: `ChannelCounts` and `Size` of its definition. */
export async function countMembers(
  db: Queryable,
  applicationId: string,
  segmentId: string,
): Promise<{ size: number; channels: Record<string, number> }> {
  const { rows } = await db.query<{ channel: string | null; count: number }>(
    `select e.channel, count(*) as count from segment_endpoints s
      join endpoints e on e.application_id = s.application_id and e.id = s.endpoint_id
      where s.application_id = $1 and s.segment_id = $2 group by 1`,
    [applicationId, segmentId],
  );
  const users = await db.query<{ count: number }>(
    'select count(*) as count from segment_users where application_id = $1 and segment_id = $2',
    [applicationId, segmentId],
  );
  const channels: Record<string, number> = {};
  let size = users.rows[0]!.count;
  for (const { channel, count } of rows) {
    size += count;
    if (channel !== null) channels[channel] = count;
  }
  return { size, channels };
}

/** A page of the failed records of a job, in the order of the files. */
export async function selectFailures(
  db: Queryable,
  applicationId: string,
  jobId: string,
  after: { fileIndex: number; record: number },
  limit: number,
): Promise<(FailedRecord & { fileIndex: number })[]> {
  const { rows } = await db.query<FailedRecord & { fileIndex: number }>(
    `select file_index as "fileIndex", record, line, reason, content from import_failures
      where application_id = $1 and job_id = $2 and (file_index, record) > ($3, $4)
      order by file_index, record limit $5`,
    [applicationId, jobId, after.fileIndex, after.record, limit],
  );
  return rows;
}

export async function deleteFailures(db: Queryable, applicationId: string, jobId: string): Promise<void> {
  await db.query('delete from import_failures where application_id = $1 and job_id = $2', [
    applicationId,
    jobId,
  ]);
}
