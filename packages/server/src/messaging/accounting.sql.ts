import sql from 'sql-template-tag';
import type { Queryable } from '../platform/database.ts';

/** Where everybody in the audience of some dispatches is: the numbers add up to `audience`. */
export interface Accounting {
  audience: number;
  /** Members without a decision yet. */
  pending: number;
  /** By status: `sent`, `delivered`, `bounced`, `failed`, `deferred`, `in_doubt` …, and each reason for which somebody was held back. */
  statuses: Record<string, number>;
}

/**
 * Counts the audience of dispatches by what became of each member, from the rows of truth (messages and their facts,
 * not from counters). `audience = pending + the sum of statuses`, also while it is running.
 */
export async function accountFor(
  db: Queryable,
  applicationId: string,
  dispatchIds: string[],
): Promise<Accounting> {
  const { rows } = await db.query<{ status: string | null; count: number }>(sql`
    with facts as (
      select distinct on (e.message_id) e.message_id,
        case e.type when 'message.resent' then 'deferred' else substr(e.type, 9) end as status
      from events e
      where e.application_id = ${applicationId}
        and e.type in ('message.complained', 'message.bounced', 'message.delivered', 'message.sent', 'message.failed',
                       'message.expired', 'message.in_doubt', 'message.deferred', 'message.resent')
        and e.dispatch_id = any(${dispatchIds}::uuid[])
      order by e.message_id,
        case e.type
          when 'message.complained' then 6 when 'message.bounced' then 5 when 'message.delivered' then 4
          when 'message.sent' then 3 when 'message.failed' then 3 when 'message.expired' then 3 else 1 end desc,
        e.occurred_at desc
    ),
    decided as (
      select case when m.decision = 'sending' then coalesce(f.status, 'sending') else m.decision end as status
      from messages m left join facts f on f.message_id = m.id
      where m.dispatch_id = any(${dispatchIds}::uuid[])
    )
    select status, count(*) as count from decided group by status
    union all
    select null, coalesce(sum(size - next), 0) from dispatch_chunks where dispatch_id = any(${dispatchIds}::uuid[])
    order by 1 nulls first`);
  const statuses: Record<string, number> = {};
  let pending = 0;
  for (const { status, count } of rows) {
    if (status === null) pending = Number(count);
    else statuses[status] = count;
  }
  const decided = Object.values(statuses).reduce((sum, count) => sum + count, 0);
  return { audience: decided + pending, pending, statuses };
}
