import type { AttributeDimension, MetricDimension, SegmentBehaviors } from '@aws-sdk/client-pinpoint';
import { badMember } from '../../platform/errors.ts';
import { normaliseEventType } from '../ingest/event.ts';
import type { DefinitionReader } from './criteria.ts';
import { parseInstant } from './instant.ts';
import { elements, keyPath, members, oneOf, text, wholeNumber } from './members.ts';
import { type AttributeOperator, type MetricOperator, metricOperators } from './operators.ts';

/** Bounds of what one definition may ask about behaviour: each criterion is a look through a part of the log. */
export const behaviourLimits = {
  criteria: 20,
  eventTypes: 10,
  typeCharacters: 256,
  filters: 20,
  count: 1_000_000,
  days: 36_500,
  idCharacters: 100,
} as const;

const didOrNot = ['INCLUSIVE', 'EXCLUSIVE'] as const;
const scopes = ['ENDPOINT', 'USER'] as const;
const units = ['HOURS', 'DAYS'] as const;
const interactions = ['SENT', 'DELIVERED', 'OPENED', 'CLICKED'] as const;
const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

export type Scope = (typeof scopes)[number];
export type Interaction = (typeof interactions)[number];

/** When it must have happened: in the last so many hours or days, or from Start (included) to End (not included). */
export type BehaviourWindow =
  | { Last: number; Unit?: (typeof units)[number] }
  | { Start?: string; End?: string };

/** How often, when, and whose deeds count; of both kinds of criteria. */
interface BehaviourCriterion {
  /** INCLUSIVE (default): did it so often. EXCLUSIVE: did not. */
  DimensionType?: (typeof didOrNot)[number];
  /** At least once when absent. */
  Count?: { ComparisonOperator: MetricOperator; Value: number };
  /** All that the log keeps when absent. */
  Window?: BehaviourWindow;
  /** ENDPOINT (default), or all endpoints of its user. */
  Scope?: Scope;
}

/** Behavior.Events: what the endpoint's app reported. Attributes and Metrics are those of the event. */
export interface EventCriterion extends BehaviourCriterion {
  EventType: { DimensionType?: 'INCLUSIVE'; Values: string[] };
  Attributes?: Record<string, AttributeDimension>;
  Metrics?: Record<string, MetricDimension>;
}

/** Behavior.Campaigns: what became of the messages of a campaign; of all campaigns without CampaignId. */
export interface CampaignCriterion extends BehaviourCriterion {
  CampaignId?: string;
  Interaction: Interaction;
}

/** Behavior as Postrider takes it: Pinpoint's Recency, and two members of our own. */
export interface Behaviours extends SegmentBehaviors {
  Events?: EventCriterion[];
  Campaigns?: CampaignCriterion[];
}

/** A window, read. Instants and lengths in milliseconds. */
export type Window =
  | { kind: 'always' }
  | { kind: 'last'; ms: number; words: string }
  | { kind: 'between'; start?: number; end?: number };

/** A test of one value of an event. */
export type EventFilter =
  | { kind: 'attribute'; name: string; operator: AttributeOperator; values: string[] }
  | { kind: 'metric'; name: string; operator: MetricOperator; value: number };

/** What is counted for each endpoint. */
export type Counted = { window: Window; scope: Scope } & (
  | { of: 'events'; types: string[]; filters: EventFilter[] }
  | { of: 'messages'; interaction: Interaction; campaignId?: string }
);

/** A criterion on behaviour: the count compares so, or (`excluded`) does not. */
export interface BehaviourCondition {
  kind: 'behaviour';
  path: string;
  counted: Counted;
  operator: MetricOperator;
  value: number;
  excluded: boolean;
}

const common = ['Count', 'DimensionType', 'Scope', 'Window'];

/** Reads Behavior.Events. @throws CallerError bad_request that names the member */
export function readEventCriteria(
  input: unknown,
  path: string,
  reader: DefinitionReader,
): BehaviourCondition[] {
  return elements(input, path, behaviourLimits.criteria).map(([criterion, at]) => {
    const member = members(criterion, at, [...common, 'Attributes', 'EventType', 'Metrics']);
    const filters: EventFilter[] = [
      ...reader.attributes(member('Attributes') ?? {}, `${at}.Attributes`),
      ...reader.metrics(member('Metrics') ?? {}, `${at}.Metrics`),
    ];
    if (filters.length > behaviourLimits.filters) {
      throw badMember(at, `expected at most ${behaviourLimits.filters} attributes and metrics`);
    }
    const types = readTypes(member('EventType'), `${at}.EventType`);
    return { ...readCommon(member, at), counted: { of: 'events', types, filters, ...readWhen(member, at) } };
  });
}

/** Reads Behavior.Campaigns. @throws CallerError bad_request that names the member */
export function readCampaignCriteria(input: unknown, path: string): BehaviourCondition[] {
  return elements(input, path, behaviourLimits.criteria).map(([criterion, at]) => {
    const member = members(criterion, at, [...common, 'CampaignId', 'Interaction']);
    const id = member('CampaignId');
    return {
      ...readCommon(member, at),
      counted: {
        of: 'messages',
        interaction: oneOf(interactions, member('Interaction'), `${at}.Interaction`),
        ...(id != null && { campaignId: text(id, `${at}.CampaignId`, 1, behaviourLimits.idCharacters) }),
        ...readWhen(member, at),
      },
    };
  });
}

