import type { AttributeDimension, CampaignEventFilter, MetricDimension } from '@aws-sdk/client-pinpoint';
import {
  type AttributeChange,
  type AttributeOperator,
  attributeOperators,
  type ChangedPayload,
  compareNumbers,
  type EventPayload,
  type MetricOperator,
  metricOperators,
  normaliseEventType,
  parseInstant,
  type Watch,
} from '../../audience/index.ts';
import { badMember } from '../../platform/errors.ts';

/** The event type with which a campaign asks for changes of attributes; no client can put an event of it. */
export const changeEventType = '_endpoint.changed';

interface AttributeCondition {
  name: string;
  operator: AttributeOperator;
  values: string[];
}

interface MetricCondition {
  name: string;
  operator: MetricOperator;
  value: number;
}

/** A checked EventFilter, in the form in which it is stored and compared. */
export interface EventFilter {
  /** Events of one of these types, or (`exclude`) of any other. */
  types: string[];
  exclude: boolean;
  attributes: AttributeCondition[];
  metrics: MetricCondition[];
}

const maxTypes = 100;
const maxTypeLength = 256;
const maxConditions = 100;
const maxNameLength = 256;
const maxValues = 100;
const maxValueLength = 1_000;
const dayMs = 86_400_000;

/**
 * Checks an EventFilter (reference 4.3). FilterType is SYSTEM or ENDPOINT and makes no difference: the types say it.
 * @throws CallerError bad_request with the member's path
 */
export function readEventFilter(filter: CampaignEventFilter | undefined, path: string): EventFilter {
  if (!filter) throw badMember(path, 'expected the events that trigger the campaign');
  if (filter.FilterType !== 'SYSTEM' && filter.FilterType !== 'ENDPOINT')
    throw badMember(`${path}.FilterType`, 'expected SYSTEM or ENDPOINT');
  const at = `${path}.Dimensions`;
  const dimensions = filter.Dimensions;
  if (!dimensions?.EventType) throw badMember(`${at}.EventType`, 'expected the types of the events');
  const { types, exclude } = readTypes(dimensions.EventType, `${at}.EventType`);
  const attributes = Object.entries(dimensions.Attributes ?? {}).map(([name, dimension]) =>
    readAttribute(name, dimension, memberPath(`${at}.Attributes`, name)),
  );
  const metrics = Object.entries(dimensions.Metrics ?? {}).map(([name, dimension]) =>
    readMetric(name, dimension, memberPath(`${at}.Metrics`, name)),
  );
  if (attributes.length + metrics.length > maxConditions)
    throw badMember(at, `expected at most ${maxConditions} attributes and metrics`);
  const read = { types, exclude, attributes, metrics };
  if (isChangeFilter(read)) checkChangeFilter(read, at);
  return read;
}

function memberPath(path: string, name: string): string {
  return /^[A-Za-z_][\w-]{0,63}$/.test(name)
    ? `${path}.${name}`
    : `${path}[${JSON.stringify(name.slice(0, 64))}]`;
}

function readTypes(
  dimension: NonNullable<NonNullable<CampaignEventFilter['Dimensions']>['EventType']>,
  path: string,
): Pick<EventFilter, 'types' | 'exclude'> {
  const kind = dimension.DimensionType ?? 'INCLUSIVE';
  if (kind !== 'INCLUSIVE' && kind !== 'EXCLUSIVE')
    throw badMember(`${path}.DimensionType`, 'expected INCLUSIVE or EXCLUSIVE');
  const values = readStrings(dimension.Values, `${path}.Values`, { most: maxTypes, length: maxTypeLength });
  if (values.length === 0) throw badMember(`${path}.Values`, 'expected at least one event type');
  const types = values.map(normaliseEventType);
  if (types.includes(changeEventType) && (types.length > 1 || kind === 'EXCLUSIVE'))
    throw badMember(`${path}.Values`, `expected ${changeEventType} alone and INCLUSIVE`);
  return { types, exclude: kind === 'EXCLUSIVE' };
}

function readStrings(
  values: readonly unknown[] | undefined,
  path: string,
  limits: { most: number; length: number },
): string[] {
  if (!Array.isArray(values)) throw badMember(path, 'expected a list of strings');
  if (values.length > limits.most) throw badMember(path, `expected at most ${limits.most} values`);
  return values.map((value, index) => {
    if (typeof value !== 'string' || value.length > limits.length)
      throw badMember(`${path}[${index}]`, `expected a string of at most ${limits.length} characters`);
    if (value.includes('\0') || !value.isWellFormed())
      throw badMember(`${path}[${index}]`, 'expected text without NUL and halves of characters');
    return value;
  });
}

function checkName(name: string, path: string): void {
  if (name.length === 0 || name.length > maxNameLength || name.includes('\0') || !name.isWellFormed())
    throw badMember(path, `expected a name of 1 to ${maxNameLength} characters`);
}

