import {
  type ChangedPayload,
  changedFactType,
  type EventPayload,
  endpointIdsOfUsers,
  eventTypeOf,
  membersAmong,
} from '../../audience/index.ts';
import { appendFacts, type Fact, type StoredFact } from '../../events/index.ts';
import { type AddedMember, addMembers, type Occasion } from '../../messaging/index.ts';
import { type Clock, systemClock } from '../../platform/clock.ts';
import type { Transaction } from '../../platform/database.ts';
import { CallerError } from '../../platform/errors.ts';
import { uuidTime } from '../../platform/ids.ts';
import { selectCampaign } from './campaigns.sql.ts';
import { type RunOptions, startRun } from './run.ts';
import { selectTriggeredApplications, selectTriggers, type Trigger } from './trigger.sql.ts';
import { changeEventType, type EventFilter, type Match, matchChange, matchEvent } from './trigger-filter.ts';

/** Why an event of a type that a campaign waits for did not trigger it. */
export const skipReasons = [
  'attribute_mismatch',
  'metric_mismatch',
  'not_started',
  'ended',
  'paused',
  'too_late',
  'segment_deleted',
  'endpoint_missing',
  'not_in_segment',
] as const;
export type SkipReason = (typeof skipReasons)[number];

/** The fact that says so; its payload is `SkippedPayload`. */
export const skippedFactType = 'trigger.skipped';

/** The payload of `trigger.skipped`. */
export interface SkippedPayload extends Record<string, unknown> {
  campaignId: string;
  /** The client's id of the event. */
  eventId: string;
  eventType: string;
  reason: SkipReason;
}

export interface CampaignTriggersOptions extends Pick<RunOptions, 'maxLatenessMs' | 'lifetimeMs'> {
  /** What a campaign says about an event has to be sent within this time (POSTRIDER_EVENT_CAMPAIGN_MAX_AGE_MS). */
  maxAgeMs: number;
  clock?: Clock;
  /** Called after a commit that gave dispatches something to send: wake the pipeline of this process. */
  onDispatched?: () => void;
}

/** An event, with those it is about. */
interface TriggerEvent {
  occasion: Occasion;
  arrivedAt: number;
  /** Null for a change of a user's attributes: all of the user's endpoints. */
  endpointId: string | null;
  userId: string | undefined;
  changed: ChangedPayload | undefined;
}

/** An event for which a campaign waits, as far as the event itself tells. */
interface Candidate {
  event: TriggerEvent;
  endpointIds: string[];
}

/**
 * The log's subscriber that compares clients' events, and changes of attributes, with the event-triggered campaigns of
 * their application. Who is in the segment now becomes a member of the campaign's open dispatch, in the transaction that
 * moves the subscriber's cursor: each event triggers each campaign once for each endpoint. What does not trigger,
 * though its type is one that the campaign waits for, is a fact with the reason.
 *
 * What a message becomes of (opened, clicked, bounced) is no event here, so that no machine's click triggers anything.
 */
export function campaignTriggers(options: CampaignTriggersOptions) {
  const clock = options.clock ?? systemClock;
  let dispatched = false;
  return {
    name: 'campaign-triggers',
    types: ['event.', changedFactType],
    applications: selectTriggeredApplications,
    async handle(tx: Transaction, facts: StoredFact[]): Promise<void> {
      dispatched = false;
      const now = clock.now();
      const events = new Map<string, TriggerEvent[]>();
      for (const [applicationId, own] of Map.groupBy(facts, (fact) => fact.applicationId))
        events.set(
          applicationId,
          own.flatMap((fact) => readEvent(fact, options.maxAgeMs) ?? []),
        );
      // Most events are of a type that no campaign waits for: those need no locks.
      const known = await selectTriggers(tx, [...events.keys()], { lock: false });
      const concerned = new Set(
        known
          .filter(({ applicationId, filter }) =>
            events.get(applicationId)!.some((event) => matchOf(filter, event) !== 'other'),
          )
          .map(({ applicationId }) => applicationId),
      );
      if (concerned.size === 0) return;
      const triggers = await activeTriggers(tx, [...concerned], { ...options, now });
      const additions = new Map<string, AddedMember[]>();
      const skipped: Fact[] = [];
      for (const [applicationId, own] of Map.groupBy(triggers, (trigger) => trigger.applicationId)) {
        const read = events.get(applicationId)!;
        const users = await usersOf(tx, applicationId, own, read);
        for (const trigger of own) {
          const work = new Comparison(trigger, now, skipped);
          const candidates = work.candidates(read, users);
          const members = await work.members(tx, candidates);
          if (members.length === 0) continue;
          const dispatchId = trigger.dispatchId!;
          additions.set(dispatchId, members);
        }
      }
      dispatched = additions.size > 0;
      await addMembers(
        tx,
        [...additions].map(([dispatchId, members]) => ({ dispatchId, members })),
      );
      if (skipped.length > 0) await appendFacts(tx, skipped, clock);
    },
    onHandled(): void {
      if (dispatched) options.onDispatched?.();
    },
  };
}

/** Triggers as they are now; those whose start has just come are started. */
async function activeTriggers(
  tx: Transaction,
  applicationIds: string[],
  options: RunOptions,
): Promise<Trigger[]> {
  const triggers = await selectTriggers(tx, applicationIds, { lock: true });
  const due = triggers.filter((trigger) => trigger.due);
  if (due.length === 0) return triggers;
  for (const { applicationId, campaignId } of due) {
    const campaign = await selectCampaign(tx, applicationId, campaignId, { lock: true });
    if (campaign) await startRun(tx, campaign, options);
  }
  return selectTriggers(tx, applicationIds, { lock: true });
}

