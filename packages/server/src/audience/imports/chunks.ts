import { setTimeout as delay } from 'node:timers/promises';
import { isConflict, type Transaction } from '../../platform/database.ts';
import type { EndpointChange } from '../endpoints/item.ts';
import { upsertChanges } from '../endpoints/upsert.ts';
import { upsertUserAttributes } from '../endpoints/user-attributes.ts';
import {
  type FailedRecord,
  type ImportState,
  insertFailures,
  insertSegmentEndpoints,
  insertSegmentUsers,
  type ImportRow as JobRow,
} from './import.sql.ts';
import type { FileRecord } from './records.ts';
import type { ImportRow, RowReader } from './row.ts';
import type { ImportDependencies } from './run.ts';

interface Entry {
  record: FileRecord;
  row: ImportRow;
}

/** A record that waits for its chunk; it is read then, unless its way could not be told without. */
interface Waiting {
  record: FileRecord;
  row: ImportRow | undefined;
  reader: RowReader;
}

interface Lane {
  index: number;
  waiting: Waiting[];
  /** Addresses of the chunk that is being written, with the id that gets each. */
  writing: Map<string, string>;
  /** Resolves, never rejects, when the chunk is written or has failed. */
  inFlight: Promise<void> | undefined;
  /** The last chunk met no endpoint that existed. */
  expectNew: boolean;
}

const maxAttempts = 10;

/** Does this job write registered endpoints, and which segment does it fill? */
export function targetOf(state: ImportState): { registers: boolean; segmentId: string | null } {
  const { segmentId } = state;
  return { registers: state.definition.RegisterEndpoints === true || segmentId === null, segmentId };
}

/**
 * Collects the rows of one file into chunks and writes them, a transaction each, a lane's one after the other.
 * Memory holds at most two chunks of each lane.
 */
export class Chunks {
  readonly #dependencies: ImportDependencies;
  readonly #applicationId: string;
  readonly #jobId: string;
  readonly #job: JobRow;
  readonly #state: ImportState;
  readonly #fileName: string;
  readonly #chunkRows: number;
  readonly #lanes: Lane[];
  readonly #allDoneTo: number;
  #lastRecord = 0;
  #failure: unknown;
  /** The file was read to its end. */
  isComplete = false;

