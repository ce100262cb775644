import sql from 'sql-template-tag';
import type { Queryable } from '../platform/database.ts';
import type { Lane } from './dispatch.ts';
import type { DeliveryChannel } from './provider.ts';
import type { Retry } from './window.sql.ts';

/** What is needed to decide whether a retry that is due can be sent now. */
export interface DueRetry {
  messageId: string;
  applicationId: string;
  channel: DeliveryChannel;
  /** The function of the customer's that takes it over. */
  uri: string | null;
  /** Gets its outcome instead of another attempt: its dispatch was stopped, or its time is over. */
  over: boolean;
}

/**
 * Retries of a lane that are due, the longest due first, and those of stopped dispatches. Those of paused dispatches
 * stay. A dispatch that was stopped and is finished has none of its own left: one that is there was queued by hand
 * since, and is sent. Applications in `except` are left out.
 */
export async function selectDueRetries(
  db: Queryable,
  lane: Lane,
  options: { limit: number; except: string[] },
): Promise<DueRetry[]> {
  const { rows } = await db.query<DueRetry>(sql`
    with stopped as (
      select r.message_id, r.application_id, r.message->>'channel' as channel,
        r.message#>>'{content,delivery,uri}' as uri, true as over
      from dispatches d join retries r on r.dispatch_id = d.id and r.lane = ${lane}
      where d.lane = ${lane} and d.finished_at is null and d.state = 'stopped'
      limit ${options.limit}
    ),
    due as (
      select r.message_id, r.application_id, r.message->>'channel' as channel,
        r.message#>>'{content,delivery,uri}' as uri, r.expires_at <= now() as over
      from retries r join dispatches d on d.id = r.dispatch_id
      where r.lane = ${lane} and r.due_at <= now() and r.application_id <> all(${options.except}::text[])
        and (d.state in ('running', 'done') or d.finished_at is not null)
      order by r.due_at limit ${options.limit}
    )
    select message_id as "messageId", application_id as "applicationId", channel, uri, over
    from (select * from stopped union all select * from due) as found limit ${options.limit}`);
  return rows;
}

/** Makes retries wait that cannot be sent now, because their account is out of order. */
export async function postponeRetries(db: Queryable, messageIds: string[], waitMs: number): Promise<void> {
  await db.query(sql`
    update retries set due_at = now() + ${waitMs} * interval '1 millisecond'
    where message_id = any(${messageIds}::uuid[]) and due_at <= now()`);
}

/** A retry that was taken out of the queue. */
export type TakenRetry = Retry & { over: 'stopped' | 'expired' | null; campaignId: string | null };

/**
 * Takes these retries out of the queue, as far as they are still there and their dispatches were not paused meanwhile;
 * the caller writes their windows or their outcomes in the same transaction.
 */
export async function takeRetries(tx: Queryable, messageIds: string[]): Promise<TakenRetry[]> {
  const { rows } = await tx.query<TakenRetry>(sql`
    with due as (
      select r.message_id, d.campaign_id,
        case when d.state = 'stopped' and d.finished_at is null then 'stopped'
             when r.expires_at <= now() then 'expired' end as over
      from retries r join dispatches d on d.id = r.dispatch_id
      where r.message_id = any(${messageIds}::uuid[]) and (d.state <> 'paused' or d.finished_at is not null)
      order by r.message_id
      for update of r skip locked
    )
    delete from retries r using due where r.message_id = due.message_id
    returning r.message_id as "messageId", r.application_id as "applicationId", r.dispatch_id as "dispatchId",
      r.endpoint_id as "endpointId", r.treatment_id as "treatmentId", r.class, r.lane, r.due_at as "dueAt",
      r.expires_at as "expiresAt", r.attempt, r.message, due.over, due.campaign_id as "campaignId"`);
  return rows;
}

/** Those of the messages that were in doubt at one of their attempts: they may have arrived, whatever came later. */
export async function doubtfulAmong(tx: Queryable, messageIds: string[]): Promise<Set<string>> {
  if (messageIds.length === 0) return new Set();
  const { rows } = await tx.query<{ id: string }>(sql`
    select distinct message_id as id from events
    where message_id = any(${messageIds}::uuid[]) and type = 'message.in_doubt'`);
  return new Set(rows.map(({ id }) => id));
}
