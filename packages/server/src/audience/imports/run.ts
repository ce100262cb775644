import { randomUUID } from 'node:crypto';
import type { Clock } from '../../platform/clock.ts';
import type { Database } from '../../platform/database.ts';
import type { Log } from '../../platform/log.ts';
import { ObjectError, type ObjectStore, parseS3Url } from '../../platform/objects.ts';
import { type JobOutcome, whileLeased, workOff } from '../lease.ts';
import { Chunks } from './chunks.ts';
import { findFiles, openFile, UnreadableFileError } from './files.ts';
import { analyseAfter, finishImport } from './finish.ts';
import { type ImportFile, ImportRow, type ImportState, takeImport } from './import.sql.ts';
import { countRunningJobs, maxRunningJobs, waitingJobs } from './job.ts';
import { type FileRecord, readRecords } from './records.ts';
import { csvRowReader, jsonRowReader, type RowReader } from './row.ts';

export interface ImportDependencies {
  database: Database;
  objects: ObjectStore;
  log: Log;
  clock: Clock;
  /** Default 15 (POSTRIDER_ENDPOINTS_PER_USER). */
  endpointsPerUser?: number;
  /** After this time without a sign of life another worker takes over. Default 30 s. */
  leaseMs?: number;
  /** Rows of one transaction. Default 1000. */
  chunkRows?: number;
}

/**
 * Runs an import job from where it is: each chunk is written together with its position and counters, so a run that
 * was killed goes on without losing or repeating a record. What is wrong with the files or rows becomes part of the
 * job; only trouble with the database (or this program) is thrown, and the job stays as it is for the next try.
 * @returns `busy`: another worker has the job, or it is finished (or deleted). `paused`: the signal came; the position
 * is kept and the job is free for the next worker.
 */
export async function runImportJob(
  dependencies: ImportDependencies,
  applicationId: string,
  jobId: string,
  signal: AbortSignal,
): Promise<JobOutcome> {
  const { database, log } = dependencies;
  const leaseMs = dependencies.leaseMs ?? 30_000;
  const token = randomUUID();
  const state = await takeImport(database, applicationId, jobId, token, leaseMs);
  if (!state) return 'busy';
  const row = new ImportRow(applicationId, jobId, token, leaseMs);
  const lease = { renew: () => row.renew(database), release: () => row.release(database) };
  return await whileLeased(lease, { leaseMs, log, job: { kind: 'import', id: jobId } }, () =>
    new ImportRun(dependencies, applicationId, jobId, row, state, signal).run(),
  );
}

/** Rows with the same id always go the same way, so they apply in their order; the ways run at the same time. */
const laneCount = 2;

class ImportRun {
  readonly #dependencies: ImportDependencies;
  readonly #applicationId: string;
  readonly #jobId: string;
  readonly #row: ImportRow;
  readonly #state: ImportState;
  readonly #signal: AbortSignal;

  constructor(
    dependencies: ImportDependencies,
    applicationId: string,
    jobId: string,
    row: ImportRow,
    state: ImportState,
    signal: AbortSignal,
  ) {
    this.#dependencies = dependencies;
    this.#applicationId = applicationId;
    this.#jobId = jobId;
    this.#row = row;
    this.#state = { ...state, positions: state.positions.map(Number) };
    this.#signal = signal;
  }

