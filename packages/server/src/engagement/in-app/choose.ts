import { membershipsOf, type Recipient } from '../../audience/index.ts';
import { isQuiet, treatmentOf } from '../../messaging/index.ts';
import type { Queryable } from '../../platform/database.ts';
import { matchEvent } from '../campaigns/trigger-filter.ts';
import type { InAppCampaign, InAppTreatment } from './campaign.ts';
import { selectCounts } from './in-app.sql.ts';

/** An event that happens in the client, for the server to compare. */
export interface ClientEvent {
  type: string;
  attributes: Record<string, string>;
  metrics: Record<string, number>;
}

/** What the server decides in place of the client. */
export interface Evaluation {
  /** Quiet time and caps, by what was reported. */
  server: boolean;
  /** The event that would show the message; all are answered when absent. */
  event?: ClientEvent;
  /** The client's session, for Limits.Session. */
  sessionId?: string;
}

/** Why an endpoint is not shown a campaign. */
export type NotShown =
  | 'not_started'
  | 'ended'
  | 'holdout'
  | 'not_in_segment'
  | 'event_mismatch'
  | 'quiet_time'
  | 'session_cap'
  | 'daily_cap'
  | 'total_cap';

export interface Choice {
  campaign: InAppCampaign;
  /** Undefined for those who are held out. */
  treatment: InAppTreatment | undefined;
  /** Undefined: it is shown. */
  notShown: NotShown | undefined;
}

interface Counts {
  campaignId: string;
  displayed: number;
  day: number;
  sessionId: string | null;
  sessionDisplayed: number;
}

/**
 * For each campaign: is this endpoint entitled to it, and to which treatment? Members of its segment (also imported
 * ones), between start and end, by cohort. Opting out and the endpoint's status make no difference: they are about
 * messages that are sent to an address (apps set OptOut when notifications are not allowed). With
 * `evaluation.server`, also quiet time in the endpoint's zone and caps.
 */
export async function choose(
  db: Queryable,
  applicationId: string,
  campaigns: readonly InAppCampaign[],
  endpoint: Recipient,
  evaluation: Evaluation,
  now: number,
): Promise<Choice[]> {
  const choices = campaigns.map((campaign): Choice => {
    const chosen = treatmentOf(campaign, endpoint.cohort);
    const treatment = chosen === 'holdout' ? undefined : chosen;
    return { campaign, treatment, notShown: atOnce(campaign, treatment, endpoint, evaluation, now) };
  });
  const open = choices.filter(({ notShown }) => notShown === undefined);
  // Campaigns often share a segment, which is asked about once.
  const segments = new Map(open.map(({ campaign: { segment } }) => [keyOf(segment), segment]));
  const members = await membershipsOf(db, applicationId, endpoint.id, [...segments.values()], { now });
  const isIn = new Map([...segments.keys()].map((key, index) => [key, members[index]]));
  for (const choice of open)
    if (!isIn.get(keyOf(choice.campaign.segment))) choice.notShown = 'not_in_segment';
  if (evaluation.server) await applyCaps(db, applicationId, choices, endpoint.id, evaluation);
  return choices;
}

function keyOf({ segmentId, version }: InAppCampaign['segment']): string {
  return `${segmentId} ${version}`;
}

/** What can be told from the campaign and the endpoint alone. */
function atOnce(
  campaign: InAppCampaign,
  treatment: InAppTreatment | undefined,
  endpoint: Recipient,
  { server, event }: Evaluation,
  now: number,
): NotShown | undefined {
  if (now < campaign.startsAt) return 'not_started';
  if (now >= campaign.endsAt) return 'ended';
  if (!treatment) return 'holdout';
  if (event && matchEvent(campaign.filter, event.type, event) !== 'match') return 'event_mismatch';
  const timezone = endpoint.demographic.Timezone ?? null;
  if (server && campaign.quietTime && isQuiet(campaign.quietTime, timezone, now)) return 'quiet_time';
  return undefined;
}

/** Daily counts over all campaigns, as for messages that are sent; 0 is no limit. */
async function applyCaps(
  db: Queryable,
  applicationId: string,
  choices: Choice[],
  endpointId: string,
  { sessionId }: Evaluation,
): Promise<void> {
  const open = choices.filter(({ notShown }) => notShown === undefined);
  if (!open.some(({ campaign: { caps } }) => caps.daily || caps.total || caps.session)) return;
  const { rows } = await db.query<Counts>(selectCounts(applicationId, endpointId));
  const byCampaign = new Map(rows.map((row) => [row.campaignId, row]));
  const day = rows.reduce((sum, row) => sum + row.day, 0);
  for (const choice of open) {
    const { caps, id } = choice.campaign;
    const counts = byCampaign.get(id);
    const inSession =
      sessionId !== undefined && counts?.sessionId === sessionId ? counts.sessionDisplayed : 0;
    if (caps.session && inSession >= caps.session) choice.notShown = 'session_cap';
    else if (caps.daily && day >= caps.daily) choice.notShown = 'daily_cap';
    else if (caps.total && (counts?.displayed ?? 0) >= caps.total) choice.notShown = 'total_cap';
  }
}
