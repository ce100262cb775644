import { createPoller, type PollMs } from '../events/index.ts';
import type { Clock } from '../platform/clock.ts';
import { type Database, isConnectionError } from '../platform/database.ts';
import type { Log } from '../platform/log.ts';
import type { Secrets } from '../platform/secrets.ts';
import type { DeliveryOptions } from './deliver.ts';
import { createStreamFeed } from './feed.ts';
import { type OutletOptions, openOutlet } from './outlets/index.ts';
import { type Outlet, OutletError } from './outlets/outlet.ts';
import {
  claimStreams,
  countOwned,
  releaseAll,
  releaseStreams,
  selectDue,
  selectIdleOverdue,
  selectShare,
} from './queue.sql.ts';
import {
  type BackoffMs,
  fail,
  newRoundState,
  parkOverdue,
  type RoundState,
  runRound,
  tryForMs,
} from './round.ts';
import type { ActivityIds } from './source.ts';
import { selectStreamById } from './stream.sql.ts';
import { openSecrets, type StreamRow } from './stream.ts';

export interface StreamRunnerOptions extends OutletOptions {
  database: Database;
  log: Log;
  clock: Clock;
  secrets: Secrets;
  /** Row of `workers` under which streams are held. */
  workerId: string;
  /** POSTRIDER_ACCOUNT_ID. */
  accountId: string;
  activityIds: ActivityIds;
  pollMs?: PollMs;
  backoffMs?: BackoffMs;
  delivery?: Omit<DeliveryOptions, 'signal'>;
  /** How often free streams are looked for. */
  claimEveryMs?: number;
}

export interface StreamRunner {
  start(): void;
  /** Something may have been numbered. */
  wake(): void;
  /** Takes nothing new, waits for the requests that run, and gives the streams back. */
  stop(): Promise<void>;
}

/** Streams that are delivered at the same moment by one process. */
const maxAtOnce = 16;
/** Rounds of one stream before the others have their turn. */
const maxRounds = 25;
const overdueEveryMs = 60_000;
const maxClaims = 500;
/** For requests that run when the process is to end. */
const stopWithinMs = 10_000;

interface Opened {
  outlet: Outlet;
  /** A changed stream gets a new outlet. */
  modifiedAt: number;
  state: RoundState;
}

/**
 * Delivers streams: any number of processes share them, each stream is with one of them at a time, and goes to another
 * when that one is gone. One poller for all streams of a process; a stream that is slow or down takes one place at most.
 */
export function createStreamRunner(options: StreamRunnerOptions): StreamRunner {
  const { database, clock, workerId, secrets } = options;
  const log = options.log.child({ component: 'streams' });
  const backoffMs = options.backoffMs ?? { first: 1_000, longest: 300_000 };
  const claimEveryMs = options.claimEveryMs ?? 2_000;
  let stopping = false;
  /** Ends requests that are still unanswered some time after the stop. */
  const giveUp = new AbortController();
  const opened = new Map<string, Opened>();
  const busy = new Map<string, Promise<void>>();
  let claimedAt = Number.NEGATIVE_INFINITY;
  let overdueAt = performance.now();

  async function claim(): Promise<void> {
    const { rows } = await database.query<{ share: number }>(selectShare);
    const owned = await database.query<{ owned: number }>(countOwned(workerId));
    const surplus = owned.rows[0]!.owned - rows[0]!.share;
    if (surplus > 0) await database.query(releaseStreams(workerId, [...busy.keys()], surplus));
    else if (surplus < 0) await database.query(claimStreams(workerId, Math.min(-surplus, maxClaims)));
  }

  /** What nobody tries to deliver is put aside after 24 hours as well. */
  async function parkIdle(): Promise<void> {
    const { rows } = await database.query<{ id: string; state: string }>(
      selectIdleOverdue(clock.now() - tryForMs),
    );
    for (const { id, state } of rows)
      await parkOverdue(database, id, { now: clock.now(), error: `the stream was ${state} for 24 hours` });
  }

  async function round(): Promise<'some' | 'none'> {
    const now = performance.now();
    if (now - claimedAt >= claimEveryMs) {
      await claim();
      claimedAt = now;
    }
    if (now - overdueAt >= overdueEveryMs) {
      await parkIdle();
      overdueAt = now;
    }
    const places = maxAtOnce - busy.size;
    if (places <= 0) return 'some';
    const { rows } = await database.query<{ id: string }>(
      selectDue(workerId, clock.now(), [...busy.keys()], places),
    );
    for (const { id } of rows) {
      const work = deliverStream(id)
        .finally(() => {
          // By its next turn it may be old: facts are erased, streams change hands.
          const entry = opened.get(id);
          if (entry) entry.state.ahead = undefined;
        })
        .catch((error: unknown) => {
          log.warn({ err: error, streamId: id }, 'a stream could not be worked on; it is tried again');
        })
        .finally(() => {
          busy.delete(id);
          poller.wake();
        });
      busy.set(id, work);
    }
    return rows.length > 0 ? 'some' : 'none';
  }

  async function deliverStream(id: string): Promise<void> {
    for (let count = 0; count < maxRounds && !stopping; count++) {
      const { rows } = await database.query<StreamRow>(selectStreamById(id));
      const stream = rows[0];
      if (stream?.state !== 'active') return await close(id);
      const end = await tryRound(stream);
      if (end === 'lost') return await close(id);
      if (end !== 'more') return;
    }
  }

  async function tryRound(stream: StreamRow) {
    const common = { database, clock, workerId, backoffMs };
    try {
      const { outlet, state } = await open(stream);
      return await runRound(stream, outlet, state, {
        ...common,
        accountId: options.accountId,
        activityIds: options.activityIds,
        delivery: options.delivery ?? {},
        signal: giveUp.signal,
      });
    } catch (error) {
      // The database: the poller waits for it, and the stream is not to blame.
      if (isConnectionError(error)) throw error;
      const words = error instanceof Error ? error.message : String(error);
      const failure = error instanceof OutletError ? error : new OutletError('unavailable', words);
      if (failure !== error) log.error({ err: error, streamId: stream.id }, 'a stream failed');
      return await fail(stream, failure, common);
    }
  }

  async function open(stream: StreamRow): Promise<Opened> {
    const modifiedAt = stream.modifiedAt.getTime();
    const known = opened.get(stream.id);
    if (known?.modifiedAt === modifiedAt) return known;
    await close(stream.id);
    const outlet = await openOutlet(stream, openSecrets(secrets, stream), options);
    const entry: Opened = { outlet, modifiedAt, state: newRoundState() };
    opened.set(stream.id, entry);
    return entry;
  }

  async function close(id: string): Promise<void> {
    const entry = opened.get(id);
    opened.delete(id);
    await entry?.outlet.close();
  }

  const poller = createPoller({
    pollMs: options.pollMs ?? { busy: 50, idle: 500 },
    onError: (error) => log.warn({ err: error }, 'streams could not be looked at; it is tried again'),
    round,
  });
  const feed = createStreamFeed({ database, log: options.log, onSlices: () => poller.wake() });

  return {
    start() {
      feed.start();
      poller.start();
    },
    wake: () => feed.wake(),
    async stop() {
      await feed.stop();
      stopping = true;
      await poller.stop();
      const timer = setTimeout(() => giveUp.abort(), stopWithinMs);
      await Promise.allSettled(busy.values());
      clearTimeout(timer);
      for (const id of [...opened.keys()]) await close(id);
      await database.query(releaseAll(workerId));
    },
  };
}
