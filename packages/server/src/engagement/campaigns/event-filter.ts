import type { CampaignEventFilter, EventDimensions } from '@aws-sdk/client-pinpoint';
import { badMember } from '../../platform/errors.ts';

/** The part of a client's event that a filter looks at. */
export interface FilteredEvent {
  type: string;
  attributes: Readonly<Record<string, string>>;
  metrics: Readonly<Record<string, number>>;
}

/** Bounds of one filter: what an event can have (reference 8.2). */
const maxNames = 40;
const maxValues = 200;
const maxLength = 200;

const comparisons: Record<string, (value: number, wanted: number) => boolean> = {
  EQUAL: (value, wanted) => value === wanted,
  GREATER_THAN: (value, wanted) => value > wanted,
  GREATER_THAN_OR_EQUAL: (value, wanted) => value >= wanted,
  LESS_THAN: (value, wanted) => value < wanted,
  LESS_THAN_OR_EQUAL: (value, wanted) => value <= wanted,
};

/**
 * Checks a campaign's filter of events: an event type at least; attributes INCLUSIVE (the default), EXCLUSIVE or
 * CONTAINS; metrics compared with a number, which may be 0.
 * @throws CallerError bad_request with the member's path
 */
export function checkEventFilter(filter: CampaignEventFilter | undefined, path: string): void {
  if (!filter)
    throw badMember(
      path,
      'expected a filter such as {"FilterType": "ENDPOINT", "Dimensions": {"EventType": {"Values": ["purchase"]}}}',
    );
  const { EventType, Attributes = {}, Metrics = {} } = filter.Dimensions ?? {};
  const type = `${path}.Dimensions.EventType`;
  if (!EventType?.Values?.length) throw badMember(`${type}.Values`, 'expected at least one event type');
  checkValues(EventType.Values, `${type}.Values`);
  if (EventType.DimensionType !== undefined && !['INCLUSIVE', 'EXCLUSIVE'].includes(EventType.DimensionType))
    throw badMember(`${type}.DimensionType`, 'expected INCLUSIVE or EXCLUSIVE');
  checkNames(Object.keys(Attributes), `${path}.Dimensions.Attributes`);
  for (const [name, { AttributeType, Values }] of Object.entries(Attributes)) {
    const member = `${path}.Dimensions.Attributes[${JSON.stringify(name)}]`;
    if (AttributeType !== undefined && !['INCLUSIVE', 'EXCLUSIVE', 'CONTAINS'].includes(AttributeType))
      throw badMember(`${member}.AttributeType`, 'expected INCLUSIVE, EXCLUSIVE or CONTAINS');
    if (!Values?.length) throw badMember(`${member}.Values`, 'expected at least one value');
    checkValues(Values, `${member}.Values`);
  }
  checkNames(Object.keys(Metrics), `${path}.Dimensions.Metrics`);
  for (const [name, { ComparisonOperator, Value }] of Object.entries(Metrics)) {
    const member = `${path}.Dimensions.Metrics[${JSON.stringify(name)}]`;
    if (!Object.hasOwn(comparisons, ComparisonOperator ?? ''))
      throw badMember(
        `${member}.ComparisonOperator`,
        `expected one of ${Object.keys(comparisons).join(', ')}`,
      );
    if (typeof Value !== 'number' || !Number.isFinite(Value))
      throw badMember(`${member}.Value`, 'expected a number');
  }
}

function checkNames(names: string[], path: string): void {
  if (names.length > maxNames) throw badMember(path, `expected at most ${maxNames} names`);
}

function checkValues(values: (string | undefined)[], path: string): void {
  if (values.length > maxValues) throw badMember(path, `expected at most ${maxValues} values`);
  values.forEach((value, index) => {
    if (typeof value !== 'string' || value.length > maxLength)
      throw badMember(`${path}[${index}]`, `expected a text of at most ${maxLength} characters`);
  });
}

/**
 * Does the event meet the filter? Values of one attribute are alternatives, different names must all be met. An
 * attribute that the event does not have meets EXCLUSIVE only; a metric that it does not have meets nothing.
 */
export function matchesEvent(dimensions: EventDimensions | undefined, event: FilteredEvent): boolean {
  const { EventType, Attributes = {}, Metrics = {} } = dimensions ?? {};
  const types = EventType?.Values ?? [];
  if (types.length > 0) {
    const isAmong = types.includes(event.type);
    if (isAmong === (EventType?.DimensionType === 'EXCLUSIVE')) return false;
  }
  for (const [name, { AttributeType, Values = [] }] of Object.entries(Attributes)) {
    const value = Object.hasOwn(event.attributes, name) ? event.attributes[name]! : undefined;
    if (!meets(AttributeType, Values as string[], value)) return false;
  }
  for (const [name, { ComparisonOperator, Value }] of Object.entries(Metrics)) {
    if (!Object.hasOwn(event.metrics, name)) return false;
    if (!comparisons[ComparisonOperator!]?.(event.metrics[name]!, Value!)) return false;
  }
  return true;
}

function meets(type: string | undefined, values: string[], value: string | undefined): boolean {
  if (type === 'EXCLUSIVE') return value === undefined || !values.includes(value);
  if (value === undefined) return false;
  return type === 'CONTAINS' ? values.some((part) => value.includes(part)) : values.includes(value);
}
