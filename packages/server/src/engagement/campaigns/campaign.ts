import type { CampaignStatus, WriteCampaignRequest } from '@aws-sdk/client-pinpoint';

/**
 * What a campaign is to do: the members of `WriteCampaignRequest`, merged over all updates. Tags live with the tags
 * of all resources, the segment's version in a column of its own.
 */
export type CampaignDefinition = Omit<WriteCampaignRequest, 'tags' | 'SegmentVersion'>;

/** The application's settings as they were when the campaign was created; what the campaign says itself wins. */
export interface InheritedSettings {
  Limits?: CampaignDefinition['Limits'];
  QuietTime?: { Start?: string | undefined; End?: string | undefined } | undefined;
  CampaignHook?: CampaignDefinition['Hook'];
}

/**
 * A campaign at one of its versions. The states that this server uses:
 * - `SCHEDULED`: a run is due at `nextRunAt`.
 * - `EXECUTING`: a run is in progress (`dispatchId`); of an in-app campaign: clients may show it.
 * - `PAUSED`: a run that is due, or the one in progress, is held.
 * - `COMPLETED`: every run that was asked for is over.
 * - `DELETED`: the segment is gone. `INVALID`: the run could not be started; `stateReason` says why.
 */
export interface Campaign {
  applicationId: string;
  id: string;
  version: number;
  definition: CampaignDefinition;
  inherited: InheritedSettings;
  state: CampaignStatus;
  stateReason: string | null;
  segmentVersion: number;
  /** When the next run is due; null when none is. */
  nextRunAt: Date | null;
  /** The run in progress. */
  dispatchId: string | null;
  createdAt: Date;
  modifiedAt: Date;
}

/** A run of a campaign for one treatment (`ActivityResponse`). */
export interface CampaignActivity {
  applicationId: string;
  campaignId: string;
  id: string;
  treatmentId: string;
  dispatchId: string | null;
  state: 'PENDING' | 'INITIALIZING' | 'RUNNING' | 'PAUSED' | 'CANCELLED' | 'COMPLETED';
  result: 'SUCCESS' | 'FAIL' | null;
  scheduledStart: Date;
  startedAt: Date | null;
  endedAt: Date | null;
  /** Endpoints that were attempted (decision `sending`). */
  total: number;
  /** Of these, messages that a provider accepted. */
  successful: number;
  /** Counters by the keys of ExecutionMetrics (counters.ts). */
  metrics: Record<string, number | string>;
}
