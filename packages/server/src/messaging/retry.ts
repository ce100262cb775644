import { appendFacts, type Fact } from '../events/index.ts';
import type { Database, Transaction } from '../platform/database.ts';
import { uuidv7 } from '../platform/ids.ts';
import type { Log } from '../platform/log.ts';
import type { Lane } from './dispatch.ts';
import type { Flow } from './flow.ts';
import type { InFlight } from './outcome.ts';
import {
  type DueRetry,
  doubtfulAmong,
  postponeRetries,
  selectDueRetries,
  type TakenRetry,
  takeRetries,
} from './retry.sql.ts';
import type { Sessions } from './session.ts';
import { insertWindow, type SendWindow } from './window.sql.ts';

/** Between two looks while retries are found, and how long those wait at least that could not be sent. */
const pollMs = 250;
const failureWaitMs = 1_000;
const batchSize = 200;

/** Repeats of one process and lane that are under way at once, and of one application among them. */
const maxInFlight = 1_000;
const maxInFlightOfApplication = 250;

/** A look that takes long (very many retries wait) is not repeated at once: the lane's share of the database is bounded. */
const restPerLook = 4;

export interface RetryRunnerOptions {
  lane: Lane;
  workerId: string;
  database: Database;
  sessions: Pick<Sessions, 'admission'>;
  flow: Flow;
  log: Log;
}

type Repeat = TakenRetry & { windowId: string };

/**
 * Sends what waits for another attempt and is due: takes a batch out of the queue, notes it as windows in the same
 * transaction and hands it over. What would go to an account that is out of order stays in the queue. Slow servers of
 * one application keep no other's repeats waiting.
 */
export class RetryRunner {
  readonly #options: RetryRunnerOptions;
  readonly #inFlight = new Set<Promise<unknown>>();
  readonly #inFlightOf = new Map<string, number>();
  #stopping = false;
  #loop: Promise<void> | undefined;
  /** Ends the wait for something to do. */
  #wake: (() => void) | undefined;
  /** Ends a rest. */
  #endRest: (() => void) | undefined;
  /** Something came due since the last look began. */
  #woken = false;

  constructor(options: RetryRunnerOptions) {
    this.#options = options;
  }

  start(): void {
    this.#loop = this.#run();
  }

  /**
   * Looks for retries: some may be due. Nothing else makes an idle runner look; the pipeline calls this whenever a look at
   * the database shows some. A rest is not cut short.
   */
  wake(): void {
    this.#woken = true;
    this.#wake?.();
  }

  /** Takes nothing more and waits until what was handed over has its outcome. */
  async drain(): Promise<void> {
    this.#stopping = true;
    this.wake();
    this.#endRest?.();
    await this.#loop;
    await Promise.allSettled(this.#inFlight);
  }

  async #run(): Promise<void> {
    const { log, lane } = this.#options;
    while (!this.#stopping) {
      const startedAt = performance.now();
      let found: number | undefined;
      let restMs: number;
      this.#woken = false;
      try {
        found = await this.#sendDue();
        const lookMs = performance.now() - startedAt;
        restMs = found === batchSize ? 0 : Math.max(found > 0 ? pollMs : 0, restPerLook * lookMs);
      } catch (error) {
        log.error({ err: error, lane }, 'Retries could not be sent; trying again');
        restMs = failureWaitMs;
      }
      if (restMs > 0) await this.#rest(restMs);
      if (found === 0) await this.#untilWoken();
    }
  }

  async #untilWoken(): Promise<void> {
    if (this.#woken || this.#stopping) return;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#wake = undefined;
  }

