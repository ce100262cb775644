import { createHash } from 'node:crypto';
import type { Log } from '../platform/log.ts';
import { type Admission, Circuit } from './circuit.ts';
import type { Lane } from './dispatch.ts';
import type {
  AttemptResult,
  DeliveryChannel,
  OutgoingMessage,
  Provider,
  ProviderAccount,
  ProviderContext,
  ProviderSession,
} from './provider.ts';

/** Connections to one account, for each lane: a campaign never takes those of a transactional message. */
const connectionsByLane: Record<Lane, number> = {
  verification: 5,
  transactional: 10,
  triggered: 20,
  bulk: 20,
};

/** Open accounts of one process; more than this many are closed again, the longest unused first. */
const maxOpenSessions = 200;

/** Functions of customers whose accounts are remembered. */
const maxFunctions = 1_000;

/** Name of the provider that hands messages to functions of customers. */
export const functionProvider = 'function';

/** How long connections may take to close when the process drains. */
const closeMs = 3_000;

/** Messages that wait in memory for one account; more go to its successor in the route or into the retries. */
const maxWaiting = 2_000;

/** Asks for room to send within an account's rate and daily limit; see the provider accounts. */
export interface AccountLimits {
  /** Resolves with the number that may be sent now (0: none) and how long to wait before asking again. */
  lease(account: ProviderAccount, wanted: number): Promise<{ granted: number; waitMs: number }>;
  /** Reserves room in the account's daily limit; less than `wanted` when it is nearly used up. */
  reserveDaily(account: ProviderAccount, wanted: number): Promise<number>;
}

interface Waiting {
  message: OutgoingMessage;
  resolve: (result: AttemptResult) => void;
}

/**
 * One account as one lane uses it: gathers messages into batches, keeps to the session's limits, and remembers when
 * the account did not work so that others are asked first.
 */
export class AccountSession {
  readonly account: ProviderAccount;
  readonly circuit = new Circuit();
  readonly #session: ProviderSession;
  readonly #limits: AccountLimits;
  readonly #signal: AbortSignal;
  readonly #waiting: Waiting[] = [];
  #running = 0;
  #closed = false;
  usedAt = Date.now();

  constructor(
    account: ProviderAccount,
    session: ProviderSession,
    limits: AccountLimits,
    signal: AbortSignal,
  ) {
    this.account = account;
    this.#session = session;
    this.#limits = limits;
    this.#signal = signal;
  }

  /** Messages that this session can have under way at once without any of them waiting long. */
  get capacity(): number {
    const { concurrency, batch } = this.#session.limits;
    return concurrency * Math.max(batch, 2);
  }

  get busy(): boolean {
    return this.#running > 0 || this.#waiting.length > 0;
  }

  get closed(): boolean {
    return this.#closed;
  }