  constructor(
    dependencies: ImportDependencies,
    applicationId: string,
    jobId: string,
    job: JobRow,
    state: ImportState,
    fileName: string,
  ) {
    this.#dependencies = dependencies;
    this.#applicationId = applicationId;
    this.#jobId = jobId;
    this.#job = job;
    this.#state = state;
    this.#fileName = fileName;
    this.#chunkRows = dependencies.chunkRows ?? 1000;
    this.#allDoneTo = Math.min(...state.positions);
    this.#lanes = state.positions.map((_, index) => ({
      index,
      waiting: [],
      writing: new Map(),
      inFlight: undefined,
      expectNew: false,
    }));
  }

  /** Has an earlier run written the record, whatever its lane? Then it need not even be read. */
  isDone(record: FileRecord): boolean {
    return record.number <= this.#allDoneTo;
  }

  async add(record: FileRecord, reader: RowReader): Promise<void> {
    this.#lastRecord = record.number;
    const id = reader.idOf(record);
    const row = id === undefined ? reader.read(record) : undefined;
    const lane = this.#lanes[laneOf(id ?? keyOf(row!), this.#lanes.length)]!;
    if (record.number <= this.#state.positions[lane.index]!) return;
    lane.waiting.push({ record, row, reader });
    if (lane.waiting.length >= this.#chunkRows) await this.#flush(lane);
  }

  /** Writes what is left. */
  async flushAll(): Promise<void> {
    for (const lane of this.#lanes) if (lane.waiting.length > 0) await this.#flush(lane);
    await this.settle();
  }

  /** Waits for what is being written. @throws what went wrong with it */
  async settle(): Promise<void> {
    for (const lane of this.#lanes) await lane.inFlight;
    this.#check();
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  async #flush(lane: Lane): Promise<void> {
    await lane.inFlight;
    this.#check();
    const entries = lane.waiting.map(({ record, row, reader }) => ({
      record,
      row: row ?? reader.read(record),
    }));
    lane.waiting = [];
    const addresses = addressesOf(entries);
    // An address has one active endpoint: chunks that give it to two different ones follow each other.
    for (const other of this.#lanes) {
      if (other !== lane && overlaps(addresses, other.writing)) await other.inFlight;
    }
    this.#check();
    lane.writing = addresses;
    lane.inFlight = this.#write(lane, entries, this.#lastRecord)
      .catch((error: unknown) => {
        this.#failure ??= error;
      })
      .finally(() => {
        lane.writing = new Map();
        lane.inFlight = undefined;
      });
  }

  async #write(lane: Lane, entries: Entry[], position: number): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#dependencies.database.transaction((tx) => this.#chunk(tx, lane, entries, position));
        this.#state.processed += entries.length;
        return;
      } catch (error) {
        // Somebody else's statements may lock in another order than ours.
        if (!isConflict(error) || attempt >= maxAttempts) throw error;
        await delay(attempt * 20);
      }
    }
  }

  async #chunk(tx: Transaction, lane: Lane, entries: Entry[], position: number): Promise<void> {
    // The position is written with the rows: what a crash of the database takes away is imported again.
    await tx.query('set local synchronous_commit = off');
    const { registers, segmentId } = targetOf(this.#state);
    const failures: FailedRecord[] = [];
    const changes: EndpointChange[] = [];
    const users: { userId: string; change: EndpointChange }[] = [];
    for (const { record, row } of entries) {
      if (row.kind === 'failure') failures.push(failed(record, row.reason));
      else if (row.kind === 'endpoint') changes.push(row.change);
      else if (segmentId === null) failures.push(failed(record, 'a user alone can only define a segment'));
      else users.push(row);
    }
    const result = await upsertChanges(tx, this.#applicationId, changes, {
      now: this.#dependencies.clock.now(),
      endpointsPerUser: this.#dependencies.endpointsPerUser,
      segmentId: registers ? null : segmentId,
      activity: 'stated',
      addressesAreSerialised: true,
      expectNew: lane.expectNew,
    });
    lane.expectNew = !result.restarted && result.created === changes.length;
    if (result.refusals.length > 0) {
      const records = new Map(entries.map(({ record }) => [record.number, record]));
      for (const { index, member, message } of result.refusals) {
        failures.push(failed(records.get(index)!, `$.${member}: ${message}`));
      }
    }
    if (segmentId !== null) await this.#defineMembers(tx, segmentId, registers, result.accepted, users);
    failures.sort((a, b) => a.record - b.record);
    await insertFailures(tx, this.#applicationId, this.#jobId, this.#state.fileIndex, failures);
    await this.#job.advance(tx, {
      lane: lane.index,
      position,
      processed: entries.length,
      failures: failures.map(({ line, reason }) => `${this.#fileName}, line ${line}: ${reason}`),
    });
  }

  async #defineMembers(
    tx: Transaction,
    segmentId: string,
    registers: boolean,
    endpointIds: Set<string>,
    users: { userId: string; change: EndpointChange }[],
  ): Promise<void> {
    if (endpointIds.size > 0) {
      await insertSegmentEndpoints(tx, this.#applicationId, segmentId, [...endpointIds].sort());
    }
    if (users.length === 0) return;
    const ids = [...new Set(users.map(({ userId }) => userId))].sort();
    await insertSegmentUsers(tx, this.#applicationId, segmentId, ids);
    if (!registers) return;
    const changes = users.flatMap(({ userId, change }) =>
      change.userAttributes ? [{ userId, attributes: change.userAttributes }] : [],
    );
    await upsertUserAttributes(tx, this.#applicationId, changes);
  }
}

function failed(record: FileRecord, reason: string): FailedRecord {
  return {
    record: record.number,
    line: record.line,
    reason: storable(reason),
    content: storable(record.text.slice(0, 1000)),
  };
}

function storable(text: string): string {
  return text.replaceAll('\0', '\\0').toWellFormed();
}

function addressesOf(entries: Entry[]): Map<string, string> {
  const addresses = new Map<string, string>();
  for (const { row } of entries) {
    if (row.kind === 'endpoint' && row.change.address != null)
      addresses.set(row.change.address, row.change.id);
  }
  return addresses;
}

function overlaps(a: Map<string, string>, b: Map<string, string>): boolean {
  const [few, many] = a.size < b.size ? [a, b] : [b, a];
  for (const address of few.keys()) if (many.has(address)) return true;
  return false;
}

/** What all records of one endpoint have in common; failures have nothing to do with any. */
function keyOf(row: ImportRow): string {
  if (row.kind === 'failure') return '';
  return row.kind === 'user' ? row.userId : row.change.id;
}

/** FNV-1a of the key: the same for every run. */
function laneOf(key: string, lanes: number): number {
  let sum = 0x811c9dc5;
  for (let index = 0; index < key.length; index++) {
    sum = Math.imul(sum ^ key.charCodeAt(index), 0x01000193);
  }
  return ((sum ^ (sum >>> 16)) >>> 0) % lanes;
}
