export { type AccountCheck, createAccountCheck } from './campaigns/account-check.ts';
export {
  accountingMembers,
  type CampaignAccounting,
  campaignAccounting,
} from './campaigns/accounting.ts';
export { selectActivityIds as activityIds } from './campaigns/activities.sql.ts';
export type { Campaign, CampaignActivity } from './campaigns/campaign.ts';
export { type Page, selectCampaigns as listCampaigns } from './campaigns/campaigns.sql.ts';
export { campaignCounters } from './campaigns/counters.ts';
export {
  campaignExists,
  getCampaign,
  getCampaignVersion,
  listCampaignActivities,
  listCampaignVersions,
} from './campaigns/read.ts';
export { templateLoader } from './campaigns/references.ts';
export { type CampaignScheduler, createCampaignScheduler } from './campaigns/scheduler.ts';
export { listSkippedTriggers, type SkippedTrigger } from './campaigns/trigger-log.ts';
export {
  type CampaignTriggersOptions,
  campaignTriggers,
  type SkippedPayload,
  type SkipReason,
  skippedFactType,
  skipReasons,
} from './campaigns/trigger-subscriber.ts';
export { markSegmentDeleted } from './campaigns/triggers.ts';
export { checkAddress, checkHeaders, checkHook, checkTemplateReference } from './campaigns/validate.ts';
export { checkCampaignWords } from './campaigns/words.ts';
export { createCampaign, deleteCampaign, stopCampaignRun, updateCampaign } from './campaigns/write.ts';
export { inAppCounts } from './in-app/counts.ts';
export {
  createInAppMessages,
  type InAppExplanation,
  type InAppMessages,
  type InAppRequest,
} from './in-app/messages.ts';
export { getInAppSettings, type InAppSettings, setInAppSettings } from './in-app/settings.ts';
