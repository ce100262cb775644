import sql, { type Sql } from 'sql-template-tag';
import type { Queryable } from '../../platform/database.ts';
import type { Campaign } from './campaign.ts';
import type { EventFilter } from './trigger-filter.ts';

/** What an event is compared with: an event-triggered campaign as it is at this moment. Times in milliseconds. */
export interface Trigger {
  applicationId: string;
  campaignId: string;
  filter: EventFilter;
  segmentId: string;
  segmentVersion: number;
  state: Campaign['state'];
  /** Takes what is triggered; null before the start. */
  dispatchId: string | null;
  /** Its start has come, and nobody has started it yet. */
  due: boolean;
  /** Events that arrive from here on, and before `activeUntil`. */
  activeFrom: number;
  activeUntil: number | null;
  ended: boolean;
}

/** Applications whose events are compared with anything. */
export async function selectTriggeredApplications(tx: Queryable): Promise<string[]> {
  const { rows } = await tx.query<{ id: string }>(
    `select distinct application_id as id from campaign_triggers
      where ended_at is null or ended_at > now() - interval '1 day'`,
  );
  return rows.map(({ id }) => id);
}

/**
 * The triggers of these applications, those that ended within a day included. `lock` keeps their campaigns from being
 * changed until the end of the transaction, in the order in which everybody locks them.
 */
export async function selectTriggers(
  tx: Queryable,
  applicationIds: readonly string[],
  { lock }: { lock: boolean },
): Promise<Trigger[]> {
  const { rows } = await tx.query<Trigger>({
    name: lock ? 'campaign-triggers-lock' : 'campaign-triggers-select',
    text: `
      select t.application_id as "applicationId", t.campaign_id as "campaignId", t.filter, t.segment_id as "segmentId",
        c.segment_version as "segmentVersion", c.state, c.dispatch_id as "dispatchId",
        c.state = 'SCHEDULED' and c.dispatch_id is null and c.next_run_at <= clock_timestamp() as due,
        floor(extract(epoch from t.active_from) * 1000)::int8 as "activeFrom",
        floor(extract(epoch from t.active_until) * 1000)::int8 as "activeUntil",
        t.ended_at is not null as ended
      from campaign_triggers t
      join campaigns c on c.application_id = t.application_id and c.id = t.campaign_id
      where t.application_id = any($1) and (t.ended_at is null or t.ended_at > now() - interval '1 day')
      order by c.application_id, c.id ${lock ? 'for share of c' : ''}`,
    values: [applicationIds],
  });
  return rows;
}

/** Writes what events are compared with; its times start anew when a run of the campaign is due. */
export function upsertTrigger(trigger: {
  applicationId: string;
  campaignId: string;
  segmentId: string;
  filter: EventFilter;
  /** When it starts; null leaves it as it was. */
  activeFrom: Date | null;
  activeUntil: Date | null;
}): Sql {
  const { applicationId, campaignId, segmentId, activeFrom, activeUntil } = trigger;
  const filter = JSON.stringify(trigger.filter);
  return sql`
    insert into campaign_triggers as t (application_id, campaign_id, segment_id, filter, active_from, active_until)
    values (${applicationId}, ${campaignId}, ${segmentId}, ${filter}, coalesce(${activeFrom}, now()), ${activeUntil})
    on conflict (application_id, campaign_id) do update set
      segment_id = excluded.segment_id, filter = excluded.filter, active_until = excluded.active_until,
      active_from = coalesce(${activeFrom}, t.active_from), ended_at = null`;
}

export function markTriggerEnded(applicationId: string, campaignId: string): Sql {
  return sql`
    update campaign_triggers set ended_at = now()
    where application_id = ${applicationId} and campaign_id = ${campaignId} and ended_at is null`;
}

export function deleteTrigger(applicationId: string, campaignId: string): Sql {
  return sql`delete from campaign_triggers where application_id = ${applicationId} and campaign_id = ${campaignId}`;
}

/** The application's event-triggered campaigns that wait for their start or for events, but this one. */
export async function countTriggers(
  tx: Queryable,
  applicationId: string,
  exceptCampaignId: string | null,
): Promise<number> {
  // One at a time for each application, so that two together do not pass the quota.
  await tx.query(sql`select pg_advisory_xact_lock(hashtext('event-campaigns'), hashtext(${applicationId}))`);
  const { rows } = await tx.query<{ count: number }>(sql`
    select count(*)::int as count
    from campaign_triggers t join campaigns c on c.application_id = t.application_id and c.id = t.campaign_id
    where t.application_id = ${applicationId} and t.ended_at is null and c.state in ('SCHEDULED', 'PENDING_NEXT_RUN')
      and c.id is distinct from ${exceptCampaignId}`);
  return rows[0]!.count;
}
