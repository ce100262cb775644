import sql from 'sql-template-tag';
import type { Queryable } from '../platform/database.ts';
import { uuidDay } from '../platform/ids.ts';
import type { SentWith } from './sent-with.ts';

/** A message as records of it are made: its row, its dispatch, and what the fact of its sending says. */
export interface RecordedMessage {
  id: string;
  channel: string;
  address: string;
  endpointId: string | null;
  userId: string | null;
  dispatchId: string;
  campaignId: string | null;
  treatmentId: string | null;
  decision: string;
  /** Subject or beginning of the text, masked. */
  summary: string | null;
  class: 'transactional' | 'promotional' | null;
  /** The caller's words that go with each record of the message. */
  context: Record<string, string> | null;
  sent: (SentWith & { providerMessageId?: string }) | null;
}

const columns = sql`m.id, m.channel, m.address, m.endpoint_id as "endpointId", m.user_id as "userId",
  m.dispatch_id as "dispatchId", m.campaign_id as "campaignId", m.treatment_id as "treatmentId", m.decision, m.summary`;

const dispatchColumns = sql`d.class, d.plan->'context' as context`;

/** The messages with these ids. Each is looked up by itself: a young partition has no statistics for a list. */
export async function recordedMessages(
  db: Queryable,
  applicationId: string,
  ids: readonly string[],
): Promise<RecordedMessage[]> {
  if (ids.length === 0) return [];
  const { rows } = await db.query<RecordedMessage>(sql`
    select m.*, ${dispatchColumns}, sent.payload as sent
    from unnest(${ids}::uuid[], ${ids.map(uuidDay)}::date[]) as asked (id, day)
    cross join lateral (
      select ${columns}, m.day from messages m
      where m.application_id = ${applicationId} and m.id = asked.id and m.day = asked.day limit 1
    ) m
    left join dispatches d on d.id = m."dispatchId"
    left join lateral (
      select e.payload from events e
      where e.message_id = m.id and e.day >= m.day and e.type = 'message.sent' limit 1
    ) sent on true`);
  return rows;
}

/** The rows that one window wrote: those of the dispatch from the first to the last id. */
export interface WindowRange {
  dispatchId: string;
  firstMessageId: string;
  lastMessageId: string;
}

/**
 * What windows decided not to send; `window` is the index in `windows`. Another process may have written rows of the same dispatch in the
 * same millisecond; those are of another transaction and belong to its own window.
 */
export async function heldMessages(
  db: Queryable,
  applicationId: string,
  windows: readonly WindowRange[],
): Promise<(RecordedMessage & { window: number })[]> {
  if (windows.length === 0) return [];
  const first = windows.map(({ firstMessageId }) => firstMessageId);
  const last = windows.map(({ lastMessageId }) => lastMessageId);
  const { rows } = await db.query<RecordedMessage & { window: number }>(sql`
    select asked.n::int - 1 as window, m.*, ${dispatchColumns}, null as sent
    from unnest(${windows.map(({ dispatchId }) => dispatchId)}::uuid[], ${first}::uuid[], ${last}::uuid[],
        ${first.map(uuidDay)}::date[], ${last.map(uuidDay)}::date[])
      with ordinality as asked (dispatch_id, first, last, first_day, last_day, n)
    cross join lateral (
      select ${columns} from messages m
      where m.application_id = ${applicationId} and m.dispatch_id = asked.dispatch_id
        and m.id between asked.first and asked.last and m.day between asked.first_day and asked.last_day
        and m.decision <> 'sending'
        and m.xmin = (select written.xmin from messages written
          where written.application_id = ${applicationId} and written.id = asked.first and written.day = asked.first_day)
      order by m.id
    ) m
    left join dispatches d on d.id = m."dispatchId"`);
  return rows;
}
