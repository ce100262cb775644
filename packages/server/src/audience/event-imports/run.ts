import { randomUUID } from 'node:crypto';
import type { Clock } from '../../platform/clock.ts';
import { type Database, isConflict } from '../../platform/database.ts';
import { CallerError } from '../../platform/errors.ts';
import { uuidv7 } from '../../platform/ids.ts';
import type { Log } from '../../platform/log.ts';
import { ObjectError, type ObjectStore, parseS3Url } from '../../platform/objects.ts';
import { protectiveLimits } from '../endpoints/item.ts';
import { findFiles, openFile, UnreadableFileError } from '../imports/files.ts';
import type { ImportFile } from '../imports/import.sql.ts';
import { type FileRecord, readRecords } from '../imports/records.ts';
import { type EventLimits, protectiveEventLimits } from '../ingest/limits.ts';
import { EventNames } from '../ingest/names.ts';
import { type IngestItem, keyOf, prepareItem } from '../ingest/prepare.ts';
import { Refusals, RefusedError, writeItems } from '../ingest/write.ts';
import { type JobOutcome, whileLeased, workOff } from '../lease.ts';
import {
  EventImportRow,
  type EventImportState,
  enterImportedKeys,
  takeEventImport,
} from './event-import.sql.ts';
import { waitingEventImports } from './job.ts';
import { type ArchivedEvent, RecordError, readArchivedEvent } from './record.ts';

export interface EventImportDependencies {
  database: Database;
  objects: ObjectStore;
  log: Log;
  clock: Clock;
  endpointsPerUser?: number;
  eventLimits?: EventLimits;
  /** POSTRIDER_RETENTION_DAYS: events that happened longer than this before they arrived had a wrong clock. */
  retentionDays?: number;
  /** After this time without a sign of life another worker takes over. Default 30 s. */
  leaseMs?: number;
  /** Records of one transaction. Default 1000. */
  chunkRecords?: number;
}

const dayMs = 86_400_000;
const maxAttempts = 20;

/**
 * Runs an import from where it is: each chunk is written together with its position, counters and the keys of its
 * records, so a run that was killed goes on, and each record counts once however often it is in the archive. What is
 * wrong with files or records becomes part of the import; only trouble with the database (or this program) is thrown.
 * @returns as `runImportJob`
 */
export async function runEventImport(
  dependencies: EventImportDependencies,
  applicationId: string,
  id: string,
  signal: AbortSignal,
): Promise<JobOutcome> {
  const { database, log } = dependencies;
  const leaseMs = dependencies.leaseMs ?? 30_000;
  const token = randomUUID();
  const state = await takeEventImport(database, applicationId, id, token, leaseMs);
  if (!state) return 'busy';
  const row = new EventImportRow(applicationId, id, token, leaseMs);
  const lease = { renew: () => row.renew(database), release: () => row.release(database) };
  return await whileLeased(lease, { leaseMs, log, job: { kind: 'event import', id } }, async () => {
    try {
      return await new EventImportRun(dependencies, applicationId, id, row, state, signal).run();
    } catch (error) {
      // The application is gone, and the import with it.
      if (error instanceof CallerError && error.code === 'not_found') return 'busy';
      throw error;
    }
  });
}

class EventImportRun {
  readonly #dependencies: EventImportDependencies;
  readonly #applicationId: string;
  readonly #id: string;
  readonly #row: EventImportRow;
  readonly #state: EventImportState;
  readonly #signal: AbortSignal;
  readonly #names: EventNames;

  constructor(
    dependencies: EventImportDependencies,
    applicationId: string,
    id: string,
    row: EventImportRow,
    state: EventImportState,
    signal: AbortSignal,
  ) {
    this.#dependencies = dependencies;
    this.#applicationId = applicationId;
    this.#id = id;
    this.#row = row;
    this.#state = state;
    this.#signal = signal;
    this.#names = new EventNames(dependencies.eventLimits ?? protectiveEventLimits);
  }

