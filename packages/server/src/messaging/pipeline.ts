import { type Database, isConnectionError } from '../platform/database.ts';
import type { Log } from '../platform/log.ts';
import { type Composer, type ComposerOptions, createComposer } from './compose.ts';
import { type DirectMessage, type DirectResult, sendDirect } from './direct.ts';
import { type Lane, lanes } from './dispatch.ts';
import { Flow } from './flow.ts';
import { LaneRunner } from './lane.ts';
import { lanesWithWork } from './lookout.sql.ts';
import { OutcomeWriter } from './outcome-writer.ts';
import type { CustomerFunctions } from './provider.ts';
import { closeDispatches, recoverDeadWorkers } from './recovery.ts';
import { RetryRunner } from './retry.ts';
import { Sessions, type SessionsOptions } from './session.ts';

/** Between two looks for what others started, what waited for its time, and what came without being told of. */
const lookEveryMs = 200;
const closeEveryMs = 250;
const recoverEveryMs = 1_000;
/** After a failure; the database may be away for long. */
const failureWaitMs = 2_000;
/** What a drain may take beyond its deadline: to close connections and to write the last outcomes. */
const lastOutcomesMs = 3_000;

/** Chunks that are worked on at once in each lane; two keep the connections busy while one is being prepared. */
const processorsByLane: Record<Lane, number> = { verification: 1, transactional: 1, triggered: 3, bulk: 3 };

export interface PipelineOptions {
  database: Database;
  log: Log;
  /** Row of `workers` under which windows and chunks are held. */
  workerId: string;
  renderer: ComposerOptions['renderer'];
  senderOf: ComposerOptions['senderOf'];
  /** Calls hooks. */
  functions: CustomerFunctions;
  providers: SessionsOptions['providers'];
  routeFor: SessionsOptions['routeFor'];
  limits: SessionsOptions['limits'];
  context: SessionsOptions['context'];
  retryFirstDelayMs: number;
  capsCount: 'targeted' | 'sent';
  /** See FlowOptions. For tests. */
  answerLimitMs?: number;
}

/** Everything of one process that sends: the direct way always, the lanes and the recovery when it is a worker. */
export class Pipeline {
  readonly #options: PipelineOptions;
  readonly #sessions: Sessions;
  readonly #outcomes: OutcomeWriter;
  readonly #flow: Flow;
  readonly #composer: Composer;
  #lanes: LaneRunner[] = [];
  #retries: RetryRunner[] = [];
  readonly #timers: NodeJS.Timeout[] = [];
  #stopping = false;
  #draining: Promise<void> | undefined;

  constructor(options: PipelineOptions) {
    const { database, log } = options;
    this.#options = options;
    this.#sessions = new Sessions(options);
    this.#outcomes = new OutcomeWriter({
      database,
      log,
      firstDelayMs: options.retryFirstDelayMs,
      capsCount: options.capsCount,
    });
    const { answerLimitMs } = options;
    this.#flow = new Flow({
      database,
      sessions: this.#sessions,
      outcomes: this.#outcomes,
      log,
      answerLimitMs,
    });
    this.#composer = createComposer(options);
  }

  /** What messages are composed with: for resendInDoubt. */
  get composing(): ComposerOptions {
    return this.#options;
  }

  /** Sends to named recipients from this process; see sendDirect. */
  sendDirect(direct: DirectMessage): Promise<DirectResult[]> {
    const { database, workerId } = this.#options;
    return sendDirect({ database, workerId, composer: this.#composer, flow: this.#flow }, direct);
  }

  /** Starts the lanes, the retries, the recovery of dead workers and the closing of finished dispatches. */
  startWorker(): void {
    const { database, workerId, log, capsCount } = this.#options;
    const shared = { database, workerId, log, flow: this.#flow, sessions: this.#sessions };
    this.#retries = lanes.map((lane) => new RetryRunner({ ...shared, lane }));
    this.#lanes = lanes.map(
      (lane) =>
        new LaneRunner({
          ...shared,
          lane,
          composer: this.#composer,
          functions: this.#options.functions,
          capsCount,
          processors: processorsByLane[lane],
          shouldYield: lane === 'bulk' ? () => this.#triggeredIsBehind() : undefined,
        }),
    );
    for (const runner of [...this.#lanes, ...this.#retries]) runner.start();
    this.#every(lookEveryMs, 'The lanes could not be looked at', () => this.#look());
    this.#every(closeEveryMs, 'Finished dispatches could not be closed', () => closeDispatches(database));
    this.#every(recoverEveryMs, 'Dead workers could not be recovered', () => this.#recover());
  }

  /** What an event triggered is worth little when it comes late; a campaign has time. */
  #triggeredIsBehind(): boolean {
    return this.#lanes[lanes.indexOf('triggered')]?.saturated ?? false;
  }

  /** Looks for chunks of this lane now: something was started or resumed by this process. */
  wake(lane: Lane): void {
    this.#lanes[lanes.indexOf(lane)]?.wake();
  }

  /** One look for all lanes: those that are idle ask for nothing themselves. */
  async #look(): Promise<void> {
    const work = await lanesWithWork(this.#options.database);
    for (const lane of work.chunks) this.#lanes[lanes.indexOf(lane)]!.wake();
    for (const lane of work.retries) this.#retries[lanes.indexOf(lane)]!.wake();
  }

  /** Messages that were handed over and have no committed outcome yet. */
  get inFlight(): number {
    return this.#outcomes.pending;
  }

  /**
   * Takes nothing more, lets what is under way finish for `deadlineMs`, then aborts it. Every outcome that is known is
   * committed; what a server has not answered by then is in doubt, for those who take over. Takes a few seconds more
   * than the deadline at most.
   */
  drain(deadlineMs: number): Promise<void> {
    this.#draining ??= this.#drain(deadlineMs);
    return this.#draining;
  }

  async #drain(deadlineMs: number): Promise<void> {
    this.#stopping = true;
    for (const timer of this.#timers) clearTimeout(timer);
    const end = Date.now() + deadlineMs;
    const runners = Promise.all([...this.#lanes, ...this.#retries].map((runner) => runner.drain()));
    await Promise.race([runners, pause(deadlineMs)]);
    await this.#sessions.drain(Math.max(0, end - Date.now()));
    this.#flow.end();
    // One turn of the loop, in which those that were just answered come to the writer.
    await pause(0);
    for (const last = Date.now() + lastOutcomesMs; this.#outcomes.unwritten > 0 && Date.now() < last; )
      await pause(20);
  }

  async #recover(): Promise<void> {
    const { database, log } = this.#options;
    const inDoubt = await recoverDeadWorkers(database);
    if (inDoubt > 0) log.warn({ inDoubt }, 'Messages of dead workers are in doubt');
  }

  /** Repeats work, with a pause of `ms` after each run. */
  #every(ms: number, failure: string, work: () => Promise<unknown>): void {
    const place = this.#timers.length;
    const run = async () => {
      let waitMs = ms;
      try {
        await work();
      } catch (error) {
        const level = isConnectionError(error) ? 'warn' : 'error';
        this.#options.log[level]({ err: error }, failure);
        waitMs = failureWaitMs;
      }
      if (!this.#stopping) this.#timers[place] = setTimeout(run, waitMs);
    };
    this.#timers[place] = setTimeout(run, 0);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref());
}
