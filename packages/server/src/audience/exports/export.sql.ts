import sql, { type Sql } from 'sql-template-tag';
import type { Queryable } from '../../platform/database.ts';
import type { JobStatus } from '../imports/job.ts';
import { LeaseLostError } from '../lease.ts';
import type { ExportDefinition } from './job.ts';

/** What a run starts from. */
export interface ExportState {
  id: string;
  definition: ExportDefinition;
  status: JobStatus;
  segmentId: string | null;
  segmentVersion: number | null;
  bounds: string[] | null;
  completedPieces: number;
  createdAt: number;
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
    `update export_jobs set lease_token = $3, leased_until = clock_timestamp() + $4 * interval '1 millisecond',
        status = case status when 'CREATED' then 'PREPARING_FOR_INITIALIZATION' else status end
      where application_id = $1 and id = $2 and completed_at is null
        and (leased_until is null or leased_until < clock_timestamp())
      returning id, definition, status, segment_id as "segmentId", segment_version as "segmentVersion", bounds,
        completed_pieces as "completedPieces",
        floor(extract(epoch from created_at) * 1000)::int8 as "createdAt"`,
    [applicationId, id, token, leaseMs],
  );
  return rows[0];
}

/** Writes to a job as long as the lease is held; each write renews it. */
export class ExportRow {
  readonly #db: Queryable;
  readonly #applicationId: string;
  readonly #id: string;
  readonly #token: string;
  readonly #leaseMs: number;

  constructor(db: Queryable, applicationId: string, id: string, token: string, leaseMs: number) {
    this.#db = db;
    this.#applicationId = applicationId;
    this.#id = id;
    this.#token = token;
    this.#leaseMs = leaseMs;
  }

  /** @throws LeaseLostError */
  async #update(assignments: string, values: unknown[]): Promise<void> {
    const { rowCount } = await this.#db.query(
      `update export_jobs set leased_until = clock_timestamp() + $4 * interval '1 millisecond', ${assignments}
        where application_id = $1 and id = $2 and lease_token = $3`,
      [this.#applicationId, this.#id, this.#token, this.#leaseMs, ...values],
    );
    if (rowCount !== 1) throw new LeaseLostError();
  }

  renew(): Promise<void> {
    return this.#update('lease_token = $3', []);
  }

  setStatus(status: JobStatus): Promise<void> {
    return this.#update('status = $5', [status]);
  }

  begin(total: number, bounds: string[]): Promise<void> {
    return this.#update("status = 'PROCESSING', total = $5, bounds = $6, total_pieces = $7", [
      total,
      bounds,
      bounds.length + 1,
    ]);
  }

  /** The current piece is written. */
  finishPiece(endpoints: number): Promise<void> {
    return this.#update(
      `completed_pieces = completed_pieces + 1, processed = processed + $5,
        status = case when completed_pieces + 1 = total_pieces then 'COMPLETING' else status end`,
      [endpoints],
    );
  }

  /** The job cannot go on; `end` follows. */
  fail(error: string): Promise<void> {
    return this.#update(
      `status = 'FAILING', error = $5,
        failed_pieces = case when bounds is null then 0 else total_pieces - completed_pieces end`,
      [error],
    );
  }

  end(status: 'COMPLETED' | 'FAILED'): Promise<void> {
    return this.#update('status = $5, completed_at = clock_timestamp()', [status]);
  }

  /** Lets another worker go on at once. Not an error when the lease is lost already. */
  async release(): Promise<void> {
    await this.#db.query(
      `update export_jobs set lease_token = null, leased_until = null
        where application_id = $1 and id = $2 and lease_token = $3`,
      [this.#applicationId, this.#id, this.#token],
    );
  }
}

/** Number of endpoints, and the id of every `pieceEndpoints`-th. One pass in the order of the ids. */
export function selectBounds(from: Sql, where: Sql, pieceEndpoints: number): Sql {
  return sql`select count(*) as total, array_agg(id order by id) filter (where n % ${pieceEndpoints}::int = 0) as bounds
    from (select e.id, row_number() over (order by e.id) as n from ${from} where ${where}) as numbered`;
}

/** One row with the ids in a range as a JSON list: read at once in a fraction of the time of as many rows. */
export function selectIds(from: Sql, where: Sql, range: { after: string; upTo: string | null }): Sql {
  const above = range.upTo === null ? sql`` : sql`and e.id <= ${range.upTo}`;
  return sql`select coalesce(json_agg(e.id order by e.id), '[]') as ids
    from ${from} where ${where} and e.id > ${range.after} ${above}`;
}
