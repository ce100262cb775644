import type { InAppMessageCampaign } from '@aws-sdk/client-pinpoint';
import { getEndpoint, type Recipient, toEndpointResponse } from '../../audience/index.ts';
import { type InAppContent, type Renderer, withInAppParts } from '../../content/index.ts';
import { type Clock, isoTime } from '../../platform/clock.ts';
import type { Queryable } from '../../platform/database.ts';
import { notFound } from '../../platform/errors.ts';
import type { Log } from '../../platform/log.ts';
import { type InAppCampaign, type InAppCampaigns, loadInAppCampaigns, readState } from './campaign.ts';
import { type Choice, type ClientEvent, choose, type Evaluation, type NotShown } from './choose.ts';

/** What a caller asks for beside the endpoint. */
export interface InAppRequest {
  /** Who decides about quiet time and caps; the application's setting when absent. */
  evaluation?: 'client' | 'server';
  event?: ClientEvent;
  sessionId?: string;
}

/** Why an endpoint is shown a campaign or not. */
export interface InAppExplanation {
  campaignId: string;
  /** Null for those who are held out. */
  treatmentId: string | null;
  shown: boolean;
  /** Null when it is shown. */
  reason: NotShown | null;
}

export interface InAppMessages {
  /**
   * The messages that an endpoint is entitled to, the most urgent first, in the shape of the Pinpoint API.
   * @throws CallerError not_found when there is no such endpoint
   */
  get(applicationId: string, endpointId: string, request?: InAppRequest): Promise<InAppMessageCampaign[]>;
  /** The same for every in-app campaign of the application that is not over, with the reason. */
  explain(applicationId: string, endpointId: string, request?: InAppRequest): Promise<InAppExplanation[]>;
}

const maxCached = 1_000;

/**
 * GetInAppMessages. What an application's campaigns say is compiled once and checked against the database with every
 * request, so that a change is seen at once by every process.
 */
export function createInAppMessages(options: {
  database: Queryable;
  renderer: Pick<Renderer, 'render'>;
  clock: Clock;
  log: Log;
}): InAppMessages {
  const { database, renderer, clock, log } = options;
  const cache = new Map<string, InAppCampaigns>();

  async function campaignsOf(applicationId: string) {
    const known = cache.get(applicationId);
    const state = await readState(database, applicationId, known?.templateNames ?? []);
    const same =
      known && known.state.campaigns === state.campaigns && known.state.templates === state.templates;
    if (same) return { campaigns: known.campaigns, evaluation: state.evaluation };
    const loaded = await loadInAppCampaigns(database, applicationId);
    if (cache.size >= maxCached) cache.delete(cache.keys().next().value!);
    cache.set(applicationId, loaded);
    return { campaigns: loaded.campaigns, evaluation: state.evaluation };
  }

  async function chooseFor(applicationId: string, endpointId: string, request: InAppRequest) {
    const [endpoint, { campaigns, evaluation }] = await Promise.all([
      getEndpoint(database, applicationId, endpointId),
      campaignsOf(applicationId),
    ]);
    if (!endpoint) throw notFound('Endpoint', endpointId);
    const { event, sessionId } = request;
    const how: Evaluation = {
      server: (request.evaluation ?? evaluation) === 'server',
      ...(event && { event }),
      ...(sessionId === undefined ? {} : { sessionId }),
    };
    const choices = await choose(database, applicationId, campaigns, endpoint, how, clock.now());
    return { endpoint, choices };
  }

  async function messageFor(
    applicationId: string,
    { campaign, treatment }: Choice,
    endpoint: Recipient,
  ): Promise<InAppContent | undefined> {
    const { message, parts } = treatment!;
    if (Object.keys(parts).length === 0) return message;
    const key = `in-app ${campaign.id} ${campaign.version} ${treatment!.id} ${JSON.stringify(parts)}`;
    const input = { endpoint: toEndpointResponse(applicationId, endpoint), substitutions: {} };
    let [result] = await renderer.render({ key, parts, defaults: {} }, [input], { urgent: true });
    // As in Pinpoint, a variable without a value is an empty text; in-app templates have no defaults of their own.
    if (result && 'missing' in result) {
      const defaults = Object.fromEntries(result.missing.map((name) => [name, '']));
      const holes = `${key} ${result.missing.join(' ')}`;
      [result] = await renderer.render({ key: holes, parts, defaults }, [input], { urgent: true });
    }
    if (result && 'parts' in result) return withInAppParts(message, result.parts);
    log.warn(
      { applicationId, campaignId: campaign.id, endpointId: endpoint.id, result },
      'An in-app message could not be rendered',
    );
    return undefined;
  }

  return {
    async get(applicationId, endpointId, request = {}) {
      const { endpoint, choices } = await chooseFor(applicationId, endpointId, request);
      const shown = choices
        .filter(({ notShown }) => notShown === undefined)
        .sort((a, b) => rank(a.campaign) - rank(b.campaign));
      const messages = await Promise.all(shown.map((choice) => messageFor(applicationId, choice, endpoint)));
      return shown.flatMap((choice, index) =>
        messages[index] ? [toCampaign(choice, messages[index], request.event)] : [],
      );
    },
    async explain(applicationId, endpointId, request = {}) {
      const { choices } = await chooseFor(applicationId, endpointId, request);
      return choices.map(({ campaign, treatment, notShown }) => ({
        campaignId: campaign.id,
        treatmentId: treatment?.id ?? null,
        shown: notShown === undefined,
        reason: notShown ?? null,
      }));
    },
  };
}

/** Those without a priority come last. */
function rank({ priority }: InAppCampaign): number {
  return priority === 0 ? Number.POSITIVE_INFINITY : priority;
}

function toCampaign(
  { campaign, treatment }: Choice,
  message: InAppContent,
  event: ClientEvent | undefined,
): InAppMessageCampaign {
  const { caps, quietTime } = campaign;
  return {
    CampaignId: campaign.id,
    TreatmentId: treatment!.id,
    ...(campaign.priority ? { Priority: campaign.priority } : {}),
    DailyCap: caps.daily,
    SessionCap: caps.session,
    TotalCap: caps.total,
    InAppMessage: {
      Content: message.Content ?? [],
      CustomConfig: message.CustomConfig ?? {},
      ...(message.Layout ? { Layout: message.Layout } : {}),
    },
    Schedule: {
      EndDate: isoTime(campaign.endsAt),
      EventFilter: event ? comparedFilter(campaign, event) : campaign.eventFilter,
      ...(quietTime ? { QuietTime: { Start: quietTime.start, End: quietTime.end } } : {}),
    },
  };
}

/** What the server has compared is not for the client to compare again: clients get EXCLUSIVE and 0 wrong. */
function comparedFilter({ eventFilter }: InAppCampaign, event: ClientEvent) {
  return {
    FilterType: eventFilter.FilterType,
    Dimensions: { EventType: { DimensionType: 'INCLUSIVE' as const, Values: [event.type] } },
  };
}
