/** What went wrong, in the terms of a caller. Each edge maps a code to its own status and wording. */
export type ErrorCode =
  | 'bad_request'
  | 'unauthenticated'
  | 'forbidden'
  | 'not_found'
  | 'method_not_allowed'
  | 'conflict'
  | 'payload_too_large'
  | 'too_many_requests'
  | 'not_implemented'
  | 'unavailable'
  | 'internal';

/**
 * An error that is meant for the caller: its message may be shown as it is.
 * `member` is the JSON path of the member at fault (`$.Schedule.Frequency`), when there is one.
 */
export class CallerError extends Error {
  readonly code: ErrorCode;
  readonly member: string | undefined;

  constructor(code: ErrorCode, message: string, member?: string) {
    super(message);
    this.name = 'CallerError';
    this.code = code;
    this.member = member;
  }
}

/** 400: the member at `path` is wrong; `expected` says what would be right. */
export function badMember(path: string, expected: string): CallerError {
  return new CallerError('bad_request', `${path}: ${expected}`, path);
}

/** 404 in the form `Campaign abc not found`. */
export function notFound(noun: string, id: string): CallerError {
  return new CallerError('not_found', `${noun} ${id} not found`);
}
