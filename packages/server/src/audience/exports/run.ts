import { randomUUID } from 'node:crypto';
import { addAbortSignal } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import type { Database } from '../../platform/database.ts';
import { CallerError } from '../../platform/errors.ts';
import type { Log } from '../../platform/log.ts';
import { ObjectError, type ObjectStore } from '../../platform/objects.ts';
import { toEndpointResponse } from '../endpoints/row.ts';
import { countRunningJobs, maxRunningJobs, waitingJobs } from '../imports/job.ts';
import { type JobOutcome, LeaseLostError, whileLeased, workOff } from '../lease.ts';
import { ExportRow, type ExportState, takeExport } from './export.sql.ts';
import { exportFolder, pieceName } from './job.ts';
import { exportSource, type PieceRange, planPieces, readPiece } from './pieces.ts';

export interface ExportDependencies {
  database: Database;
  objects: ObjectStore;
  log: Log;
  /** After this time without a sign of life another worker takes over. Default 30 s. */
  leaseMs?: number;
  /** Endpoints of one object; what a crash makes to be done again. Default 100,000. */
  pieceEndpoints?: number;
  /** Endpoints that are read at once; two pages are held. Default 1000. */
  pageEndpoints?: number;
}

/**
 * Runs an export job from where it is. Each piece appears whole or not at all and is counted when it is there, so a
 * run that was killed goes on with the piece that it was at. What is wrong with the object store or the segment fails
 * the job; only trouble with the database (or this program) is thrown, and the job stays as it is for the next try.
 * @returns `busy`: another worker has the job, or it is finished (or deleted). `paused`: the signal came; the position
 * is kept and the job is free for the next worker.
 */
export async function runExportJob(
  dependencies: ExportDependencies,
  applicationId: string,
  jobId: string,
  signal: AbortSignal,
): Promise<JobOutcome> {
  const { database, log } = dependencies;
  const leaseMs = dependencies.leaseMs ?? 30_000;
  const token = randomUUID();
  const state = await takeExport(database, applicationId, jobId, token, leaseMs);
  if (!state) return 'busy';
  const row = new ExportRow(database, applicationId, jobId, token, leaseMs);
  return await whileLeased(row, { leaseMs, log, job: { kind: 'export', id: jobId } }, (lost) =>
    new ExportRun(dependencies, applicationId, row, state, signal, lost).run(),
  );
}

/** The pieces cannot be written where they should be; the message is the job's. */
class ExportTargetError extends Error {}

/** Takes half of the time of the usual level, for files that are a tenth bigger. */
const gzipLevel = 3;

class ExportRun {
  readonly #dependencies: ExportDependencies;
  readonly #applicationId: string;
  readonly #row: ExportRow;
  readonly #state: ExportState;
  readonly #signal: AbortSignal;
  readonly #lost: AbortSignal;

  constructor(
    dependencies: ExportDependencies,
    applicationId: string,
    row: ExportRow,
    state: ExportState,
    signal: AbortSignal,
    lost: AbortSignal,
  ) {
    this.#dependencies = dependencies;
    this.#applicationId = applicationId;
    this.#row = row;
    this.#state = state;
    this.#signal = signal;
    this.#lost = lost;
  }

