import type { ServerResponse } from 'node:http';
import { isConnectionError } from '../../platform/database.ts';
import { CallerError, type ErrorCode } from '../../platform/errors.ts';

/** Each code of ours as the exception that Pinpoint's clients know. The last two are not modelled; clients go by status. */
const exceptions: Record<ErrorCode, readonly [type: string, status: number]> = {
  bad_request: ['BadRequestException', 400],
  unauthenticated: ['ForbiddenException', 403],
  forbidden: ['ForbiddenException', 403],
  not_found: ['NotFoundException', 404],
  method_not_allowed: ['MethodNotAllowedException', 405],
  conflict: ['ConflictException', 409],
  payload_too_large: ['PayloadTooLargeException', 413],
  too_many_requests: ['TooManyRequestsException', 429],
  internal: ['InternalServerErrorException', 500],
  not_implemented: ['NotImplementedException', 501],
  unavailable: ['ServiceUnavailableException', 503],
};

/** @param json the body; undefined for none. */
export function sendReply(
  response: ServerResponse,
  status: number,
  requestId: string,
  json: string | undefined,
): void {
  if (json === undefined) {
    response.setHeader('x-amzn-RequestId', requestId);
    response.statusCode = status;
    response.end();
    return;
  }
  response
    .writeHead(status, {
      'x-amzn-RequestId': requestId,
      'Content-Type': 'application/json',
      'Content-Length': Buffer.byteLength(json),
    })
    .end(json);
}

/** What a caller is told about an error: its own words for a CallerError, nothing of the inside for all others. */
export function toCallerError(error: unknown): CallerError {
  if (error instanceof CallerError) return error;
  if (isConnectionError(error)) {
    return new CallerError('unavailable', 'The database cannot be reached at the moment; try again');
  }
  return new CallerError('internal', 'The server failed; its log tells more under this RequestID');
}

/**
 * @param modelledOnly what the model has no exception for is an InternalServerErrorException: clients that send events
 * (Amplify) repeat 429 and 500, and drop what is answered otherwise.
 */
export function sendError(
  response: ServerResponse,
  requestId: string,
  error: CallerError,
  modelledOnly = false,
): number {
  const [type, status] = exceptions[modelledOnly && error.code === 'unavailable' ? 'internal' : error.code];
  response.setHeader('x-amzn-ErrorType', type);
  if (status === 429 || error.code === 'unavailable') response.setHeader('Retry-After', '1');
  sendReply(response, status, requestId, JSON.stringify({ Message: error.message, RequestID: requestId }));
  return status;
}