function readAttribute(name: string, dimension: AttributeDimension, path: string): AttributeCondition {
  checkName(name, path);
  const operator = attributeOperators.find((known) => known === (dimension?.AttributeType ?? 'INCLUSIVE'));
  if (!operator) throw badMember(`${path}.AttributeType`, `expected one of ${attributeOperators.join(', ')}`);
  const at = `${path}.Values`;
  const values = readStrings(dimension?.Values, at, { most: maxValues, length: maxValueLength });
  const dates = { BEFORE: 1, AFTER: 1, ON: 1, BETWEEN: 2 } as const;
  if (operator in dates) {
    const count = dates[operator as keyof typeof dates];
    if (values.length !== count)
      throw badMember(at, `expected exactly ${count === 1 ? 'one value' : 'two values'} for ${operator}`);
    values.forEach((value, index) => {
      if (parseInstant(value) === undefined)
        throw badMember(`${at}[${index}]`, 'expected a date or datetime in ISO 8601, as 2026-11-21');
    });
  } else if (values.length === 0 && operator !== 'EXCLUSIVE') {
    throw badMember(at, 'expected at least one value');
  }
  if (operator === 'CONTAINS' && values.includes(''))
    throw badMember(at, 'expected at least one character for CONTAINS');
  return { name, operator, values };
}

function readMetric(name: string, dimension: MetricDimension, path: string): MetricCondition {
  checkName(name, path);
  const operator = metricOperators.find((known) => known === dimension?.ComparisonOperator);
  if (!operator)
    throw badMember(`${path}.ComparisonOperator`, `expected one of ${metricOperators.join(', ')}`);
  if (typeof dimension.Value !== 'number' || !Number.isFinite(dimension.Value))
    throw badMember(`${path}.Value`, 'expected a number');
  return { name, operator, value: dimension.Value };
}

/** Is it about changes of attributes, and not about events that clients put? */
export function isChangeFilter(filter: Pick<EventFilter, 'types' | 'exclude'>): boolean {
  return !filter.exclude && filter.types[0] === changeEventType;
}

const watchedNames: readonly [kind: Watch['kind'], prefix: string][] = [
  ['endpoint', 'Attributes.'],
  ['user', 'User.UserAttributes.'],
];

/** The attribute that a name of such a filter means: `Attributes.plan`, `User.UserAttributes.plan`. */
function watchOf(name: string): Watch | undefined {
  for (const [kind, prefix] of watchedNames) {
    if (name.startsWith(prefix) && name.length > prefix.length)
      return { kind, name: name.slice(prefix.length) };
  }
  return undefined;
}

function checkChangeFilter({ attributes, metrics }: EventFilter, path: string): void {
  if (metrics.length > 0)
    throw badMember(`${path}.Metrics`, `expected none with ${changeEventType}: only attributes are watched`);
  if (attributes.length === 0)
    throw badMember(
      `${path}.Attributes`,
      `expected the attributes whose changes trigger the campaign, as Attributes.plan or User.UserAttributes.plan`,
    );
  for (const { name } of attributes) {
    if (!watchOf(name))
      throw badMember(
        memberPath(`${path}.Attributes`, name),
        'expected a name that begins with Attributes. or User.UserAttributes.',
      );
  }
}

/** The attributes that a filter wants to be watched; none when it is about clients' events. */
export function watchesOf(filter: EventFilter): Watch[] {
  return isChangeFilter(filter) ? filter.attributes.map(({ name }) => watchOf(name)!) : [];
}

/** How an event stands to a filter; `other` is none of its business. */
export type Match = 'match' | 'other' | 'attribute_mismatch' | 'metric_mismatch';

/** Compares an event that a client put. An attribute or metric that it has not matches only EXCLUSIVE. */
export function matchEvent(
  filter: EventFilter,
  type: string,
  payload: Pick<EventPayload, 'attributes' | 'metrics'>,
): Match {
  if (isChangeFilter(filter) || filter.types.includes(type) === filter.exclude) return 'other';
  const { attributes = {}, metrics = {} } = payload;
  for (const condition of filter.attributes) {
    const value = Object.hasOwn(attributes, condition.name) ? attributes[condition.name] : undefined;
    if (!holds(condition, value === undefined ? [] : [value])) return 'attribute_mismatch';
  }
  for (const { name, operator, value } of filter.metrics) {
    if (!Object.hasOwn(metrics, name) || !compareNumbers(metrics[name]!, operator, value))
      return 'metric_mismatch';
  }
  return 'match';
}

/** Compares a change: one of the filter's attributes has changed, and its new value is as the filter says. */
export function matchChange(filter: EventFilter, payload: ChangedPayload): Match {
  if (!isChangeFilter(filter)) return 'other';
  let match: Match = 'other';
  for (const condition of filter.attributes) {
    const { kind, name } = watchOf(condition.name)!;
    const changes: Record<string, AttributeChange> | undefined =
      kind === 'endpoint' ? payload.attributes : payload.userAttributes;
    if (!changes || !Object.hasOwn(changes, name)) continue;
    if (holds(condition, changes[name]!.after ?? [])) return 'match';
    match = 'attribute_mismatch';
  }
  return match;
}

function holds({ operator, values }: AttributeCondition, present: readonly string[]): boolean {
  switch (operator) {
    case 'INCLUSIVE':
      return present.some((value) => values.includes(value));
    case 'EXCLUSIVE':
      return !present.some((value) => values.includes(value));
    case 'CONTAINS':
      return present.some((value) => values.some((part) => value.includes(part)));
    default:
      return present.some((value) =>
        isWithin(
          parseInstant(value),
          operator,
          values.map((v) => parseInstant(v)!),
        ),
      );
  }
}

function isWithin(
  at: number | undefined,
  operator: 'BEFORE' | 'AFTER' | 'ON' | 'BETWEEN',
  [first, second]: number[],
): boolean {
  if (at === undefined) return false;
  if (operator === 'BEFORE') return at < first!;
  if (operator === 'AFTER') return at > first!;
  if (operator === 'BETWEEN') return at >= first! && at <= second!;
  return Math.floor(at / dayMs) === Math.floor(first! / dayMs);
}
