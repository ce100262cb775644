/** A longer message is not held a second time. */
const maxLength = 1024 * 1024;

/**
 * A message as it follows DATA (RFC 5321, 4.5.2): a dot more before each line that begins with one, and a line of one dot
 * at the end. Undefined for one of more than 1 MiB, and when a CR or LF stands by itself: a server that takes it for the
 * end of a line could see a dot after it as the end of the message.
 */
export function dataOf(bytes: Buffer): Buffer | undefined {
  if (bytes.length > maxLength) return undefined;
  const text = bytes.toString('latin1');
  if (/\r(?!\n)|(?<!\r)\n/.test(text)) return undefined;
  const hasDots = text.startsWith('.') || text.includes('\n.');
  const end = text.endsWith('\n') ? '.\r\n' : '\r\n.\r\n';
  return Buffer.from((hasDots ? text.replace(/^\./gm, '..') : text) + end, 'latin1');
}
