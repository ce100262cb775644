import { lookup as systemLookup } from 'node:dns/promises';
import http, { type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import net from 'node:net';
import tls from 'node:tls';
import { refusalOf } from './addresses.ts';
import type { Lease, OutboundConnections, Place } from './outbound-connections.ts';

/**
 * The one way to hosts that a user named (SMTP servers, webhooks). A name is resolved once, the addresses are
 * checked, and the connection goes to a checked address: a name that resolves differently a moment later
 * (DNS rebinding) gains nothing.
 */
export interface OutboundPolicy {
  /** POSTRIDER_ALLOW_PRIVATE_HOSTS. Addresses of cloud metadata services are refused even so. */
  allowPrivateHosts: boolean;
  /** Resolves a name to all its addresses; the system's resolver when absent. */
  lookup?: (host: string) => Promise<{ address: string; family: number }[]>;
  /** Where connections of HTTP requests are kept for the next one; each request has its own when absent. */
  connections?: OutboundConnections;
}

/** Why a connection was not made or not used; the message may be shown to the user who named the host. */
export class OutboundError extends Error {
  /** `busy`: so much is under way that no connection was opened; nothing was sent. */
  readonly reason:
    | 'refused_address'
    | 'unresolved'
    | 'busy'
    | 'timeout'
    | 'too_large'
    | 'bad_url'
    | 'connection';

  constructor(reason: OutboundError['reason'], message: string, cause?: unknown) {
    super(message, { cause });
    this.reason = reason;
  }
}

export interface PinnedHost {
  /** The name as given: TLS server name and Host header. */
  host: string;
  /** Checked addresses in the order of the resolver; connect to these only. */
  addresses: { address: string; family: 4 | 6 }[];
}

/** At most this many addresses of one name are tried. */
const maxAddresses = 8;

/**
 * Resolves `host` (a name or an address, IPv6 also in brackets) and keeps the addresses that may be connected to.
 * @throws OutboundError `unresolved`, or `refused_address` when no address is left.
 */
export async function resolvePinned(
  host: string,
  options: OutboundPolicy & { timeoutMs?: number },
): Promise<PinnedHost> {
  const name = host.replace(/^\[(.*)\]$/, '$1');
  const found = net.isIP(name) ? [{ address: name, family: net.isIP(name) }] : await resolve(name, options);
  const refused: string[] = [];
  const addresses = found.slice(0, maxAddresses).flatMap(({ address, family }) => {
    const refusal = refusalOf(address, options.allowPrivateHosts);
    if (refusal) refused.push(`${address} is ${refusal}`);
    return refusal ? [] : [{ address, family: family === 6 ? (6 as const) : (4 as const) }];
  });
  if (addresses.length === 0) {
    throw new OutboundError(
      'refused_address',
      `${name} is not connected to: ${refused.join(', ')}${options.allowPrivateHosts ? '' : ' (POSTRIDER_ALLOW_PRIVATE_HOSTS=on allows private addresses)'}`,
    );
  }
  return { host: name, addresses };
}

async function resolve(
  name: string,
  options: OutboundPolicy & { timeoutMs?: number },
): Promise<{ address: string; family: number }[]> {
  if (!/^[A-Za-z0-9_.-]{1,253}$/.test(name))
    throw new OutboundError('unresolved', `"${name.slice(0, 100)}" is not a host name`);
  const lookup = options.lookup ?? ((host: string) => systemLookup(host, { all: true }));
  const found = await withTimeout(lookup(name), options.timeoutMs ?? 10_000, `resolving ${name}`).catch(
    (error: NodeJS.ErrnoException) => {
      if (error instanceof OutboundError) throw error;
      throw new OutboundError(
        'unresolved',
        `${name} cannot be resolved (${error.code ?? error.message})`,
        error,
      );
    },
  );
  if (found.length === 0) throw new OutboundError('unresolved', `${name} has no address`);
  return found;
}

async function withTimeout<T>(work: Promise<T>, timeoutMs: number, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const expired = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new OutboundError('timeout', `${what} took longer than ${timeoutMs} ms`)),
      timeoutMs,
    );
  });
  try {
    return await Promise.race([work, expired]);
  } finally {
    clearTimeout(timer);
  }
}

