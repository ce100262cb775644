import {
  type ApplicationEraser,
  createAccessKeys,
  createIdentitySecrets,
  createPublishableKeys,
  createTokens,
  eraseEndpointCreations,
} from '../accounts/index.ts';
import { eraseAnalytics } from '../analytics/index.ts';
import {
  createIngest,
  eraseAudience,
  type Ingest,
  pinpointEventLimits,
  pinpointLimits,
  protectiveEventLimits,
  protectiveLimits,
  segmentExists,
} from '../audience/index.ts';
import { templateExists } from '../content/index.ts';
import type { Services } from '../edge/index.ts';
import { campaignExists } from '../engagement/index.ts';
import { eraseFacts } from '../events/index.ts';
import { eraseMessaging } from '../messaging/index.ts';
import { eraseStreams } from '../streams/index.ts';
import type { ProcessContext } from './process.ts';

/** What each room does when an application is deleted. */
export const erasers: readonly ApplicationEraser[] = [
  { room: 'streams', erase: eraseStreams },
  { room: 'messaging', erase: eraseMessaging },
  { room: 'analytics', erase: eraseAnalytics },
  { room: 'audience', erase: eraseAudience },
  { room: 'events', erase: eraseFacts },
  { room: 'accounts', erase: eraseEndpointCreations },
];

/** What can have tags beside applications. */
export const taggable: Services['taggable'] = {
  campaigns: (db, { applicationId = '', id }) => campaignExists(db, applicationId, id),
  segments: (db, { applicationId = '', id }) => segmentExists(db, applicationId, id),
  templates: (db, { id, templateType = '' }) => templateExists(db, templateType, id),
};

/** The way of apps' events into the log, and the quotas that the settings ask for. */
export function createIngesting(
  context: ProcessContext,
): { ingest: Ingest } & Pick<Services, 'endpointLimits'> {
  const { config, database, log, clock } = context;
  const endpointLimits = config.pinpointQuotas ? pinpointLimits : protectiveLimits;
  return {
    ingest: createIngest({ database, log, clock, endpointLimits, ...eventSettings(config) }),
    endpointLimits,
  };
}

/** What the settings say of events, whichever way they come. */
export function eventSettings(config: ProcessContext['config']) {
  return {
    eventLimits: config.pinpointQuotas ? pinpointEventLimits : protectiveEventLimits,
    endpointsPerUser: config.endpointsPerUser,
    retentionDays: config.retentionDays,
  };
}

/** Keys and tokens of a process. */
export function createCredentials(context: ProcessContext) {
  return {
    accessKeys: createAccessKeys(context),
    tokens: createTokens(context),
    publishableKeys: createPublishableKeys(context),
    identitySecrets: createIdentitySecrets(context),
  };
}
