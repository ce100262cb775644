import sql, { type Sql } from 'sql-template-tag';

const inApp = (applicationId: string): Sql => sql`
  application_id = ${applicationId} and definition->'Schedule'->>'Frequency' = 'IN_APP_EVENT'
  and state in ('SCHEDULED', 'EXECUTING')`;

/** Texts that change when a campaign or one of these templates does, and who evaluates. One row. */
export const selectInAppState = (applicationId: string, templates: string[]): Sql => sql`
  select
    coalesce((select string_agg(id || ' ' || version, ',' order by id) from campaigns
              where ${inApp(applicationId)}), '') as campaigns,
    coalesce((select string_agg(t.name || ' ' || coalesce(t.active_version, 0) || ' ' || v.state, ',' order by t.name)
              from templates t
              cross join lateral (
                select count(*) || ' ' || max(modified_at)::text as state from template_versions v
                where v.type = t.type and v.name = t.name
              ) v
              where t.type = 'INAPP' and t.name = any(${templates}::text[])), '') as templates,
    coalesce((select evaluation from in_app_settings where application_id = ${applicationId}), 'client') as evaluation`;

/** The campaigns that clients may show, now or later. */
export const selectInAppCampaigns = (applicationId: string): Sql => sql`
  select id, version, definition, inherited, segment_version as "segmentVersion" from campaigns
  where ${inApp(applicationId)} order by id`;

/** What clients reported of an endpoint, by campaign; `day` are the displays of the last 24 hours. */
export const selectCounts = (applicationId: string, endpointId: string): Sql => sql`
  select campaign_id as "campaignId", displayed, clicked, dismissed, session_id as "sessionId",
    session_displayed as "sessionDisplayed",
    (select count(*) from unnest(recent) as at where at > now() - interval '24 hours') as day
  from in_app_counts where application_id = ${applicationId} and endpoint_id = ${endpointId}`;

export const selectEvaluation = (applicationId: string): Sql => sql`
  select coalesce((select evaluation from in_app_settings where application_id = ${applicationId}), 'client') as evaluation`;

/** @throws foreign key violation when there is no such application */
export const upsertEvaluation = (applicationId: string, evaluation: string): Sql => sql`
  insert into in_app_settings (application_id, evaluation) values (${applicationId}, ${evaluation})
  on conflict (application_id) do update set evaluation = excluded.evaluation`;
