import type { IncomingMessage } from 'node:http';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { CallerError } from '../../platform/errors.ts';
import { readBody } from '../aws/body.ts';

/** Segment's documented bound of a request, packed or not. */
export const maxRequestBytes = 500 * 1024;

const unpack = promisify(gunzip);

/** The body of a request, unpacked when it is gzip. @throws CallerError payload_too_large, bad_request */
export async function readRequestBody(request: IncomingMessage): Promise<Buffer> {
  const encoding = (request.headers['content-encoding'] ?? 'identity').toLowerCase();
  if (encoding !== 'identity' && encoding !== 'gzip') {
    throw new CallerError('bad_request', 'Content-Encoding: expected gzip or none');
  }
  const body = await readBody(request, maxRequestBytes);
  if (encoding === 'identity') return body;
  try {
    return await unpack(body, { maxOutputLength: maxRequestBytes });
  } catch (error) {
    if ((error as { code?: string }).code === 'ERR_BUFFER_TOO_LARGE') {
      throw new CallerError('payload_too_large', `The body is larger than ${maxRequestBytes} bytes`);
    }
    throw new CallerError('bad_request', 'The body is not gzip');
  }
}
