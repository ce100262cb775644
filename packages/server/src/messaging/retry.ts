import sql from 'sql-template-tag';
import { appendFacts, type Fact } from '../events/index.ts';
import type { Database } from '../platform/database.ts';
import { uuidv7 } from '../platform/ids.ts';
import type { Log } from '../platform/log.ts';
import type { Lane } from './dispatch.ts';
import type { Flow } from './flow.ts';
import type { InFlight } from './outcome.ts';
import { insertWindow, type Retry, type SendWindow, takeDueRetries } from './window.sql.ts';

const pollMs = 250;
const batchSize = 200;

export interface RetryRunnerOptions {
  lane: Lane;
  workerId: string;
  database: Database;
  flow: Flow;
  log: Log;
}

type DueRetry = Retry & { state: string; campaignId: string | null; windowId: string };

/**
 * Sends what waits for another attempt and is due: takes a batch out of the queue, notes it as windows in the same
 * transaction, hands it over, and takes the next when the batch has its outcomes.
 */
export class RetryRunner {
  readonly #options: RetryRunnerOptions;
  #stopping = false;
  #loop: Promise<void> | undefined;
  #wake: (() => void) | undefined;

  constructor(options: RetryRunnerOptions) {
    this.#options = options;
  }

  start(): void {
    this.#loop = this.#run();
  }

  wake(): void {
    this.#wake?.();
  }

  async drain(): Promise<void> {
    this.#stopping = true;
    this.wake();
    await this.#loop;
  }

  async #run(): Promise<void> {
    while (!this.#stopping) {
      let taken = 0;
      try {
        taken = await this.#takeAndSend();
      } catch (error) {
        this.#options.log.error(
          { err: error, lane: this.#options.lane },
          'Retries could not be sent; trying again',
        );
      }
      if (taken < batchSize) await this.#sleep();
    }
  }

  async #sleep(): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, pollMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  async #takeAndSend(): Promise<number> {
    const { flow, lane } = this.#options;
    let due: DueRetry[] = [];
    const marker = uuidv7();
    // A connection that breaks in the commit is asked about by the first window; all are in one transaction.
    const committed = await flow.commitWindow(marker, async (tx) => {
      const taken = await takeDueRetries(tx, lane, batchSize);
      const over = taken.filter(isOver);
      if (over.length > 0) await appendFacts(tx, over.map(overFact));
      due = taken.filter((retry) => !isOver(retry)).map((retry) => ({ ...retry, windowId: '' }));
      const windows = windowsOf(due, marker, this.#options.workerId);
      for (const window of windows) await insertWindow(tx, window);
      return taken.length > 0;
    });
    if (!committed || due.length === 0) return 0;
    const byWindow = Map.groupBy(due, ({ windowId }) => windowId);
    const outcomes = [...byWindow].flatMap(([id, retries]) =>
      flow.send({ id, lane }, retries.map(inFlightOf)),
    );
    await Promise.all(outcomes);
    return due.length;
  }
}

function isOver(retry: { state: string; expiresAt: Date }): boolean {
  return retry.state === 'stopped' || retry.expiresAt.getTime() <= Date.now();
}

/** The end of a message that is not tried again: its time is over, or its dispatch was stopped. */
function overFact(retry: Retry & { state: string }): Fact {
  return {
    type: 'message.expired',
    applicationId: retry.applicationId,
    endpointId: retry.endpointId,
    messageId: retry.messageId,
    dispatchId: retry.dispatchId,
    payload: {
      attempt: retry.attempt,
      treatmentId: retry.treatmentId ?? undefined,
      response: retry.state === 'stopped' ? 'Stopped before its next attempt' : 'Its time to live is over',
    },
  };
}

/** One window for each dispatch in the batch; the first one is called `marker`. */
function windowsOf(due: DueRetry[], marker: string, workerId: string): SendWindow[] {
  const groups = Map.groupBy(due, ({ dispatchId }) => dispatchId);
  return [...groups.values()].map((retries, index) => {
    const first = retries[0]!;
    const id = index === 0 ? marker : uuidv7();
    for (const retry of retries) retry.windowId = id;
    const latest = Math.max(...retries.map(({ expiresAt }) => expiresAt.getTime()));
    return {
      id,
      workerId,
      applicationId: first.applicationId,
      dispatchId: first.dispatchId,
      class: first.class,
      lane: first.lane,
      expiresAt: new Date(latest),
      messages: retries.map(({ messageId, attempt, endpointId, treatmentId, message }) => ({
        id: messageId,
        attempt,
        endpointId,
        treatmentId,
        message: first.class === 'transactional' ? message : undefined,
      })),
    };
  });
}

function inFlightOf(retry: DueRetry): InFlight {
  return {
    windowId: retry.windowId,
    dispatchId: retry.dispatchId,
    campaignId: retry.campaignId,
    endpointId: retry.endpointId,
    treatmentId: retry.treatmentId,
    class: retry.class,
    lane: retry.lane,
    expiresAt: retry.expiresAt,
    message: { ...retry.message, attempt: retry.attempt },
  };
}

/** Messages that wait for another attempt, by lane: for the metrics. */
export async function countRetries(database: Database): Promise<{ lane: Lane; count: number }[]> {
  const { rows } = await database.query(sql`select lane, count(*) as count from retries group by lane`);
  return rows;
}
