import { type Database, isConnectionError, type Transaction } from '../platform/database.ts';
import { CallerError } from '../platform/errors.ts';
import type { Log } from '../platform/log.ts';
import type { InFlight, OutcomeType } from './outcome.ts';
import type { OutcomeWriter } from './outcome-writer.ts';
import { recoverWindow } from './recovery.ts';
import type { RoutedResult, Sessions } from './session.ts';
import { type SendWindow, windowCommitted } from './window.sql.ts';

const defaultAnswerLimitMs = 15_000;
const maxWaitMs = 5_000;

export interface FlowOptions {
  database: Database;
  sessions: Sessions;
  outcomes: OutcomeWriter;
  log: Log;
  /** How long the committer of a window waits to hear whether it was committed; 15 seconds when absent. */
  answerLimitMs?: number;
}

/** What every lane and the direct sends share: commit a window, hand its messages over, write what came of them. */
export class Flow {
  readonly #options: FlowOptions;
  readonly #ending = new AbortController();

  constructor(options: FlowOptions) {
    this.#options = options;
  }

  /**
   * Runs `write` in a transaction that also inserts the window (`write` does it). When the connection breaks during
   * the commit, the database is asked whether it happened; so a committed window is always sent, and one that was not
   * is never. `write` returns false to give up, which rolls back. A window without messages to send need not be
   * inserted; false then says nothing about what else `write` did.
   * @throws CallerError unavailable when the database does not answer in time: a window that was committed is then in
   * doubt, and is treated so as soon as the database is back.
   */
  async commitWindow(windowId: string, write: (tx: Transaction) => Promise<boolean>): Promise<boolean> {
    const { database, log } = this.#options;
    try {
      return await database.transaction(async (tx) => {
        if (!(await write(tx))) throw new GivenUp();
        return true;
      });
    } catch (error) {
      if (error instanceof GivenUp) return false;
      if (!isConnectionError(error)) throw error;
      log.warn({ err: error }, 'The connection broke while a window was committed');
      const committed = await this.#wasCommitted(
        windowId,
        performance.now() + (this.#options.answerLimitMs ?? defaultAnswerLimitMs),
      );
      if (committed !== undefined) return committed;
      void this.#settleLater(windowId);
      throw new CallerError(
        'unavailable',
        'The database does not answer. What was to be sent may be stored, and is then sent later',
      );
    }
  }

  /** Asks until the database answers; undefined when it does not until `deadline`, or when the process ends. */
  async #wasCommitted(windowId: string, deadline: number): Promise<boolean | undefined> {
    for (let attempt = 0; performance.now() < deadline && !this.#ending.signal.aborted; attempt++) {
      await new Promise((resolve) =>
        setTimeout(resolve, Math.min(maxWaitMs, 100 * 2 ** Math.min(attempt, 6))),
      );
      try {
        return await windowCommitted(this.#options.database, windowId);
      } catch (error) {
        if (attempt % 10 === 0) this.#options.log.warn({ err: error }, 'The database does not answer');
      }
    }
    return undefined;
  }

  /** Nobody sends the messages of a window whose committer has given up. */
  async #settleLater(windowId: string): Promise<void> {
    const committed = await this.#wasCommitted(windowId, Number.POSITIVE_INFINITY);
    if (!committed) return;
    try {
      await recoverWindow(this.#options.database, windowId);
    } catch (error) {
      this.#options.log.warn({ err: error }, 'A window could not be settled; trying again');
      void this.#settleLater(windowId);
    }
  }

  /** What could not be settled is left to those who take over from this process. */
  end(): void {
    this.#ending.abort();
  }

  /** Hands the messages of a committed window over. One promise for each: it resolves when the outcome is committed. */
  send(
    window: Pick<SendWindow, 'id' | 'lane'>,
    messages: InFlight[],
  ): Promise<{ type: OutcomeType; result: RoutedResult }>[] {
    const { sessions, outcomes } = this.#options;
    outcomes.openWindow(window.id, messages.length);
    return messages.map(async (inFlight) => {
      const result = await sessions.attempt(window.lane, inFlight.message);
      return { type: await outcomes.write(inFlight, result), result };
    });
  }
}

class GivenUp extends Error {}
