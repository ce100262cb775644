import { randomUUID } from 'node:crypto';
import { pipeline, Readable } from 'node:stream';
import { createGzip } from 'node:zlib';
import sql, { type Sql } from 'sql-template-tag';
import type { Database } from '../../platform/database.ts';
import { CallerError } from '../../platform/errors.ts';
import type { Log } from '../../platform/log.ts';
import { ObjectError, type ObjectStore, parseS3Url } from '../../platform/objects.ts';
import { selectSegmentRecipients } from '../endpoints/endpoint.sql.ts';
import { toEndpointResponse } from '../endpoints/row.ts';
import { LeaseLostError } from '../imports/import.sql.ts';
import { waitingJobs } from '../imports/job.ts';
import { compileSegment } from '../segments/compile.ts';
import { ExportRow, type ExportState, takeExport } from './export.sql.ts';

export interface ExportDependencies {
  database: Database;
  objects: ObjectStore;
  log: Log;
  /** After this time without a sign of life another worker takes over. Default 30 s. */
  leaseMs?: number;
  /** Endpoints of one file. Default 500,000. */
  pieceEndpoints?: number;
}

/** As of imports: `busy` when another worker has the job or it is finished, `paused` when the signal came. */
export type ExportOutcome = 'completed' | 'failed' | 'paused' | 'busy';

const pageEndpoints = 5000;

/** The signal came in the middle of a piece, which is thrown away. */
class PausedError extends Error {}

/**
 * Runs an export job from where it is. Each piece appears as a whole, or not; a run that was killed begins its piece
 * anew, under the same name.
 */
export async function runExportJob(
  dependencies: ExportDependencies,
  applicationId: string,
  jobId: string,
  signal: AbortSignal,
): Promise<ExportOutcome> {
  const { database, log } = dependencies;
  const leaseMs = dependencies.leaseMs ?? 30_000;
  const token = randomUUID();
  const state = await takeExport(database, applicationId, jobId, token, leaseMs);
  if (!state) return 'busy';
  const row = new ExportRow(applicationId, jobId, token, leaseMs);
  const renewal = setInterval(() => {
    row.renew(database).catch((error: unknown) => log.warn({ err: error, jobId }, 'cannot renew an export'));
  }, leaseMs / 3);
  try {
    await writePieces(dependencies, applicationId, jobId, row, state, signal);
    return 'completed';
  } catch (error) {
    if (error instanceof LeaseLostError) return 'busy';
    if (error instanceof PausedError) return 'paused';
    // The segment is gone or cannot be evaluated; the bucket cannot be written to.
    if (!(error instanceof CallerError || error instanceof ObjectError)) throw error;
    await row.fail(database, error.message);
    return 'failed';
  } finally {
    clearInterval(renewal);
    await row
      .release(database)
      .catch((error: unknown) => log.warn({ err: error, jobId }, 'cannot release an export'));
  }
}

async function writePieces(
  dependencies: ExportDependencies,
  applicationId: string,
  jobId: string,
  row: ExportRow,
  state: ExportState,
  signal: AbortSignal,
): Promise<void> {
  const { database, objects } = dependencies;
  const pieceEndpoints = dependencies.pieceEndpoints ?? 500_000;
  const source = await sourceOf(database, applicationId, state);
  if (state.totalPieces === 0) {
    const { rows } = await database.query<{ count: number }>(
      sql`select count(*) as count from ${source.from} where ${source.where}`,
    );
    state.totalPieces = Math.max(1, Math.ceil(rows[0]!.count / pieceEndpoints));
    await row.begin(database, state.totalPieces);
  }
  const { bucket, key: prefix } = parseS3Url(state.definition.S3UrlPrefix)!;
  const folder = prefix === '' || prefix.endsWith('/') ? prefix : `${prefix}/`;
  let after = state.lastEndpointId;
  for (let piece = state.completedPieces + 1; ; piece++) {
    const written = { endpoints: 0, last: after };
    const content = Readable.from(
      lines(database, applicationId, source, after, pieceEndpoints, written, signal),
    );
    // A failure of the source ends the compressed stream with it, and so the writing of the object.
    const compressed = pipeline(content, createGzip(), () => undefined);
    const number = String(piece).padStart(5, '0');
    await objects.put(bucket, `${folder}${jobId}-${number}.gz`, compressed);
    await row.finishPiece(database, written);
    after = written.last;
    if (written.endpoints < pieceEndpoints) break;
  }
  await row.setStatus(database, 'COMPLETING');
  await row.complete(database);
}

async function sourceOf(
  database: Database,
  applicationId: string,
  { definition }: ExportState,
): Promise<{ from: Sql; where: Sql }> {
  if (!definition.SegmentId) {
    return {
      from: sql`endpoints e`,
      where: sql`e.application_id = ${applicationId} and e.segment_id is null`,
    };
  }
  return compileSegment(database, applicationId, {
    segmentId: definition.SegmentId,
    version: definition.SegmentVersion,
  });
}

/** The endpoints of a piece, a line of JSON each, in the shape of the API. Tells in `written` how far it came. */
async function* lines(
  database: Database,
  applicationId: string,
  source: { from: Sql; where: Sql },
  after: string,
  limit: number,
  written: { endpoints: number; last: string },
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  written.last = after;
  while (written.endpoints < limit) {
    if (signal.aborted) throw new PausedError();
    const wanted = Math.min(pageEndpoints, limit - written.endpoints);
    const page = await selectSegmentRecipients(database, source, written.last, wanted);
    if (page.length > 0) {
      const text = page.map((recipient) => JSON.stringify(toEndpointResponse(applicationId, recipient)));
      written.endpoints += page.length;
      written.last = page.at(-1)!.id;
      yield Buffer.from(`${text.join('\n')}\n`);
    }
    if (page.length < wanted) return;
  }
}

/** Works off the waiting jobs one after the other; one that another worker takes first is left to it. */
export async function runWaitingExports(
  dependencies: ExportDependencies,
  signal: AbortSignal,
): Promise<void> {
  for (let ran = 1; ran > 0; ) {
    ran = 0;
    for (const { applicationId, id } of await waitingJobs(dependencies.database, 'export_jobs')) {
      if (signal.aborted) return;
      const outcome = await runExportJob(dependencies, applicationId, id, signal);
      if (outcome === 'completed' || outcome === 'failed') ran += 1;
    }
  }
}
