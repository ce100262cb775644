import type { FastifyReply, FastifyRequest } from 'fastify';

/** What a spreadsheet would take for a formula: it runs when the file is opened. */
const formula = /^[=+\-@\t\r]/;
const special = /[",\r\n]/;

/**
 * A table as CSV (RFC 4180: CRLF, quotes doubled), with a row of names. A text that a spreadsheet would run as a
 * formula gets an apostrophe before it (event names and attributes come from anybody with a publishable key); numbers
 * stay as they are. Who needs every text unchanged asks for JSON.
 */
export function toCsv(columns: readonly string[], rows: readonly Record<string, unknown>[]): string {
  const lines = [columns.map(field), ...rows.map((row) => columns.map((column) => field(row[column])))];
  return lines.map((line) => `${line.join(',')}\r\n`).join('');
}

function field(value: unknown): string {
  if (value === null || value === undefined) return '';
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  const text = value instanceof Date ? value.toISOString() : String(value);
  const safe = formula.test(text) ? `'${text}` : text;
  return special.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** Does the caller rather want CSV than JSON? By the weights of its Accept header; JSON when it does not say. */
export function wantsCsv(request: FastifyRequest): boolean {
  const weights = new Map(
    (request.headers.accept ?? '').split(',', 50).map((part) => {
      const [type = '', ...parameters] = part.split(';').map((text) => text.trim().toLowerCase());
      const q = parameters.find((parameter) => parameter.startsWith('q='));
      return [type, q === undefined ? 1 : Number(q.slice(2)) || 0];
    }),
  );
  const csv = weights.get('text/csv') ?? 0;
  const json = weights.get('application/json') ?? 0;
  return csv > 0 && csv >= json;
}

/**
 * Answers a table: `columns` of `rows` as CSV when the caller asked for it, otherwise `answer` as JSON. Both have the
 * same rows.
 */
export function sendTable(
  request: FastifyRequest,
  reply: FastifyReply,
  table: { columns: readonly string[]; rows: readonly object[]; answer: object },
): FastifyReply {
  reply.header('vary', 'accept');
  if (!wantsCsv(request)) return reply.send(table.answer);
  return reply
    .type('text/csv; charset=utf-8; header=present')
    .serializer((payload: unknown) => String(payload))
    .send(toCsv(table.columns, table.rows as Record<string, unknown>[]));
}
