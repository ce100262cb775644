import { type Database, isConnectionError, type Transaction } from '../platform/database.ts';
import type { Log } from '../platform/log.ts';
import type { InFlight, OutcomeType, OutcomeWriter } from './outcome.ts';
import type { RoutedResult, Sessions } from './session.ts';
import { type SendWindow, windowExists } from './window.sql.ts';

/** Counts free places; whoever wants some waits in line. */
export class Places {
  #free: number;
  readonly #queue: { wanted: number; resolve: () => void }[] = [];

  constructor(size: number) {
    this.#free = size;
  }

  take(wanted: number): Promise<void> {
    if (this.#queue.length === 0 && wanted <= this.#free) {
      this.#free -= wanted;
      return Promise.resolve();
    }
    return new Promise((resolve) => this.#queue.push({ wanted, resolve }));
  }

  give(count: number): void {
    this.#free += count;
    while (this.#queue[0] && this.#queue[0].wanted <= this.#free) {
      const next = this.#queue.shift()!;
      this.#free -= next.wanted;
      next.resolve();
    }
  }
}

export interface FlowOptions {
  database: Database;
  sessions: Sessions;
  outcomes: OutcomeWriter;
  log: Log;
}

/** What every lane and the direct sends share: commit a window, hand its messages over, write what came of them. */
export class Flow {
  readonly #options: FlowOptions;

  constructor(options: FlowOptions) {
    this.#options = options;
  }

  /**
   * Runs `write` in a transaction that also inserts the window (`write` does it). When the connection breaks during
   * the commit, the database is asked whether it happened; so a committed window is always sent, and one that was not
   * is never. `write` returns false to give up, which rolls back.
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
      for (let attempt = 1; attempt <= 100; attempt++) {
        await new Promise((resolve) => setTimeout(resolve, Math.min(5_000, 200 * attempt)));
        const exists = await windowExists(database, windowId).catch(() => undefined);
        if (exists !== undefined) return exists;
      }
      throw error;
    }
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
