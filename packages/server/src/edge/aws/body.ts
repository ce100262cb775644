import type { IncomingMessage } from 'node:http';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { CallerError } from '../../platform/errors.ts';

/** Pinpoint's documented bounds of a request's body. */
export const maxBodyBytes = 7 * 1024 * 1024;
export const maxEventsBodyBytes = 4 * 1024 * 1024;

/** No modelled input nests deeper than about a dozen levels; parsing a very deep one takes seconds. */
const maxDepth = 64;

/** How much, and how long, is read and thrown away after a refusal, so that the client reads the answer. */
const discardBytes = 64 * 1024 * 1024;
const discardMs = 5_000;

/** The whole body, at most `limit` bytes of it. @throws CallerError payload_too_large, and what `room` throws */
export function readBody(request: IncomingMessage, limit: number, room?: Room): Promise<Buffer> {
  if (Number(request.headers['content-length'] ?? 0) > limit) throw tooLarge(limit);
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const onData = (chunk: Buffer) => {
      length += chunk.length;
      try {
        if (length > limit) throw tooLarge(limit);
        room?.take(chunk.length);
        chunks.push(chunk);
      } catch (error) {
        stop();
        request.pause();
        reject(error);
      }
    };
    const onEnd = () => {
      stop();
      resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, length));
    };
    const onClose = () => {
      stop();
      reject(new CallerError('bad_request', 'The connection closed before the whole body had come'));
    };
    const stop = () => {
      request.off('data', onData).off('end', onEnd).off('close', onClose).off('error', onClose);
    };
    request.on('data', onData).on('end', onEnd).on('close', onClose).on('error', onClose);
  });
}

function tooLarge(limit: number): CallerError {
  return new CallerError('payload_too_large', `The body is larger than ${limit} bytes`);
}

/**
 * Reads what is left of a refused body and forgets it, within bounds. A client that is still sending would otherwise
 * meet a reset connection and never see why.
 */
export function discardBody(request: IncomingMessage): void {
  if (request.complete || request.destroyed) return;
  let length = 0;
  const timer = setTimeout(() => request.destroy(), discardMs);
  request.on('data', (chunk: Buffer) => {
    length += chunk.length;
    if (length > discardBytes) request.destroy();
  });
  request.on('error', () => request.destroy());
  request.on('close', () => clearTimeout(timer));
  request.on('end', () => clearTimeout(timer));
  request.resume();
}

const unzip = promisify(gunzip);

/**
 * The body without its Content-Encoding (gzip, or none): at most `limit` bytes of it, whatever it claims to be packed.
 * @throws CallerError bad_request, payload_too_large
 */
export async function decodeBody(request: IncomingMessage, body: Buffer, limit: number): Promise<Buffer> {
  if (!isPacked(request) || body.length === 0) return body;
  const encoding = encodingOf(request);
  if (encoding !== 'gzip' && encoding !== 'x-gzip') {
    throw new CallerError('bad_request', 'Content-Encoding: expected gzip, or none');
  }
  try {
    return await unzip(body, { maxOutputLength: limit });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(limit);
    throw new CallerError(
      'bad_request',
      '$: the body is not whole gzip data, as its Content-Encoding says',
      '$',
    );
  }
}

/** Does the body have a Content-Encoding that `decodeBody` has to undo, or to refuse? */
export function isPacked(request: IncomingMessage): boolean {
  const encoding = encodingOf(request);
  return encoding !== 'identity' && encoding !== '';
}

function encodingOf(request: IncomingMessage): string {
  return request.headers['content-encoding']?.trim().toLowerCase() ?? 'identity';
}

/** Bodies that one process holds at once, as far as they have come, until they are answered. */
const maxHeldBytes = 256 * 1024 * 1024;
let heldBytes = 0;

/** What one request holds of the room for bodies: taken as the bytes come, so one that is only announced holds up nobody. */
export class Room {
  #taken = 0;

  /** @throws CallerError too_many_requests when other bodies take all the room */
  take(bytes: number): void {
    if (heldBytes > this.#taken && heldBytes + bytes > maxHeldBytes) {
      throw new CallerError('too_many_requests', 'Too many large requests at once; try again later');
    }
    heldBytes += bytes;
    this.#taken += bytes;
  }

  /** To be called when the request was answered. */
  giveBack(): void {
    heldBytes -= this.#taken;
    this.#taken = 0;
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

/**
 * The body as JSON; undefined when it is empty. Of a key that stands twice in one object the last one counts, as in
 * every JSON parser that clients use.
 * @throws CallerError bad_request
 */
export function parseJson(body: Buffer): unknown {
  if (body.length === 0) return undefined;
  if (deeperThan(body, maxDepth)) {
    throw new CallerError('bad_request', `$: the JSON nests deeper than ${maxDepth} levels`, '$');
  }
  let text: string;
  try {
    text = utf8.decode(body);
  } catch {
    throw new CallerError('bad_request', '$: the body is not UTF-8', '$');
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    const reason = (error as Error).message.toWellFormed().slice(0, 200);
    throw new CallerError('bad_request', `$: the body is not JSON: ${reason}`, '$');
  }
}

/**
 * The body with each number that JSON does not know (`NaN`, `Infinity`) as a text, which then is refused where it
 * stands: Python writes such numbers, and one of them must not be the end of all that came along.
 */
export function quoteStrangeNumbers(body: Buffer): Buffer {
  if (!body.includes('NaN') && !body.includes('Infinity')) return body;
  const pieces: Buffer[] = [];
  let taken = 0;
  for (let at = 0; at < body.length; at++) {
    const code = body[at]!;
    if (code === quote) at = endOfString(body, at);
    const word =
      code === strange.nan[0] ? strange.nan : code === strange.infinity[0] ? strange.infinity : undefined;
    if (!word?.equals(body.subarray(at, at + word.length))) continue;
    const start = body[at - 1] === minus ? at - 1 : at;
    const end = at + word.length;
    pieces.push(body.subarray(taken, start), Buffer.from(`"${body.toString('latin1', start, end)}"`));
    taken = end;
    at = end - 1;
  }
  return Buffer.concat([...pieces, body.subarray(taken)]);
}

const strange = { nan: Buffer.from('NaN'), infinity: Buffer.from('Infinity') };
const minus = 0x2d;
const quote = 0x22;
const backslash = 0x5c;

/** Where the string ends that begins at `at`. */
function endOfString(body: Buffer, at: number): number {
  let end = at + 1;
  while (end < body.length && body[end] !== quote) end += body[end] === backslash ? 2 : 1;
  return end;
}

/** Counts brackets outside strings; works on bytes, since UTF-8 never uses these codes inside a character. */
function deeperThan(body: Buffer, limit: number): boolean {
  if (!hasMoreBrackets(body, limit)) return false;
  let depth = 0;
  for (let at = 0; at < body.length; at++) {
    const code = body[at]!;
    if (code === quote) {
      at = endOfString(body, at);
    } else if (code === 0x7b || code === 0x5b) {
      if (++depth > limit) return true;
    } else if (code === 0x7d || code === 0x5d) depth--;
  }
  return false;
}

/** More opening brackets than this, in strings or outside? Most bodies are short, and have few. */
function hasMoreBrackets(body: Buffer, limit: number): boolean {
  let count = 0;
  for (let at = 0; at < body.length; at++) {
    const code = body[at];
    if ((code === 0x7b || code === 0x5b) && ++count > limit) return true;
  }
  return false;
}
