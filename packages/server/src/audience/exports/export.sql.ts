import type { Queryable } from '../../platform/database.ts';
import { LeaseLostError } from '../imports/import.sql.ts';
import type { JobStatus } from '../imports/job.ts';
import type { ExportDefinition } from './job.ts';

/** What a run starts from. */
export interface ExportState {
  definition: ExportDefinition;
  status: JobStatus;
  segmentId: string | null;
  lastEndpointId: string;
  totalPieces: number;
  completedPieces: number;
}

/** Takes the job for `leaseMs`, when nobody has it and it is not finished. */
export async function takeExport(
  db: Queryable,
  applicationId: string,
  id: string,
  token: string,
  leaseMs: number,
): Promise<ExportState | undefined> {
  const { rows } = await db.query<ExportState>(
    `update export_jobs set lease_token = $3, leased_until = clock_timestamp() + $4 * interval '1 millisecond'
      where application_id = $1 and id = $2 and completed_at is null
        and (leased_until is null or leased_until < clock_timestamp())
      returning definition, status, segment_id as "segmentId", last_endpoint_id as "lastEndpointId",
        total_pieces as "totalPieces", completed_pieces as "completedPieces"`,
    [applicationId, id, token, leaseMs],
  );
  return rows[0];
}

/** Writes to a job; the lease is renewed with it. */
export class ExportRow {
  readonly #key: [string, string, string, number];

  constructor(applicationId: string, id: string, token: string, leaseMs: number) {
    this.#key = [applicationId, id, token, leaseMs];
  }

  /** @throws LeaseLostError */
  async #update(db: Queryable, assignments: string, values: unknown[]): Promise<void> {
    const { rowCount } = await db.query(
      `update export_jobs set leased_until = clock_timestamp() + $4 * interval '1 millisecond', ${assignments}
        where application_id = $1 and id = $2 and lease_token = $3`,
      [...this.#key, ...values],
    );
    if (rowCount !== 1) throw new LeaseLostError();
  }

  renew(db: Queryable): Promise<void> {
    return this.#update(db, 'lease_token = $3', []);
  }

  setStatus(db: Queryable, status: JobStatus): Promise<void> {
    return this.#update(db, 'status = $5', [status]);
  }

  begin(db: Queryable, totalPieces: number): Promise<void> {
    return this.#update(db, "status = 'PROCESSING', total_pieces = $5", [totalPieces]);
  }

  /** A piece lies in the object store. */
  finishPiece(db: Queryable, piece: { endpoints: number; last: string }): Promise<void> {
    return this.#update(
      db,
      `completed_pieces = completed_pieces + 1, total_pieces = greatest(total_pieces, completed_pieces + 1),
        processed = processed + $5, last_endpoint_id = $6`,
      [piece.endpoints, piece.last],
    );
  }

  complete(db: Queryable): Promise<void> {
    return this.#update(
      db,
      "status = 'COMPLETED', total_pieces = completed_pieces, completed_at = clock_timestamp()",
      [],
    );
  }

  fail(db: Queryable, error: string): Promise<void> {
    return this.#update(
      db,
      "status = 'FAILED', failed_pieces = failed_pieces + 1, error = $5, completed_at = clock_timestamp()",
      [error],
    );
  }

  /** Lets another worker go on at once. Not an error when the lease is lost already. */
  async release(db: Queryable): Promise<void> {
    await db.query(
      `update export_jobs set lease_token = null, leased_until = null
        where application_id = $1 and id = $2 and lease_token = $3`,
      this.#key.slice(0, 3),
    );
  }
}
