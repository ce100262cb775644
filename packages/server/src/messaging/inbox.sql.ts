import sql, { empty, type Sql } from 'sql-template-tag';
import type { DeliveryChannel } from './provider.ts';

/** The columns of the rows to insert, each as one array. */
export interface InboxColumns {
  ids: string[];
  applicationIds: string[];
  messageIds: string[];
  channels: string[];
  senders: (string | null)[];
  addresses: string[];
  subjects: (string | null)[];
  /** JSON texts. */
  contents: string[];
}

export function insertInboxMessages(rows: InboxColumns): Sql {
  return sql`
    insert into inbox (id, application_id, message_id, channel, sender, address, subject, content)
    select * from unnest(
      ${rows.ids}::uuid[], ${rows.applicationIds}::text[], ${rows.messageIds}::uuid[], ${rows.channels}::text[],
      ${rows.senders}::text[], ${rows.addresses}::text[], ${rows.subjects}::text[], ${rows.contents}::jsonb[])
    on conflict (id) do nothing`;
}

export interface InboxFilter {
  applicationId?: string;
  address?: string;
  channel?: DeliveryChannel;
  /** Id of the last message of the previous page. */
  before?: string;
  limit: number;
}

/** Newest first; without the contents. The id is a UUIDv7, so its order is that of arrival. */
export function selectInboxMessages(filter: InboxFilter): Sql {
  const conditions = [
    filter.applicationId === undefined ? empty : sql`and application_id = ${filter.applicationId}`,
    filter.address === undefined ? empty : sql`and address = ${filter.address}`,
    filter.channel === undefined ? empty : sql`and channel = ${filter.channel}`,
    filter.before === undefined ? empty : sql`and id < ${filter.before}::uuid`,
  ];
  return sql`
    select id, application_id, message_id, channel, sender, address, subject, received_at
    from inbox where true ${conditions[0]} ${conditions[1]} ${conditions[2]} ${conditions[3]}
    order by id desc limit ${filter.limit}`;
}

export function selectInboxMessage(id: string): Sql {
  return sql`
    select id, application_id, message_id, channel, sender, address, subject, content, received_at
    from inbox where id = ${id}::uuid`;
}

/** A batch of an application's messages (of all when undefined), oldest first. */
export function deleteInboxMessages(applicationId: string | undefined, limit: number): Sql {
  const ofApplication = applicationId === undefined ? empty : sql`where application_id = ${applicationId}`;
  return sql`
    delete from inbox where id in (select id from inbox ${ofApplication} order by id limit ${limit})`;
}

/** Applications that have messages in the inbox: a loose index scan, so the price is per application, not per row. */
export const selectInboxApplications: Sql = sql`
  with recursive applications as (
    (select application_id from inbox order by application_id limit 1)
    union all
    select (select i.application_id from inbox i where i.application_id > a.application_id
            order by i.application_id limit 1)
    from applications a where a.application_id is not null)
  select application_id from applications where application_id is not null`;

/** The newest message of an application that is beyond the `keep` newest. */
export function selectInboxLimit(applicationId: string, keep: number): Sql {
  return sql`
    select id from inbox where application_id = ${applicationId} order by id desc offset ${keep} limit 1`;
}

/** A batch of an application's messages up to and including `id`. */
export function deleteInboxUpTo(applicationId: string, id: string, limit: number): Sql {
  return sql`
    delete from inbox where id in (
      select id from inbox where application_id = ${applicationId} and id <= ${id}::uuid order by id limit ${limit})`;
}