  async #rest(ms: number): Promise<void> {
    if (this.#stopping) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#endRest = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** One look at the queue. Returns how many retries were due. */
  async #sendDue(): Promise<number> {
    const { database, lane } = this.#options;
    const limit = Math.min(batchSize, maxInFlight - this.#inFlight.size);
    if (limit <= 0) return 0;
    const busy = [...this.#inFlightOf].filter(([, count]) => count >= maxInFlightOfApplication);
    const due = await selectDueRetries(database, lane, { limit, except: busy.map(([id]) => id) });
    const ready = await this.#admitted(due);
    if (ready.length > 0 && !this.#stopping) await this.#takeAndSend(ready.map(({ messageId }) => messageId));
    return due.length;
  }

  /** Those that can go now; the others are made to wait for their accounts. */
  async #admitted(due: DueRetry[]): Promise<DueRetry[]> {
    const { database, lane, sessions } = this.#options;
    const admitted = due.filter(({ over }) => over);
    const byRoute = Map.groupBy(
      due.filter(({ over }) => !over),
      ({ applicationId, channel, uri }) => `${channel} ${applicationId} ${uri ?? ''}`,
    );
    for (const retries of byRoute.values()) {
      const { applicationId, channel, uri } = retries[0]!;
      const route = { applicationId, channel, uri, lane };
      const { waitMs, most } = await sessions.admission(route, { repeats: true });
      const ready = waitMs > 0 ? [] : retries.slice(0, most);
      admitted.push(...ready);
      const later = retries.slice(ready.length).map(({ messageId }) => messageId);
      if (later.length > 0) await postponeRetries(database, later, Math.max(waitMs, pollMs));
    }
    return admitted;
  }

  async #takeAndSend(messageIds: string[]): Promise<void> {
    const { flow, lane } = this.#options;
    let repeats: Repeat[] = [];
    const marker = uuidv7();
    // A connection that breaks in the commit is asked about by the first window; all are in one transaction.
    const committed = await flow.commitWindow(marker, async (tx) => {
      const taken = await takeRetries(tx, messageIds);
      await appendEnds(
        tx,
        taken.filter(({ over }) => over),
      );
      repeats = taken.filter(({ over }) => !over).map((retry) => ({ ...retry, windowId: '' }));
      for (const window of windowsOf(repeats, marker, this.#options.workerId)) await insertWindow(tx, window);
      return taken.length > 0;
    });
    if (!committed) return;
    for (const [id, retries] of Map.groupBy(repeats, ({ windowId }) => windowId)) {
      flow.send({ id, lane }, retries.map(inFlightOf)).forEach((outcome, index) => {
        this.#track(outcome, retries[index]!.applicationId);
      });
    }
  }

  #track(outcome: Promise<unknown>, applicationId: string): void {
    this.#inFlight.add(outcome);
    this.#inFlightOf.set(applicationId, (this.#inFlightOf.get(applicationId) ?? 0) + 1);
    void outcome.finally(() => {
      this.#inFlight.delete(outcome);
      const left = this.#inFlightOf.get(applicationId)! - 1;
      if (left === 0) this.#inFlightOf.delete(applicationId);
      else this.#inFlightOf.set(applicationId, left);
    });
  }
}

/** The end of messages that are not tried again: their time is over, or their dispatch was stopped. */
async function appendEnds(tx: Transaction, over: TakenRetry[]): Promise<void> {
  if (over.length === 0) return;
  const doubtful = await doubtfulAmong(
    tx,
    over.map(({ messageId }) => messageId),
  );
  await appendFacts(
    tx,
    over.map((retry): Fact => {
      const inDoubt = doubtful.has(retry.messageId);
      const why = retry.over === 'stopped' ? 'Stopped before its next attempt' : 'Its time to live is over';
      return {
        type: inDoubt ? 'message.in_doubt' : 'message.expired',
        applicationId: retry.applicationId,
        endpointId: retry.endpointId,
        messageId: retry.messageId,
        dispatchId: retry.dispatchId,
        payload: {
          attempt: retry.attempt,
          treatmentId: retry.treatmentId ?? undefined,
          response: inDoubt ? `${why}; it may have arrived at an earlier one` : why,
        },
      };
    }),
  );
}

/** One window for each dispatch in the batch; the first one is called `marker`. */
function windowsOf(repeats: Repeat[], marker: string, workerId: string): SendWindow[] {
  const groups = Map.groupBy(repeats, ({ dispatchId }) => dispatchId);
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

function inFlightOf(retry: Repeat): InFlight {
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
