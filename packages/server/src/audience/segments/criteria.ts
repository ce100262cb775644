import type { SegmentDimensions, SegmentGroup, SegmentGroupList } from '@aws-sdk/client-pinpoint';
import { badMember } from '../../platform/errors.ts';
import {
  type BehaviourCondition,
  type Behaviours,
  behaviourLimits,
  type EventFilter,
  readCampaignCriteria,
  readEventCriteria,
} from './behaviour.ts';
import { parseInstant } from './instant.ts';
import { elements, entries, finiteNumber, keyPath, members, oneOf, text, wholeNumber } from './members.ts';
import {
  type AttributeOperator,
  attributeOperators,
  type MetricOperator,
  metricOperators,
} from './operators.ts';

/** Bounds of one definition. Pinpoint documents 100 dimensions, 100 values and 100 characters a value. */
export const definitionLimits = {
  conditions: 100,
  values: 100,
  valueCharacters: 100,
  nameCharacters: 500,
  groups: 100,
  sources: 100,
} as const;

/** RangeInKilometers when it is not given. The model says no default; coordinates are kept to about this precision. */
export const defaultRangeKm = 10;

export const durations = ['HR_24', 'DAY_7', 'DAY_14', 'DAY_30'] as const;
export const recencies = ['ACTIVE', 'INACTIVE'] as const;
export const fields = ['AppVersion', 'Channel', 'DeviceType', 'Make', 'Model', 'Platform'] as const;
const setOperators = ['INCLUSIVE', 'EXCLUSIVE'] as const;
const joins = ['ALL', 'ANY', 'NONE'] as const;

export type Duration = (typeof durations)[number];
/** How several groups, source segments or dimensions are joined. */
export type Join = (typeof joins)[number];

/** One test of one endpoint. `path` is where it stands in the definition. */
export type Condition = BehaviourCondition | EndpointCondition;

/** One that looks at the endpoint alone. */
export type EndpointCondition = { path: string } & (
  | {
      kind: 'attribute';
      of: 'endpoint' | 'user';
      name: string;
      operator: AttributeOperator;
      values: string[];
    }
  | { kind: 'metric'; name: string; operator: MetricOperator; value: number }
  | { kind: 'recency'; duration: Duration; recency: (typeof recencies)[number] }
  | {
      kind: 'field';
      field: (typeof fields)[number] | 'Country';
      operator: (typeof setOperators)[number];
      values: string[];
    }
  | { kind: 'distance'; latitude: number; longitude: number; rangeKm: number }
);

/** The conditions of one SegmentDimensions: an endpoint must meet all. */
export interface DimensionSet {
  path: string;
  conditions: Condition[];
}

/** A reference to another segment of the application; without version its latest, whenever it is evaluated. */
export interface SourceReference {
  path: string;
  id: string;
  version?: number;
}

export interface Group<Source = SourceReference> {
  path: string;
  sourceType: Join;
  sources: Source[];
  type: Join;
  dimensions: DimensionSet[];
}

/** What a definition asks for, read and checked. A definition without criteria is the whole application. */
export type Criteria<Source = SourceReference> =
  | { kind: 'dimensions'; path: string; dimensions: DimensionSet }
  | { kind: 'groups'; path: string; include: Join; groups: Group<Source>[] };

/** Pinpoint's SegmentDimensions, with what we know of behaviour beside its Recency. */
export interface Dimensions extends SegmentDimensions {
  Behavior?: Behaviours;
}

/** A segment's definition as it is stored and as it travels: one of the two members, or none. */
export interface SegmentDefinition {
  Dimensions?: Dimensions;
  SegmentGroups?: Omit<SegmentGroupList, 'Groups'> & {
    Groups?: (Omit<SegmentGroup, 'Dimensions'> & { Dimensions?: Dimensions[] })[];
  };
}

interface Tally {
  conditions: number;
  values: number;
  behaviours: number;
}

/** Reading of the maps of attributes and metrics, which an event has as an endpoint has them. */
export interface DefinitionReader {
  attributes(input: unknown, path: string): EventFilter[];
  metrics(input: unknown, path: string): EventFilter[];
}

/**
 * Reads a definition from the wire or from a row. Unknown members are refused, since a misspelt criterion that was
 * ignored would send to everybody.
 * @throws CallerError bad_request that names the member.
 */
export function readCriteria(definition: SegmentDefinition): Criteria {
  const { Dimensions: dimensions, SegmentGroups: groups } = definition;
  if (dimensions != null && groups != null) {
    throw badMember('$.SegmentGroups', 'expected either Dimensions or SegmentGroups, not both');
  }
  const tally: Tally = { conditions: 0, values: 0, behaviours: 0 };
  if (groups != null) return readGroups(groups, '$.SegmentGroups', tally);
  const path = '$.Dimensions';
  return { kind: 'dimensions', path, dimensions: readDimensions(dimensions ?? {}, path, tally) };
}