export interface ConnectOptions extends OutboundPolicy {
  host: string;
  port: number;
  /** TLS from the first byte, checked for `host`. Without it: plain TCP (a protocol may upgrade later). */
  tls?: { ca?: string; rejectUnauthorized?: boolean; alpn?: string[] };
  /** For resolving, connecting and the TLS handshake together, over all addresses. */
  timeoutMs: number;
  signal?: AbortSignal;
}

/**
 * A connected socket to a checked address of `host`; with `tls` after the handshake.
 * The caller owns it, with its time limits and its `error` event.
 * @throws OutboundError
 */
export async function connectTcp(options: ConnectOptions): Promise<net.Socket> {
  const deadline = Date.now() + options.timeoutMs;
  const pinned = await resolvePinned(options.host, options);
  return (await connectPinned(pinned, options, deadline)).socket;
}

/** Tries the addresses one after the other until `deadline`. */
async function connectPinned(
  pinned: PinnedHost,
  options: ConnectOptions,
  deadline: number,
): Promise<{ socket: net.Socket; address: string }> {
  let failure: unknown;
  for (const [index, { address }] of pinned.addresses.entries()) {
    // An address that swallows packets must leave time for the ones after it.
    const left = pinned.addresses.length - index;
    const budgetMs = Math.max(1, Math.floor((deadline - Date.now()) / left));
    try {
      return { socket: await connectAddress(options, pinned.host, address, budgetMs), address };
    } catch (error) {
      failure = error;
      if (options.signal?.aborted) break;
    }
  }
  if (failure instanceof OutboundError) throw failure;
  const detail = (failure as Error).message;
  throw new OutboundError('connection', `${pinned.host}:${options.port}: ${detail}`, failure);
}

function connectAddress(
  options: ConnectOptions,
  host: string,
  address: string,
  timeoutMs: number,
): Promise<net.Socket> {
  const { port, signal } = options;
  const socket = options.tls
    ? tls.connect({
        host: address,
        port,
        // Server name indication has no addresses; the certificate is then checked for the address.
        servername: net.isIP(host) ? '' : host,
        checkServerIdentity: (_name, certificate) => tls.checkServerIdentity(host, certificate),
        ca: options.tls.ca,
        rejectUnauthorized: options.tls.rejectUnauthorized ?? true,
        ALPNProtocols: options.tls.alpn,
      })
    : net.connect({ host: address, port });
  return new Promise((resolve, reject) => {
    const finish = (error?: Error) => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      socket.off('error', finish);
      if (!error) return resolve(socket);
      // A socket that is thrown away may still report an error.
      socket.on('error', () => undefined).destroy();
      reject(error);
    };
    const onAbort = () => finish(new OutboundError('connection', `connecting to ${host} was given up`));
    const timer = setTimeout(
      () =>
        finish(
          new OutboundError('timeout', `connecting to ${host}:${port} took longer than ${timeoutMs} ms`),
        ),
      timeoutMs,
    );
    socket.once('error', finish);
    socket.once(options.tls ? 'secureConnect' : 'connect', () => finish());
    if (signal?.aborted) onAbort();
    else signal?.addEventListener('abort', onAbort);
  });
}

export interface FetchOptions extends OutboundPolicy {
  method?: string;
  headers?: Record<string, string>;
  body?: string | Uint8Array;
  /** For everything: resolving, connecting, sending, and the whole response, over all redirects. */
  timeoutMs: number;
  /** A longer body ends the request with `too_large`. */
  maxResponseBytes: number;
  /** Redirects that are followed, each to a checked address; 0 hands the 3xx to the caller. */
  maxRedirects?: number;
  /** Certificates of authorities to trust instead of the system's, PEM. */
  ca?: string;
  /**
   * The receiver tells a repeat (by an id), so the request may go over a kept connection, and once more over a new one
   * when the kept one broke before any answer. Always so for GET and HEAD.
   */
  repeatable?: boolean;
  signal?: AbortSignal;
}

