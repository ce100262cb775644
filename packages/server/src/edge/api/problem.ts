import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { isConnectionError } from '../../platform/database.ts';
import { CallerError, type ErrorCode } from '../../platform/errors.ts';
import type { Log } from '../../platform/log.ts';
import { ObjectError } from '../../platform/objects.ts';

const statusOf: Record<ErrorCode, number> = {
  bad_request: 400,
  unauthenticated: 401,
  forbidden: 403,
  not_found: 404,
  method_not_allowed: 405,
  conflict: 409,
  payload_too_large: 413,
  too_many_requests: 429,
  not_implemented: 501,
  unavailable: 503,
  internal: 500,
};

/** RFC 9457. `code` is stable; `member` is the JSON path of the member at fault. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  code: ErrorCode;
  detail: string;
  member?: string;
  requestId: string;
}

export const problemSchema = {
  $id: 'Problem',
  type: 'object',
  required: ['type', 'title', 'status', 'code', 'detail', 'requestId'],
  properties: {
    type: { type: 'string' },
    title: { type: 'string' },
    status: { type: 'integer' },
    code: { type: 'string', enum: Object.keys(statusOf), description: 'Stable name of the kind of error.' },
    detail: { type: 'string', description: 'What went wrong, for a person.' },
    member: { type: 'string', description: 'JSON path of the member at fault.' },
    requestId: { type: 'string' },
  },
} as const;

/** Answers an error; it has been logged when it is not meant for the caller. */
export type SendProblem = (problem: Problem, request: FastifyRequest, reply: FastifyReply) => void;

/**
 * Answers every error of the own API, as problem+json unless `send` does otherwise; what is not meant for the caller is
 * logged, not shown.
 */
export function createProblemHandler(log: Log, send: SendProblem = sendProblem) {
  return (error: FastifyError | Error, request: FastifyRequest, reply: FastifyReply): void => {
    const { code, detail, member } = understand(error);
    if (code === 'internal') {
      log.error({ err: error, requestId: request.id, route: request.routeOptions.url }, 'A request failed');
    }
    if (code === 'too_many_requests' || code === 'unavailable') reply.header('retry-after', '1');
    const title = code.replaceAll('_', ' ');
    const status = statusOf[code];
    send({ type: 'about:blank', title, status, code, detail, member, requestId: request.id }, request, reply);
  };
}

/** As RFC 9457 has it. */
export const sendProblem: SendProblem = (problem, _request, reply) => {
  reply.code(problem.status).type('application/problem+json').send(JSON.stringify(problem));
};

function understand(error: FastifyError | Error): { code: ErrorCode; detail: string; member?: string } {
  if (error instanceof CallerError) return { code: error.code, detail: error.message, member: error.member };
  if (error instanceof ObjectError) {
    return { code: error.reason === 'not_found' ? 'not_found' : 'bad_request', detail: error.message };
  }
  const { validation, statusCode, validationContext } = error as FastifyError;
  if (validation?.[0]) {
    const { instancePath, message, params } = validation[0];
    const where = validationContext === 'body' ? '$' : (validationContext ?? '$');
    const missing = 'missingProperty' in params ? `.${params.missingProperty}` : '';
    const unknown = 'additionalProperty' in params ? `.${params.additionalProperty}` : '';
    const member = `${where}${instancePath.replaceAll('/', '.')}${missing}${unknown}`;
    const allowed = 'allowedValues' in params ? `: ${(params.allowedValues as unknown[]).join(', ')}` : '';
    return { code: 'bad_request', detail: `${member}: ${message}${allowed}`, member };
  }
  if (statusCode === 413) return { code: 'payload_too_large', detail: error.message };
  if (statusCode === 415) return { code: 'bad_request', detail: 'Content-Type: expected application/json' };
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500)
    return { code: 'bad_request', detail: error.message };
  if (isConnectionError(error))
    return { code: 'unavailable', detail: 'The database cannot be reached; nothing was changed' };
  return { code: 'internal', detail: 'Something went wrong here; the log has it under this request id' };
}

/** Path of a string that PostgreSQL cannot hold: with U+0000 or half a surrogate pair. */
export function unstorableMember(value: unknown, path = '$', depth = 0): string | undefined {
  if (typeof value === 'string') return value.includes('\0') || !value.isWellFormed() ? path : undefined;
  if (value === null || typeof value !== 'object') return undefined;
  if (depth > 64) return path;
  for (const [key, member] of Object.entries(value)) {
    if (key.includes('\0') || !key.isWellFormed()) return `${path}.${JSON.stringify(key)}`;
    const found = unstorableMember(
      member,
      Array.isArray(value) ? `${path}[${key}]` : `${path}.${key}`,
      depth + 1,
    );
    if (found) return found;
  }
  return undefined;
}
