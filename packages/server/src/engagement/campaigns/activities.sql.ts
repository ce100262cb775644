import sql, { empty } from 'sql-template-tag';
import type { Queryable } from '../../platform/database.ts';
import { badMember } from '../../platform/errors.ts';
import { uuidv7 } from '../../platform/ids.ts';
import type { CampaignActivity } from './campaign.ts';
import type { Page } from './campaigns.sql.ts';

const columns = sql`application_id as "applicationId", campaign_id as "campaignId", id, treatment_id as "treatmentId",
  dispatch_id as "dispatchId", state, result, scheduled_start as "scheduledStart", started_at as "startedAt",
  ended_at as "endedAt", total, successful, metrics`;

/** The runs of a campaign, newest first; those of one run stand together, by falling treatment. */
export async function selectActivities(
  db: Queryable,
  applicationId: string,
  campaignId: string,
  page: { limit: number; after?: string },
): Promise<Page<CampaignActivity>> {
  if (page.after !== undefined && !/^[0-9a-f]{32}$/.test(page.after))
    throw badMember('token', 'expected the NextToken of an earlier answer to the same list');
  const { rows } = await db.query<CampaignActivity>(sql`
    select ${columns} from campaign_activities
    where application_id = ${applicationId} and campaign_id = ${campaignId}
      ${page.after === undefined ? empty : sql`and id < ${page.after}`}
    order by id desc limit ${page.limit + 1}`);
  const items = rows.slice(0, page.limit);
  return rows.length > page.limit ? { items, next: items.at(-1)!.id } : { items };
}

/** Ids of the activities of these dispatches, by `<dispatch> <treatment>`. */
export async function selectActivityIds(
  db: Queryable,
  dispatchIds: readonly string[],
): Promise<Map<string, string>> {
  const { rows } = await db.query<{ key: string; id: string }>(sql`
    select dispatch_id || ' ' || treatment_id as key, id from campaign_activities
    where dispatch_id = any(${dispatchIds}::uuid[])`);
  return new Map(rows.map(({ key, id }) => [key, id]));
}

export async function selectActivity(
  db: Queryable,
  applicationId: string,
  campaignId: string,
  id: string,
): Promise<CampaignActivity | undefined> {
  const { rows } = await db.query<CampaignActivity>(sql`
    select ${columns} from campaign_activities
    where application_id = ${applicationId} and campaign_id = ${campaignId} and id = ${id}`);
  return rows[0];
}

/** One activity for each treatment of a run that has just started. */
export async function insertActivities(
  tx: Queryable,
  run: {
    applicationId: string;
    campaignId: string;
    dispatchId: string;
    scheduledStart: Date;
    treatments: readonly { id: string; activityId: string }[];
  },
): Promise<void> {
  const ids = run.treatments.map(({ activityId }) => activityId);
  const treatmentIds = run.treatments.map(({ id }) => id);
  await tx.query(sql`
    insert into campaign_activities
      (application_id, campaign_id, id, treatment_id, dispatch_id, state, scheduled_start, started_at)
    select ${run.applicationId}, ${run.campaignId}, id, treatment_id, ${run.dispatchId}, 'RUNNING', ${run.scheduledStart}, now()
    from unnest(${ids}::text[], ${treatmentIds}::text[]) as t(id, treatment_id)`);
}

/** The trace of a run that was due and did not take place; clients see the reason among its ExecutionMetrics. */
export async function insertCancelledActivity(
  tx: Queryable,
  run: { applicationId: string; campaignId: string; scheduledStart: Date; reason: string },
): Promise<void> {
  await tx.query(sql`
    insert into campaign_activities
      (application_id, campaign_id, id, treatment_id, state, result, scheduled_start, ended_at, metrics)
    values (${run.applicationId}, ${run.campaignId}, ${uuidv7().replaceAll('-', '')}, '0', 'CANCELLED', 'FAIL',
            ${run.scheduledStart}, now(), ${JSON.stringify({ REASON: run.reason })})`);
}

/** The activities of a run that is held or goes on. */
export async function setActivitiesState(
  tx: Queryable,
  dispatchId: string,
  state: 'RUNNING' | 'PAUSED',
): Promise<void> {
  await tx.query(sql`
    update campaign_activities set state = ${state}
    where dispatch_id = ${dispatchId} and state in ('RUNNING', 'PAUSED')`);
}
