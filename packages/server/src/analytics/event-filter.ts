import sql, { join, type Sql } from 'sql-template-tag';
import { compileSegment, eventFactType } from '../audience/index.ts';
import type { Queryable } from '../platform/database.ts';
import { badMember } from '../platform/errors.ts';

/** An event has the attribute with one of these values; with `exclude`, it has none of them (or not the attribute). */
export interface AttributeFilter {
  name: string;
  values: string[];
  exclude?: boolean;
}

export type MetricOperator = 'equal' | 'greater' | 'greater_or_equal' | 'less' | 'less_or_equal';

/** An event has the metric, and it compares so. */
export interface MetricFilter {
  name: string;
  operator: MetricOperator;
  value: number;
}

/** Which events count. All parts must hold. */
export interface EventFilter {
  /** As the client called it (`_session.start`). */
  eventType: string;
  attributes?: AttributeFilter[];
  metrics?: MetricFilter[];
}

/** Whose events count: endpoints as they are now. All parts must hold. */
export interface EndpointFilter {
  /** Members of this segment. */
  segmentId?: string;
  /** Endpoints with one of these values of the attribute. */
  endpointAttributes?: { name: string; values: string[] }[];
}

/** Instants in milliseconds: `from` included, `to` not. */
export interface EventRange {
  from: number;
  to: number;
}

const maxFilters = 40;
const maxValues = 100;
const maxText = 1_000;
const dayMs = 86_400_000;

/** Last millisecond of the year 9999. */
const latestTime = 253_402_300_799_999;

export const metricOperators = ['equal', 'greater', 'greater_or_equal', 'less', 'less_or_equal'] as const;
const operators: Record<MetricOperator, Sql> = {
  equal: sql`=`,
  greater: sql`>`,
  greater_or_equal: sql`>=`,
  less: sql`<`,
  less_or_equal: sql`<=`,
};

/** @throws CallerError bad_request naming the member below `path` */
export function checkEventFilter(filter: EventFilter, path: string): void {
  checkText(filter.eventType, `${path}.eventType`);
  const { attributes = [], metrics = [] } = filter;
  if (attributes.length > maxFilters) throw badMember(`${path}.attributes`, `expected at most ${maxFilters}`);
  if (metrics.length > maxFilters) throw badMember(`${path}.metrics`, `expected at most ${maxFilters}`);
  for (const [index, attribute] of attributes.entries())
    checkValues(attribute, `${path}.attributes[${index}]`);
  metrics.forEach(({ name, operator, value }, index) => {
    checkText(name, `${path}.metrics[${index}].name`);
    if (!metricOperators.includes(operator))
      throw badMember(`${path}.metrics[${index}].operator`, `expected one of ${metricOperators.join(', ')}`);
    if (!Number.isFinite(value)) throw badMember(`${path}.metrics[${index}].value`, 'expected a number');
  });
}

/** @throws CallerError bad_request */
export function checkEndpointFilter({ endpointAttributes = [] }: EndpointFilter, path: string): void {
  if (endpointAttributes.length > maxFilters)
    throw badMember(`${path}.endpointAttributes`, `expected at most ${maxFilters}`);
  for (const [index, filter] of endpointAttributes.entries())
    checkValues(filter, `${path}.endpointAttributes[${index}]`);
}

/** @throws CallerError bad_request */
export function checkEventRange({ from, to }: EventRange, longestDays: number): void {
  for (const [member, at] of [
    ['from', from],
    ['to', to],
  ] as const)
    if (!Number.isInteger(at) || at < 0 || at > latestTime)
      throw badMember(member, 'expected a time between 1970 and 9999');
  if (to <= from) throw badMember('to', 'expected a time after from');
  if (to - from > longestDays * dayMs)
    throw badMember('to', `expected at most ${longestDays} days after from`);
}

function checkValues({ name, values }: { name: string; values: string[] }, path: string): void {
  checkText(name, `${path}.name`);
  if (values.length === 0 || values.length > maxValues)
    throw badMember(`${path}.values`, `expected 1 to ${maxValues} values`);
  for (const [index, value] of values.entries())
    if (typeof value !== 'string' || value.length > maxText || !isStorable(value))
      throw badMember(`${path}.values[${index}]`, `expected a text of at most ${maxText} characters`);
}

export function checkText(text: string, path: string): void {
  if (typeof text !== 'string' || text === '' || text.length > maxText || !isStorable(text))
    throw badMember(path, `expected a text of 1 to ${maxText} characters`);
}

function isStorable(text: string): boolean {
  return !text.includes('\0') && text.isWellFormed();
}

/** The event's attributes and metrics hold (not its type), over `events e`. */
export function eventConditions({ attributes = [], metrics = [] }: EventFilter): Sql[] {
  return [
    ...attributes.map(({ name, values, exclude }) => {
      const found = sql`coalesce(e.payload->'attributes'->>${name}::text = any(${values}::text[]), false)`;
      return exclude ? sql`not ${found}` : found;
    }),
    ...metrics.map(
      ({ name, operator, value }) =>
        sql`coalesce(${metricOf(name)} ${operators[operator]} ${value}::float8, false)`,
    ),
  ];
}

/** The value of a metric of the event; null when it has none. */
export function metricOf(name: string): Sql {
  return sql`(e.payload->'metrics'->>${name}::text)::float8`;
}

/**
 * Events of these types in the range, over `events e`. An event never arrives before it occurred, so partitions before
 * the range's first day hold none; those after its last day may (late events).
 */
export function inRange(applicationId: string, types: readonly string[], { from, to }: EventRange): Sql {
  const factTypes = types.map(eventFactType);
  return sql`e.application_id = ${applicationId}
    and e.type = ${factTypes.length === 1 ? sql`${factTypes[0]}` : sql`any(${factTypes}::text[])`}
    and e.day >= ${new Date(from).toISOString().slice(0, 10)}::date
    and e.occurred_at >= to_timestamp(${from}::float8 / 1000) and e.occurred_at < to_timestamp(${to}::float8 / 1000)`;
}

/**
 * The endpoints of the filter, as conditions over `events e`. @throws CallerError as compileSegment
 */
export async function endpointConditions(
  db: Queryable,
  applicationId: string,
  { segmentId, endpointAttributes = [] }: EndpointFilter,
): Promise<Sql[]> {
  const conditions: Sql[] = [];
  if (segmentId !== undefined) {
    const { members } = await compileSegment(db, applicationId, { segmentId });
    conditions.push(sql`e.endpoint_id in (${members})`);
  }
  if (endpointAttributes.length > 0) {
    const held = endpointAttributes.map(
      ({ name, values }) => sql`p.attributes->${name}::text ?| ${values}::text[]`,
    );
    conditions.push(sql`e.endpoint_id in (
      select p.id from endpoints p where p.application_id = ${applicationId} and p.segment_id is null
        and ${join(held, ' and ')})`);
  }
  return conditions;
}
