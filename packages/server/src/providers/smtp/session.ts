import type { Socket } from 'node:net';
import type { Readable, Transform } from 'node:stream';
import SMTPConnection from 'nodemailer/lib/smtp-connection';
import { connectTcp } from '../../platform/outbound.ts';
import type { ComposedMail } from './compose.ts';
import { dataOf } from './data.ts';
import { parseReply, printable, type Reply } from './reply.ts';

/**
 * One SMTP session (RFC 5321) on one connection. The only file that knows which SMTP client is used: another one needs
 * `openSession` and the members of `SmtpSession`.
 */
export interface SmtpSession {
  /** Sends one message; one at a time. Never rejects. After it, `usable` says whether another may follow. */
  send(mail: ComposedMail): Promise<SendOutcome>;
  readonly usable: boolean;
  /** Called once when the connection ends for whatever reason. */
  onEnd: (() => void) | undefined;
  /**
   * Ends a message whose content is not under way yet, as lost. One whose content is gets a few more seconds for its
   * verdict: without it, it would be in doubt.
   */
  abandon(): void;
  /** Says QUIT; resolves when the connection is closed. */
  quit(): Promise<void>;
}

export type SendOutcome =
  | { kind: 'accepted'; reply: Reply }
  /** The server said no, for now (4xx) or for good (5xx). */
  | { kind: 'refused'; reply: Reply; command: 'MAIL' | 'RCPT' | 'DATA' | 'content' }
  /**
   * No verdict. `handedOver`: the whole content was written, so the server may have taken it. `stale`: a connection
   * that had been used before broke before it answered anything, as servers do with idle ones.
   */
  | { kind: 'lost'; handedOver: boolean; stale: boolean; words: string }
  /** The client refused it: it does not fit the server's declared size, or SMTPUTF8 is needed and missing. */
  | { kind: 'unsendable'; reason: 'too_large' | 'utf8' | 'address'; words: string };

export interface SessionOptions {
  host: string;
  port: number;
  tls: 'none' | 'opportunistic' | 'starttls' | 'implicit';
  verifyCertificate: boolean;
  login: { user: string; password: string; method: 'auto' | 'PLAIN' | 'LOGIN' | 'CRAM-MD5' } | undefined;
  /** EHLO name; undefined is the machine's. */
  name: string | undefined;
  allowPrivateHosts: boolean;
  connectTimeoutMs: number;
  greetingTimeoutMs: number;
  replyTimeoutMs: number;
}

/** The server could not be used: connect, TLS, greeting or login failed. The message may be shown. */
export class SessionError extends Error {
  /** The server's reply code when it said something. */
  readonly code: number;

  constructor(words: string, code: number) {
    super(words);
    this.code = code;
  }
}

const maxResponseBytes = 64 * 1024;
const closeTimeoutMs = 2000;
/** For the verdict on a content that is under way when the sender has to stop. */
const lastWaitMs = 5000;

/**
 * Connects, secures the connection and logs in.
 * @throws SessionError also when `signal` aborts
 */
export async function openSession(options: SessionOptions, signal: AbortSignal): Promise<SmtpSession> {
  const socket = await openSocket(options, signal);
  const connection = new SMTPConnection({
    connection: socket,
    host: options.host,
    port: options.port,
    secure: options.tls === 'implicit',
    secured: options.tls === 'implicit',
    ignoreTLS: options.tls === 'none',
    requireTLS: options.tls === 'starttls',
    opportunisticTLS: options.tls === 'opportunistic',
    name: options.name,
    tls: { rejectUnauthorized: options.verifyCertificate },
    connectionTimeout: options.connectTimeoutMs + options.greetingTimeoutMs,
    greetingTimeout: options.greetingTimeoutMs,
    socketTimeout: options.replyTimeoutMs,
    socketCloseTimeout: closeTimeoutMs,
    maxResponseSize: maxResponseBytes,
    logger: false,
  });
  try {
    await setUp(connection, options, signal);
  } catch (error) {
    connection.close();
    throw asSessionError(error as ClientError, options);
  }
  return new ClientSession(connection, options.replyTimeoutMs);
}

/** The members of nodemailer's errors that are used here. */
type ClientError = Error & {
  code?: string;
  response?: string;
  responseCode?: number | false;
  command?: string;
};

async function openSocket(options: SessionOptions, signal: AbortSignal): Promise<Socket> {
  try {
    return await connectTcp({
      host: options.host,
      port: options.port,
      allowPrivateHosts: options.allowPrivateHosts,
      timeoutMs: options.connectTimeoutMs,
      signal,
      tls: options.tls === 'implicit' ? { rejectUnauthorized: options.verifyCertificate } : undefined,
    });
  } catch (error) {
    throw new SessionError(printable((error as Error).message), 0);
  }
}