export interface FetchResponse {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
  /** Of the last request, after redirects. */
  url: string;
}

/**
 * One HTTP request to a URL that a user named. Any status is a response; only a request without one throws.
 * @throws OutboundError
 */
export async function fetchOutbound(url: string, options: FetchOptions): Promise<FetchResponse> {
  const deadline = Date.now() + options.timeoutMs;
  let target = parseUrl(url);
  let request = { method: options.method ?? 'GET', headers: options.headers ?? {}, body: options.body };
  for (let redirects = options.maxRedirects ?? 0; ; redirects--) {
    const response = await requestOnce(target, request, options, deadline);
    const { location } = response.headers;
    if (![301, 302, 303, 307, 308].includes(response.status) || !location || redirects <= 0)
      return { ...response, url: target.href };
    const next = parseUrl(location, target);
    if (target.protocol === 'https:' && next.protocol === 'http:')
      throw new OutboundError('bad_url', `${target.host} redirects from https to http`);
    request = redirected(request, response.status, next.origin === target.origin);
    target = next;
  }
}

type HttpRequest = { method: string; headers: Record<string, string>; body: string | Uint8Array | undefined };

/** The request for a redirect's target, as the Fetch standard has it: credentials stay with their origin. */
function redirected(request: HttpRequest, status: number, sameOrigin: boolean): HttpRequest {
  const becomesGet = status === 303 || (status < 307 && request.method === 'POST');
  const dropped = [
    ...(sameOrigin ? [] : ['authorization', 'cookie', 'proxy-authorization', 'host']),
    ...(becomesGet ? ['content-type', 'content-length', 'content-encoding'] : []),
  ];
  const headers = Object.fromEntries(
    Object.entries(request.headers).filter(([name]) => !dropped.includes(name.toLowerCase())),
  );
  return becomesGet ? { method: 'GET', headers, body: undefined } : { ...request, headers };
}

function parseUrl(text: string, base?: URL): URL {
  const url = URL.parse(text, base?.href);
  if (!url || !['http:', 'https:'].includes(url.protocol))
    throw new OutboundError('bad_url', `expected an http or https URL, not "${text.slice(0, 200)}"`);
  if (url.username || url.password)
    throw new OutboundError('bad_url', 'a URL with a user name or password in it is not connected to');
  return url;
}

async function requestOnce(
  url: URL,
  request: HttpRequest,
  options: FetchOptions,
  deadline: number,
): Promise<Answer> {
  const mayReuse = options.repeatable ?? ['GET', 'HEAD'].includes(request.method);
  const lease = await connect(url, options, deadline, mayReuse);
  const first = await exchange(lease, url, request, options, deadline);
  if ('answer' in first) return first.answer;
  if (!lease.reused || !first.unanswered) throw first.error;
  // The peer closed the kept connection while the request was on its way.
  const fresh = await connect(url, options, deadline, false).catch((error: Error) => {
    // What is refused now may have arrived before: nobody should take it for certain that it has not.
    throw new OutboundError('connection', error.message, first.error);
  });
  const second = await exchange(fresh, url, request, options, deadline);
  if ('answer' in second) return second.answer;
  throw second.error;
}

async function connect(url: URL, options: FetchOptions, deadline: number, mayReuse: boolean): Promise<Lease> {
  const left = () => {
    const timeoutMs = deadline - Date.now();
    if (timeoutMs > 0) return timeoutMs;
    throw new OutboundError('timeout', `${url.host} did not answer within ${options.timeoutMs} ms`);
  };
  const secure = url.protocol === 'https:';
  const { ca, allowPrivateHosts, lookup, signal, connections } = options;
  const place: Place = {
    secure,
    host: url.hostname,
    port: Number(url.port || (secure ? 443 : 80)),
    ca,
    allowPrivateHosts,
    ...(lookup ? { lookup } : {}),
  };
  const resolve = () => resolvePinned(place.host, { ...options, timeoutMs: left() });
  const open = (pinned: PinnedHost) => {
    const tls = secure ? { ca, alpn: ['http/1.1'] } : undefined;
    return connectPinned(pinned, { ...options, ...place, tls, timeoutMs: left() }, deadline);
  };
  left();
  if (connections) return connections.lease(place, { resolve, connect: open, mayReuse, deadline, signal });
  const { socket } = await open(await resolve());
  return { socket, reused: false, release: () => socket.destroy() };
}