  async run(): Promise<JobOutcome> {
    try {
      // An earlier run wrote the reason and ended before the end.
      if (this.#state.status === 'FAILING') return await this.#end('FAILED');
      const bounds = this.#state.bounds ?? (await this.#begin());
      for (let piece = this.#state.completedPieces; piece <= bounds.length; piece++) {
        if (this.#signal.aborted) return 'paused';
        const range = { after: bounds[piece - 1] ?? '', upTo: bounds[piece] ?? null };
        const endpoints = await this.#piece(piece + 1, range);
        if (endpoints === 'paused') return 'paused';
        await this.#row.finishPiece(endpoints);
      }
    } catch (error) {
      // CallerError: the segment, or one that it is built upon, is gone.
      if (!(error instanceof ExportTargetError || error instanceof CallerError)) throw error;
      await this.#row.fail(error.message);
      return await this.#end('FAILED');
    }
    return this.#end('COMPLETED');
  }

  async #end(status: 'COMPLETED' | 'FAILED'): Promise<JobOutcome> {
    await this.#row.end(status);
    return status === 'COMPLETED' ? 'completed' : 'failed';
  }

  /** Decides the ranges of the pieces, once: a resumed run goes on with the same ones. */
  async #begin(): Promise<string[]> {
    const { database, pieceEndpoints = 100_000 } = this.#dependencies;
    await this.#row.setStatus('INITIALIZING');
    const source = await exportSource(database, this.#applicationId, this.#state);
    const { total, bounds } = await planPieces(database, source, pieceEndpoints);
    await this.#row.begin(total, bounds);
    return bounds;
  }

  /** Writes one object. Returns how many endpoints are in it. */
  async #piece(number: number, range: PieceRange): Promise<number | 'paused'> {
    const { database, objects } = this.#dependencies;
    const { bucket, prefix } = exportFolder(this.#applicationId, this.#state);
    const key = prefix + pieceName(number);
    const source = await exportSource(database, this.#applicationId, this.#state);
    const lines = new PieceLines(this.#dependencies, this.#applicationId);
    // An abort ends it wherever it is: also while a slow store takes what was read long ago.
    const gzip = addAbortSignal(
      AbortSignal.any([this.#signal, this.#lost]),
      createGzip({ level: gzipLevel }),
    );
    // Both below hear of its end, but maybe not yet.
    gzip.on('error', () => undefined);
    const writing = objects.put(bucket, key, gzip).catch((error: Error) => {
      // A store that refuses without reading would leave the other end waiting.
      gzip.destroy(error);
      throw error;
    });
    const [written] = await Promise.allSettled([writing, pipeline(lines.read(source, range), gzip)]);
    if (written.status === 'fulfilled') return lines.endpoints;
    // The store's error follows from these, when there are any.
    if (this.#lost.aborted) throw new LeaseLostError();
    if (this.#signal.aborted) return 'paused';
    if (lines.failure !== undefined) throw lines.failure;
    const { message } = written.reason as Error;
    if (!(written.reason instanceof ObjectError || 'syscall' in written.reason)) throw written.reason;
    throw new ExportTargetError(
      `s3://${bucket}/${key} cannot be written in ${objects.describe(bucket)}: ${message}`,
    );
  }
}

/** The content of one piece. */
class PieceLines {
  readonly #dependencies: ExportDependencies;
  readonly #applicationId: string;
  endpoints = 0;
  /** What reading failed with, which tells it from what writing failed with. */
  failure: unknown;

  constructor(dependencies: ExportDependencies, applicationId: string) {
    this.#dependencies = dependencies;
    this.#applicationId = applicationId;
  }

  async *read(source: Awaited<ReturnType<typeof exportSource>>, range: PieceRange): AsyncGenerator<Buffer> {
    const { database, pageEndpoints = 1000 } = this.#dependencies;
    try {
      for await (const page of readPiece(database, this.#applicationId, source, range, pageEndpoints)) {
        let text = '';
        for (const endpoint of page) {
          text += `${JSON.stringify(toEndpointResponse(this.#applicationId, endpoint))}\n`;
        }
        this.endpoints += page.length;
        yield Buffer.from(text);
      }
    } catch (error) {
      this.failure = error;
      throw error;
    }
  }
}

/** Works off the waiting jobs one after the other; one that another worker takes first is left to it. */
export async function runWaitingExports(
  dependencies: ExportDependencies,
  signal: AbortSignal,
): Promise<void> {
  const { database } = dependencies;
  await workOff({
    waiting: () => waitingJobs(database, 'export_jobs'),
    mayBegin: async () =>
      !signal.aborted && (await countRunningJobs(database, 'export_jobs')) < maxRunningJobs,
    run: (applicationId, id) => runExportJob(dependencies, applicationId, id, signal),
  });
}
