import sql from 'sql-template-tag';
import type { Database, Queryable } from '../platform/database.ts';
import { uuidDay } from '../platform/ids.ts';
import type { DispatchClass, Lane } from './dispatch.ts';
import type { OutgoingMessage } from './provider.ts';
import { storableJson, storableText } from './storable.ts';

/** A row of `messages`, as it is inserted. */
export interface MessageRow {
  id: string;
  channel: string;
  address: string;
  endpointId: string | null;
  userId: string | null;
  /** The event that it is about. */
  eventId: string | null;
  treatmentId: string | null;
  decision: string;
  detail: string | null;
  summary: string | null;
}

/** Inserts message rows of one dispatch with one statement. The rows are never updated. */
export async function insertMessages(
  tx: Queryable,
  dispatch: { id: string; applicationId: string; campaignId: string | null },
  rows: MessageRow[],
): Promise<void> {
  if (rows.length === 0) return;
  const column = (key: keyof MessageRow) =>
    rows.map((row) => (row[key] === null ? null : storableText(row[key])));
  await tx.query({
    name: 'insert-messages',
    text: `insert into messages (day, id, application_id, dispatch_id, campaign_id, channel, address, endpoint_id, user_id,
                                 treatment_id, decision, detail, summary, event_id)
           select day, id, $1, $2, $3, channel, address, endpoint_id, user_id, treatment_id, decision, detail, summary, event_id
           from unnest($4::date[], $5::uuid[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[],
                       $12::text[], $13::text[], $14::text[])
             as r(day, id, channel, address, endpoint_id, user_id, treatment_id, decision, detail, summary, event_id)`,
    values: [
      dispatch.applicationId,
      dispatch.id,
      dispatch.campaignId,
      rows.map((row) => uuidDay(row.id)),
      column('id'),
      column('channel'),
      column('address'),
      column('endpointId'),
      column('userId'),
      column('treatmentId'),
      column('decision'),
      column('detail'),
      column('summary'),
      column('eventId'),
    ],
  });
}

/** One message of a window. `message` is kept only where a crash has it sent again (the transactional class). */
export interface WindowMessage {
  id: string;
  attempt: number;
  endpointId: string | null;
  treatmentId: string | null;
  message?: Omit<OutgoingMessage, 'attempt'>;
}

export interface SendWindow {
  id: string;
  workerId: string;
  applicationId: string;
  dispatchId: string;
  class: DispatchClass;
  lane: Lane;
  expiresAt: Date;
  messages: WindowMessage[];
}

/** Notes what is about to be handed to a provider. The row goes with the last outcome of the window. */
export async function insertWindow(tx: Queryable, window: SendWindow): Promise<void> {
  await tx.query({
    name: 'insert-window',
    text: `insert into send_windows (id, worker_id, application_id, dispatch_id, class, lane, expires_at, messages)
           values ($1, $2, $3, $4, $5, $6, $7, $8)`,
    values: [
      window.id,
      window.workerId,
      window.applicationId,
      window.dispatchId,
      window.class,
      window.lane,
      window.expiresAt,
      storableJson(window.messages),
    ],
  });
}

/**
 * Was this window committed? For when the connection broke during the commit; waits for the end of the transaction
 * that inserted it, should it still run.
 * @throws the database's error when it does not answer, or when the transaction does not end within seconds.
 */
export async function windowCommitted(database: Database, id: string): Promise<boolean> {
  const client = await database.connect();
  let broken: Error | undefined;
  try {
    await client.query('begin');
    await client.query(`set local lock_timeout = '5s'`);
    // Whoever inserts the same key waits for the other transaction, which no plain read does.
    const { rowCount } = await client.query(sql`
      insert into send_windows (id, worker_id, application_id, dispatch_id, class, lane, expires_at, messages)
      values (${id}, ${id}, '', ${id}, '', '', now(), '[]') on conflict do nothing`);
    return rowCount === 0;
  } finally {
    await client.query('rollback').catch((error: Error) => {
      broken = error;
    });
    client.release(broken);
  }
}

/**
 * Locks those of the windows that are still there, until the end of the transaction, in the order of their ids, and
 * deletes those among them that have `ended`: every message has its outcome. Returns the ids of all that were there.
 */
export async function holdWindows(tx: Queryable, ids: string[], ended: string[]): Promise<Set<string>> {
  const { rows } = await tx.query<{ id: string }>({
    name: 'hold-windows',
    text: `with held as materialized (select id from send_windows where id = any($1::uuid[]) order by id for update),
           ended as (delete from send_windows where id in (select id from held where id = any($2::uuid[])))
           select id from held`,
    values: [[...new Set(ids)], ended],
  });
  return new Set(rows.map(({ id }) => id));
}

/** Deletes windows of which every message has its outcome. */
export async function deleteWindows(tx: Queryable, ids: string[]): Promise<void> {
  if (ids.length === 0) return;
  await tx.query({
    name: 'delete-windows',
    text: 'delete from send_windows where id = any($1::uuid[])',
    values: [ids],
  });
}

/** A message that waits for its next attempt. */
export interface Retry {
  messageId: string;
  applicationId: string;
  dispatchId: string;
  endpointId: string | null;
  treatmentId: string | null;
  class: DispatchClass;
  lane: Lane;
  dueAt: Date;
  expiresAt: Date;
  /** The number of the attempt that is due. */
  attempt: number;
  message: Omit<OutgoingMessage, 'attempt'>;
}

/** Queues repeats; one for a dispatch that was erased meanwhile, or of a message that waits already, is left out. */
export async function insertRetries(tx: Queryable, retries: Retry[]): Promise<void> {
  if (retries.length === 0) return;
  await tx.query(sql`
    insert into retries (message_id, application_id, dispatch_id, endpoint_id, treatment_id, class, lane, due_at, expires_at,
                         attempt, message)
    select "messageId", "applicationId", "dispatchId", "endpointId", "treatmentId", class, lane, "dueAt", "expiresAt", attempt, message
    from jsonb_to_recordset(${storableJson(retries)}::jsonb)
      as r("messageId" uuid, "applicationId" text, "dispatchId" uuid, "endpointId" text, "treatmentId" text, class text,
           lane text, "dueAt" timestamptz, "expiresAt" timestamptz, attempt int, message jsonb)
    where exists (select from dispatches d where d.id = "dispatchId")
    on conflict (message_id) do nothing`);
}
