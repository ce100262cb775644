const hex = new Uint8Array(Buffer.from('0123456789ABCDEF', 'latin1'));
const maxLineLength = 76;

/** How a part's content is written (RFC 2045): the header's word and the bytes, lines ended by CRLF. */
export interface EncodedContent {
  transferEncoding: '7bit' | 'quoted-printable' | 'base64';
  bytes: Buffer;
}

/**
 * Encodes a text for a text/* part: as it is when that is safe everywhere, base64 when most of it is not Latin,
 * quoted-printable otherwise. `forbidden` is a string (the boundary's prefix) that must not appear as it is.
 */
export function encodeText(text: string, forbidden: string): EncodedContent {
  // Printable ASCII with short lines; a trailing blank or a line of an mbox separator would not survive every hop.
  if (!hasLongLine(text) && /^[\t\r\n\x20-\x7e]*$/.test(text) && !/[ \t](?:[\r\n]|$)|^From /m.test(text)) {
    if (!text.includes(forbidden))
      return { transferEncoding: '7bit', bytes: Buffer.from(text.replace(/\r\n?|\n/g, '\r\n'), 'latin1') };
  }
  const bytes = Buffer.from(text.toWellFormed(), 'utf8');
  if (bytes.length > text.length * 1.4)
    return {
      transferEncoding: 'base64',
      bytes: encodeBase64(Buffer.from(text.toWellFormed().replace(/\r\n?|\n/g, '\r\n'), 'utf8')),
    };
  return { transferEncoding: 'quoted-printable', bytes: encodeQuotedPrintable(bytes) };
}

/** Most HTML has one, soon after its begin: the cheapest question comes first. */
function hasLongLine(text: string): boolean {
  for (let at = 0; at < text.length; ) {
    const found = text.indexOf('\n', at);
    const end = found === -1 ? text.length : found;
    // CR by itself ends a line as well.
    if (end - at > maxLineLength && /[^\r]{77}/.test(text.slice(at, end))) return true;
    at = end + 1;
  }
  return false;
}

/** base64 in lines of 76 characters. */
export function encodeBase64(bytes: Buffer): Buffer {
  return Buffer.from(bytes.toString('base64').replace(/.{76}(?=.)/g, '$&\r\n'), 'latin1');
}

// Bytes that stand for themselves wherever they are: visible ASCII but `=`, and `F` (of `From ` at a line's begin).
const literal = new Uint8Array(256);
for (let byte = 0x21; byte < 0x7f; byte++) literal[byte] = byte === 0x3d || byte === 0x46 ? 0 : 1;

/** Quoted-printable (RFC 2045, 6.7) of a text: CR, LF and CRLF are line breaks, which become CRLF. */
export function encodeQuotedPrintable(bytes: Uint8Array): Buffer {
  const length = bytes.length;
  // At worst each byte takes three characters, and each 73 of them a soft line break of three.
  const out = Buffer.allocUnsafe(length * 3 + Math.ceil((length * 3) / 73) * 3 + 8);
  const lastColumn = maxLineLength - 1;
  let at = 0;
  let column = 0;
  for (let i = 0; i < length; i++) {
    const byte = bytes[i]!;
    if (literal[byte] === 1 && column < lastColumn) {
      out[at++] = byte;
      column += 1;
      continue;
    }
    if (byte === 0x0d || byte === 0x0a) {
      if (byte === 0x0d && bytes[i + 1] === 0x0a) i += 1;
      out[at++] = 0x0d;
      out[at++] = 0x0a;
      column = 0;
      continue;
    }
    const plain = literal[byte] === 1 || isPlain(bytes, i, column);
    const width = plain ? 1 : 3;
    if (column + width > lastColumn) {
      out[at++] = 0x3d;
      out[at++] = 0x0d;
      out[at++] = 0x0a;
      column = 0;
    }
    if (plain) out[at++] = byte;
    else {
      out[at++] = 0x3d;
      out[at++] = hex[byte >> 4]!;
      out[at++] = hex[byte & 15]!;
    }
    column += width;
  }
  return out.subarray(0, at);
}

/** May the blank or `F` at `at` stand for itself? Not at the end of a line, nor where mbox files see `From `. */
function isPlain(bytes: Uint8Array, at: number, column: number): boolean {
  const byte = bytes[at];
  if (byte === 0x46)
    return !(
      (column === 0 || column >= maxLineLength - 1) &&
      bytes[at + 1] === 0x72 &&
      bytes[at + 2] === 0x6f &&
      bytes[at + 3] === 0x6d &&
      bytes[at + 4] === 0x20
    );
  const next = bytes[at + 1];
  return (byte === 0x20 || byte === 0x09) && next !== undefined && next !== 0x0d && next !== 0x0a;
}
