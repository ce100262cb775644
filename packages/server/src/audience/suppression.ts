import type { Queryable } from '../platform/database.ts';

/** Why an address must not be written to. */
export type SuppressionReason = 'bounce' | 'complaint' | 'manual';

export interface Suppression {
  channel: string;
  address: string;
  reason: SuppressionReason;
  /** The message whose bounce or complaint it was. */
  messageId: string | null;
  createdAt: number;
}

/** The form in which addresses are compared: e-mail in lower case, phone numbers without spaces and signs. */
export function normaliseAddress(channel: string, address: string): string {
  const trimmed = address.trim();
  if (channel === 'EMAIL') return trimmed.toLowerCase();
  if (channel === 'SMS' || channel === 'VOICE') {
    const digits = trimmed.replace(/[\s().-]/g, '');
    return digits.startsWith('+') ? digits : `+${digits}`;
  }
  return trimmed;
}

/** Adds addresses to the suppression list; those that are on it keep their first reason. */
export async function addSuppressions(
  db: Queryable,
  applicationId: string,
  suppressions: readonly {
    channel: string;
    address: string;
    reason: SuppressionReason;
    messageId?: string | null;
  }[],
): Promise<void> {
  if (suppressions.length === 0) return;
  const rows = suppressions
    .map((entry) => ({ ...entry, address: normaliseAddress(entry.channel, entry.address) }))
    .sort((a, b) => (`${a.channel} ${a.address}` < `${b.channel} ${b.address}` ? -1 : 1));
  await db.query(
    `insert into suppressions (application_id, channel, address, reason, message_id)
      select $1, s.* from unnest($2::text[], $3::text[], $4::text[], $5::uuid[]) as s
      on conflict do nothing`,
    [
      applicationId,
      rows.map((row) => row.channel),
      rows.map((row) => row.address),
      rows.map((row) => row.reason),
      rows.map((row) => row.messageId ?? null),
    ],
  );
}

/** Takes an address off the list. Returns whether it was on it. */
export async function removeSuppression(
  db: Queryable,
  applicationId: string,
  channel: string,
  address: string,
): Promise<boolean> {
  const { rowCount } = await db.query(
    'delete from suppressions where application_id = $1 and channel = $2 and address = $3',
    [applicationId, channel, normaliseAddress(channel, address)],
  );
  return rowCount === 1;
}

/** A page of the list by channel and address; `next` is the `after` of the following page. */
export async function listSuppressions(
  db: Queryable,
  applicationId: string,
  options: { channel?: string; after?: { channel: string; address: string }; limit?: number } = {},
): Promise<{ suppressions: Suppression[]; next: { channel: string; address: string } | undefined }> {
  const limit = Math.min(Math.max(options.limit ?? 50, 1), 1000);
  const { rows } = await db.query<Suppression>(
    `select channel, address, reason, message_id as "messageId",
        floor(extract(epoch from created_at) * 1000)::int8 as "createdAt"
      from suppressions
      where application_id = $1 and ($2::text is null or channel = $2) and (channel, address) > ($3, $4)
      order by channel, address limit ${limit + 1}`,
    [applicationId, options.channel ?? null, options.after?.channel ?? '', options.after?.address ?? ''],
  );
  const suppressions = rows.slice(0, limit);
  const last = suppressions.at(-1);
  return {
    suppressions,
    next: rows.length > limit && last ? { channel: last.channel, address: last.address } : undefined,
  };
}

/** Which of the addresses are on the list, in their normal form (`normaliseAddress`). One statement. */
export async function suppressedAmong(
  db: Queryable,
  applicationId: string,
  channel: string,
  addresses: readonly string[],
): Promise<Set<string>> {
  if (addresses.length === 0) return new Set();
  const { rows } = await db.query<{ address: string }>({
    name: 'suppressed-among',
    text: 'select address from suppressions where application_id = $1 and channel = $2 and address = any($3)',
    values: [applicationId, channel, addresses.map((address) => normaliseAddress(channel, address))],
  });
  return new Set(rows.map(({ address }) => address));
}
