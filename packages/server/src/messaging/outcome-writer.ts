import sql from 'sql-template-tag';
import { appendFacts } from '../events/index.ts';
import { type Database, isConnectionError, type Transaction } from '../platform/database.ts';
import { CallerError } from '../platform/errors.ts';
import { uuidDay } from '../platform/ids.ts';
import type { Log } from '../platform/log.ts';
import { factOf, releaseRefused, type Settled, suppressHardBounces, withoutWords } from './outcome.sql.ts';
import { type InFlight, type OutcomeType, settle } from './outcome.ts';
import type { RoutedResult } from './session.ts';
import { holdWindows, insertRetries } from './window.sql.ts';

const maxOutcomesPerCommit = 2000;
/** How long the first outcome after a pause waits for the others of its window, at most: they are on their way. */
const gatherMs = 5;
const firstWaitMs = 100;
const maxWaitMs = 5_000;

/**
 * SQLSTATEs (two digits or letters of class, then three) that are about what is written. The others say nothing about
 * it: conflicts, locks, full disks and memory, an operator's hand, names that cannot be resolved.
 */
const refusedState = /^(?!40|53|55|57|58)[0-9FHPX][0-9A-Z]{4}$/;

export interface OutcomeWriterOptions {
  database: Database;
  log: Log;
  /** Delay before the second attempt (POSTRIDER_RETRY_FIRST_DELAY_MS). */
  firstDelayMs: number;
  /** `sent` gives a cap back when the message was refused (POSTRIDER_CAPS_COUNT). */
  capsCount: 'targeted' | 'sent';
}

type Waiting = Settled & { done: (type: OutcomeType) => void };

/**
 * Writes outcomes: one writer that takes all that waits. A batch holds the facts, the retries, the suppressions and
 * the end of the windows in one transaction. While the database is away it waits and tries again: what a provider
 * said is not forgotten as long as the process lives, and the lanes' limits bound how much that can be. One outcome
 * that the database does not take is not the others' error.
 */
export class OutcomeWriter {
  readonly #options: OutcomeWriterOptions;
  readonly #open = new Map<string, number>();
  #waiting: Waiting[] = [];
  #committing = 0;
  #writing: Promise<void> | undefined;
  /** Nothing more is waited for, since all of a window are there. */
  #endGathering: (() => void) | undefined;

  constructor(options: OutcomeWriterOptions) {
    this.#options = options;
  }

  /** A window of `size` messages is on its way. */
  openWindow(id: string, size: number): void {
    this.#open.set(id, size);
  }

