import sql, { empty } from 'sql-template-tag';
import type { Queryable } from '../../platform/database.ts';

/** The dispatches of a campaign's runs, oldest first; of one activity when it is named. */
export async function selectRunIds(
  db: Queryable,
  applicationId: string,
  campaignId: string,
  activityId?: string,
): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(sql`
    select distinct dispatch_id as id from campaign_activities
    where application_id = ${applicationId} and campaign_id = ${campaignId} and dispatch_id is not null
      ${activityId === undefined ? empty : sql`and id = ${activityId}`}
    order by 1`);
  return rows.map((row) => row.id);
}

/** A member whose turn has not come, and its place in the order in which it comes. */
export interface PendingMember {
  dispatchId: string;
  endpointId: string;
  number: number;
  place: number;
}

export async function selectPending(
  db: Queryable,
  dispatchIds: string[],
  page: { limit: number; after?: Omit<PendingMember, 'endpointId'> },
): Promise<PendingMember[]> {
  const after = page.after;
  const { rows } = await db.query<PendingMember>(sql`
    select c.dispatch_id as "dispatchId", e.id as "endpointId", c.number, e.place::int as place
    from dispatch_chunks c, unnest(c.endpoint_ids) with ordinality as e(id, place)
    where c.dispatch_id = any(${dispatchIds}::uuid[]) and e.place > c.next
      ${after ? sql`and (c.dispatch_id, c.number) >= (${after.dispatchId}::uuid, ${after.number}::int)` : empty}
      ${after ? sql`and (c.dispatch_id, c.number, e.place) > (${after.dispatchId}::uuid, ${after.number}::int, ${after.place}::bigint)` : empty}
    order by c.dispatch_id, c.number, e.place limit ${page.limit}`);
  return rows;
}
