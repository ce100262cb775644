import type { ComposedMail } from './compose.ts';
import { type SendOutcome, SessionError, type SmtpSession } from './session.ts';

/** What became of a message: the server's verdict, or why there was no connection, or that it was taken back. */
export type ConnectionOutcome =
  | SendOutcome
  | { kind: 'unreachable'; code: number; words: string }
  | { kind: 'aborted' };

export interface ConnectionsOptions {
  /** Upper bound of connections. */
  max: number;
  /** Messages on one connection before it is replaced; undefined is without limit. */
  maxMessages: number | undefined;
  /** An unused connection is closed after this. */
  idleTimeoutMs: number;
  /** @throws SessionError */
  open(signal: AbortSignal): Promise<SmtpSession>;
}

interface Waiting {
  mail: ComposedMail;
  signal: AbortSignal;
  /** Times that a connection turned out to be dead when this was its next message. */
  stale: number;
  settle(outcome: ConnectionOutcome): void;
}

interface Idle {
  connection: Connection;
  timer: NodeJS.Timeout;
}

interface Connection {
  session: SmtpSession;
  messages: number;
  current: Waiting | undefined;
}

const maxStale = 3;
const firstPauseMs = 500;
const maxPauseMs = 30_000;

/**
 * A set of connections that serve one queue: each takes the next message as soon as it is free. Connections are
 * opened when messages wait and closed when none come. A server that allows fewer than `max` is used with as many as
 * it allows: as long as one connection works, a failure to open another only pauses the opening.
 */
export class Connections {
  readonly #options: ConnectionsOptions;
  readonly #queue: Waiting[] = [];
  readonly #open = new Set<Connection>();
  readonly #idle: Idle[] = [];
  /** Connections that say good-bye. */
  readonly #retiring = new Set<Promise<void>>();
  #opening = 0;
  #pauseUntil = 0;
  #pauseMs = firstPauseMs;
  #closed = false;
  /** Nobody waits for a connection any more. */
  readonly #stop = new AbortController();
  #drained: (() => void) | undefined;

  constructor(options: ConnectionsOptions) {
    this.#options = options;
  }

  /** Sends a message as soon as a connection is free. Never rejects. */
  send(mail: ComposedMail, signal: AbortSignal): Promise<ConnectionOutcome> {
    if (this.#closed || signal.aborted) return Promise.resolve({ kind: 'aborted' });
    return new Promise((resolve) => {
      const waiting: Waiting = {
        mail,
        signal,
        stale: 0,
        settle: (outcome) => {
          signal.removeEventListener('abort', onAbort);
          resolve(outcome);
          this.#checkDrained();
        },
      };
      const onAbort = () => this.#abort(waiting);
      signal.addEventListener('abort', onAbort);
      this.#queue.push(waiting);
      this.#pump();
    });
  }

  /** Lets all messages finish, then closes the connections. */
  async close(): Promise<void> {
    this.#closed = true;
    await new Promise<void>((resolve) => {
      this.#drained = resolve;
      this.#checkDrained();
    });
    this.#stop.abort();
    const connections = [...this.#open];
    for (const { timer } of this.#idle.splice(0)) clearTimeout(timer);
    await Promise.all([...connections.map((connection) => this.#retire(connection)), ...this.#retiring]);
  }

  #checkDrained(): void {
    const busy = [...this.#open].some(({ current }) => current);
    if (this.#drained && this.#queue.length === 0 && !busy) this.#drained();
  }

  #abort(waiting: Waiting): void {
    const at = this.#queue.indexOf(waiting);
    if (at >= 0) {
      this.#queue.splice(at, 1);
      waiting.settle({ kind: 'aborted' });
      return;
    }
    for (const { current, session } of this.#open) if (current === waiting) session.abandon();
  }

  #pump(): void {
    while (this.#queue.length > 0) {
      const idle = this.#idle.pop();
      if (!idle) break;
      clearTimeout(idle.timer);
      void this.#run(idle.connection);
    }
    const room = this.#options.max - this.#open.size - this.#opening - this.#retiring.size;
    if (room <= 0 || (this.#open.size > 0 && Date.now() < this.#pauseUntil)) return;
    for (let wanted = Math.min(room, this.#queue.length - this.#opening); wanted > 0; wanted--)
      void this.#openOne();
  }

  async #openOne(): Promise<void> {
    this.#opening += 1;
    let session: SmtpSession;
    try {
      session = await this.#options.open(this.#stop.signal);
    } catch (error) {
      this.#opening -= 1;
      this.#openFailed(error);
      return;
    }
    this.#opening -= 1;
    this.#pauseMs = firstPauseMs;
    const connection: Connection = { session, messages: 0, current: undefined };
    this.#open.add(connection);
    session.onEnd = () => this.#ended(connection);
    if (!session.usable) this.#ended(connection);
    else void this.#run(connection);
  }

  /** Without any other connection, nobody will serve the queue: it is answered with the reason. */
  #openFailed(error: unknown): void {
    if (this.#opening > 0) return;
    if (this.#open.size > 0) {
      this.#pauseUntil = Date.now() + this.#pauseMs;
      this.#pauseMs = Math.min(this.#pauseMs * 2, maxPauseMs);
      return;
    }
    const words = error instanceof Error ? error.message : String(error);
    const code = error instanceof SessionError ? error.code : 0;
    for (const waiting of this.#queue.splice(0)) waiting.settle({ kind: 'unreachable', code, words });
  }

  /** Serves the queue with one connection until there is nothing to do or the connection cannot any more. */
  async #run(connection: Connection): Promise<void> {
    const { session } = connection;
    for (;;) {
      const full = connection.messages >= (this.#options.maxMessages ?? Number.POSITIVE_INFINITY);
      if (!session.usable || full) break;
      const waiting = this.#queue.shift();
      if (!waiting) return this.#rest(connection);
      connection.current = waiting;
      connection.messages += 1;
      const outcome = await session.send(waiting.mail);
      connection.current = undefined;
      this.#deliver(waiting, outcome);
    }
    void this.#retire(connection);
    this.#pump();
  }

  #deliver(waiting: Waiting, outcome: SendOutcome): void {
    if (outcome.kind === 'lost' && outcome.stale && waiting.stale < maxStale && !waiting.signal.aborted) {
      // The others have been idle as long, so they are likely to be dead as well.
      for (const { connection, timer } of this.#idle.splice(0)) {
        clearTimeout(timer);
        void this.#retire(connection);
      }
      waiting.stale += 1;
      this.#queue.unshift(waiting);
      return;
    }
    waiting.settle(outcome);
  }

  #rest(connection: Connection): void {
    if (this.#closed) {
      void this.#retire(connection);
      return;
    }
    const timer = setTimeout(() => {
      this.#forgetIdle(connection);
      void this.#retire(connection);
    }, this.#options.idleTimeoutMs);
    timer.unref();
    this.#idle.push({ connection, timer });
  }

  #forgetIdle(connection: Connection): void {
    const at = this.#idle.findIndex((idle) => idle.connection === connection);
    if (at >= 0) clearTimeout(this.#idle.splice(at, 1)[0]?.timer);
  }

  #retire(connection: Connection): Promise<void> {
    this.#open.delete(connection);
    this.#checkDrained();
    const quitting = connection.session.quit().finally(() => {
      this.#retiring.delete(quitting);
      this.#pump();
    });
    this.#retiring.add(quitting);
    return quitting;
  }

  /** The server ended a connection. What it was sending is settled by its `send`. */
  #ended(connection: Connection): void {
    this.#forgetIdle(connection);
    if (connection.current) return;
    this.#open.delete(connection);
    this.#pump();
  }
}
