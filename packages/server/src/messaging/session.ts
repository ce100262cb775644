import type { Log } from '../platform/log.ts';
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
  triggered: 5,
  bulk: 20,
};

/** Open accounts of one process; more than this many are closed again, the longest unused first. */
const maxOpenSessions = 200;
const maxDownMs = 30_000;

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
  readonly #session: ProviderSession;
  readonly #limits: AccountLimits;
  readonly #signal: AbortSignal;
  readonly #waiting: Waiting[] = [];
  #running = 0;
  #failures = 0;
  #downUntil = 0;
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

  /** Milliseconds until the account is worth another try; 0 when it is. */
  downForMs(now = Date.now()): number {
    return Math.max(0, this.#downUntil - now);
  }

  get busy(): boolean {
    return this.#running > 0 || this.#waiting.length > 0;
  }

  send(message: OutgoingMessage): Promise<AttemptResult> {
    this.usedAt = Date.now();
    return new Promise((resolve) => {
      this.#waiting.push({ message, resolve });
      // One turn of the loop, so that the messages of one window travel together.
      if (this.#waiting.length === 1) setImmediate(() => this.#pump());
      else if (this.#waiting.length >= this.#session.limits.batch) this.#pump();
    });
  }

  close(): Promise<void> {
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
      const part = rest.slice(0, await this.#room(rest.length));
      rest = rest.slice(part.length);
      if (part.length === 0) {
        for (const { message, resolve } of rest) resolve(limitReached(message.id, this.account.name));
        return;
      }
      const results = await this.#attempt(part.map(({ message }) => message));
      part.forEach(({ resolve }, index) => {
        resolve(results[index]!);
      });
      this.#remember(results);
    }
  }

  /** How many may go now: waits for the account's rate, 0 when its day is full or the process is stopping. */
  async #room(wanted: number): Promise<number> {
    try {
      const { account } = this;
      let granted = account.messagesPerSecond === null ? wanted : 0;
      while (granted === 0) {
        if (this.#signal.aborted) return 0;
        const lease = await this.#limits.lease(account, wanted);
        granted = lease.granted;
        if (granted === 0) await new Promise((resolve) => setTimeout(resolve, lease.waitMs));
      }
      return account.dailyLimit === null ? granted : await this.#limits.reserveDaily(account, granted);
    } catch {
      // The database is away: nothing may be sent beyond a limit that cannot be asked for. The message is retried.
      return 0;
    }
  }

  async #attempt(messages: OutgoingMessage[]): Promise<AttemptResult[]> {
    try {
      return await this.#session.send(messages, this.#signal);
    } catch (error) {
      // A provider must not throw; when one does, nobody knows how far it came.
      const response = `The provider failed: ${error instanceof Error ? error.message : String(error)}`.slice(
        0,
        500,
      );
      return messages.map(({ id }) => ({ id, outcome: 'unknown', code: 0, response }));
    }
  }

  #remember(results: AttemptResult[]): void {
    const unusable = results.every((result) => result.accountUnusable);
    this.#failures = unusable ? this.#failures + 1 : 0;
    this.#downUntil = unusable ? Date.now() + Math.min(maxDownMs, 500 * 2 ** Math.min(this.#failures, 6)) : 0;
  }
}

function limitReached(id: string, account: string): AttemptResult {
  return {
    id,
    outcome: 'deferred',
    code: 0,
    response: `The account ${account} has reached its limit`,
    accountUnusable: true,
  };
}

export interface SessionsOptions {
  providers: readonly Provider[];
  /** The accounts of an application for a channel, in the order in which they are tried. */
  routeFor(applicationId: string, channel: DeliveryChannel): Promise<ProviderAccount[]>;
  limits: AccountLimits;
  context: ProviderContext;
  log: Log;
}

/** What became of an attempt, and which account made it. */
export type RoutedResult = AttemptResult & { accountId: string | null };

/** All open accounts of a process, and the way of a message through them. */
export class Sessions {
  readonly #options: SessionsOptions;
  readonly #open = new Map<string, AccountSession>();
  /** The session of an account object as the cache of accounts hands it out, so that a message costs no key. */
  readonly #known = new WeakMap<ProviderAccount, Map<Lane, AccountSession>>();
  readonly #abort = new AbortController();

  constructor(options: SessionsOptions) {
    this.#options = options;
  }

  /** The sessions of a route in order; empty when no account serves the channel. */
  async route(applicationId: string, channel: DeliveryChannel, lane: Lane): Promise<AccountSession[]> {
    const accounts = await this.#options.routeFor(applicationId, channel);
    return accounts.map((account) => {
      const known = this.#known.get(account) ?? new Map<Lane, AccountSession>();
      const session = known.get(lane) ?? this.#sessionOf(account, lane);
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
      route = await this.route(message.applicationId, message.channel, lane);
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
    const up = route.filter((session) => session.downForMs() === 0);
    let last: RoutedResult | undefined;
    for (const session of up.length > 0 ? up : route) {
      const result = await session.send(message);
      last = { ...result, accountId: session.account.id };
      if (!(result.outcome === 'deferred' && result.accountUnusable)) return last;
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

  /** Lets what is under way finish until `deadlineMs` from now, then aborts it, and closes all connections. */
  async drain(deadlineMs: number): Promise<void> {
    const end = Date.now() + deadlineMs;
    while (Date.now() < end && [...this.#open.values()].some((session) => session.busy)) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    this.#abort.abort();
    await Promise.allSettled([...this.#open.values()].map((session) => session.close()));
    this.#open.clear();
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
