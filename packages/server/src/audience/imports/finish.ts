import type { Transaction } from '../../platform/database.ts';
import { CallerError } from '../../platform/errors.ts';
import type { JobOutcome } from '../lease.ts';
import { insertSegment, markDeleted } from '../segments/segment.sql.ts';
import { saveImportedSegment } from '../segments/segment.ts';
import {
  countMembers,
  deleteFailures,
  type ImportRow,
  type ImportState,
  selectFailures,
} from './import.sql.ts';
import type { ImportDependencies } from './run.ts';

/** Where the files with the failed records lie. */
export const errorBucket = 'postrider-imports';

/**
 * Ends a job, in one transaction: the segment (or, for a job that failed, the removal of the members it had written),
 * status, and address of the error file.
 */
export async function finishImport(
  dependencies: ImportDependencies,
  applicationId: string,
  jobId: string,
  row: ImportRow,
  state: ImportState,
  end: { failed: boolean; error: string | null },
): Promise<JobOutcome> {
  const { database, clock } = dependencies;
  await row.setStatus(database, end.failed ? 'FAILING' : 'COMPLETING');
  const errorFile = await writeErrorFile(dependencies, applicationId, jobId, state);
  const close = async (tx: Transaction, status: 'COMPLETED' | 'FAILED', error: string | null) => {
    await deleteFailures(tx, applicationId, jobId);
    await row.end(tx, { status, error, errorFile });
  };
  if (!end.failed) {
    try {
      await database.transaction(async (tx) => {
        if (state.segmentId !== null) await defineSegment(tx, applicationId, state, clock.now());
        await close(tx, 'COMPLETED', null);
      });
      return 'completed';
    } catch (error) {
      // The segment to add to was deleted while the import ran.
      if (!(error instanceof CallerError)) throw error;
      end = { failed: true, error: error.message };
    }
  }
  await database.transaction(async (tx) => {
    if (state.segmentId !== null && !state.definition.SegmentId) {
      await discardSegment(tx, applicationId, state.segmentId, clock.now());
    }
    await close(tx, 'FAILED', end.error);
  });
  return 'failed';
}

async function defineSegment(
  tx: Transaction,
  applicationId: string,
  state: ImportState,
  now: number,
): Promise<void> {
  const { definition } = state;
  const segmentId = state.segmentId!;
  const { size, channels } = await countMembers(tx, applicationId, segmentId);
  const importDefinition = {
    ChannelCounts: channels,
    ExternalId: definition.ExternalId ?? '',
    Format: definition.Format,
    RoleArn: definition.RoleArn,
    S3Url: definition.S3Url,
    Size: size,
  };
  if (definition.SegmentId) {
    const name = definition.SegmentName ?? null;
    await saveImportedSegment(tx, applicationId, { id: segmentId, name, importDefinition }, now);
    return;
  }
  await tx.query(newSegment(applicationId, segmentId, definition.SegmentName, importDefinition, now));
}

/** A failed job leaves no segment: its members are removed in chunks, as those of any deleted segment. */
async function discardSegment(
  tx: Transaction,
  applicationId: string,
  segmentId: string,
  now: number,
): Promise<void> {
  await tx.query(newSegment(applicationId, segmentId, undefined, {}, now));
  await tx.query(markDeleted(applicationId, segmentId, new Date(now).toISOString()));
}

function newSegment(
  applicationId: string,
  id: string,
  name: string | undefined,
  importDefinition: object,
  now: number,
) {
  return insertSegment({
    applicationId,
    id,
    type: 'IMPORT',
    name: name ?? null,
    definition: '{}',
    importDefinition: JSON.stringify(importDefinition),
    now: new Date(now).toISOString(),
  });
}

/** So many rows change what PostgreSQL should know of the tables. */
const manyRows = 10_000;
const tables = ['endpoints', 'users', 'endpoint_activity', 'segment_endpoints', 'segment_users'];

/**
 * A campaign may start the moment the import is done: without this, PostgreSQL would believe until its next look
 * (a minute or more) that the application is empty, and plan for that. Only that column is looked at, which is cheap;
 * autovacuum does the rest.
 */
export async function analyseAfter({ database, log }: ImportDependencies, processed: number): Promise<void> {
  if (processed < manyRows) return;
  try {
    await database.query(tables.map((table) => `analyze ${table} (application_id)`).join('; '));
  } catch (error) {
    log.warn({ err: error }, 'cannot analyse the tables after an import');
  }
}

const pageRows = 1000;

/** Writes all failed records into one file of the object store. Returns its address, or null when there are none. */
async function writeErrorFile(
  { database, objects }: ImportDependencies,
  applicationId: string,
  jobId: string,
  state: ImportState,
): Promise<string | null> {
  const page = (after: { fileIndex: number; record: number }) =>
    selectFailures(database, applicationId, jobId, after, pageRows);
  let rows = await page({ fileIndex: -1, record: 0 });
  if (rows.length === 0) return null;
  async function* lines(): AsyncGenerator<Uint8Array> {
    yield Buffer.from('file,line,reason,content\r\n');
    while (rows.length > 0) {
      const text = rows.map((failure) =>
        [state.files?.[failure.fileIndex]?.key ?? '', String(failure.line), failure.reason, failure.content]
          .map(csvValue)
          .join(','),
      );
      yield Buffer.from(`${text.join('\r\n')}\r\n`);
      rows = await page(rows.at(-1)!);
    }
  }
  const key = `${applicationId}/${jobId}/errors.csv`;
  await objects.put(errorBucket, key, lines());
  return `s3://${errorBucket}/${key}`;
}

function csvValue(value: string): string {
  return /[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
}
