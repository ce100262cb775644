import sql from 'sql-template-tag';
import type { Queryable } from '../platform/database.ts';
import { uuidDay } from '../platform/ids.ts';
import type { DispatchClass, Lane } from './dispatch.ts';
import type { OutgoingMessage } from './provider.ts';

/** A row of `messages`, as it is inserted. */
export interface MessageRow {
  id: string;
  channel: string;
  address: string;
  endpointId: string | null;
  userId: string | null;
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
  const column = <Key extends keyof MessageRow>(key: Key) => rows.map((row) => row[key]);
  await tx.query({
    name: 'insert-messages',
    text: `insert into messages (day, id, application_id, dispatch_id, campaign_id, channel, address, endpoint_id, user_id,
                                 treatment_id, decision, detail, summary)
           select day, id, $1, $2, $3, channel, address, endpoint_id, user_id, treatment_id, decision, detail, summary
           from unnest($4::date[], $5::uuid[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[],
                       $12::text[], $13::text[])
             as r(day, id, channel, address, endpoint_id, user_id, treatment_id, decision, detail, summary)`,
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
      JSON.stringify(window.messages),
    ],
  });
}

/** Which of these windows are in the database: what is asked after a connection broke during a commit. */
export async function windowExists(db: Queryable, id: string): Promise<boolean> {
  const { rowCount } = await db.query(sql`select from send_windows where id = ${id}`);
  return rowCount === 1;
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

export async function insertRetries(tx: Queryable, retries: Retry[]): Promise<void> {
  if (retries.length === 0) return;
  await tx.query(sql`
    insert into retries (message_id, application_id, dispatch_id, endpoint_id, treatment_id, class, lane, due_at, expires_at,
                         attempt, message)
    select "messageId", "applicationId", "dispatchId", "endpointId", "treatmentId", class, lane, "dueAt", "expiresAt", attempt, message
    from jsonb_to_recordset(${JSON.stringify(retries)}::jsonb)
      as r("messageId" uuid, "applicationId" text, "dispatchId" uuid, "endpointId" text, "treatmentId" text, class text,
           lane text, "dueAt" timestamptz, "expiresAt" timestamptz, attempt int, message jsonb)
    on conflict (message_id) do nothing`);
}

/**
 * Takes due retries out of the queue; the caller writes their windows in the same transaction. Those of paused
 * dispatches stay; those of stopped or expired ones come too, with `state`, to get their outcome.
 */
export async function takeDueRetries(
  tx: Queryable,
  lane: Lane,
  limit: number,
): Promise<(Retry & { state: string; campaignId: string | null })[]> {
  const { rows } = await tx.query(sql`
    with due as (
      select r.message_id, d.state, d.campaign_id
      from retries r join dispatches d on d.id = r.dispatch_id
      where r.lane = ${lane} and (r.due_at <= now() or d.state = 'stopped') and d.state <> 'paused'
      order by r.due_at limit ${limit}
      for update of r skip locked
    )
    delete from retries r using due where r.message_id = due.message_id
    returning r.message_id as "messageId", r.application_id as "applicationId", r.dispatch_id as "dispatchId",
      r.endpoint_id as "endpointId", r.treatment_id as "treatmentId", r.class, r.lane, r.due_at as "dueAt",
      r.expires_at as "expiresAt", r.attempt, r.message, due.state, due.campaign_id as "campaignId"`);
  return rows;
}
