import { type Database, isConnectionError } from '../platform/database.ts';
import { CallerError } from '../platform/errors.ts';
import { uuidv7 } from '../platform/ids.ts';
import type { Log } from '../platform/log.ts';
import type { Admission } from './circuit.ts';
import { type ClaimedChunk, claimChunk, loadDispatch, releaseChunk } from './dispatch.sql.ts';
import type { Dispatch, Lane } from './dispatch.ts';
import type { Flow } from './flow.ts';
import { HookInterrupted, hookPreparation } from './hook.ts';
import { Places } from './places.ts';
import { AddressClaims, type Member, type Prepared, type PrepareOptions, prepare } from './prepare.ts';
import type { DeliveryChannel } from './provider.ts';
import { leaseRate } from './rate.sql.ts';
import type { RouteKey, Sessions } from './session.ts';
import { maxWindow, takeWindow, WindowSender } from './window.ts';

/** After work that failed or could not be taken, before the next claim. */
const breathMs = 200;
/** A wait longer than this gives the chunk back, so that others are served meanwhile. */
const longWaitMs = 1_000;
/** How long a chunk waits for the message that shows whether its account works again. */
const probeWaitMs = 250;
/** How long a lane waits before a window while a more urgent one is behind, at most, and between two looks. */
const longestYieldMs = 250;
const yieldMs = 25;
const maxCachedDispatches = 200;
/**
 * Chunks that wait for functions of customers (hooks, custom delivery), of one dispatch and of all: they are worked on
 * beside the others, so that a slow function keeps nobody else waiting.
 */
const maxAsideOfDispatch = 4;
const maxAside = 40;
/** When there are as many as may be: how long a further one is left alone. */
const asideWaitMs = 1_000;

/** Sets of accounts whose places are remembered; above it, those that nobody has a place of are forgotten. */
const maxPlaces = 200;

/** A chunk that fails is left alone for longer and longer; its dispatch may do better elsewhere, or later. */
const firstFailureWaitMs = 1_000;
const maxFailureWaitMs = 60_000;
const maxRememberedFailures = 1_000;

export interface LaneOptions {
  lane: Lane;
  workerId: string;
  database: Database;
  sessions: Sessions;
  flow: Flow;
  composer: PrepareOptions['composer'];
  functions: PrepareOptions['functions'];
  capsCount: 'targeted' | 'sent';
  log: Log;
  /** Chunks that are worked on at once: one is prepared while another is being sent. */
  processors: number;
  /** More urgent work has fallen behind: this lane leaves it the machine for a moment, again and again. */
  shouldYield?: () => boolean;
}

interface RouteState extends Admission {
  accounts: string;
  capacity: number;
}

/** Works through the chunks of one lane: claim, prepare, then window by window commit and send. */
export class LaneRunner {
  readonly #options: LaneOptions;
  readonly #dispatches = new Map<string, Dispatch>();
  readonly #windows: WindowSender;
  readonly #claims = new AddressClaims();
  /** Places by route: what is in flight is bounded by the accounts that it goes through. */
  readonly #places = new Map<string, Places>();
  /** Failures in a row, by chunk. */
  readonly #failures = new Map<string, number>();
  readonly #sleeping = new Set<() => void>();
  /** Processors without work: each waits to be woken. */
  readonly #idling: (() => void)[] = [];
  /** Something came since the last claim that found nothing began, which therefore may not have seen it. */
  #mayHaveWork = true;
  /** The chunks beside the processors, with their dispatches. */
  readonly #aside = new Map<Promise<void>, string>();
  readonly #abort = new AbortController();
  /** Processors that have a chunk. */
  #working = 0;
  #stopping = false;
  #loops: Promise<void>[] = [];

  constructor(options: LaneOptions) {
    this.#options = options;
    this.#windows = new WindowSender(options);
  }

  start(): void {
    this.#loops = Array.from({ length: this.#options.processors }, () => this.#loop());
  }

  /** All processors are at work, so more is likely to wait. */
  get saturated(): boolean {
    return this.#working >= this.#options.processors;
  }

  /** Waits while more urgent work is behind, but not for long: this lane still gets its windows. */
  async #yield(): Promise<void> {
    const { shouldYield } = this.#options;
    for (let waited = 0; waited < longestYieldMs && shouldYield?.() && !this.#stopping; waited += yieldMs)
      await this.#sleep(yieldMs);
  }