  async run(): Promise<JobOutcome> {
    const { database } = this.#dependencies;
    let error: string | null = null;
    try {
      const files = this.#state.files ?? (await this.#begin());
      while (this.#state.fileIndex < files.length) {
        if (this.#signal.aborted) return 'paused';
        const failure = await this.#file(files[this.#state.fileIndex]!);
        if (failure === 'paused') return 'paused';
        await this.#row.finishFile(database, laneCount, failure);
        this.#state.fileIndex += 1;
        this.#state.positions = Array(laneCount).fill(0);
        if (failure === undefined) this.#state.completedPieces += 1;
        else this.#state.failedPieces += 1;
      }
    } catch (problem) {
      if (!(problem instanceof ObjectError)) throw problem;
      error = problem.message;
    }
    const failed = error !== null || this.#state.failedPieces > 0;
    await analyseAfter(this.#dependencies, this.#state.processed);
    return finishImport(this.#dependencies, this.#applicationId, this.#jobId, this.#row, this.#state, {
      failed,
      error,
    });
  }

  /** Looks for the files, once: a resumed run goes on with the same list. */
  async #begin(): Promise<ImportFile[]> {
    const { database, objects } = this.#dependencies;
    const { definition } = this.#state;
    await this.#row.setStatus(database, 'INITIALIZING');
    const { files, warnings } = await findFiles(objects, definition.S3Url, definition.Format);
    await this.#row.begin(database, files, laneCount, warnings);
    this.#state.files = files;
    this.#state.positions = Array(laneCount).fill(0);
    return files;
  }

  /** Imports one file. Returns why it could not be read to its end, if so. */
  async #file(file: ImportFile): Promise<string | undefined | 'paused'> {
    const { objects } = this.#dependencies;
    const { definition } = this.#state;
    const { bucket } = parseS3Url(definition.S3Url)!;
    const url = `s3://${bucket}/${file.key}`;
    const chunks = new Chunks(
      this.#dependencies,
      this.#applicationId,
      this.#jobId,
      this.#row,
      this.#state,
      file.key,
    );
    let failure: string | undefined;
    try {
      const content = await openFile(objects, bucket, file);
      failure = await this.#records(readRecords(content, definition.Format), chunks);
    } catch (error) {
      if (!(error instanceof ObjectError || error instanceof UnreadableFileError)) throw error;
      failure = error.message;
    } finally {
      await chunks.settle();
    }
    if (this.#signal.aborted && failure === undefined && !chunks.isComplete) return 'paused';
    await chunks.flushAll();
    return failure === undefined ? undefined : `${url}: ${failure}`;
  }

  async #records(batches: AsyncGenerator<FileRecord[]>, chunks: Chunks): Promise<string | undefined> {
    let reader: RowReader | undefined = this.#state.definition.Format === 'JSON' ? jsonRowReader : undefined;
    try {
      for (;;) {
        let next: IteratorResult<FileRecord[], unknown>;
        try {
          next = await batches.next();
        } catch (error) {
          // The file ends before its time; what came before stays imported.
          return (error as Error).message;
        }
        if (next.done) {
          chunks.isComplete = true;
          return undefined;
        }
        for (const record of next.value) {
          if (!reader) {
            const header = csvRowReader(record);
            reader = header.reader;
            await this.#warnOfColumns(header.unknown);
          } else if (!chunks.isDone(record)) {
            await chunks.add(record, reader);
          }
        }
        if (this.#signal.aborted) return undefined;
      }
    } finally {
      await batches.return(undefined);
    }
  }

  /** Once for each file and run; a resumed run does not say it again. */
  async #warnOfColumns(unknown: string[]): Promise<void> {
    if (unknown.length === 0) return;
    const warning = `columns that are not known were left out: ${unknown.slice(0, 20).join(', ')}`;
    if (this.#state.warnings.includes(warning)) return;
    this.#state.warnings.push(warning);
    await this.#row.warn(this.#dependencies.database, [warning]);
  }
}

/** Works off the waiting jobs one after the other; one that another worker takes first is left to it. */
export async function runWaitingImports(
  dependencies: ImportDependencies,
  signal: AbortSignal,
): Promise<void> {
  const { database } = dependencies;
  await workOff({
    waiting: () => waitingJobs(database, 'import_jobs'),
    mayBegin: async () =>
      !signal.aborted && (await countRunningJobs(database, 'import_jobs')) < maxRunningJobs,
    run: (applicationId, id) => runImportJob(dependencies, applicationId, id, signal),
  });
}
