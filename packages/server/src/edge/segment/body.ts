import type { IncomingMessage } from 'node:http';
import { decodeBody, type Room, readBody } from '../aws/body.ts';

/** Segment's documented bound of a request, packed or not. */
const maxRequestBytes = 500 * 1024;

/**
 * The body of a request, unpacked when it is gzip; takes `room` for both.
 * @throws CallerError payload_too_large, bad_request, too_many_requests
 */
export async function readRequestBody(request: IncomingMessage, room: Room): Promise<Buffer> {
  const packed = await readBody(request, maxRequestBytes, room);
  const body = await decodeBody(request, packed, maxRequestBytes);
  if (body !== packed) room.take(body.length);
  return body;
}