/** Every criterion on behaviour in `criteria` itself. */
export function behaviourConditions(criteria: Criteria<unknown>): BehaviourCondition[] {
  const sets =
    criteria.kind === 'dimensions'
      ? [criteria.dimensions]
      : criteria.groups.flatMap((group) => group.dimensions);
  return sets.flatMap((set) => set.conditions.filter((condition) => condition.kind === 'behaviour'));
}

/** Every reference to another segment in `criteria`. */
export function sourceReferences(criteria: Criteria): SourceReference[] {
  return criteria.kind === 'groups' ? criteria.groups.flatMap((group) => group.sources) : [];
}

function readGroups(input: unknown, path: string, tally: Tally): Criteria {
  const member = members(input, path, ['Groups', 'Include']);
  const groups = elements(member('Groups') ?? [], `${path}.Groups`, definitionLimits.groups).map(
    ([group, groupPath]) => readGroup(group, groupPath, tally),
  );
  const sources = groups.reduce((sum, group) => sum + group.sources.length, 0);
  if (sources > definitionLimits.sources) {
    throw badMember(
      `${path}.Groups`,
      `expected at most ${definitionLimits.sources} source segments in total`,
    );
  }
  return {
    kind: 'groups',
    path,
    include: oneOf(joins, member('Include') ?? 'ALL', `${path}.Include`),
    groups,
  };
}

function readGroup(input: unknown, path: string, tally: Tally): Group {
  const member = members(input, path, ['Dimensions', 'SourceSegments', 'SourceType', 'Type']);
  return {
    path,
    sourceType: oneOf(joins, member('SourceType') ?? 'ALL', `${path}.SourceType`),
    sources: elements(member('SourceSegments') ?? [], `${path}.SourceSegments`, definitionLimits.sources).map(
      ([source, sourcePath]) => readSource(source, sourcePath),
    ),
    type: oneOf(joins, member('Type') ?? 'ALL', `${path}.Type`),
    dimensions: elements(member('Dimensions') ?? [], `${path}.Dimensions`, definitionLimits.conditions).map(
      ([dimensions, dimensionsPath]) => readDimensions(dimensions, dimensionsPath, tally),
    ),
  };
}

function readSource(input: unknown, path: string): SourceReference {
  const member = members(input, path, ['Id', 'Version']);
  const reference: SourceReference = { path, id: text(member('Id'), `${path}.Id`, 1, 100) };
  const version = member('Version');
  if (version != null) reference.version = wholeNumber(version, `${path}.Version`, 1, 2_147_483_647);
  return reference;
}

function readDimensions(input: unknown, path: string, tally: Tally): DimensionSet {
  const member = members(input, path, [
    'Attributes',
    'Behavior',
    'Demographic',
    'Location',
    'Metrics',
    'UserAttributes',
  ]);
  const conditions = [
    ...readAttributes(member('Attributes') ?? {}, 'endpoint', `${path}.Attributes`, tally),
    ...readAttributes(member('UserAttributes') ?? {}, 'user', `${path}.UserAttributes`, tally),
    ...readMetrics(member('Metrics') ?? {}, `${path}.Metrics`),
    ...readDemographic(member('Demographic') ?? {}, `${path}.Demographic`, tally),
    ...readLocation(member('Location') ?? {}, `${path}.Location`, tally),
    ...readBehavior(member('Behavior') ?? {}, `${path}.Behavior`, tally),
  ];
  tally.conditions += conditions.length;
  if (tally.conditions > definitionLimits.conditions) {
    throw badMember(path, `expected at most ${definitionLimits.conditions} dimensions in a segment`);
  }
  return { path, conditions };
}

function readAttributes(input: unknown, of: 'endpoint' | 'user', path: string, tally: Tally): Condition[] {
  return attributeTests(input, path, tally).map((test) => ({ ...test, of }));
}

type AttributeTest = { path: string } & Extract<EventFilter, { kind: 'attribute' }>;

function attributeTests(input: unknown, path: string, tally: Tally): AttributeTest[] {
  return entries(input, path).map(([name, dimension]) => {
    const at = keyPath(path, name);
    nameLength(name, path);
    const member = members(dimension, at, ['AttributeType', 'Values']);
    const operator = oneOf(attributeOperators, member('AttributeType') ?? 'INCLUSIVE', `${at}.AttributeType`);
    const values = readValues(member('Values'), `${at}.Values`, tally);
    checkOperands(operator, values, `${at}.Values`);
    return { kind: 'attribute', path: at, name, operator, values };
  });
}

