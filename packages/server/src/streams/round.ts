import type { StoredFact } from '../events/index.ts';
import type { Clock } from '../platform/clock.ts';
import type { Database } from '../platform/database.ts';
import {
  type DeadLetterValues,
  deleteDeadLetters,
  endOldReplays,
  endReplay,
  insertDeadLetters,
  selectReplays,
  shortenDeadLetter,
} from './dead-letter.sql.ts';
import { type DeadLetter, toRange } from './dead-letter.ts';
import { type Delivery, type DeliveryOptions, deliver } from './deliver.ts';
import type { Outlet, OutletError } from './outlets/outlet.ts';
import { lockOwned, noteFailure, noteSuccess, parkSlices, settleSlices } from './queue.sql.ts';
import {
  type Place,
  type PlacedFact,
  readRange,
  readWindow,
  type Window,
  type WindowLimits,
} from './queue.ts';
import { type RenderedRecord, renderFacts } from './render.ts';
import { loadContext, type SourceOptions } from './source.ts';
import type { StreamRow } from './stream.ts';

/** How long a stream is tried; what is older after that is put aside. */
export const tryForMs = 24 * 3_600_000;

const parkChunk = 5_000;
const maxParkChunks = 200;
const replaysInRound = 20;
const maxErrorLength = 1_000;

export interface BackoffMs {
  first: number;
  longest: number;
}

export interface RoundOptions extends SourceOptions {
  database: Database;
  clock: Clock;
  workerId: string;
  backoffMs: BackoffMs;
  delivery: Omit<DeliveryOptions, 'signal'>;
  signal: AbortSignal;
}

/** What an earlier round of the same owner settled of facts that the cursor has not passed. */
export interface Settled {
  accepted: Set<string>;
  refused: Map<string, string>;
}

/** A window with its records. */
interface Prepared {
  window: Window;
  records: RenderedRecord[];
}

/** What the owner of a stream keeps between rounds. */
export interface RoundState {
  settled: Settled;
  /** The window after the one that is being delivered. Dropped whenever a round does not end well. */
  ahead: Promise<Prepared | undefined> | undefined;
}

export function newRoundState(): RoundState {
  return { settled: { accepted: new Set(), refused: new Map() }, ahead: undefined };
}

/** `more`: go on at once. `lost`: another worker has the stream. */
export type RoundEnd = 'more' | 'done' | 'failed' | 'lost';

const limitsOf = (stream: StreamRow): WindowLimits =>
  stream.kind === 'files'
    ? { facts: 10_000, bytes: 16_000_000, records: 20_000 }
    : { facts: 5_000, bytes: 4_000_000, records: 10_000 };

/**
 * One round of a stream: delivers its next facts and moves its cursor, then some of what is to be replayed. While it
 * waits for the outlet, the window after it is read.
 */
export async function runRound(
  stream: StreamRow,
  outlet: Outlet,
  state: RoundState,
  options: RoundOptions,
): Promise<RoundEnd> {
  const ready = state.ahead ?? prepare(stream, options);
  state.ahead = undefined;
  const prepared = await ready;
  if (prepared) {
    const { window } = prepared;
    const ahead = window.full ? prepare(stream, options, window.end) : undefined;
    // Whoever waits for it hears of its failure; nobody may.
    ahead?.catch(() => undefined);
    const end = await deliverWindow(stream, prepared, outlet, state.settled, options);
    if (end === 'more') state.ahead = ahead;
    if (end !== 'done') return end;
  }
  return await replay(stream, outlet, options);
}

async function prepare(
  stream: StreamRow,
  options: RoundOptions,
  after?: Place,
): Promise<Prepared | undefined> {
  const window = await readWindow(options.database, stream, limitsOf(stream), after);
  return window && { window, records: await render(stream, window.facts, options) };
}

async function deliverWindow(
  stream: StreamRow,
  { window, records }: Prepared,
  outlet: Outlet,
  settled: Settled,
  options: RoundOptions,
): Promise<RoundEnd> {
  const { database, clock } = options;
  const open = records.filter(({ id }) => !settled.accepted.has(id) && !settled.refused.has(id));
  const delivery = await deliver(open, outlet, { ...options.delivery, signal: options.signal });
  for (const id of delivery.accepted) settled.accepted.add(id);
  for (const [id, words] of delivery.refused) settled.refused.set(id, words);
  if (delivery.failure) return await failUnlessStopping(stream, delivery.failure, options);
  const letters = lettersOf(window.facts, records, settled.refused);
  const delivered = records.length - settled.refused.size;
  const owned = await database.transaction(async (tx) => {
    if ((await tx.query(lockOwned(stream.id, options.workerId))).rowCount === 0) return false;
    if (letters.length > 0) await tx.query(insertDeadLetters(stream, letters, clock.now()));
    await tx.query(settleSlices(stream.id, window.end));
    await tx.query(noteSuccess(stream.id, delivered, clock.now()));
    return true;
  });
  settled.accepted.clear();
  settled.refused.clear();
  if (!owned) return 'lost';
  return window.full ? 'more' : 'done';
}

async function render(
  stream: StreamRow,
  facts: readonly StoredFact[],
  options: RoundOptions,
): Promise<RenderedRecord[]> {
  return renderFacts(facts, await loadContext(options, stream.applicationId, facts));
}

