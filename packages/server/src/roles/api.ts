import { type RequestHandler, startHttpServer } from './http-server.ts';
import type { ProcessContext, Role } from './process.ts';
import { createStatusHandler } from './status.ts';

/** The role that listens for HTTP. */
export function createApiRole(context: ProcessContext, peers: () => readonly number[]): Role {
  const { config, log } = context;
  // Asked in this order; the first one that knows the path answers.
  const handlers: RequestHandler[] = [createStatusHandler(context, peers)];
  const server = startHttpServer({ port: config.port, host: config.host, handlers, log });
  return {
    ready: server.listening.then((port) => ({ port })),
    drain: () => server.drain(),
  };
}
