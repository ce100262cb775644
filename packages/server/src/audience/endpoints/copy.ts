import { once } from 'node:events';
import { from as copyFrom } from 'pg-copy-streams';
import { isoTime } from '../../platform/clock.ts';
import type { Transaction } from '../../platform/database.ts';
import type { UserRow } from './endpoint.sql.ts';
import type { EndpointRow } from './row.ts';

/** A text value in COPY's text format; absent is `\N`. */
function field(value: string | null): string {
  if (value === null) return '\\N';
  return /[\\\t\n\r]/.test(value) ? value.replace(/[\\\t\n\r]/g, (character) => escapes[character]!) : value;
}

const escapes: Record<string, string> = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r' };

/** JSON holds no control characters as they are, so only its backslashes need care. */
function json(value: unknown): string {
  const text = JSON.stringify(value);
  return text.includes('\\') ? text.replaceAll('\\', '\\\\') : text;
}

/**
 * Writes rows that are not there by COPY, which costs PostgreSQL about half of INSERT … SELECT FROM a JSON list.
 * @throws the database's `23505` when one of them is there.
 */
export async function copyEndpoints(
  tx: Transaction,
  applicationId: string,
  rows: EndpointRow[],
): Promise<void> {
  const application = field(applicationId);
  let text = '';
  for (const row of rows) {
    text += `${application}\t${field(row.id)}\t${field(row.segmentId)}\t${field(row.channel)}\t${field(row.address)}\t${row.optOut}\t${row.status}\t${row.cohort}\t${field(row.userId)}\t${json(row.attributes)}\t${json(row.metrics)}\t${json(row.demographic)}\t${json(row.location)}\t${field(row.requestId)}\t${isoTime(row.effectiveAt)}\t${isoTime(row.createdAt)}\n`;
  }
  await copy(
    tx,
    `copy endpoints (application_id, id, segment_id, channel, address, opt_out, status, cohort, user_id,
      attributes, metrics, demographic, location, request_id, effective_at, created_at) from stdin`,
    text,
  );
}

/** As copyEndpoints, for users. */
export async function copyUsers(tx: Transaction, applicationId: string, rows: UserRow[]): Promise<void> {
  const application = field(applicationId);
  let text = '';
  for (const row of rows) text += `${application}\t${field(row.id)}\t${json(row.attributes)}\n`;
  await copy(tx, 'copy users (application_id, id, attributes) from stdin', text);
}

async function copy(tx: Transaction, statement: string, text: string): Promise<void> {
  const stream = tx.query(copyFrom(statement));
  stream.end(Buffer.from(text));
  await once(stream, 'finish');
}