function matchOf(filter: EventFilter, { changed, occasion }: TriggerEvent): Match {
  return changed ? matchChange(filter, changed) : matchEvent(filter, occasion.type, occasion);
}

/** Undefined for what triggers nothing: an archive tells of the past, whatever its times are. */
function readEvent(fact: StoredFact, maxAgeMs: number): TriggerEvent | undefined {
  const arrivedAt = uuidTime(fact.batchId);
  const when = { at: fact.occurredAt, expiresAt: fact.occurredAt + maxAgeMs };
  if (fact.type === changedFactType) {
    const changed = fact.payload as ChangedPayload;
    const attributes = Object.fromEntries(
      [...Object.entries(changed.userAttributes ?? {}), ...Object.entries(changed.attributes ?? {})].map(
        ([name, { after }]) => [name, (after ?? []).join(', ')],
      ),
    );
    return {
      occasion: { id: `${fact.batchId}:${fact.seq}`, type: changeEventType, ...when, attributes },
      arrivedAt,
      endpointId: fact.endpointId,
      userId: changed.userId,
      changed,
    };
  }
  const { id, attributes, metrics, source, userId } = fact.payload as EventPayload;
  if (source === 'archive') return undefined;
  return {
    occasion: { id, type: eventTypeOf(fact.type)!, ...when, attributes, metrics },
    arrivedAt,
    endpointId: fact.endpointId,
    userId,
    changed: undefined,
  };
}

/** The endpoints of users whose attributes have changed. */
async function usersOf(
  tx: Transaction,
  applicationId: string,
  triggers: Trigger[],
  events: TriggerEvent[],
): Promise<Map<string, string[]>> {
  const ids = events.flatMap(({ endpointId, userId }) => (endpointId === null && userId ? userId : []));
  return ids.length === 0 || triggers.length === 0 ? new Map() : endpointIdsOfUsers(tx, applicationId, ids);
}

/** Compares the events of a slice with one campaign. */
class Comparison {
  readonly #trigger: Trigger;
  readonly #now: number;
  readonly #skipped: Fact[];

  constructor(trigger: Trigger, now: number, skipped: Fact[]) {
    this.#trigger = trigger;
    this.#now = now;
    this.#skipped = skipped;
  }

  /** Events that the campaign waits for, with the endpoints they are about; the others are noted. */
  candidates(events: TriggerEvent[], endpointsOfUsers: Map<string, string[]>): Candidate[] {
    const candidates: Candidate[] = [];
    const { filter } = this.#trigger;
    for (const event of events) {
      const { endpointId, userId } = event;
      const match = matchOf(filter, event);
      if (match === 'other') continue;
      const reason = match === 'match' ? this.#closed(event) : match;
      if (reason) {
        this.#skip(event, endpointId, reason);
        continue;
      }
      const endpointIds = endpointId === null ? (endpointsOfUsers.get(userId ?? '') ?? []) : [endpointId];
      if (endpointIds.length === 0) this.#skip(event, null, 'endpoint_missing');
      else candidates.push({ event, endpointIds });
    }
    return candidates;
  }

  /** Why the campaign takes nothing now, or not this event any more. */
  #closed({ arrivedAt, occasion }: TriggerEvent): SkipReason | undefined {
    const { activeFrom, activeUntil, ended, state, dispatchId } = this.#trigger;
    if (state === 'DELETED') return 'segment_deleted';
    if (ended || (activeUntil !== null && arrivedAt >= activeUntil)) return 'ended';
    if (arrivedAt < activeFrom) return 'not_started';
    if (state === 'PAUSED') return 'paused';
    if (dispatchId === null) return state === 'SCHEDULED' ? 'not_started' : 'ended';
    return occasion.expiresAt <= this.#now ? 'too_late' : undefined;
  }

  /** Who is in the segment now, once for each event, in the order of the events. */
  async members(tx: Transaction, candidates: Candidate[]): Promise<AddedMember[]> {
    if (candidates.length === 0) return [];
    const { applicationId, segmentId, segmentVersion: version } = this.#trigger;
    const ids = candidates.flatMap(({ endpointIds }) => endpointIds);
    const options = { now: this.#now };
    const among = await membersAmong(tx, applicationId, { segmentId, version }, ids, options).catch(
      (error: unknown) => {
        if (error instanceof CallerError) return undefined;
        throw error;
      },
    );
    return candidates.flatMap(({ event, endpointIds }) =>
      endpointIds.flatMap((endpointId): AddedMember[] => {
        const stored = among?.members.get(endpointId);
        if (stored !== undefined) return [{ endpointId: stored, occasion: event.occasion }];
        const missing = among?.existing.has(endpointId) ? 'not_in_segment' : 'endpoint_missing';
        this.#skip(event, endpointId, among ? missing : 'segment_deleted');
        return [];
      }),
    );
  }

  #skip({ occasion }: TriggerEvent, endpointId: string | null, reason: SkipReason): void {
    const { applicationId, campaignId } = this.#trigger;
    const payload: SkippedPayload = { campaignId, eventId: occasion.id, eventType: occasion.type, reason };
    this.#skipped.push({
      type: skippedFactType,
      applicationId,
      endpointId,
      occurredAt: occasion.at,
      payload,
    });
  }
}