type Member = (name: string) => unknown;

function readTypes(input: unknown, path: string): string[] {
  const member = members(input, path, ['DimensionType', 'Values']);
  if ((member('DimensionType') ?? 'INCLUSIVE') !== 'INCLUSIVE') {
    throw badMember(
      `${path}.DimensionType`,
      'expected INCLUSIVE; whoever did not do it is found by DimensionType EXCLUSIVE of the criterion itself',
    );
  }
  const types = elements(member('Values'), `${path}.Values`, behaviourLimits.eventTypes).map(([type, at]) =>
    normaliseEventType(text(type, at, 1, behaviourLimits.typeCharacters)),
  );
  if (types.length === 0) throw badMember(`${path}.Values`, 'expected at least one event type');
  return [...new Set(types)];
}

function readCommon(member: Member, path: string): Omit<BehaviourCondition, 'counted'> {
  const count = members(member('Count') ?? {}, `${path}.Count`, ['ComparisonOperator', 'Value']);
  const value = count('Value');
  const hasCount = member('Count') != null;
  return {
    kind: 'behaviour',
    path,
    excluded:
      oneOf(didOrNot, member('DimensionType') ?? 'INCLUSIVE', `${path}.DimensionType`) === 'EXCLUSIVE',
    operator: hasCount
      ? oneOf(metricOperators, count('ComparisonOperator'), `${path}.Count.ComparisonOperator`)
      : 'GREATER_THAN_OR_EQUAL',
    value: hasCount ? wholeNumber(value, `${path}.Count.Value`, 0, behaviourLimits.count) : 1,
  };
}

function readWhen(member: Member, path: string): { window: Window; scope: Scope } {
  return {
    window: readWindow(member('Window'), `${path}.Window`),
    scope: oneOf(scopes, member('Scope') ?? 'ENDPOINT', `${path}.Scope`),
  };
}

function readWindow(input: unknown, path: string): Window {
  if (input == null) return { kind: 'always' };
  const member = members(input, path, ['End', 'Last', 'Start', 'Unit']);
  const given = (name: string) => member(name) != null;
  if (!given('Last') && !given('Start') && !given('End')) {
    throw badMember(path, 'expected Last with Unit, or Start, End or both');
  }
  if (!given('Last')) {
    if (given('Unit')) throw badMember(keyPath(path, 'Unit'), 'expected Last along with it');
    const start = readInstant(member('Start'), `${path}.Start`);
    const end = readInstant(member('End'), `${path}.End`);
    if (start !== undefined && end !== undefined && start >= end) {
      throw badMember(`${path}.End`, 'expected a later instant than Start');
    }
    return { kind: 'between', ...(start !== undefined && { start }), ...(end !== undefined && { end }) };
  }
  if (given('Start') || given('End')) {
    throw badMember(path, 'expected either Last with Unit, or Start and End, not both');
  }
  const unit = oneOf(units, member('Unit') ?? 'DAYS', `${path}.Unit`);
  const [unitMs, perDay, word] = unit === 'DAYS' ? [dayMs, 1, 'day'] : [hourMs, 24, 'hour'];
  const last = wholeNumber(member('Last'), `${path}.Last`, 1, behaviourLimits.days * perDay);
  return { kind: 'last', ms: last * unitMs, words: `${last} ${word}${last === 1 ? '' : 's'}` };
}

function readInstant(input: unknown, path: string): number | undefined {
  if (input == null) return undefined;
  const instant = typeof input === 'string' ? parseInstant(input) : undefined;
  if (instant === undefined) {
    throw badMember(path, 'expected a date or datetime in ISO 8601, as 2026-11-21 or 2026-11-21T10:15:30Z');
  }
  return instant;
}

/** First instant of the window, in milliseconds; undefined when it has none. */
export function windowStart(window: Window, now: number): number | undefined {
  if (window.kind === 'last') return now - window.ms;
  return window.kind === 'between' ? window.start : undefined;
}

/** Does the window reach back to days that the log has dropped? `retentionDays` of 0 keeps everything. */
export function exceedsRetention(window: Window, now: number, retentionDays: number): boolean {
  const start = windowStart(window, now);
  return retentionDays > 0 && start !== undefined && start < now - retentionDays * dayMs;
}

/**
 * Refuses windows that ask for more than the log keeps: what they count would be less than the truth.
 * @throws CallerError bad_request that names the window
 */
export function checkRetention(
  conditions: readonly BehaviourCondition[],
  now: number,
  retentionDays: number,
): void {
  for (const { path, counted } of conditions) {
    if (!exceedsRetention(counted.window, now, retentionDays)) continue;
    throw badMember(
      `${path}.Window`,
      `expected a window within the ${retentionDays} days for which events are kept (POSTRIDER_RETENTION_DAYS)`,
    );
  }
}