  send(message: OutgoingMessage): Promise<AttemptResult> {
    this.usedAt = Date.now();
    if (this.#waiting.length >= maxWaiting) {
      const response = `Too many messages wait for the account ${this.account.name}`;
      return Promise.resolve(notTried(message.id, response));
    }
    return new Promise((resolve) => {
      this.#waiting.push({ message, resolve });
      // One turn of the loop, so that the messages of one window travel together.
      if (this.#waiting.length === 1) setImmediate(() => this.#pump());
      else if (this.#waiting.length >= this.#session.limits.batch) this.#pump();
    });
  }

  close(): Promise<void> {
    this.#closed = true;
    return this.#session.close();
  }

  #pump(): void {
    const { concurrency, batch } = this.#session.limits;
    while (this.#running < concurrency && this.#waiting.length > 0) {
      const taken = this.#waiting.splice(0, batch);
      this.#running += 1;
      void this.#sendBatch(taken).finally(() => {
        this.#running -= 1;
        this.#pump();
      });
    }
  }

  async #sendBatch(batch: Waiting[]): Promise<void> {
    let rest = batch;
    while (rest.length > 0) {
      const room = await this.#room(rest.length);
      if ('refusal' in room) {
        for (const { message, resolve } of rest) resolve(notTried(message.id, room.refusal));
        return;
      }
      const part = rest.slice(0, room.granted);
      rest = rest.slice(part.length);
      const results = await this.#attempt(part.map(({ message }) => message));
      const first = part.filter(({ message }) => message.attempt === 1).length;
      this.circuit.note(results, Date.now(), first);
      part.forEach(({ resolve }, index) => {
        resolve(results[index]!);
      });
    }
  }

  /** How many may go now: waits for the account's rate. A refusal when its day is full or the process is stopping. */
  async #room(wanted: number): Promise<{ granted: number } | { refusal: string }> {
    const { account } = this;
    try {
      let granted = account.messagesPerSecond === null ? wanted : 0;
      while (granted === 0) {
        if (this.#signal.aborted) return { refusal: 'Stopped before the message was handed over' };
        const lease = await this.#limits.lease(account, wanted);
        granted = lease.granted;
        if (granted === 0) await new Promise((resolve) => setTimeout(resolve, lease.waitMs));
      }
      if (account.dailyLimit !== null) granted = await this.#limits.reserveDaily(account, granted);
      if (granted > 0) return { granted };
    } catch (error) {
      // The database is away: nothing may be sent beyond a limit that cannot be asked for. The message is retried.
      const words = error instanceof Error ? error.message : String(error);
      return {
        refusal: `The limit of the account ${account.name} could not be read: ${words}`.slice(0, 500),
      };
    }
    this.circuit.noteLimit(Date.now());
    return { refusal: `The account ${account.name} has reached its limit` };
  }

  /** One result for each message, whatever the provider does. */
  async #attempt(messages: OutgoingMessage[]): Promise<AttemptResult[]> {
    let results: AttemptResult[];
    let failure = 'no result';
    try {
      results = await this.#session.send(messages, this.#signal);
    } catch (error) {
      results = [];
      failure = error instanceof Error ? error.message : String(error);
    }
    // A provider must not throw nor leave one out; when one does, nobody knows how far it came.
    return messages.map(
      ({ id }, index) =>
        results[index] ?? {
          id,
          outcome: 'unknown',
          code: 0,
          response: `The provider failed: ${failure}`.slice(0, 500),
        },
    );
  }
}

/** The account could not be used for a message, so the next one may be. */
function notTried(id: string, response: string): AttemptResult {
  return { id, outcome: 'deferred', code: 0, response, accountUnusable: true };
}

export interface SessionsOptions {
  providers: readonly Provider[];
  /** The accounts of an application for a channel, in the order in which they are tried. */
  routeFor(applicationId: string, channel: DeliveryChannel): Promise<ProviderAccount[]>;
  limits: AccountLimits;
  context: ProviderContext;
  log: Log;
}

/** Where messages of a kind go. */
export interface RouteKey {
  applicationId: string;
  channel: DeliveryChannel;
  /** The function of the customer's that takes them over, instead of the channel's accounts. */
  uri?: string | null | undefined;
}

/** What became of an attempt, and which account made it. */
export type RoutedResult = AttemptResult & { accountId: string | null };

/** All open accounts of a process, and the way of a message through them. */
export class Sessions {
  readonly #options: SessionsOptions;
  readonly #open = new Map<string, AccountSession>();
  /** The session of an account object as the cache of accounts hands it out, so that a message costs no key. */
  readonly #known = new WeakMap<ProviderAccount, Map<Lane, AccountSession>>();
  readonly #functions = new Map<string, ProviderAccount>();
  readonly #abort = new AbortController();

  constructor(options: SessionsOptions) {
    this.#options = options;
  }