function checkOperands(operator: AttributeOperator, values: string[], path: string): void {
  if (operator === 'INCLUSIVE' || operator === 'EXCLUSIVE') return;
  if (operator === 'CONTAINS') {
    const index = values.indexOf('');
    if (index >= 0) throw badMember(`${path}[${index}]`, 'expected at least one character for CONTAINS');
    return;
  }
  const count = operator === 'BETWEEN' ? 2 : 1;
  if (values.length !== count) {
    const expected = operator === 'BETWEEN' ? 'exactly two values, start and end,' : 'exactly one value';
    throw badMember(path, `expected ${expected} for ${operator}`);
  }
  const instants = values.map((value, index) => {
    const instant = parseInstant(value);
    if (instant !== undefined) return instant;
    throw badMember(
      `${path}[${index}]`,
      'expected a date or datetime in ISO 8601, as 2026-11-21 or 2026-11-21T10:15:30Z',
    );
  });
  if (operator === 'BETWEEN' && instants[0]! > instants[1]!) {
    throw badMember(path, 'expected the start before the end');
  }
}

function readMetrics(
  input: unknown,
  path: string,
): ({ path: string } & Extract<EventFilter, { kind: 'metric' }>)[] {
  return entries(input, path).map(([name, dimension]) => {
    const at = keyPath(path, name);
    nameLength(name, path);
    const member = members(dimension, at, ['ComparisonOperator', 'Value']);
    return {
      kind: 'metric',
      path: at,
      name,
      operator: oneOf(metricOperators, member('ComparisonOperator'), `${at}.ComparisonOperator`),
      value: finiteNumber(member('Value'), `${at}.Value`),
    };
  });
}

function readDemographic(input: unknown, path: string, tally: Tally): Condition[] {
  const member = members(input, path, fields);
  return fields.flatMap((field) => {
    const dimension = member(field);
    return dimension == null ? [] : [readField(field, dimension, `${path}.${field}`, tally)];
  });
}

function readField(
  field: (typeof fields)[number] | 'Country',
  input: unknown,
  path: string,
  tally: Tally,
): Condition {
  const member = members(input, path, ['DimensionType', 'Values']);
  return {
    kind: 'field',
    path,
    field,
    operator: oneOf(setOperators, member('DimensionType') ?? 'INCLUSIVE', `${path}.DimensionType`),
    values: readValues(member('Values'), `${path}.Values`, tally),
  };
}

function readLocation(input: unknown, path: string, tally: Tally): Condition[] {
  const member = members(input, path, ['Country', 'GPSPoint']);
  const country = member('Country');
  const point = member('GPSPoint');
  return [
    ...(country == null ? [] : [readField('Country', country, `${path}.Country`, tally)]),
    ...(point == null ? [] : [readPoint(point, `${path}.GPSPoint`)]),
  ];
}

function readPoint(input: unknown, path: string): Condition {
  const member = members(input, path, ['Coordinates', 'RangeInKilometers']);
  const at = `${path}.Coordinates`;
  const coordinate = members(member('Coordinates'), at, ['Latitude', 'Longitude']);
  const rangeKm = finiteNumber(
    member('RangeInKilometers') ?? defaultRangeKm,
    `${path}.RangeInKilometers`,
    0,
    40_075,
  );
  if (rangeKm === 0) throw badMember(`${path}.RangeInKilometers`, 'expected more than 0');
  return {
    kind: 'distance',
    path,
    latitude: finiteNumber(coordinate('Latitude'), `${at}.Latitude`, -90, 90),
    longitude: finiteNumber(coordinate('Longitude'), `${at}.Longitude`, -180, 180),
    rangeKm,
  };
}

function readBehavior(input: unknown, path: string, tally: Tally): Condition[] {
  const member = members(input, path, ['Campaigns', 'Events', 'Recency']);
  const reader: DefinitionReader = {
    attributes: (attributes, at) => attributeTests(attributes, at, tally),
    metrics: readMetrics,
  };
  const recency = member('Recency');
  const behaviours = [
    ...readEventCriteria(member('Events') ?? [], `${path}.Events`, reader),
    ...readCampaignCriteria(member('Campaigns') ?? [], `${path}.Campaigns`),
  ];
  tally.behaviours += behaviours.length;
  if (tally.behaviours > behaviourLimits.criteria) {
    throw badMember(
      path,
      `expected at most ${behaviourLimits.criteria} of Events and Campaigns in a segment`,
    );
  }
  return [...(recency == null ? [] : [readRecency(recency, `${path}.Recency`)]), ...behaviours];
}

function readRecency(input: unknown, path: string): Condition {
  const member = members(input, path, ['Duration', 'RecencyType']);
  return {
    kind: 'recency',
    path,
    duration: oneOf(durations, member('Duration'), `${path}.Duration`),
    recency: oneOf(recencies, member('RecencyType'), `${path}.RecencyType`),
  };
}

function readValues(input: unknown, path: string, tally: Tally): string[] {
  const values = elements(input, path, definitionLimits.values).map(([value, at]) =>
    text(value, at, 0, definitionLimits.valueCharacters),
  );
  if (values.length === 0) throw badMember(path, 'expected at least one value');
  tally.values += values.length;
  if (tally.values > definitionLimits.values) {
    throw badMember(path, `expected at most ${definitionLimits.values} values in a segment`);
  }
  return values;
}

function nameLength(name: string, path: string): void {
  text(name, `the name of a member of ${path}`, 1, definitionLimits.nameCharacters);
}