type Answer = Omit<FetchResponse, 'url'>;
/** `unanswered`: the connection broke before a byte of an answer came. */
type Exchange = { answer: Answer } | { error: OutboundError; unanswered: boolean };

/** Sends one request and reads its answer; keeps the connection when both are whole and the peer wants to. */
async function exchange(
  lease: Lease,
  url: URL,
  request: HttpRequest,
  options: FetchOptions,
  deadline: number,
): Promise<Exchange> {
  const { socket } = lease;
  let keepMs = 0;
  let answered = false;
  /** Node's client says so when neither side has anything left to say. */
  let free = false;
  const onFree = () => {
    free = true;
  };
  const onData = () => {
    // After the answer there is nothing to say; whoever does is not to be trusted with the next request.
    if (free) socket.destroy();
    answered = true;
  };
  socket.once('free', onFree);
  try {
    const response = await send(lease, url, request, options, deadline, onData);
    const answer = { status: response.status, headers: response.headers, body: response.body };
    // Both sides are told in this turn of the loop.
    await new Promise((resolve) => setImmediate(resolve));
    if (free) keepMs = keepAliveMs(response.headers['keep-alive']);
    return { answer };
  } catch (error) {
    const known = error instanceof OutboundError;
    const words = error instanceof Error ? error.message : String(error);
    return {
      error: known ? error : new OutboundError('connection', `${url.host}: ${words}`, error),
      unanswered: !known && !answered,
    };
  } finally {
    socket.off('free', onFree);
    socket.off('data', onData);
    lease.release(keepMs);
  }
}

/** `timeout=5, max=100`: how long the peer keeps a connection, less what a request needs to get there. */
function keepAliveMs(header: string | string[] | undefined): number {
  const seconds = /(?:^|[\s,])timeout=(\d{1,6})/i.exec(String(header ?? ''))?.[1];
  return seconds === undefined ? Number.POSITIVE_INFINITY : Number(seconds) * 1000 - 1000;
}

function send(
  { socket }: Lease,
  url: URL,
  request: HttpRequest,
  options: FetchOptions,
  deadline: number,
  onData: () => void,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer);
      options.signal?.removeEventListener('abort', onAbort);
    };
    const fail = (error: Error) => {
      end();
      socket.destroy();
      reject(error);
    };
    const onAbort = () => fail(new OutboundError('connection', `the request to ${url.host} was given up`));
    const timer = setTimeout(
      () => fail(new OutboundError('timeout', `${url.host} did not answer within ${options.timeoutMs} ms`)),
      deadline - Date.now(),
    );
    if (options.signal?.aborted) return onAbort();
    options.signal?.addEventListener('abort', onAbort);
    const sent = http.request(
      {
        method: request.method,
        path: `${url.pathname}${url.search}`,
        headers: {
          host: url.host,
          'accept-encoding': 'identity',
          ...request.headers,
          connection: options.connections ? 'keep-alive' : 'close',
        },
        createConnection: () => socket,
        maxHeaderSize: 64 * 1024,
      },
      (response) => {
        readBody(response, options.maxResponseBytes, url.host).then((body) => {
          end();
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body });
        }, fail);
      },
    );
    // Not before the client reads, so that no byte is lost.
    sent.on('socket', () => socket.on('data', onData));
    sent.on('error', fail);
    sent.end(request.body);
  });
}

async function readBody(response: IncomingMessage, maxBytes: number, host: string): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response) {
    size += (chunk as Buffer).length;
    if (size > maxBytes)
      throw new OutboundError('too_large', `${host} answered with more than ${maxBytes} bytes`);
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks);
}
