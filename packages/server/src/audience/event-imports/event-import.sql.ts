import type { Queryable } from '../../platform/database.ts';
import type { ImportFile } from '../imports/import.sql.ts';
import { LeaseLostError } from '../lease.ts';

/** What a run starts from. */
export interface EventImportState {
  url: string;
  files: ImportFile[] | null;
  fileIndex: number;
  position: number;
  failedFiles: number;
}

/** Takes the import for `leaseMs`, when nobody has it and it is not finished. */
export async function takeEventImport(
  db: Queryable,
  applicationId: string,
  id: string,
  token: string,
  leaseMs: number,
): Promise<EventImportState | undefined> {
  const { rows } = await db.query<EventImportState>(
    `update event_imports set lease_token = $3, leased_until = clock_timestamp() + $4 * interval '1 millisecond'
      where application_id = $1 and id = $2 and completed_at is null
        and (leased_until is null or leased_until < clock_timestamp())
      returning url, files, file_index as "fileIndex", position, failed_files as "failedFiles"`,
    [applicationId, id, token, leaseMs],
  );
  return rows[0];
}

export interface ChunkCounts {
  position: number;
  processed: number;
  imported: number;
  duplicates: number;
  /** One line for each failed record. */
  failures: readonly string[];
}

/** Writes to an import; the lease is renewed with it. */
export class EventImportRow {
  readonly #key: [applicationId: string, id: string, token: string, leaseMs: number];

  constructor(applicationId: string, id: string, token: string, leaseMs: number) {
    this.#key = [applicationId, id, token, leaseMs];
  }

  /** @throws LeaseLostError */
  async #update(db: Queryable, assignments: string, values: unknown[]): Promise<void> {
    const { rowCount } = await db.query(
      `update event_imports set leased_until = clock_timestamp() + $4 * interval '1 millisecond', ${assignments}
        where application_id = $1 and id = $2 and lease_token = $3`,
      [...this.#key, ...values],
    );
    if (rowCount !== 1) throw new LeaseLostError();
  }

  renew(db: Queryable): Promise<void> {
    return this.#update(db, 'lease_token = $3', []);
  }

  begin(db: Queryable, files: readonly ImportFile[], warnings: readonly string[]): Promise<void> {
    return this.#update(db, "status = 'PROCESSING', files = $5, warnings = $6", [
      JSON.stringify(files),
      JSON.stringify(warnings),
    ]);
  }

  /** A chunk of the current file is done. Belongs into the chunk's transaction. */
  advance(db: Queryable, counts: ChunkCounts): Promise<void> {
    return this.#update(
      db,
      `position = $5, processed = processed + $6, imported = imported + $7, duplicates = duplicates + $8,
        failures = failures + $9,
        first_failures = case when jsonb_array_length(first_failures) >= 100 then first_failures else
          jsonb_path_query_array(first_failures || $10::jsonb, '$[0 to 99]') end`,
      [
        counts.position,
        counts.processed,
        counts.imported,
        counts.duplicates,
        counts.failures.length,
        JSON.stringify(counts.failures.slice(0, 100)),
      ],
    );
  }

  /** The current file is finished, or (`error`) given up. */
  finishFile(db: Queryable, error: string | undefined): Promise<void> {
    return this.#update(
      db,
      `file_index = file_index + 1, position = 0, completed_files = completed_files + $5,
        failed_files = failed_files + $6, error = coalesce(error, $7)`,
      [error === undefined ? 1 : 0, error === undefined ? 0 : 1, error ?? null],
    );
  }

  end(db: Queryable, status: 'COMPLETED' | 'FAILED', error: string | null): Promise<void> {
    return this.#update(db, 'status = $5, error = coalesce($6, error), completed_at = clock_timestamp()', [
      status,
      error,
    ]);
  }

  /** Lets another worker go on at once. Not an error when the lease is lost already. */
  async release(db: Queryable): Promise<void> {
    await db.query(
      `update event_imports set lease_token = null, leased_until = null
        where application_id = $1 and id = $2 and lease_token = $3`,
      this.#key.slice(0, 3),
    );
  }
}

/** Enters the keys of records, sorted by the caller, and answers which are new to the application's imports. */
export async function enterImportedKeys(
  db: Queryable,
  applicationId: string,
  importId: string,
  keys: readonly string[],
): Promise<'all' | Set<string>> {
  const { rows } = await db.query<{ key: string }>({
    name: 'event-imports-enter-keys',
    text: `insert into imported_events (application_id, key, import_id)
      select $1, key, $2 from unnest($3::uuid[]) as given (key) on conflict do nothing returning key::text as key`,
    values: [applicationId, importId, keys],
  });
  return rows.length === keys.length ? 'all' : new Set(rows.map(({ key }) => key));
}
