import type { ActivityResponse, CampaignResponse, TreatmentResource } from '@aws-sdk/client-pinpoint';
import {
  addTags,
  deleteTags,
  getApplication,
  getTags,
  getTagsOf,
  recordAudit,
  type Tags,
} from '../../accounts/index.ts';
import {
  type Campaign,
  type CampaignActivity,
  checkCampaignWords,
  createCampaign,
  deleteCampaign,
  getCampaign,
  getCampaignVersion,
  listCampaignActivities,
  listCampaigns,
  listCampaignVersions,
  type Page,
  updateCampaign,
} from '../../engagement/index.ts';
import { isoTime } from '../../platform/clock.ts';
import type { Transaction } from '../../platform/database.ts';
import {
  arn,
  decodeToken,
  encodeToken,
  type OperationContext,
  type OperationHandlers,
  pageLimit,
} from '../aws/index.ts';

/** Campaigns: reference section 4. Their KPIs are in kpis.ts. */
export const campaigns = {
  async CreateCampaign({ ApplicationId, WriteCampaignRequest }, ctx) {
    const tags = WriteCampaignRequest.tags ?? {};
    await checkCampaignWords(ctx.services.renderer, WriteCampaignRequest);
    await ctx.services.accountCheck?.(WriteCampaignRequest);
    const campaign = await ctx.database.transaction(async (tx) => {
      const created = await createCampaign(tx, ApplicationId, WriteCampaignRequest, writeOptions(ctx));
      await addTags(tx, campaignArn(created, ctx), ApplicationId, tags);
      await audit(tx, ctx, 'CreateCampaign', created, Object.keys(WriteCampaignRequest));
      return created;
    });
    return { CampaignResponse: toResponse(campaign, ctx, tags) };
  },

  /** As in Pinpoint, `tags` are not changed by an update; TagResource and UntagResource do that. */
  async UpdateCampaign({ ApplicationId, CampaignId, WriteCampaignRequest }, ctx) {
    await checkCampaignWords(ctx.services.renderer, WriteCampaignRequest);
    await ctx.services.accountCheck?.(WriteCampaignRequest);
    const campaign = await ctx.database.transaction(async (tx) => {
      const options = writeOptions(ctx);
      const updated = await updateCampaign(tx, ApplicationId, CampaignId, WriteCampaignRequest, options);
      await audit(tx, ctx, 'UpdateCampaign', updated, Object.keys(WriteCampaignRequest));
      return updated;
    });
    return { CampaignResponse: await withTags(campaign, ctx) };
  },

  async GetCampaign({ ApplicationId, CampaignId }, ctx) {
    const campaign = await getCampaign(ctx.database, ApplicationId, CampaignId);
    return { CampaignResponse: await withTags(campaign, ctx) };
  },

  async GetCampaigns({ ApplicationId, PageSize, Token }, ctx) {
    await getApplication(ctx.database, ApplicationId);
    const found = await listCampaigns(ctx.database, ApplicationId, pageOf(PageSize, Token));
    return { CampaignsResponse: await toList(found, ctx) };
  },

  async GetCampaignVersion({ ApplicationId, CampaignId, Version }, ctx) {
    const campaign = await getCampaignVersion(ctx.database, ApplicationId, CampaignId, Version);
    return { CampaignResponse: await withTags(campaign, ctx) };
  },

  async GetCampaignVersions({ ApplicationId, CampaignId, PageSize, Token }, ctx) {
    const found = await listCampaignVersions(
      ctx.database,
      ApplicationId,
      CampaignId,
      pageOf(PageSize, Token),
    );
    return { CampaignsResponse: await toList(found, ctx) };
  },

  async GetCampaignActivities({ ApplicationId, CampaignId, PageSize, Token }, ctx) {
    const found = await listCampaignActivities(
      ctx.database,
      ApplicationId,
      CampaignId,
      pageOf(PageSize, Token),
    );
    return { ActivitiesResponse: { Item: found.items.map(toActivity), NextToken: nextToken(found) } };
  },

  async DeleteCampaign({ ApplicationId, CampaignId }, ctx) {
    return await ctx.database.transaction(async (tx) => {
      const campaign = await deleteCampaign(tx, ApplicationId, CampaignId);
      const tags = await getTags(tx, campaignArn(campaign, ctx));
      await deleteTags(tx, campaignArn(campaign, ctx));
      await audit(tx, ctx, 'DeleteCampaign', campaign, []);
      return { CampaignResponse: toResponse(campaign, ctx, tags) };
    });
  },
} satisfies OperationHandlers;