/** Greeting, EHLO, STARTTLS and login, within one time limit over all of them: a server may trickle for ever. */
function setUp(connection: SMTPConnection, options: SessionOptions, signal: AbortSignal): Promise<void> {
  const limitMs = options.greetingTimeoutMs + 2 * options.replyTimeoutMs;
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error('The server did not finish its greeting and login')),
      limitMs,
    );
    const onAbort = () => done(new Error('Stopped'));
    const done = (error?: Error | null) => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      if (error) reject(error);
      else resolve();
    };
    signal.addEventListener('abort', onAbort);
    connection.on('error', done);
    connection.once('end', () => done(new Error('The server closed the connection')));
    connection.connect((error) => {
      if (error || !options.login) return done(error);
      const refusal = loginRefusal(connection, options);
      if (refusal) return done(new Error(refusal));
      const { user, password, method } = options.login;
      const credentials = { user, pass: password };
      connection.login({ user, credentials, method: method === 'auto' ? undefined : method }, done);
    });
  });
}

/** Why the password is not sent on this connection; undefined when it may be. */
function loginRefusal(connection: SMTPConnection, options: SessionOptions): string | undefined {
  if (!connection.allowsAuth)
    return `The server offers no login on this connection (TLS: ${connection.secure ? 'on' : 'off'})`;
  // Whoever can suppress STARTTLS on the way would read the password.
  const { remoteAddress } = options.tls === 'opportunistic' ? (connection._socket as Socket) : {};
  if (
    options.tls === 'opportunistic' &&
    !connection.secure &&
    !/^(?:127\.|::1$|::ffff:127\.)/.test(remoteAddress ?? '')
  )
    return 'The server offers no STARTTLS, and the password is not sent unencrypted (choose TLS "none" to allow it)';
  return undefined;
}

function asSessionError(error: ClientError, options: SessionOptions): SessionError {
  if (error.response) {
    const reply = parseReply(error.response);
    return new SessionError(reply.text, reply.code);
  }
  return new SessionError(`${options.host}:${options.port}: ${printable(error.message)}`, 0);
}

class ClientSession implements SmtpSession {
  readonly #connection: SMTPConnection;
  readonly #replyTimeoutMs: number;
  #phase: 'idle' | 'envelope' | 'content' | 'handed_over' = 'idle';
  #settle: ((outcome: SendOutcome) => void) | undefined;
  #deadline: NodeJS.Timeout | undefined;
  #sent = 0;
  readonly #onClosed: (() => void)[] = [];
  #resetting: Promise<void> | undefined;
  #resetDone: (() => void) | undefined;
  #ended = false;
  onEnd: (() => void) | undefined;