/** One dead letter for each fact of which a record was refused. */
function lettersOf(
  facts: readonly PlacedFact[],
  records: readonly RenderedRecord[],
  refused: ReadonlyMap<string, string>,
): DeadLetterValues[] {
  const words = new Map<StoredFact, string>();
  for (const { id, fact } of records) {
    const error = refused.get(id);
    if (error !== undefined) words.set(fact, error);
  }
  return facts.flatMap((fact) => {
    const error = words.get(fact);
    if (error === undefined) return [];
    const { position, day, batchId, seq } = fact;
    return [{ position, day, batchId, fromSeq: seq, toSeq: seq + 1, error: errorText(error) }];
  });
}

/** A request that was broken off because the process ends says nothing about the outlet. */
async function failUnlessStopping(
  stream: StreamRow,
  failure: OutletError,
  options: RoundOptions,
): Promise<RoundEnd> {
  return options.signal.aborted ? 'failed' : await fail(stream, failure, options);
}

/** Notes the failure, and when a stream has failed for 24 hours puts aside what is as old. */
export async function fail(
  stream: StreamRow,
  failure: Pick<OutletError, 'message' | 'reason' | 'retryAfterMs'>,
  options: Pick<RoundOptions, 'database' | 'clock' | 'workerId' | 'backoffMs'>,
): Promise<RoundEnd> {
  const { database, workerId, backoffMs } = options;
  const now = options.clock.now();
  const error = errorText(failure.message);
  const growing = Math.min(backoffMs.longest, backoffMs.first * 2 ** Math.min(stream.failures, 30));
  // Streams that failed together do not come back together.
  const spread = growing * (0.75 + 0.25 * Math.random());
  const nextAttemptAt = now + Math.max(spread, failure.retryAfterMs ?? 0);
  const owned = await database.transaction(async (tx) => {
    if ((await tx.query(lockOwned(stream.id, workerId))).rowCount === 0) return false;
    await tx.query(
      noteFailure(stream.id, { error, now, nextAttemptAt, disabled: failure.reason === 'gone' }),
    );
    return true;
  });
  if (!owned) return 'lost';
  if (stream.failingSince && now - stream.failingSince.getTime() >= tryForMs) {
    await parkOverdue(database, stream.id, { now, error: `tried for 24 hours: ${error}` });
    await database.query(endOldReplays(stream.id, now - tryForMs, `tried for 24 hours: ${error}`));
  }
  return 'failed';
}

/** Puts what waits for more than 24 hours aside. */
export async function parkOverdue(
  database: Database,
  streamId: string,
  parked: { now: number; error: string },
): Promise<void> {
  for (let chunk = 0; chunk < maxParkChunks; chunk++) {
    const { rowCount } = await database.query(
      parkSlices(streamId, { ...parked, before: parked.now - tryForMs, limit: parkChunk }),
    );
    if ((rowCount ?? 0) < parkChunk) return;
  }
}

/** Delivers what dead letters name for which a replay was asked. */
async function replay(stream: StreamRow, outlet: Outlet, options: RoundOptions): Promise<RoundEnd> {
  const { database } = options;
  const { rows } = await database.query<DeadLetter>(selectReplays(stream.id, replaysInRound));
  for (const letter of rows) {
    const { facts, rest } = await readRange(
      database,
      stream.applicationId,
      toRange(letter),
      limitsOf(stream),
    );
    const records = await render(stream, facts, options);
    const delivery = await deliver(records, outlet, { ...options.delivery, signal: options.signal });
    if (delivery.failure) return await failUnlessStopping(stream, delivery.failure, options);
    if (!(await settleReplay(stream, letter, { facts, rest, records, delivery }, options))) return 'lost';
  }
  return rows.length > 0 ? 'more' : 'done';
}

async function settleReplay(
  stream: StreamRow,
  letter: DeadLetter,
  done: {
    facts: readonly PlacedFact[];
    rest: number | undefined;
    records: readonly RenderedRecord[];
    delivery: Delivery;
  },
  { database, clock, workerId }: RoundOptions,
): Promise<boolean> {
  const { refused, accepted } = done.delivery;
  const single = letter.toSeq - letter.fromSeq === 1;
  return await database.transaction(async (tx) => {
    if ((await tx.query(lockOwned(stream.id, workerId))).rowCount === 0) return false;
    if (single && refused.size > 0) {
      const [, error] = [...refused][0]!;
      await tx.query(endReplay(letter.id, errorText(error)));
    } else if (done.facts.length === 0) {
      await tx.query(endReplay(letter.id, 'the log does not hold these facts any more'));
    } else {
      const letters = lettersOf(done.facts, done.records, refused);
      if (letters.length > 0) await tx.query(insertDeadLetters(stream, letters, clock.now()));
      if (done.rest === undefined) await tx.query(deleteDeadLetters(stream.id, [letter.id]));
      else await tx.query(shortenDeadLetter(letter.id, done.rest));
    }
    await tx.query(noteSuccess(stream.id, accepted.size, clock.now()));
    return true;
  });
}

function errorText(text: string): string {
  return text.toWellFormed().replaceAll('\0', '\ufffd').slice(0, maxErrorLength);
}
