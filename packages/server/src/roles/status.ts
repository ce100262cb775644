import type { ServerResponse } from 'node:http';
import { checkReadiness } from '../platform/health.ts';
import { mergeExpositions } from '../platform/metrics.ts';
import { fetchOutbound } from '../platform/outbound.ts';
import type { RequestHandler } from './http-server.ts';
import type { ProcessContext } from './process.ts';

/**
 * `GET /health/live` (the process answers), `/health/ready` (it can serve: 200, else 503 with the reason) and
 * `/metrics`. `peers` are the loopback ports of the other roles of the same start, whose figures are shown as well.
 */
export function createStatusHandler(context: ProcessContext, peers: () => readonly number[]): RequestHandler {
  return (request, response) => {
    const path = request.url?.split('?', 1)[0];
    if (path !== '/health/live' && path !== '/health/ready' && path !== '/metrics') return false;
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.writeHead(405, { allow: 'GET, HEAD' }).end();
      return true;
    }
    const work =
      path === '/metrics' ? sendMetrics(context, peers(), response) : sendHealth(context, path, response);
    work.catch((error) => {
      context.log.error({ err: error, path }, 'a status page failed');
      if (!response.headersSent) response.writeHead(500);
      response.end();
    });
    return true;
  };
}

async function sendHealth(context: ProcessContext, path: string, response: ServerResponse): Promise<void> {
  const health =
    path === '/health/live' ? { ready: true, checks: {} } : await checkReadiness(context.database);
  response
    .writeHead(health.ready ? 200 : 503, { 'content-type': 'application/json', 'cache-control': 'no-store' })
    .end(JSON.stringify({ status: health.ready ? 'ok' : 'unavailable', checks: health.checks }));
}

async function sendMetrics(
  context: ProcessContext,
  peers: readonly number[],
  response: ServerResponse,
): Promise<void> {
  const others = await Promise.all(peers.map((port) => readPeer(context, port)));
  const own = await context.metrics.registry.metrics();
  response
    .writeHead(200, { 'content-type': context.metrics.registry.contentType })
    .end(mergeExpositions([own, ...others]));
}

/** A role that does not answer in a second (it is starting or busy) is left out and says so in the log. */
async function readPeer(context: ProcessContext, port: number): Promise<string> {
  try {
    const page = await fetchOutbound(`http://127.0.0.1:${port}/metrics`, {
      allowPrivateHosts: true,
      timeoutMs: 1_000,
      maxResponseBytes: 4_000_000,
    });
    return page.body.toString();
  } catch (error) {
    context.log.warn({ err: error }, 'a role did not report its metrics');
    return '';
  }
}