  constructor(connection: SMTPConnection, replyTimeoutMs: number) {
    this.#connection = connection;
    this.#replyTimeoutMs = replyTimeoutMs;
    connection.removeAllListeners('error');
    connection.removeAllListeners('end');
    // The callback of the message under way is told as well.
    connection.on('error', () => undefined);
    connection.once('end', () => this.#end());
    if (connection.destroyed) this.#end();
  }

  get usable(): boolean {
    return !this.#ended;
  }

  async send(mail: ComposedMail): Promise<SendOutcome> {
    if (this.#resetting) await this.#resetting;
    this.#phase = 'envelope';
    if (this.#ended) return this.#lost('The connection was closed');
    if (mail.utf8 && !extensionsOf(this.#connection).includes('SMTPUTF8')) {
      this.#phase = 'idle';
      const words = 'The server does not take international addresses (SMTPUTF8)';
      return { kind: 'unsendable', reason: 'utf8', words };
    }
    return new Promise<SendOutcome>((resolve) => {
      this.#settle = resolve;
      // The client's own time limit is one of silence: a server that trickles would never reach it.
      this.#deadline = setTimeout(() => this.#expire(), this.#replyTimeoutMs);
      this.#connection.send(
        {
          from: mail.envelope.from,
          to: mail.envelope.to,
          size: mail.bytes.length,
          use8BitMime: mail.eightBit,
        },
        this.#contentOf(mail),
        (error, info) => {
          if (error) this.#fail(error);
          else this.#finish(this.#verdictOf(info?.response ?? ''));
        },
      );
    });
  }

  abandon(): void {
    if (this.#phase === 'idle') return;
    if (this.#phase !== 'envelope') {
      clearTimeout(this.#deadline);
      this.#deadline = setTimeout(() => this.#expire(), Math.min(lastWaitMs, this.#replyTimeoutMs));
      return;
    }
    this.#finish(this.#lost('The message was taken back before its content was sent'));
    this.#close();
  }

  quit(): Promise<void> {
    if (this.#ended) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onClosed.push(resolve);
      if (this.#phase === 'idle') this.#connection.quit();
      setTimeout(() => this.#close(), closeTimeoutMs).unref();
    });
  }

  /** The client asks for the content by `pipe` once the server has said 354; then it is under way. */
  #contentOf(mail: ComposedMail): Readable {
    const content = {
      pipe: (stream: NodeJS.WritableStream & NodeJS.ReadableStream) => {
        this.#phase = 'content';
        // Each piece that the connection takes is progress; when the last one is written the reply is due.
        stream.on('data', () => this.#deadline?.refresh());
        stream.once('end', () => {
          if (this.#phase === 'content') this.#phase = 'handed_over';
        });
        writeAtOnce(stream as Transform);
        stream.end(mail.bytes);
        return stream;
      },
    };
    return content as unknown as Readable;
  }

  #verdictOf(response: string): SendOutcome {
    const reply = parseReply(response);
    if (reply.code >= 200 && reply.code < 300) return { kind: 'accepted', reply };
    return { ...this.#lost(`The server answered the message with: ${reply.text}`), handedOver: true };
  }

  #fail(error: ClientError): void {
    const { code, command } = error;
    const reply = error.response ? parseReply(error.response) : undefined;
    const refused = reply !== undefined && reply.code >= 400;
    if (refused && (code === 'EENVELOPE' || code === 'EMESSAGE' || reply.code === 421)) {
      const at = code === 'EMESSAGE' ? 'content' : (/^(MAIL|RCPT|DATA)/.exec(command ?? '')?.[1] ?? 'DATA');
      this.#reset(reply.code);
      this.#finish({ kind: 'refused', reply, command: at as 'MAIL' | 'RCPT' | 'DATA' | 'content' });
      return;
    }
    if (!error.response && code === 'EENVELOPE' && command === 'API') {
      this.#finish({ kind: 'unsendable', reason: 'address', words: printable(error.message) });
      return;
    }
    if (!error.response && code === 'EMESSAGE' && command === 'MAIL FROM') {
      this.#finish({ kind: 'unsendable', reason: 'too_large', words: printable(error.message) });
      return;
    }
    this.#finish(this.#lost(printable(error.message)));
    this.#close();
  }

  #lost(words: string): SendOutcome & { kind: 'lost' } {
    const stale = this.#phase === 'envelope' && this.#sent > 0;
    return { kind: 'lost', handedOver: this.#phase === 'handed_over', stale, words };
  }

  /** After a refusal the transaction is reset; the next message waits for it. */
  #reset(code: number): void {
    if (code === 421) this.#close();
    if (this.#ended) return;
    this.#resetting = new Promise((resolve) => {
      this.#resetDone = resolve;
      const timer = setTimeout(() => this.#close(), this.#replyTimeoutMs);
      this.#connection.reset((error) => {
        clearTimeout(timer);
        this.#resetting = undefined;
        if (error) this.#close();
        resolve();
      });
    });
  }

  #finish(outcome: SendOutcome): void {
    clearTimeout(this.#deadline);
    const settle = this.#settle;
    this.#settle = undefined;
    this.#phase = 'idle';
    this.#sent += 1;
    settle?.(outcome);
  }

  #expire(): void {
    this.#finish({
      ...this.#lost('The server did not answer in time'),
      stale: false,
    });
    this.#close();
  }

  #close(): void {
    this.#connection.close();
    this.#end();
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    // The client says `end` first and then tells the message under way what happened, which says more.
    queueMicrotask(() => {
      clearTimeout(this.#deadline);
      if (this.#settle) this.#finish(this.#lost('The connection was closed'));
      this.#resetDone?.();
      this.onEnd?.();
      for (const resolve of this.#onClosed) resolve();
    });
  }
}

/** What the server's EHLO offered; the client has no public member for it. */
function extensionsOf(connection: SMTPConnection): readonly string[] {
  return (connection as unknown as { _supportedExtensions: string[] })._supportedExtensions;
}

/**
 * Has the client's content stream hand the content over together with the dot that ends it, in one piece. The client itself
 * looks at each byte, and writes the end by itself; what `dataOf` does not take is left to it.
 */
function writeAtOnce(stream: Transform): void {
  const { _transform: transform } = stream;
  stream._transform = (bytes: Buffer, encoding, done) => {
    const data = dataOf(bytes);
    if (data === undefined) return transform.call(stream, bytes, encoding, done);
    stream._flush = (ended) => ended();
    done(null, data);
  };
}