  /** The sessions of a route in order; empty when no account serves the channel. */
  async route(key: RouteKey, lane: Lane): Promise<AccountSession[]> {
    const { applicationId, channel, uri } = key;
    const accounts = uri
      ? [this.#functionOf(applicationId, uri)]
      : await this.#options.routeFor(applicationId, channel);
    return accounts.map((account) => {
      const known = this.#known.get(account) ?? new Map<Lane, AccountSession>();
      const open = known.get(lane);
      const session = open && !open.closed ? open : this.#sessionOf(account, lane);
      // Whoever asks is about to use it: it is not the longest unused one.
      session.usedAt = Date.now();
      known.set(lane, session);
      this.#known.set(account, known);
      return session;
    });
  }

  /**
   * Attempts a message along its route: the next account is asked only when one could not be used at all, which is
   * always before the message was accepted anywhere.
   */
  async attempt(lane: Lane, message: OutgoingMessage): Promise<RoutedResult> {
    let route: AccountSession[];
    try {
      route = await this.route(routeOf(message), lane);
    } catch (error) {
      const response = `The route could not be read: ${error instanceof Error ? error.message : String(error)}`;
      return {
        id: message.id,
        outcome: 'deferred',
        code: 0,
        response: response.slice(0, 500),
        accountId: null,
      };
    }
    let last: RoutedResult | undefined;
    const skipped: AccountSession[] = [];
    const use = async (session: AccountSession) => {
      last = { ...(await session.send(message)), accountId: session.account.id };
      return last.outcome === 'deferred' && last.accountUnusable ? undefined : last;
    };
    for (const session of route) {
      const result = session.circuit.tryEnter(Date.now()) ? await use(session) : void skipped.push(session);
      if (result) return result;
    }
    // All are out of order: somebody waits for an answer, and it should be a true one.
    for (const session of last ? [] : skipped) {
      const result = await use(session);
      if (result) return result;
    }
    return (
      last ?? {
        id: message.id,
        outcome: 'deferred',
        code: 0,
        response: `No account serves ${message.channel}`,
        accountId: null,
      }
    );
  }

  /**
   * The best that the accounts of a route offer now. An empty route asks for no wait: whoever sends on it learns that
   * there is no account.
   */
  async admission(route: RouteKey & { lane: Lane }, options: { repeats?: boolean } = {}): Promise<Admission> {
    const sessions = await this.route(route, route.lane);
    const now = Date.now();
    const offers = sessions.map(({ circuit }) => circuit.admission(now, options));
    if (offers.length === 0) return { waitMs: 0, most: Number.POSITIVE_INFINITY };
    return offers.reduce((best, offer) =>
      offer.most > best.most || (offer.most === best.most && offer.waitMs < best.waitMs) ? offer : best,
    );
  }

  /**
   * Lets what is under way finish until `deadlineMs` from now, then aborts it, and closes all connections. A server that
   * answers nothing keeps its connections; they end with the process.
   */
  async drain(deadlineMs: number): Promise<void> {
    const end = Date.now() + deadlineMs;
    while (Date.now() < end && [...this.#open.values()].some((session) => session.busy)) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    this.#abort.abort();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise((resolve) => {
      timer = setTimeout(resolve, closeMs);
    });
    await Promise.race([
      Promise.allSettled([...this.#open.values()].map((session) => session.close())),
      late,
    ]);
    clearTimeout(timer);
    this.#open.clear();
  }

  /** Each function is an account of its own, so that one that is slow or out of order is nobody else's trouble. */
  #functionOf(applicationId: string, uri: string): ProviderAccount {
    const key = `${applicationId} ${uri}`;
    const known = this.#functions.get(key);
    if (known) return known;
    if (this.#functions.size >= maxFunctions) this.#functions.delete(this.#functions.keys().next().value!);
    const account: ProviderAccount = {
      id: `function-${createHash('sha256').update(key).digest('hex').slice(0, 16)}`,
      applicationId,
      channel: 'CUSTOM',
      provider: functionProvider,
      name: uri.slice(0, 200),
      settings: { uri },
      secrets: {},
      messagesPerSecond: null,
      dailyLimit: null,
    };
    this.#functions.set(key, account);
    return account;
  }

  #sessionOf(account: ProviderAccount, lane: Lane): AccountSession {
    // A changed account is another session: the old one finishes what it has.
    const key = `${lane} ${account.id} ${JSON.stringify([account.settings, account.secrets, account.messagesPerSecond, account.dailyLimit])}`;
    const open = this.#open.get(key);
    if (open) return open;
    const provider = this.#options.providers.find(({ name }) => name === account.provider);
    if (!provider)
      throw new Error(
        `The account ${account.name} is of the provider ${account.provider}, which this version does not have`,
      );
    const session = provider.open(account, this.#options.context, {
      maxConnections: connectionsByLane[lane],
    });
    const made = new AccountSession(account, session, this.#options.limits, this.#abort.signal);
    this.#open.set(key, made);
    this.#closeUnused();
    return made;
  }

  #closeUnused(): void {
    if (this.#open.size <= maxOpenSessions) return;
    const idle = [...this.#open]
      .filter(([, session]) => !session.busy)
      .sort(([, a], [, b]) => a.usedAt - b.usedAt);
    for (const [key, session] of idle.slice(0, this.#open.size - maxOpenSessions)) {
      this.#open.delete(key);
      session.close().catch((error) => this.#options.log.warn({ error }, 'Closing an unused session failed'));
    }
  }
}

function routeOf({ applicationId, channel, content }: OutgoingMessage): RouteKey {
  const uri = channel === 'CUSTOM' && content.kind === 'custom' ? content.delivery?.uri : undefined;
  return { applicationId, channel, uri };
}
