import type { ApplicationEraser } from '../../accounts/index.ts';
import type { EndpointLimits, Ingest } from '../../audience/index.ts';
import type { Renderer } from '../../content/index.ts';
import type { AccountCheck, InAppMessages } from '../../engagement/index.ts';
import type { Pipeline } from '../../messaging/index.ts';
import type { Queryable } from '../../platform/database.ts';
import type { Streams } from '../../streams/index.ts';
import type { ArnResource } from './arn.ts';

/** Does the resource that this ARN names exist? */
export type ResourceCheck = (db: Queryable, resource: ArnResource) => Promise<boolean>;

/**
 * What start.ts makes once and handlers use. A room whose handler needs such a thing adds one line here
 * (`renderer: Renderer;`) and start.ts sets it; a member must be cheap to reach and safe to use from many requests
 * at once. What a handler can call as a plain function of a room (with `ctx.database`) does not belong here.
 */
export interface Services {
  /** Sends direct messages from this process. */
  pipeline: Pick<Pipeline, 'sendDirect'>;
  /** What the rooms do when an application is deleted. */
  erasers: readonly ApplicationEraser[];
  /** The kinds of resources that can be tagged, beside applications. */
  taggable: { [Kind in ArnResource['kind']]?: ResourceCheck };
  /** Checks templates before they are stored. */
  renderer: Pick<Renderer, 'check'>;
  /** Looks at the URLs of custom delivery; absent unless POSTRIDER_WEBHOOK_ACCOUNT_CHECK. */
  accountCheck?: AccountCheck;
  /** What endpoints are entitled to be shown. */
  inApp: InAppMessages;
  /** POSTRIDER_ENDPOINTS_PER_USER. */
  endpointsPerUser: number;
  /** POSTRIDER_RETENTION_DAYS. */
  retentionDays: number;
  /** POSTRIDER_EVENT_CAMPAIGN_MIN_LEAD_MS; 0 when absent. */
  eventCampaignMinLeadMs?: number;
  /** By POSTRIDER_PINPOINT_QUOTAS. */
  endpointLimits: EndpointLimits;
  /** The way of what apps report into the log. */
  ingest: Ingest;
  /** Outlets of the log. */
  streams: Streams;
  /** Adds a background job; after the commit of what it works on. */
  enqueue(job: string, payload: Record<string, unknown>): Promise<void>;
}
