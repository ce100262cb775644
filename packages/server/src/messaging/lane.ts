import { appendFacts, type Fact } from '../events/index.ts';
import type { Database } from '../platform/database.ts';
import { uuidv7 } from '../platform/ids.ts';
import type { Log } from '../platform/log.ts';
import { releaseTotal, reserveDaily, reserveTotal } from './caps.sql.ts';
import { type ClaimedChunk, claimChunk, loadDispatch, moveChunk, releaseChunk } from './dispatch.sql.ts';
import type { Dispatch, Lane } from './dispatch.ts';
import { type Flow, Places } from './flow.ts';
import type { InFlight } from './outcome.ts';
import { type Prepared, type PrepareOptions, prepare } from './prepare.ts';
import type { DeliveryChannel } from './provider.ts';
import { leaseRate } from './rate.sql.ts';
import type { Sessions } from './session.ts';
import { insertMessages, insertWindow, type SendWindow } from './window.sql.ts';

/** Members of one chunk that go into one transaction at most. */
const maxWindow = 250;
const idlePollMs = 200;
/** A wait longer than this gives the chunk back, so that others are served meanwhile. */
const longWaitMs = 1_000;
const maxCachedDispatches = 200;

export interface LaneOptions {
  lane: Lane;
  workerId: string;
  database: Database;
  sessions: Sessions;
  flow: Flow;
  composer: PrepareOptions['composer'];
  capsCount: 'targeted' | 'sent';
  log: Log;
  /** Chunks that are worked on at once: one is prepared while another is being sent. */
  processors: number;
}

interface RouteState {
  accounts: string;
  capacity: number;
  /** How long all accounts of a channel are out of order. */
  downMs: number;
}

/** Works through the chunks of one lane: claim, prepare, then window by window commit and send. */
export class LaneRunner {
  readonly #options: LaneOptions;
  readonly #dispatches = new Map<string, Dispatch>();
  readonly #inFlight = new Set<Promise<unknown>>();
  /** Places by route: what is in flight is bounded by the accounts that it goes through. */
  readonly #places = new Map<string, Places>();
  #stopping = false;
  #wake: (() => void) | undefined;
  #loops: Promise<void>[] = [];

  constructor(options: LaneOptions) {
    this.#options = options;
  }

  start(): void {
    this.#loops = Array.from({ length: this.#options.processors }, () => this.#loop());
  }

  /** Looks for work now rather than at the next poll. */
  wake(): void {
    this.#wake?.();
  }

  /** Claims nothing more, gives the chunks back, and waits until what was handed over has its outcome. */
  async drain(): Promise<void> {
    this.#stopping = true;
    this.wake();
    await Promise.all(this.#loops);
    await Promise.allSettled(this.#inFlight);
  }

  async #loop(): Promise<void> {
    const { database, lane, workerId, log } = this.#options;
    while (!this.#stopping) {
      try {
        const chunk = await claimChunk(database, lane, workerId);
        if (!chunk) await this.#sleep(idlePollMs);
        else await this.#work(chunk);
      } catch (error) {
        log.error({ err: error, lane }, 'A chunk could not be worked on; trying again');
        await this.#sleep(1_000);
      }
    }
  }

  async #sleep(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  async #work(chunk: ClaimedChunk): Promise<void> {
    let waitMs = 0;
    try {
      const dispatch = await this.#dispatch(chunk.dispatchId);
      const over =
        chunk.state === 'stopped' ? 'stopped' : dispatch.expiresAt.getTime() <= Date.now() ? 'expired' : null;
      if (over) await this.#refuseRest(dispatch, chunk, over);
      else waitMs = await this.#sendChunk(dispatch, chunk);
    } catch (error) {
      waitMs = 1_000;
      throw error;
    } finally {
      await this.#release(chunk, waitMs);
    }
  }

