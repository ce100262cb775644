import type { IncomingMessage } from 'node:http';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { CallerError } from '../../platform/errors.ts';
import { type Room, readBody } from '../aws/body.ts';

/** Segment's documented bound of a request, packed or not. */
export const maxRequestBytes = 500 * 1024;

const unpack = promisify(gunzip);

/**
 * The body of a request, unpacked when it is gzip; takes `room` for both.
 * @throws CallerError payload_too_large, bad_request, too_many_requests
 */
export async function readRequestBody(request: IncomingMessage, room: Room): Promise<Buffer> {
  const encoding = (request.headers['content-encoding'] ?? 'identity').toLowerCase();
  if (encoding !== 'identity' && encoding !== 'gzip') {
    throw new CallerError('bad_request', 'Content-Encoding: expected gzip or none');
  }
  const body = await readBody(request, maxRequestBytes, room);
  if (encoding === 'identity') return body;
  let unpacked: Buffer;
  try {
    unpacked = await unpack(body, { maxOutputLength: maxRequestBytes });
  } catch (error) {
    if ((error as { code?: string }).code === 'ERR_BUFFER_TOO_LARGE') {
      throw new CallerError('payload_too_large', `The body is larger than ${maxRequestBytes} bytes`);
    }
    throw new CallerError('bad_request', 'The body is not gzip');
  }
  room.take(unpacked.length);
  return unpacked;
}
