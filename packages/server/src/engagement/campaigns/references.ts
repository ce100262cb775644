import type { Template } from '@aws-sdk/client-pinpoint';
import type { Sql } from 'sql-template-tag';
import { getSettings } from '../../accounts/index.ts';
import { compileSegment, getSegment, getSegmentVersion } from '../../audience/index.ts';
import {
  getTemplate,
  type InAppContent,
  loadTemplate,
  readVersion,
  templateExists,
} from '../../content/index.ts';
import type { Queryable } from '../../platform/database.ts';
import { badMember, CallerError } from '../../platform/errors.ts';
import type { CampaignDefinition, InheritedSettings } from './campaign.ts';
import type { TemplateLoader } from './plan.ts';

/** The settings that a campaign takes over when it is created. @throws CallerError not_found when there is no such application */
export async function inheritSettings(db: Queryable, applicationId: string): Promise<InheritedSettings> {
  const { settings } = await getSettings(db, applicationId);
  return {
    ...(settings.Limits ? { Limits: settings.Limits } : {}),
    ...(settings.QuietTime ? { QuietTime: settings.QuietTime } : {}),
    ...(settings.CampaignHook ? { CampaignHook: settings.CampaignHook } : {}),
  };
}

/**
 * The version of a segment that a campaign is bound to: the one that is asked for, else the newest.
 * @throws CallerError bad_request when the application has no such segment or the segment no such version.
 */
export async function pinSegmentVersion(
  db: Queryable,
  applicationId: string,
  segmentId: string,
  version: number | undefined,
): Promise<number> {
  const segment = await found(getSegment(db, applicationId, segmentId));
  if (!segment) throw badMember('$.SegmentId', `this application has no segment ${segmentId}`);
  if (version === undefined) return segment.version;
  if (!(await found(getSegmentVersion(db, applicationId, segmentId, version))))
    throw badMember('$.SegmentVersion', `segment ${segmentId} has no version ${version}`);
  return version;
}

export async function segmentExists(
  db: Queryable,
  applicationId: string,
  segmentId: string,
): Promise<boolean> {
  return (await found(getSegment(db, applicationId, segmentId))) !== undefined;
}

/** A statement that selects the endpoint ids of a segment, as it was defined at this version, with the members of now. */
export async function segmentMembers(
  db: Queryable,
  applicationId: string,
  segmentId: string,
  version: number,
  now: number,
): Promise<Sql> {
  return (await compileSegment(db, applicationId, { segmentId, version }, { now })).members;
}

/** Loads templates from `db`; its errors name the member of the request that named the template. */
export function templateLoader(db: Queryable): TemplateLoader {
  return async (type, template, path) => {
    const { Name: name = '', Version: version } = template;
    const loaded = await found(loadTemplate(db, type, name, version));
    if (loaded) return loaded;
    throw (await templateExists(db, type, name))
      ? badMember(`${path}.Version`, `the ${type} template ${name} has no version ${version}`)
      : badMember(`${path}.Name`, `there is no ${type} template ${name}`);
  };
}

/** The in-app message of each treatment: words of its own, or those of the template as they are now. */
export async function loadInAppMessages(
  db: Queryable,
  definition: CampaignDefinition,
): Promise<InAppContent[]> {
  const parts = [definition, ...(definition.AdditionalTreatments ?? [])];
  const messages: InAppContent[] = [];
  for (const [index, { MessageConfiguration, TemplateConfiguration }] of parts.entries()) {
    const path = index === 0 ? '$' : `$.AdditionalTreatments[${index - 1}]`;
    const template = TemplateConfiguration?.InAppTemplate;
    if (template?.Name)
      messages.push(await loadInAppTemplate(db, template, `${path}.TemplateConfiguration.InAppTemplate`));
    else messages.push(MessageConfiguration?.InAppMessage ?? {});
  }
  return messages;
}

async function loadInAppTemplate(db: Queryable, template: Template, path: string): Promise<InAppContent> {
  const { Name: name = '', Version: version } = template;
  const wanted = version === 'latest' ? version : readVersion(`${path}.Version`, version);
  const loaded = await found(getTemplate(db, 'INAPP', name, wanted));
  if (loaded) return loaded.content;
  throw (await templateExists(db, 'INAPP', name))
    ? badMember(`${path}.Version`, `the INAPP template ${name} has no version ${version}`)
    : badMember(`${path}.Name`, `there is no INAPP template ${name}`);
}

/** Undefined instead of not_found. */
async function found<Value>(lookup: Promise<Value>): Promise<Value | undefined> {
  try {
    return await lookup;
  } catch (error) {
    if (error instanceof CallerError && error.code === 'not_found') return undefined;
    throw error;
  }
}
