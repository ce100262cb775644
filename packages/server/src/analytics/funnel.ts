import { getApplication } from '../accounts/index.ts';
import { type Database, eachRow } from '../platform/database.ts';
import { badMember } from '../platform/errors.ts';
import {
  checkEndpointFilter,
  checkEventFilter,
  checkEventRange,
  type EndpointFilter,
  type EventFilter,
  type EventRange,
  endpointConditions,
} from './event-filter.ts';
import { bounded } from './explorer.ts';
import { selectFunnelEvents } from './funnel.sql.ts';
import { FunnelChains } from './funnel-chain.ts';

export const maxSteps = 10;
const longestDays = 400;
const longestWindowMs = longestDays * 86_400_000;

export interface FunnelRequest extends EventRange, EndpointFilter {
  /** 2 to 10, in their order. */
  steps: EventFilter[];
  /** All later steps must follow within so many milliseconds after the first. */
  windowMs: number;
  /** Who goes through it: an endpoint, or a user with all endpoints. */
  by: 'endpoint' | 'user';
}

export interface FunnelStep {
  /** From 1. */
  step: number;
  eventType: string;
  /** Endpoints or users that came this far. */
  count: number;
  /** `count` as a share (0 to 1) of those who began, and of those of the step before; null when there are none. */
  share: number | null;
  shareOfPrevious: number | null;
  /** Those of the step before who did not come this far. */
  dropOff: number;
  /** Median of the time from the step before, over those who came this far; null for the first step. */
  medianSeconds: number | null;
}

/**
 * Who did one thing after the other. An actor has reached step k when there is an event of step 1, followed by one of
 * step 2, … by one of step k, each its own event, all in the range and within the window after that first one. Counted
 * from the log itself.
 * @throws CallerError bad_request, not_found (application, segment)
 */
export async function queryFunnel(
  database: Database,
  applicationId: string,
  request: FunnelRequest,
): Promise<FunnelStep[]> {
  const { steps, windowMs } = request;
  if (steps.length < 2 || steps.length > maxSteps)
    throw badMember('$.steps', `expected 2 to ${maxSteps} steps`);
  for (const [index, step] of steps.entries()) checkEventFilter(step, `$.steps[${index}]`);
  checkEndpointFilter(request, '$');
  checkEventRange(request, longestDays);
  if (!(windowMs >= 1 && windowMs <= longestWindowMs))
    throw badMember('$.windowSeconds', `expected up to ${longestDays} days`);
  await getApplication(database, applicationId);
  const endpoints = await endpointConditions(database, applicationId, request);
  const chains = new FunnelChains(steps.length, windowMs);
  await bounded(database, (tx) =>
    eachRow<{ events: Buffer }>(tx, selectFunnelEvents(applicationId, request, endpoints), ({ events }) =>
      chains.add(events),
    ),
  );
  const { counts } = chains;
  const medians = chains.medians();
  return steps.map(({ eventType }, index) => {
    const count = counts[index]!;
    const previous = counts[index - 1];
    const share = (whole: number) => (whole > 0 ? count / whole : null);
    return {
      step: index + 1,
      eventType,
      count,
      share: share(counts[0]!),
      shareOfPrevious: share(previous ?? counts[0]!),
      dropOff: previous === undefined ? 0 : previous - count,
      medianSeconds: medians[index] == null ? null : medians[index]! / 1_000,
    };
  });
}