  async run(): Promise<JobOutcome> {
    const { database } = this.#dependencies;
    const state = this.#state;
    let error: string | null = null;
    try {
      const files = state.files ?? (await this.#begin());
      for (; state.fileIndex < files.length; state.fileIndex++, state.position = 0) {
        if (this.#signal.aborted) return 'paused';
        const failure = await this.#file(files[state.fileIndex]!);
        if (failure === 'paused') return 'paused';
        await this.#row.finishFile(database, failure?.message);
        if (failure) state.failedFiles += 1;
      }
    } catch (problem) {
      if (!(problem instanceof ObjectError)) throw problem;
      error = problem.message;
    }
    const failed = error !== null || state.failedFiles > 0;
    await this.#row.end(database, failed ? 'FAILED' : 'COMPLETED', error);
    return failed ? 'failed' : 'completed';
  }

  /** Looks for the files, once: a resumed run goes on with the same list. */
  async #begin(): Promise<ImportFile[]> {
    const { database, objects } = this.#dependencies;
    const { files, warnings } = await findFiles(objects, this.#state.url, 'JSON');
    await this.#row.begin(database, files, warnings);
    return files;
  }

  /** Imports one file from the position on. Returns why it could not be read to its end, if so. */
  async #file(file: ImportFile): Promise<{ message: string } | undefined | 'paused'> {
    const { objects } = this.#dependencies;
    const { bucket } = parseS3Url(this.#state.url)!;
    const url = `s3://${bucket}/${file.key}`;
    let batches: AsyncGenerator<FileRecord[]>;
    try {
      batches = readRecords(await openFile(objects, bucket, file), 'JSON');
    } catch (error) {
      if (!(error instanceof ObjectError || error instanceof UnreadableFileError)) throw error;
      return { message: `${url}: ${error.message}` };
    }
    const chunkRecords = this.#dependencies.chunkRecords ?? 1000;
    let waiting: FileRecord[] = [];
    try {
      for (;;) {
        let next: IteratorResult<FileRecord[], unknown>;
        try {
          next = await batches.next();
        } catch (error) {
          // The file ends before its time; what came before stays imported.
          await this.#write(file, waiting);
          return { message: `${url}: ${(error as Error).message}` };
        }
        if (next.done) break;
        for (const record of next.value) {
          if (record.number <= this.#state.position) continue;
          waiting.push(record);
          if (waiting.length < chunkRecords) continue;
          await this.#write(file, waiting);
          waiting = [];
        }
        if (this.#signal.aborted) return 'paused';
      }
      await this.#write(file, waiting);
      return undefined;
    } finally {
      await batches.return(undefined);
    }
  }

  /** Writes records, a transaction, with the position behind them. */
  async #write(file: ImportFile, records: readonly FileRecord[]): Promise<void> {
    const last = records.at(-1);
    if (!last) return;
    const refusals = new Refusals();
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#chunk(file, records, last.number, refusals);
        this.#state.position = last.number;
        return;
      } catch (error) {
        const canHelp = error instanceof RefusedError || isConflict(error);
        if (!canHelp || attempt >= maxAttempts) throw error;
      }
    }
  }

  async #chunk(
    file: ImportFile,
    records: readonly FileRecord[],
    position: number,
    refusals: Refusals,
  ): Promise<void> {
    const { database, clock, endpointsPerUser = 15 } = this.#dependencies;
    const now = clock.now();
    const read = this.#read(records, now);
    const items = this.#prepared(read.events, now);
    // Failures by the record, the limits' as well.
    const failures = [...read.failures];
    for (const { item, records: lines } of items) {
      for (const [place, event] of item.events.entries()) {
        if (typeof event === 'string') failures.push({ record: lines[place]!, message: event });
      }
    }
    const refusedBefore = failures.length;
    const { onCommit } = await database.transaction(async (tx) => {
      // The position is written with the rows: what a crash of the database takes away is imported again.
      await tx.query('set local synchronous_commit = off');
      const result = await writeItems(
        tx,
        this.#applicationId,
        items.map(({ item }) => item),
        refusals,
        {
          now,
          batchId: uuidv7(now),
          endpointsPerUser,
          names: this.#names,
          enterKeys: (tx, keys) => enterImportedKeys(tx, this.#applicationId, this.#id, keys),
        },
      );
      failures.length = refusedBefore;
      for (const [place, { item, records: lines }] of items.entries()) {
        const { itemRefused, endpointRefusal, refusedEvents } = result.outcomes[place]!;
        for (const [at, event] of item.events.entries()) {
          if (typeof event === 'string') continue;
          const message = itemRefused ? endpointRefusal : refusedEvents.get(event);
          if (message !== undefined) failures.push({ record: lines[at]!, message });
        }
      }
      failures.sort((a, b) => a.record.number - b.record.number);
      await this.#row.advance(tx, {
        position,
        processed: records.length,
        imported: result.facts,
        duplicates: records.length - result.facts - failures.length,
        failures: failures.map(({ record, message }) =>
          storable(`${file.key}, line ${record.line}: ${message}`),
        ),
      });
      return result;
    });
    onCommit();
  }

  #read(records: readonly FileRecord[], now: number) {
    const events: { record: FileRecord; archived: ArchivedEvent }[] = [];
    const failures: { record: FileRecord; message: string }[] = [];
    for (const record of records) {
      try {
        if (record.error !== undefined) throw new RecordError(record.error);
        events.push({ record, archived: readArchivedEvent(record.text, now, keyOf) });
      } catch (error) {
        if (!(error instanceof RecordError)) throw error;
        failures.push({ record, message: error.message });
      }
    }
    return { events, failures };
  }

  /** An item for each endpoint, with its events in their order. */
  #prepared(read: readonly { record: FileRecord; archived: ArchivedEvent }[], now: number) {
    const { eventLimits = protectiveEventLimits, retentionDays = 90 } = this.#dependencies;
    const byEndpoint = new Map<
      string,
      { item: IngestItem & { events: ArchivedEvent['event'][] }; records: FileRecord[] }
    >();
    for (const { record, archived } of read) {
      const { endpointId, endpoint, event } = archived;
      let entry = byEndpoint.get(endpointId);
      if (!entry) {
        entry = { item: { endpointId, events: [], source: 'archive' }, records: [] };
        byEndpoint.set(endpointId, entry);
      }
      entry.item.endpoint ??= endpoint;
      entry.item.events.push(event);
      entry.records.push(record);
    }
    const options = {
      applicationId: this.#applicationId,
      now,
      retentionMs: retentionDays === 0 ? Number.POSITIVE_INFINITY : retentionDays * dayMs,
      eventLimits,
      endpointLimits: protectiveLimits,
    };
    return [...byEndpoint.values()].map(({ item, records }) => ({
      item: prepareItem(item, options),
      records,
    }));
  }
}

function storable(text: string): string {
  return text.slice(0, 500).replaceAll('\0', '\\0').toWellFormed();
}

/** Works off the waiting imports one after the other; one that another worker takes first is left to it. */
export async function runWaitingEventImports(
  dependencies: EventImportDependencies,
  signal: AbortSignal,
): Promise<void> {
  await workOff({
    waiting: () => waitingEventImports(dependencies.database),
    mayBegin: async () => !signal.aborted,
    run: (applicationId, id) => runEventImport(dependencies, applicationId, id, signal),
  });
}
