import type { Queryable } from '../../platform/database.ts';
import { badMember, notFound } from '../../platform/errors.ts';
import { selectActivities, selectActivity } from './activities.sql.ts';
import type { Campaign, CampaignActivity } from './campaign.ts';
import { type Page, parseVersion, selectCampaign, selectVersion, selectVersions } from './campaigns.sql.ts';

/** The newest version of a campaign. @throws CallerError not_found */
export async function getCampaign(db: Queryable, applicationId: string, id: string): Promise<Campaign> {
  const campaign = await selectCampaign(db, applicationId, id);
  if (!campaign) throw notFound('Campaign', id);
  return campaign;
}

/** One version, named by its number as a string. @throws CallerError not_found, bad_request when it is no number */
export async function getCampaignVersion(
  db: Queryable,
  applicationId: string,
  id: string,
  version: string,
): Promise<Campaign> {
  const number = parseVersion(version);
  if (number === undefined) throw badMember('$.Version', 'expected the number of a version');
  const campaign = await selectVersion(db, applicationId, id, number);
  if (campaign) return campaign;
  await getCampaign(db, applicationId, id);
  throw notFound('Campaign version', `${id} version ${version}`);
}

/** All versions, newest first. @throws CallerError not_found */
export async function listCampaignVersions(
  db: Queryable,
  applicationId: string,
  id: string,
  page: { limit: number; after?: string },
): Promise<Page<Campaign>> {
  await getCampaign(db, applicationId, id);
  return selectVersions(db, applicationId, id, page);
}

/** The runs, newest first. @throws CallerError not_found */
export async function listCampaignActivities(
  db: Queryable,
  applicationId: string,
  id: string,
  page: { limit: number; after?: string },
): Promise<Page<CampaignActivity>> {
  await getCampaign(db, applicationId, id);
  return selectActivities(db, applicationId, id, page);
}

/** One activity. @throws CallerError not_found */
export async function getCampaignActivity(
  db: Queryable,
  applicationId: string,
  campaignId: string,
  id: string,
): Promise<CampaignActivity> {
  const activity = await selectActivity(db, applicationId, campaignId, id);
  if (!activity) throw notFound('Campaign activity', id);
  return activity;
}

/** For what can be tagged: does the resource of this ARN exist? */
export async function campaignExists(db: Queryable, applicationId: string, id: string): Promise<boolean> {
  return (await selectCampaign(db, applicationId, id)) !== undefined;
}
