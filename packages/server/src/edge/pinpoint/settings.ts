import type { ApplicationSettingsResource } from '@aws-sdk/client-pinpoint';
import { type ApplicationSettings, getSettings, recordAudit, updateSettings } from '../../accounts/index.ts';
import { checkHook } from '../../engagement/index.ts';
import { isoTime } from '../../platform/clock.ts';
import type { OperationHandlers } from '../aws/operation.ts';
import { checkCampaignLimits, checkQuietTime, checkRange } from './check.ts';

const maxCount = 0x7fffffff;

export const settings = {
  GetApplicationSettings: async ({ ApplicationId }, ctx) => {
    const stored = await getSettings(ctx.database, ApplicationId);
    return {
      ApplicationSettingsResource: toResponse(ApplicationId, stored.settings, stored.modifiedAt),
    };
  },

  /** Members that are absent stay as they are; a given one replaces the stored one whole (`{}` empties it). */
  UpdateApplicationSettings: async ({ ApplicationId, WriteApplicationSettingsRequest: request }, ctx) => {
    check(request);
    const stored = await ctx.database.transaction(async (tx) => {
      const updated = await updateSettings(tx, ApplicationId, request);
      await recordAudit(tx, {
        principal: ctx.principal,
        action: 'mobiletargeting:UpdateApplicationSettings',
        applicationId: ApplicationId,
        detail: { changed: Object.keys(request) },
      });
      return updated;
    });
    return {
      ApplicationSettingsResource: toResponse(ApplicationId, stored.settings, stored.modifiedAt),
    };
  },
} satisfies OperationHandlers;

function check(request: ApplicationSettings): void {
  checkCampaignLimits('$.Limits', request.Limits);
  checkQuietTime('$.QuietTime', request.QuietTime);
  checkHook(request.CampaignHook, '$.CampaignHook');
  const journey = request.JourneyLimits;
  checkRange('$.JourneyLimits.DailyCap', journey?.DailyCap, 0, maxCount);
  checkRange('$.JourneyLimits.TotalCap', journey?.TotalCap, 0, maxCount);
  checkRange('$.JourneyLimits.TimeframeCap.Cap', journey?.TimeframeCap?.Cap, 0, maxCount);
  checkRange('$.JourneyLimits.TimeframeCap.Days', journey?.TimeframeCap?.Days, 0, 3650);
}

/** CloudWatchMetricsEnabled and EventTaggingEnabled are write-only in the API. */
function toResponse(
  applicationId: string,
  stored: ApplicationSettings,
  modifiedAt: Date | undefined,
): ApplicationSettingsResource {
  return {
    ApplicationId: applicationId,
    CampaignHook: stored.CampaignHook,
    JourneyLimits: stored.JourneyLimits,
    LastModifiedDate: modifiedAt && isoTime(modifiedAt),
    Limits: stored.Limits,
    QuietTime: stored.QuietTime,
  };
}