  /**
   * Looks for work: there may be some. Nothing else makes an idle lane look; the pipeline calls this whenever a look at
   * the database shows chunks. One processor looks; when it finds a chunk, it calls the next one.
   */
  wake(): void {
    this.#mayHaveWork = true;
    this.#idling.shift()?.();
  }

  /** Ends when there may be work, or with the process. */
  async #untilWork(): Promise<void> {
    while (!this.#mayHaveWork && !this.#stopping)
      await new Promise<void>((resolve) => this.#idling.push(resolve));
  }

  /** Claims nothing more, gives the chunks back, and waits until what was handed over has its outcome. */
  async drain(): Promise<void> {
    this.#stopping = true;
    this.#abort.abort();
    for (const wake of [...this.#sleeping, ...this.#idling.splice(0)]) wake();
    await Promise.all(this.#loops);
    await Promise.all(this.#aside.keys());
    await this.#windows.settled();
  }

  async #loop(): Promise<void> {
    const { database, lane, workerId, log } = this.#options;
    for (;;) {
      await this.#untilWork();
      if (this.#stopping) return;
      try {
        this.#mayHaveWork = false;
        const chunk = await claimChunk(database, lane, workerId, this.#dispatchesWithEnoughAside());
        if (!chunk) continue;
        // Where one chunk waits there may be more: one processor after the other, until one finds nothing.
        this.wake();
        if (await this.#waitsForFunctions(chunk)) await this.#workAside(chunk);
        else {
          this.#working += 1;
          await this.#work(chunk).finally(() => {
            this.#working -= 1;
          });
        }
      } catch (error) {
        log[levelOf(error)]({ err: error, lane }, 'Chunks could not be claimed; trying again');
        this.#mayHaveWork = true;
        await this.#sleep(firstFailureWaitMs);
      }
    }
  }

  #dispatchesWithEnoughAside(): string[] {
    const counts = new Map<string, number>();
    for (const id of this.#aside.values()) counts.set(id, (counts.get(id) ?? 0) + 1);
    return [...counts].filter(([, count]) => count >= maxAsideOfDispatch).map(([id]) => id);
  }

  async #waitsForFunctions(chunk: ClaimedChunk): Promise<boolean> {
    if (chunk.state === 'stopped') return false;
    try {
      const { plan } = await this.#dispatch(chunk.dispatchId);
      return plan.hook !== undefined || plan.treatments.some(({ delivery }) => delivery);
    } catch {
      // Working on the chunk meets the same, and says so.
      return false;
    }
  }

  /** Works on a chunk without keeping the processor. */
  async #workAside(chunk: ClaimedChunk): Promise<void> {
    if (this.#aside.size >= maxAside) {
      await this.#release(chunk, asideWaitMs);
      await this.#sleep(breathMs);
      return;
    }
    const work: Promise<void> = this.#work(chunk).finally(() => {
      this.#aside.delete(work);
      // Its dispatch may have been one with enough of them.
      this.wake();
    });
    this.#aside.set(work, chunk.dispatchId);
  }

  async #sleep(ms: number): Promise<void> {
    if (this.#stopping) return;
    await new Promise<void>((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.#sleeping.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, ms);
      this.#sleeping.add(wake);
    });
  }

  /** Works on a chunk and gives it back; its failures are its own. */
  async #work(chunk: ClaimedChunk): Promise<void> {
    const key = `${chunk.dispatchId} ${chunk.number}`;
    let waitMs = 0;
    try {
      const dispatch = await this.#dispatch(chunk.dispatchId);
      const over = chunk.state === 'stopped' ? 'stopped' : isExpired(dispatch) ? 'expired' : null;
      if (over) await this.#refuseRest(dispatch, chunk, over);
      else waitMs = await this.#sendChunk(dispatch, chunk, key);
      this.#failures.delete(key);
    } catch (error) {
      // A process that stops gives the chunk back as it is.
      if (!(error instanceof HookInterrupted)) waitMs = this.#failed(chunk, key, error);
    } finally {
      this.#claims.release(key);
      await this.#release(chunk, waitMs);
    }
    // The same failure may await the next chunk.
    if (this.#failures.has(key)) await this.#sleep(breathMs);
  }

  /** How long to leave the chunk alone. */
  #failed(chunk: ClaimedChunk, key: string, error: unknown): number {
    const { log, lane } = this.#options;
    const { dispatchId, number } = chunk;
    // That the database is away is no fault of the chunk.
    const passing = isPassing(error);
    const failures = passing ? 1 : (this.#failures.get(key) ?? 0) + 1;
    if (this.#failures.size >= maxRememberedFailures) this.#failures.clear();
    this.#failures.set(key, failures);
    const waitMs = Math.min(maxFailureWaitMs, firstFailureWaitMs * 2 ** (failures - 1));
    log[levelOf(error)](
      { err: error, lane, dispatchId, number, waitMs },
      'A chunk could not be worked on; trying again',
    );
    return waitMs;
  }

  /**
   * Gives back what is left of a chunk; one that came to its end is gone. A chunk that is not given back would stay this
   * worker's for ever, so this goes on until the database is there.
   */
  async #release(chunk: ClaimedChunk, waitMs: number): Promise<void> {
    const { database, workerId, log } = this.#options;
    if (chunk.next >= chunk.endpointIds.length) return;
    for (let attempt = 1; ; attempt++) {
      try {
        await releaseChunk(database, {
          dispatchId: chunk.dispatchId,
          number: chunk.number,
          workerId,
          waitMs,
        });
        if (waitMs === 0) this.wake();
        return;
      } catch (error) {
        // A stopping worker leaves it to the recovery of dead workers.
        if (this.#stopping) return;
        log.warn({ err: error, attempt }, 'A chunk could not be given back; trying again');
        await this.#sleep(Math.min(5_000, 100 * 2 ** Math.min(attempt, 6)));
      }
    }
  }

  async #dispatch(id: string): Promise<Dispatch> {
    const known = this.#dispatches.get(id);
    if (known) return known;
    const dispatch = await loadDispatch(this.#options.database, id);
    if (!dispatch) throw new Error(`Dispatch ${id} is gone`);
    if (this.#dispatches.size >= maxCachedDispatches)
      this.#dispatches.delete(this.#dispatches.keys().next().value!);
    this.#dispatches.set(id, dispatch);
    return dispatch;
  }

  /** Gives all that is left of a chunk its reason, in one transaction. */
  async #refuseRest(dispatch: Dispatch, chunk: ClaimedChunk, decision: 'stopped' | 'expired'): Promise<void> {
    const members = membersOf(chunk, chunk.next).map(
      ({ endpointId, occasion }): Prepared => ({
        row: {
          id: uuidv7(),
          channel: 'CUSTOM',
          address: '',
          endpointId,
          userId: null,
          eventId: occasion?.id ?? null,
          treatmentId: null,
          decision,
          detail: null,
          summary: null,
        },
        targeted: false,
      }),
    );
    const { state } = chunk;
    const places = new Places(0);
    await this.#windows.send({ dispatch, chunk, members, state, places, stopping: () => this.#stopping });
  }

  /** Sends a chunk to its end, or until its rate, its route or its state says stop. Resolves with a wait. */
  async #sendChunk(dispatch: Dispatch, chunk: ClaimedChunk, key: string): Promise<number> {
    const route = await this.#routeState(dispatch);
    if (route.waitMs > 0) return route.waitMs;
    const places = this.#placesOf(route);
    const window = Math.max(1, Math.min(maxWindow, Math.floor(route.capacity / 2)));
    const rate = dispatch.messagesPerSecond;
    // With a low rate only so many are prepared as can go within a moment: the rest may change until its turn. The same
    // after a pause, when one message has to show whether the account works again.
    const size = Math.min(
      rate === null ? chunk.endpointIds.length : Math.max(1, Math.min(rate, window)),
      route.most,
    );
    // A hook is asked about many at once, however few may go at a time.
    const together = dispatch.plan.hook ? Math.max(size, hookPreparation) : size;
    const stopping = () => this.#stopping || isExpired(dispatch);
    while (chunk.next < chunk.endpointIds.length && !stopping()) {
      const next = membersOf(chunk, chunk.next, chunk.next + together);
      const claims = this.#claims.of(key, dispatch.id);
      const prepared = await prepare(this.#options, dispatch, next, claims, this.#abort.signal);
      for (let from = 0; from < prepared.length && !stopping(); ) {
        const { waitMs, most } = await this.#routeState(dispatch);
        if (waitMs > 0) return waitMs;
        // All that can go at once goes in one window; when much is under way, the next part is made ready meanwhile.
        const room = Math.min(maxWindow, Math.max(window, places.free));
        const members = takeWindow(prepared, from, Math.min(room, most));
        await this.#yield();
        const rateWaitMs = await this.#awaitRate(dispatch, members);
        if (rateWaitMs > 0) return rateWaitMs;
        if (!(await this.#windows.send({ dispatch, chunk, members, state: 'running', places, stopping })))
          return 0;
        from += members.length;
      }
      // Its result says whether the rest may follow.
      if (route.most === 1) return probeWaitMs;
    }
    return 0;
  }

  /** How much the accounts of this dispatch can have under way, and when. */
  async #routeState(dispatch: Dispatch): Promise<RouteState> {
    const { sessions, lane } = this.#options;
    const accounts: string[] = [];
    let capacity = Number.POSITIVE_INFINITY;
    let waitMs = 0;
    let most = Number.POSITIVE_INFINITY;
    for (const key of routesOf(dispatch)) {
      const route = await sessions.route(key, lane);
      accounts.push(...route.map((session) => session.account.id));
      capacity = Math.min(capacity, ...route.map((session) => session.capacity));
      const admission = await sessions.admission({ ...key, lane });
      waitMs = Math.max(waitMs, admission.waitMs);
      most = Math.min(most, admission.most);
    }
    return {
      accounts: accounts.join(' '),
      capacity: Number.isFinite(capacity) ? capacity : maxWindow,
      waitMs,
      most,
    };
  }

  #placesOf(route: RouteState): Places {
    const key = `${route.accounts} ${route.capacity}`;
    const known = this.#places.get(key);
    if (known) return known;
    if (this.#places.size >= maxPlaces)
      for (const [other, { idle }] of this.#places) if (idle) this.#places.delete(other);
    const places = new Places(route.capacity);
    this.#places.set(key, places);
    return places;
  }

  /** Leases the dispatch's rate for a window; a long wait is returned instead of waited for. */
  async #awaitRate(dispatch: Dispatch, members: Prepared[]): Promise<number> {
    let wanted = members.filter(({ content }) => content).length;
    if (dispatch.messagesPerSecond === null) return 0;
    while (wanted > 0 && !this.#stopping) {
      const { granted, waitMs } = await leaseRate(
        this.#options.database,
        `dispatch:${dispatch.id}`,
        dispatch.messagesPerSecond,
        wanted,
      );
      wanted -= granted;
      if (wanted > 0 && waitMs > longWaitMs) return waitMs;
      if (wanted > 0) await this.#sleep(waitMs);
    }
    return 0;
  }
}

function membersOf({ endpointIds, occasions }: ClaimedChunk, from: number, to?: number): Member[] {
  return endpointIds
    .slice(from, to)
    .map((endpointId, place) => ({ endpointId, occasion: occasions?.[from + place] }));
}

/** Where the messages of a dispatch go: the accounts of its channels, and the functions that take them over. */
function routesOf({ applicationId, plan }: Dispatch): RouteKey[] {
  const keys = new Map<string, RouteKey>();
  for (const { content, delivery } of plan.treatments) {
    for (const name of Object.keys(content)) {
      const channel = name as DeliveryChannel;
      const uri = channel === 'CUSTOM' ? delivery?.uri : undefined;
      keys.set(`${channel} ${uri ?? ''}`, { applicationId, channel, uri });
    }
  }
  return [...keys.values()];
}

/** That the database is away is worth a warning; anything else is a fault of ours. */
function levelOf(error: unknown): 'warn' | 'error' {
  return isPassing(error) ? 'warn' : 'error';
}

function isPassing(error: unknown): boolean {
  return isConnectionError(error) || (error instanceof CallerError && error.code === 'unavailable');
}

function isExpired(dispatch: Dispatch): boolean {
  return dispatch.expiresAt.getTime() <= Date.now();
}
