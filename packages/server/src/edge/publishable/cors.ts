import type { IncomingMessage, ServerResponse } from 'node:http';

/** Names of the headers by which holders of publishable keys say and learn more; see docs/publishable-keys.md. */
export const endpointTokenHeader = 'x-postrider-endpoint-token';
export const identityProofHeader = 'x-postrider-identity-proof';

/** What the AWS SDKs send from browsers, and what is ours. */
const allowedHeaders = [
  'authorization',
  'content-type',
  'content-encoding',
  'idempotency-key',
  endpointTokenHeader,
  identityProofHeader,
  'amz-sdk-invocation-id',
  'amz-sdk-request',
  'x-amz-content-sha256',
  'x-amz-date',
  'x-amz-user-agent',
].join(', ');
const exposedHeaders = [endpointTokenHeader, 'retry-after', 'x-amzn-requestid', 'x-amzn-errortype'].join(
  ', ',
);
/** Chromium's bound. */
const maxAgeSeconds = 7200;

/**
 * Lets a page of the request's origin read the answer. Whether its origin may use the key is decided by the key
 * (`admit`); nothing here is done by a cookie, so a page gets no right that it does not hold already.
 */
export function allowOrigin(request: IncomingMessage, response: ServerResponse): void {
  const { origin } = request.headers;
  response.setHeader('vary', 'Origin');
  if (origin === undefined) return;
  response.setHeader('access-control-allow-origin', origin);
  response.setHeader('access-control-expose-headers', exposedHeaders);
}

/** A page of an origin that its key does not allow learns nothing. */
export function forbidOrigin(response: ServerResponse): void {
  response.removeHeader('access-control-allow-origin');
  response.removeHeader('access-control-expose-headers');
}

/**
 * Answers what a browser asks before it sends a request of another origin's page. No key is told yet, so every origin
 * may ask.
 */
export function answerPreflight(request: IncomingMessage, response: ServerResponse, method: string): void {
  allowOrigin(request, response);
  response.setHeader('access-control-allow-methods', method);
  response.setHeader('access-control-allow-headers', allowedHeaders);
  response.setHeader('access-control-max-age', String(maxAgeSeconds));
  response.statusCode = 204;
  response.end();
}