  /** Resolves when the outcome is committed. */
  write(inFlight: InFlight, result: RoutedResult): Promise<OutcomeType> {
    const at = Date.now();
    const { type, retry } = settle(inFlight, result, { now: at, firstDelayMs: this.#options.firstDelayMs });
    const left = (this.#open.get(inFlight.windowId) ?? 1) - 1;
    if (left === 0) this.#open.delete(inFlight.windowId);
    else this.#open.set(inFlight.windowId, left);
    return new Promise((resolve) => {
      const closesWindow = left === 0;
      this.#waiting.push({ inFlight, result, type, retry, at, closesWindow, done: resolve });
      this.#writing ??= this.#run();
      if (closesWindow) this.#endGathering?.();
    });
  }

  /** Messages whose outcome is not committed yet, over all windows. */
  get pending(): number {
    let total = this.unwritten;
    for (const left of this.#open.values()) total += left;
    return total;
  }

  /** Of these, the ones that the provider has answered. */
  get unwritten(): number {
    return this.#waiting.length + this.#committing;
  }

  async #run(): Promise<void> {
    await this.#gather();
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, maxOutcomesPerCommit);
      this.#committing = batch.length;
      await this.#commit(batch);
      this.#committing = 0;
    }
    this.#writing = undefined;
  }

  /** Whoever comes until a window is complete travels along, and in any case whoever comes in this turn of the loop. */
  async #gather(): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, gatherMs);
      this.#endGathering = () => {
        clearTimeout(timer);
        setImmediate(resolve);
      };
    });
    this.#endGathering = undefined;
  }

  /** Returns when the batch is committed, however long that takes. */
  async #commit(batch: Waiting[]): Promise<void> {
    let bare = false;
    for (let attempt = 1; ; attempt++) {
      const written: { batchId?: string } = {};
      try {
        await this.#options.database.transaction((tx) => this.#writeBatch(tx, batch, written));
        break;
      } catch (error) {
        if (isConnectionError(error)) {
          this.#complain(error, batch.length, attempt);
          if (written.batchId !== undefined && (await this.#wasCommitted(batch, written.batchId))) break;
          await pause(attempt);
        } else if (!isRefusal(error) || bare) {
          this.#complain(error, batch.length, attempt);
          await pause(attempt);
        } else if (batch.length > 1) {
          // In order, so that a window ends after all of its outcomes.
          const half = Math.ceil(batch.length / 2);
          await this.#commit(batch.slice(0, half));
          return await this.#commit(batch.slice(half));
        } else {
          bare = true;
          this.#options.log.error(
            { err: error, messageId: batch[0]!.inFlight.message.id },
            'The database does not take an outcome; it is written without its words',
          );
          batch = batch.map((settled) => ({ ...settled, ...withoutWords(settled, error) }));
        }
      }
    }
    for (const settled of batch) settled.done(settled.type);
  }

  async #writeBatch(tx: Transaction, batch: Settled[], written: { batchId?: string }): Promise<void> {
    // First of all: whoever asks whether this transaction was committed waits for its end by these locks.
    const held = await holdWindows(
      tx,
      batch.map(({ inFlight }) => inFlight.windowId),
      batch.flatMap(({ inFlight, closesWindow }) => (closesWindow ? inFlight.windowId : [])),
    );
    await insertRetries(
      tx,
      batch.flatMap(({ retry }) => retry ?? []),
    );
    const [batchId] = await appendFacts(tx, batch.map(factOf));
    const refused = batch.filter(({ type }) => type === 'message.failed');
    await suppressHardBounces(tx, refused);
    if (this.#options.capsCount === 'sent') await releaseRefused(tx, refused);
    await this.#takeBackRepeats(tx, batch, held);
    written.batchId = batchId;
  }

  /**
   * A window that is gone was taken over by another process, which took this one for dead and has queued a repeat of
   * what was in flight. Where we know now what came of it, the repeat is not needed.
   */
  async #takeBackRepeats(tx: Transaction, batch: Settled[], held: Set<string>): Promise<void> {
    const known = batch.filter(
      ({ inFlight, type }) =>
        !held.has(inFlight.windowId) && (type === 'message.sent' || type === 'message.failed'),
    );
    if (known.length === 0) return;
    const ids = known.map(({ inFlight }) => inFlight.message.id);
    await tx.query(sql`delete from retries where message_id = any(${ids}::uuid[])`);
  }

  /**
   * Was the transaction committed whose connection broke? Asked until the database answers; writing again without
   * knowing would count outcomes twice.
   */
  async #wasCommitted(batch: Settled[], batchId: string): Promise<boolean> {
    const windowIds = batch.map(({ inFlight }) => inFlight.windowId);
    for (let attempt = 1; ; attempt++) {
      await pause(attempt);
      try {
        return await this.#options.database.transaction(async (tx) => {
          await tx.query(`set local lock_timeout = '5s'`);
          await holdWindows(tx, windowIds, []);
          const { rowCount } = await tx.query(sql`
            select from events where day = ${uuidDay(batchId)} and batch_id = ${batchId} limit 1`);
          return rowCount === 1;
        });
      } catch (error) {
        this.#complain(error, batch.length, attempt);
      }
    }
  }

  #complain(error: unknown, outcomes: number, attempt: number): void {
    // Only now and then: the database may be away for long.
    if (attempt > 3 && attempt % 10 !== 0) return;
    this.#options.log.error({ err: error, outcomes, attempt }, 'Outcomes could not be written; trying again');
  }
}

function pause(attempt: number): Promise<void> {
  const waitMs = Math.min(maxWaitMs, firstWaitMs * 2 ** Math.min(attempt - 1, 6));
  return new Promise((resolve) => setTimeout(resolve, waitMs));
}

/** Does the database, or our own code, object to the content, so that trying again would end the same? */
function isRefusal(error: unknown): boolean {
  if (error instanceof CallerError || error instanceof TypeError || error instanceof RangeError) return true;
  return refusedState.test((error as { code?: string } | null)?.code ?? '');
}