  /** A chunk that is not given back would stay this worker's for ever, so this goes on until the database is there. */
  async #release(chunk: ClaimedChunk, waitMs: number): Promise<void> {
    const { database, workerId, log } = this.#options;
    for (let attempt = 1; ; attempt++) {
      try {
        await releaseChunk(database, {
          dispatchId: chunk.dispatchId,
          number: chunk.number,
          workerId,
          waitMs,
        });
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
    const members = chunk.endpointIds.slice(chunk.next).map(
      (endpointId): Prepared => ({
        row: {
          id: uuidv7(),
          channel: 'CUSTOM',
          address: '',
          endpointId,
          userId: null,
          treatmentId: null,
          decision,
          detail: null,
          summary: null,
        },
        targeted: false,
      }),
    );
    await this.#commit(dispatch, chunk, members, chunk.state, new Places(0));
  }

  /** Sends a chunk to its end, or until its rate, its route or its state says stop. Resolves with a wait. */
  async #sendChunk(dispatch: Dispatch, chunk: ClaimedChunk): Promise<number> {
    const route = await this.#routeState(dispatch);
    if (route.downMs > 0) return route.downMs;
    const places = this.#placesOf(route);
    const window = Math.max(1, Math.min(maxWindow, Math.floor(route.capacity / 2)));
    const rate = dispatch.messagesPerSecond;
    // With a low rate only so many are prepared as can go within a moment: the rest may change until its turn.
    const size = rate === null ? chunk.endpointIds.length : Math.max(1, Math.min(rate, window));
    while (chunk.next < chunk.endpointIds.length && !this.#stopping) {
      const ids = chunk.endpointIds.slice(chunk.next, chunk.next + size);
      const prepared = await prepare(this.#options, dispatch, ids);
      for (let from = 0; from < prepared.length && !this.#stopping; ) {
        const down = (await this.#routeState(dispatch)).downMs;
        if (down > 0) return down;
        const members = takeWindow(prepared, from, window);
        const waitMs = await this.#awaitRate(dispatch, members);
        if (waitMs > 0) return waitMs;
        if (!(await this.#commit(dispatch, chunk, members, 'running', places))) return 0;
        from += members.length;
      }
    }
    return 0;
  }

  /** How much the accounts of this dispatch can have under way, and how long they are all out of order. */
  async #routeState(dispatch: Dispatch): Promise<RouteState> {
    const { sessions, lane } = this.#options;
    const channels = new Set(dispatch.plan.treatments.flatMap(({ content }) => Object.keys(content)));
    const accounts: string[] = [];
    let capacity = Number.POSITIVE_INFINITY;
    let downMs = 0;
    for (const channel of channels) {
      const route = await sessions.route(dispatch.applicationId, channel as DeliveryChannel, lane);
      accounts.push(...route.map((session) => session.account.id));
      capacity = Math.min(capacity, ...route.map((session) => session.capacity));
      downMs = Math.max(
        downMs,
        route.length === 0 ? 0 : Math.min(...route.map((session) => session.downForMs())),
      );
    }
    return {
      accounts: accounts.join(' '),
      capacity: Number.isFinite(capacity) ? capacity : maxWindow,
      downMs,
    };
  }

  #placesOf(route: RouteState): Places {
    const key = `${route.accounts} ${route.capacity}`;
    const places = this.#places.get(key) ?? new Places(route.capacity);
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

  /**
   * Writes the rows of a window and hands its messages over. False when the dispatch is not in `state` any more or the
   * chunk was lost; then nothing was written.
   */
  async #commit(
    dispatch: Dispatch,
    chunk: ClaimedChunk,
    members: Prepared[],
    state: Dispatch['state'],
    places: Places,
  ): Promise<boolean> {
    const { flow, workerId, lane } = this.#options;
    const wanted = members.filter(({ content }) => content).length;
    await places.take(wanted);
    const windowId = uuidv7();
    const window: Omit<SendWindow, 'messages'> = {
      id: windowId,
      workerId,
      applicationId: dispatch.applicationId,
      dispatchId: dispatch.id,
      class: dispatch.class,
      lane,
      expiresAt: dispatch.expiresAt,
    };
    let sending: Prepared[] = [];
    const to = chunk.next + members.length;
    const committed = await flow
      .commitWindow(windowId, async (tx) => {
        const cursor = {
          dispatchId: dispatch.id,
          number: chunk.number,
          workerId,
          from: chunk.next,
          to,
          state,
        };
        if (!(await moveChunk(tx, cursor))) return false;
        await this.#applyCaps(tx, dispatch, members);
        sending = members.filter(({ row, content }) => row.decision === 'sending' && content);
        await insertMessages(
          tx,
          dispatch,
          members.map(({ row }) => row),
        );
        if (sending.length > 0)
          await insertWindow(tx, { ...window, messages: sending.map(windowMessage(dispatch)) });
        await appendFacts(tx, [windowFact(dispatch, members)]);
        return true;
      })
      .catch((error) => {
        places.give(wanted);
        throw error;
      });
    if (!committed) sending = [];
    else chunk.next = to;
    places.give(wanted - sending.length);
    this.#handOver(dispatch, window, sending, places);
    return committed;
  }

  async #applyCaps(
    tx: Parameters<typeof reserveDaily>[0],
    dispatch: Dispatch,
    members: Prepared[],
  ): Promise<void> {
    const { daily, total } = dispatch.plan.limits;
    if (!daily && !(total && dispatch.campaignId)) return;
    const counts = (member: Prepared) =>
      this.#options.capsCount === 'targeted' ? member.targeted : member.row.decision === 'sending';
    let candidates = members.filter((member) => counts(member) && member.row.endpointId);
    const refuse = (granted: Set<string>, decision: 'daily_cap' | 'campaign_cap', limit: number) => {
      for (const { row } of candidates) {
        if (granted.has(row.endpointId!)) continue;
        row.decision = decision;
        row.detail = `The limit is ${limit}`;
      }
      candidates = candidates.filter(({ row }) => granted.has(row.endpointId!));
    };
    const ids = () => candidates.map(({ row }) => row.endpointId!);
    if (total && dispatch.campaignId) {
      refuse(await reserveTotal(tx, dispatch.campaignId, ids(), total), 'campaign_cap', total);
    }
    if (!daily) return;
    const asked = ids();
    const granted = await reserveDaily(tx, dispatch.applicationId, asked, daily);
    refuse(granted, 'daily_cap', daily);
    const refused = asked.filter((id) => !granted.has(id));
    if (total && dispatch.campaignId && refused.length > 0)
      await releaseTotal(tx, dispatch.campaignId, refused);
  }

  #handOver(
    dispatch: Dispatch,
    window: Omit<SendWindow, 'messages'>,
    sending: Prepared[],
    places: Places,
  ): void {
    const inFlight = sending.map(
      ({ row, content }): InFlight => ({
        windowId: window.id,
        dispatchId: dispatch.id,
        campaignId: dispatch.campaignId,
        endpointId: row.endpointId,
        treatmentId: row.treatmentId,
        class: dispatch.class,
        lane: window.lane,
        expiresAt: dispatch.expiresAt,
        message: {
          id: row.id,
          applicationId: dispatch.applicationId,
          channel: row.channel as InFlight['message']['channel'],
          address: row.address,
          attempt: 1,
          content: content!,
        },
      }),
    );
    if (inFlight.length === 0) return;
    for (const outcome of this.#options.flow.send(window, inFlight)) {
      this.#inFlight.add(outcome);
      void outcome.finally(() => {
        this.#inFlight.delete(outcome);
        places.give(1);
      });
    }
  }
}

