import sql, { type Sql } from 'sql-template-tag';
import type { Queryable } from '../platform/database.ts';

/**
 * Reserves one message of the last 24 hours for each endpoint that has not reached `limit` yet, over all campaigns of
 * the application. Returns those that got one. Rows are locked in the order of their ids, so that two windows with the
 * same endpoints wait for each other instead of deadlocking; being part of the window's transaction makes it exact.
 */
export async function reserveDaily(
  tx: Queryable,
  applicationId: string,
  endpointIds: string[],
  limit: number,
): Promise<Set<string>> {
  const { rows } = await tx.query<{ id: string }>(sql`
    insert into endpoint_sends as s (application_id, endpoint_id, recent)
    select ${applicationId}, id, array[now()] from unnest(${endpointIds}::text[]) as id order by id
    on conflict (application_id, endpoint_id) do update
      set recent = array(select t from unnest(s.recent) t where t > now() - interval '24 hours') || now()
      where (select count(*) from unnest(s.recent) t where t > now() - interval '24 hours') < ${limit}
    returning endpoint_id as id`);
  return new Set(rows.map((row) => row.id));
}

/** The same for the messages of one campaign, over all its runs. */
export async function reserveTotal(
  tx: Queryable,
  campaignId: string,
  endpointIds: string[],
  limit: number,
): Promise<Set<string>> {
  const { rows } = await tx.query<{ id: string }>(sql`
    insert into campaign_sends as s (campaign_id, endpoint_id, count)
    select ${campaignId}, id, 1 from unnest(${endpointIds}::text[]) as id order by id
    on conflict (campaign_id, endpoint_id) do update set count = s.count + 1 where s.count < ${limit}
    returning endpoint_id as id`);
  return new Set(rows.map((row) => row.id));
}

/**
 * Gives reservations of the last 24 hours back, one for each time that an endpoint is given: of messages that were not
 * sent, when caps count what was sent.
 */
export async function releaseDaily(
  tx: Queryable,
  applicationId: string,
  endpointIds: string[],
): Promise<void> {
  await tx.query(sql`
    update endpoint_sends s set recent = s.recent[1:cardinality(s.recent) - given.count]
    from (select endpoint_id from endpoint_sends
          where application_id = ${applicationId} and endpoint_id = any(${endpointIds}) and cardinality(recent) > 0
          order by endpoint_id for update) locked
    join (${givenBack(endpointIds)}) given using (endpoint_id)
    where s.application_id = ${applicationId} and s.endpoint_id = locked.endpoint_id`);
}

/** The same for those of a campaign. */
export async function releaseTotal(tx: Queryable, campaignId: string, endpointIds: string[]): Promise<void> {
  await tx.query(sql`
    update campaign_sends s set count = greatest(0, s.count - given.count)
    from (select endpoint_id from campaign_sends
          where campaign_id = ${campaignId} and endpoint_id = any(${endpointIds}) and count > 0
          order by endpoint_id for update) locked
    join (${givenBack(endpointIds)}) given using (endpoint_id)
    where s.campaign_id = ${campaignId} and s.endpoint_id = locked.endpoint_id`);
}

function givenBack(endpointIds: string[]): Sql {
  return sql`select id as endpoint_id, count(*)::int as count from unnest(${endpointIds}::text[]) as id group by id`;
}
