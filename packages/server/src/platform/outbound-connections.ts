import type net from 'node:net';
import { OutboundError, type OutboundPolicy, type PinnedHost } from './outbound.ts';

/**
 * Where a connection leads and by which rules it was made. A kept one serves requests of the same place only: what an
 * operator may reach stays out of reach for users, and a certificate was checked for this name.
 */
export interface Place extends OutboundPolicy {
  secure: boolean;
  /** The name as given: TLS server name. */
  host: string;
  port: number;
  ca?: string | undefined;
}

export interface LeaseOptions {
  /** Resolves the name and checks the addresses. */
  resolve: () => Promise<PinnedHost>;
  connect: (pinned: PinnedHost) => Promise<{ socket: net.Socket; address: string }>;
  /** Without it the connection is a new one. */
  mayReuse: boolean;
  /** When waiting for a place ends, milliseconds as of `Date.now()`. */
  deadline: number;
  signal?: AbortSignal | undefined;
}

/** A connection for one request. */
export interface Lease {
  socket: net.Socket;
  /** It carried a request before, so its peer may have given it up meanwhile. */
  reused: boolean;
  /** Exactly once: keeps the connection for at most `keepMs`, or closes it. */
  release(keepMs: number): void;
}

/** Connections to hosts that users named, kept for a few seconds after a request for the next one. */
export interface OutboundConnections {
  /** @throws OutboundError `busy` when no connection may be opened in time */
  lease(place: Place, options: LeaseOptions): Promise<Lease>;
  /** Open connections, those that wait for a request among them. */
  readonly counts: { open: number; idle: number };
  /** Closes what waits for a request, and from now on keeps none. */
  close(): void;
}

export interface ConnectionLimits {
  /** Open connections of one place, and of all. Whoever wants more waits. */
  perPlace?: number;
  inAll?: number;
  /** How long a connection waits for its next request at most. Common servers close theirs after five seconds. */
  idleMs?: number;
  /** How long a connection is used at most. */
  maxAgeMs?: number;
  /** How long an address counts as the name's before the name is resolved again. */
  recheckAfterMs?: number;
}

interface Connection {
  socket: net.Socket;
  address: string;
  key: string;
  openedAt: number;
  /** When the address was last among those of the name. */
  checkedAt: number;
  /** Ends the wait for the next request. */
  wake?: () => void;
}

interface Waiter {
  key: string;
  mayReuse: boolean;
  /** With a kept connection, or with the room for a new one. */
  go(connection?: Connection): void;
}

const maxWaiting = 10_000;