function writeOptions({ clock, services }: OperationContext) {
  return { now: clock.now(), eventLeadMs: services.eventCampaignMinLeadMs };
}

async function audit(
  tx: Transaction,
  ctx: OperationContext,
  operation: string,
  campaign: Campaign,
  changed: string[],
): Promise<void> {
  await recordAudit(tx, {
    principal: ctx.principal,
    action: `mobiletargeting:${operation}`,
    applicationId: campaign.applicationId,
    detail: { campaignId: campaign.id, version: campaign.version, changed },
  });
}

function pageOf(pageSize: string | undefined, token: string | undefined): { limit: number; after?: string } {
  const limit = pageLimit(pageSize);
  return token === undefined ? { limit } : { limit, after: decodeToken(token, [''])[0] };
}

function nextToken(page: Page<unknown>): string | undefined {
  return page.next === undefined ? undefined : encodeToken([page.next]);
}

type Scope = Pick<OperationContext, 'region' | 'accountId'>;

function campaignArn(campaign: Campaign, scope: Scope): string {
  return arn(scope, `apps/${campaign.applicationId}/campaigns/${campaign.id}`);
}

async function withTags(campaign: Campaign, ctx: OperationContext): Promise<CampaignResponse> {
  return toResponse(campaign, ctx, await getTags(ctx.database, campaignArn(campaign, ctx)));
}

async function toList(page: Page<Campaign>, ctx: OperationContext) {
  const arns = [...new Set(page.items.map((campaign) => campaignArn(campaign, ctx)))];
  const tags = await getTagsOf(ctx.database, arns);
  return {
    Item: page.items.map((campaign) => toResponse(campaign, ctx, tags.get(campaignArn(campaign, ctx)) ?? {})),
    NextToken: nextToken(page),
  };
}

/** All treatments run together, so each has the campaign's state. */
function toResponse(campaign: Campaign, scope: Scope, tags: Tags): CampaignResponse {
  const { definition } = campaign;
  const state = { CampaignStatus: campaign.state };
  const treatments = definition.AdditionalTreatments?.map(
    (treatment, index): TreatmentResource => ({
      ...treatment,
      SizePercent: treatment.SizePercent,
      Id: String(index + 1),
      State: state,
    }),
  );
  return {
    ...definition,
    SegmentId: definition.SegmentId,
    SegmentVersion: campaign.segmentVersion,
    AdditionalTreatments: treatments,
    DefaultState: treatments?.length ? state : undefined,
    Id: campaign.id,
    ApplicationId: campaign.applicationId,
    Arn: campaignArn(campaign, scope),
    Version: campaign.version,
    State: state,
    IsPaused: definition.IsPaused ?? false,
    CreationDate: isoTime(campaign.createdAt),
    LastModifiedDate: isoTime(campaign.modifiedAt),
    tags,
  };
}

/** A run at one time is one timezone, complete when it is over. */
function toActivity(activity: CampaignActivity): ActivityResponse {
  const over = activity.state === 'COMPLETED' || activity.state === 'CANCELLED';
  return {
    Id: activity.id,
    ApplicationId: activity.applicationId,
    CampaignId: activity.campaignId,
    TreatmentId: activity.treatmentId,
    State: activity.state,
    Result: activity.result ?? undefined,
    ScheduledStart: isoTime(activity.scheduledStart),
    Start: activity.startedAt ? isoTime(activity.startedAt) : undefined,
    End: activity.endedAt ? isoTime(activity.endedAt) : undefined,
    TotalEndpointCount: activity.total,
    SuccessfulEndpointCount: activity.successful,
    TimezonesTotalCount: 1,
    TimezonesCompletedCount: over ? 1 : 0,
    ExecutionMetrics: Object.fromEntries(
      Object.entries(activity.metrics).map(([key, value]) => [key, String(value)]),
    ),
  };
}