/** The next members with at most `size` messages to send among them; what is held back travels along. */
function takeWindow(prepared: Prepared[], from: number, size: number): Prepared[] {
  let sending = 0;
  let to = from;
  while (to < prepared.length && to - from < maxWindow * 2) {
    if (prepared[to]!.content) {
      if (sending === size) break;
      sending += 1;
    }
    to += 1;
  }
  return prepared.slice(from, to);
}

function windowMessage(dispatch: Dispatch): (member: Prepared) => SendWindow['messages'][number] {
  return ({ row, content }) => ({
    id: row.id,
    attempt: 1,
    endpointId: row.endpointId,
    treatmentId: row.treatmentId,
    message:
      dispatch.class === 'transactional'
        ? {
            id: row.id,
            applicationId: dispatch.applicationId,
            channel: row.channel as InFlight['message']['channel'],
            address: row.address,
            content: content!,
          }
        : undefined,
  });
}

/** What was decided in a window, by treatment: the campaign's counters are made of these. */
function windowFact(dispatch: Dispatch, members: Prepared[]): Fact {
  const decisions: Record<string, Record<string, number>> = {};
  for (const { row } of members) {
    const treatmentId = row.treatmentId ?? '0';
    const counts = decisions[treatmentId] ?? {};
    counts[row.decision] = (counts[row.decision] ?? 0) + 1;
    decisions[treatmentId] = counts;
  }
  return {
    type: 'dispatch.window',
    applicationId: dispatch.applicationId,
    dispatchId: dispatch.id,
    payload: { campaignId: dispatch.campaignId ?? undefined, decisions },
  };
}