export function createOutboundConnections(limits: ConnectionLimits = {}): OutboundConnections {
  const { perPlace = 64, inAll = 512, idleMs = 4_000, maxAgeMs = 60_000, recheckAfterMs = 5_000 } = limits;
  const lookups = new WeakMap<object, number>();
  let lookupCount = 0;
  /** Open and opening connections by place. */
  const open = new Map<string, number>();
  let openInAll = 0;
  /** In the order in which they began to wait. */
  const idle = new Set<Connection>();
  const waiting = new Set<Waiter>();
  let closed = false;

  function keyOf({ secure, host, port, ca, allowPrivateHosts, lookup }: Place): string {
    if (lookup && !lookups.has(lookup)) lookups.set(lookup, ++lookupCount);
    return JSON.stringify([
      secure,
      host,
      port,
      allowPrivateHosts,
      lookup ? lookups.get(lookup) : 0,
      ca ?? '',
    ]);
  }

  function drop(connection: Connection): void {
    connection.wake?.();
    connection.socket.destroy();
    give(connection.key);
  }

  /** A place is free again: the first in the queue that may have it goes on. */
  function give(key: string): void {
    const left = open.get(key)! - 1;
    if (left === 0) open.delete(key);
    else open.set(key, left);
    openInAll--;
    for (const waiter of waiting) {
      if (!hasRoom(waiter.key)) continue;
      reserve(waiter.key);
      waiter.go();
      return;
    }
  }

  function reserve(key: string): void {
    open.set(key, (open.get(key) ?? 0) + 1);
    openInAll++;
  }

  function hasRoom(key: string): boolean {
    return openInAll < inAll && (open.get(key) ?? 0) < perPlace;
  }

  /** Room for a new connection, taken from an idle one if need be; or a used one that somebody else gave back. */
  async function takeRoom(key: string, options: LeaseOptions): Promise<Connection | undefined> {
    if (!hasRoom(key)) {
      const crowded = (open.get(key) ?? 0) >= perPlace;
      const spare = [...idle].find((connection) => !crowded || connection.key === key);
      if (spare) drop(spare);
    }
    if (!hasRoom(key)) return await turn(key, options);
    reserve(key);
    return undefined;
  }

  function turn(key: string, options: LeaseOptions): Promise<Connection | undefined> {
    const { deadline, signal, mayReuse } = options;
    if (waiting.size >= maxWaiting)
      return Promise.reject(new OutboundError('busy', 'too many requests wait for a connection'));
    return new Promise((resolve, reject) => {
      const end = () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
        waiting.delete(waiter);
      };
      const fail = (words: string) => {
        end();
        reject(new OutboundError('busy', words));
      };
      const onAbort = () => fail('the request was given up');
      const waiter: Waiter = {
        key,
        mayReuse,
        go: (connection) => {
          end();
          resolve(connection);
        },
      };
      const timer = setTimeout(
        () => fail('no connection was free in time'),
        Math.max(0, deadline - Date.now()),
      );
      waiting.add(waiter);
      if (signal?.aborted) onAbort();
      else signal?.addEventListener('abort', onAbort);
    });
  }

  /** The kept connection that was used last, if its address is still one that the name has and that may be used. */
  async function takeKept(key: string, { resolve }: LeaseOptions): Promise<Connection | undefined> {
    const found = [...idle].findLast((connection) => connection.key === key);
    if (!found) return undefined;
    found.wake?.();
    const now = performance.now();
    if (now - found.checkedAt < recheckAfterMs) return found;
    // It is nobody's while the name is looked up, so what happens to it meanwhile has to be heard.
    const stopWatching = watch(found.socket, () => found.socket.destroy());
    try {
      const { addresses } = await resolve();
      if (!addresses.some(({ address }) => address === found.address)) found.socket.destroy();
    } catch (error) {
      drop(found);
      for (const connection of idle) if (connection.key === key) drop(connection);
      throw error;
    } finally {
      stopWatching();
    }
    if (found.socket.destroyed) {
      drop(found);
      return undefined;
    }
    found.checkedAt = now;
    return found;
  }

  function leaseOf(connection: Connection, reused: boolean): Lease {
    return {
      socket: connection.socket,
      reused,
      release(keepMs) {
        const now = performance.now();
        const wait = Math.min(keepMs, idleMs, maxAgeMs - (now - connection.openedAt));
        const { socket, key } = connection;
        if (closed || wait <= 0 || socket.destroyed || !socket.writable) return drop(connection);
        const waiters = [...waiting];
        const next = waiters.find((waiter) => waiter.mayReuse && waiter.key === key);
        if (next && now - connection.checkedAt < recheckAfterMs) next.go(connection);
        // Somebody waits for the room who cannot use this connection.
        else if (waiters.some((waiter) => waiter.key === key || openInAll >= inAll)) drop(connection);
        else keep(connection, wait);
      },
    };
  }

  function keep(connection: Connection, forMs: number): void {
    const { socket } = connection;
    const end = () => {
      connection.wake?.();
      drop(connection);
    };
    // Bytes that nobody asked for would be taken for the answer to the next request.
    const stopWatching = watch(socket, end);
    const timer = setTimeout(end, forMs).unref();
    socket.unref();
    idle.add(connection);
    connection.wake = () => {
      clearTimeout(timer);
      stopWatching();
      socket.ref();
      idle.delete(connection);
      delete connection.wake;
    };
  }

  return {
    get counts() {
      return { open: openInAll, idle: idle.size };
    },
    async lease(place, options) {
      const key = keyOf(place);
      const kept = options.mayReuse && !closed ? await takeKept(key, options) : undefined;
      if (kept) return leaseOf(kept, true);
      const given = await takeRoom(key, options);
      if (given) return leaseOf(given, true);
      try {
        const checkedAt = performance.now();
        const { socket, address } = await options.connect(await options.resolve());
        const connection = { socket, address, key, openedAt: checkedAt, checkedAt };
        return leaseOf(connection, false);
      } catch (error) {
        give(key);
        throw error;
      }
    },
    close() {
      closed = true;
      for (const connection of idle) drop(connection);
    },
  };
}

/** Calls `onEvent` when an idle peer says anything or goes; answers what ends the watch. */
function watch(socket: net.Socket, onEvent: () => void): () => void {
  const events = ['data', 'end', 'error', 'close'];
  for (const event of events) socket.on(event, onEvent);
  return () => {
    for (const event of events) socket.off(event, onEvent);
    // A socket that breaks at this very moment has somebody to tell.
    if (socket.destroyed) socket.on('error', () => undefined);
  };
}
