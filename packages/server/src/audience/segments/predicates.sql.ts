import sql, { join, raw, type Sql } from 'sql-template-tag';
import { type BehaviourJoins, behaviourExpression, behaviourJoins } from './behaviour.sql.ts';
import type { Condition, Duration } from './criteria.ts';
import { all, any, type Expression, leaf, not } from './expression.ts';
import { parseInstant } from './instant.ts';

const dayMs = 86_400_000;
const durationMs: Record<Duration, number> = {
  HR_24: dayMs,
  DAY_7: 7 * dayMs,
  DAY_14: 14 * dayMs,
  DAY_30: 30 * dayMs,
};

/** Mean radius of the earth (IUGG) gives this length of one degree of latitude. */
const kmPerDegree = (6371.0088 * Math.PI) / 180;

/**
 * What a statement over `endpoints e` joins. Each join is on the other table's primary key, so that it never
 * multiplies rows; PostgreSQL makes it an inner or an anti-join where the condition allows.
 */
export interface Joins {
  users: boolean;
  activity: boolean;
  /** Alias number of each imported segment whose endpoint or user members are asked for. */
  endpointMembers: Map<string, number>;
  userMembers: Map<string, number>;
  behaviour: BehaviourJoins;
}

export function noJoins(behaviour: Omit<BehaviourJoins, 'counts'>): Joins {
  return {
    users: false,
    activity: false,
    endpointMembers: new Map(),
    userMembers: new Map(),
    behaviour: { ...behaviour, counts: new Map() },
  };
}

/** The endpoint belongs to the application itself, not only to one imported segment. */
export const registered: Expression = leaf(sql`e.segment_id is null`, {
  complement: sql`(e.segment_id is not null)`,
});

/** `endpoints e` with its joins, for `from`; of the counts of behaviour those with these numbers. */
export function fromEndpoints(joins: Joins, counts?: ReadonlySet<number>): Sql {
  const parts: Sql[] = [sql`endpoints e`];
  if (joins.users)
    parts.push(sql`left join users u on u.application_id = e.application_id and u.id = e.user_id`);
  if (joins.activity) {
    parts.push(
      sql`left join endpoint_activity a on a.application_id = e.application_id and a.endpoint_id = e.id`,
    );
  }
  for (const [segmentId, number] of joins.endpointMembers) {
    const alias = raw(`me${number}`);
    parts.push(
      sql`left join segment_endpoints ${alias} on ${alias}.application_id = e.application_id and ${alias}.segment_id = ${segmentId} and ${alias}.endpoint_id = e.id`,
    );
  }
  for (const [segmentId, number] of joins.userMembers) {
    const alias = raw(`mu${number}`);
    parts.push(
      sql`left join segment_users ${alias} on ${alias}.application_id = e.application_id and ${alias}.segment_id = ${segmentId} and ${alias}.user_id = e.user_id`,
    );
  }
  parts.push(...behaviourJoins(joins.behaviour, counts));
  return join(parts, '\n');
}

/** Membership in an imported segment: its listed endpoints, and the registered endpoints of its listed users. */
export function imported(
  segmentId: string,
  has: { endpoints: boolean; users: boolean },
  joins: Joins,
): Expression {
  const ways: Expression[] = [];
  if (has.endpoints) {
    const visible = any([registered, leaf(sql`e.segment_id = ${segmentId}`, { nullable: true })]);
    ways.push(all([listed('me', 'endpoint_id', segmentId, joins.endpointMembers), visible]));
  }
  if (has.users) ways.push(all([registered, listed('mu', 'user_id', segmentId, joins.userMembers)]));
  return any(ways);
}

function listed(prefix: string, column: string, segmentId: string, aliases: Map<string, number>): Expression {
  const number = aliases.get(segmentId) ?? aliases.size + 1;
  aliases.set(segmentId, number);
  const member = raw(`${prefix}${number}.${column}`);
  return leaf(sql`${member} is not null`, { complement: sql`(${member} is null)` });
}

/** One condition as an expression over `e` and what it joins. */
export function conditionExpression(condition: Condition, joins: Joins): Expression {
  switch (condition.kind) {
    case 'behaviour':
      return behaviourExpression(condition, joins.behaviour);
    case 'attribute':
      if (condition.of === 'user') joins.users = true;
      return attribute(condition);
    case 'metric':
      return metric(condition);
    case 'field':
      return field(condition);
    case 'distance':
      return distance(condition);
    case 'recency': {
      joins.activity = true;
      const since = new Date(joins.behaviour.now - durationMs[condition.duration]).toISOString();
      const active = leaf(sql`a.active_at >= ${since}::timestamptz`, { nullable: true });
      return condition.recency === 'ACTIVE' ? active : not(active);
    }
  }
}

function attribute(condition: Extract<Condition, { kind: 'attribute' }>): Expression {
  const { name, operator, values } = condition;
  const attributes = condition.of === 'user' ? sql`u.attributes` : sql`e.attributes`;
  // Only the users may be missing from their outer join.
  const nullable = condition.of === 'user';
  switch (operator) {
    case 'INCLUSIVE':
      // Containment, value by value, because that is what the GIN index on attributes serves.
      return any(
        values.map((value) => leaf(sql`${attributes} @> ${document(name, [value])}::jsonb`, { nullable })),
      );
    case 'EXCLUSIVE':
      return not(leaf(sql`(${attributes} -> ${name}::text) ?| ${values}::text[]`, { nullable: true }));
    case 'CONTAINS':
      // In a jsonpath the flag "q" makes a pattern a plain string; an absent name matches nothing.
      return leaf(sql`${attributes} @? ${substringPath(name, values)}::jsonpath`, { nullable: true });
    default:
      return instant(sql`(${attributes} -> ${name}::text)`, operator, values);
  }
}

/** JSON of an object with one member; the computed key makes `__proto__` a member like any other. */
function document(name: string, value: unknown): string {
  return JSON.stringify({ [name]: value });
}

function substringPath(name: string, values: string[]): string {
  const patterns = values.map((value) => `@ like_regex ${JSON.stringify(value)} flag "q"`);
  return `$.${JSON.stringify(name)}[*] ? (${patterns.join(' || ')})`;
}

/**
 * One of the values is an instant in the range. Most attributes have one value, which is then looked at in place: its
 * text bounds the instant to within a day (offsets), and comparing text is much cheaper than reading it.
 */
function instant(list: Sql, operator: 'BEFORE' | 'AFTER' | 'ON' | 'BETWEEN', values: string[]): Expression {
  const { from, to } = instantRange(operator, values);
  const value = sql`(${list} ->> 0)`;
  const parts: Sql[] = [];
  const fromText = from === null ? undefined : dayText(from - dayMs);
  const toText = to === null ? undefined : dayText(to + 2 * dayMs);
  if (fromText) parts.push(sql`${value} >= ${fromText} collate "C"`);
  if (toText) parts.push(sql`${value} < ${toText} collate "C"`);
  if (from !== null) parts.push(sql`instant_ms(${value}) >= ${from}::bigint`);
  if (to !== null) parts.push(sql`instant_ms(${value}) <= ${to}::bigint`);
  return leaf(
    sql`case when jsonb_array_length(${list}) = 1 then ${join(parts, ' and ')}
      when jsonb_array_length(${list}) > 1 then any_instant(${list}, ${from}::bigint, ${to}::bigint) end`,
    { nullable: true },
  );
}

/** First and last millisecond of what the operator asks for; null is open. */
export function instantRange(
  operator: 'BEFORE' | 'AFTER' | 'ON' | 'BETWEEN',
  values: string[],
): { from: number | null; to: number | null } {
  const [first, second] = values.map((value) => parseInstant(value)!);
  const day = Math.floor(first! / dayMs) * dayMs;
  switch (operator) {
    case 'BEFORE':
      return { from: null, to: first! - 1 };
    case 'AFTER':
      return { from: first! + 1, to: null };
    case 'ON':
      return { from: day, to: day + dayMs - 1 };
    case 'BETWEEN':
      return { from: first!, to: second! };
  }
}

/** The day as text, where it has four digits of a year and so compares as it sorts. */
function dayText(at: number): string | undefined {
  const text = new Date(at).toISOString();
  return /^\d{4}-/.test(text) ? text.slice(0, 10) : undefined;
}

export const comparisons = {
  GREATER_THAN: '>',
  GREATER_THAN_OR_EQUAL: '>=',
  LESS_THAN: '<',
  LESS_THAN_OR_EQUAL: '<=',
  EQUAL: '=',
} as const;

function metric(condition: Extract<Condition, { kind: 'metric' }>): Expression {
  const comparison = raw(comparisons[condition.operator]);
  // jsonb compares numbers as numbers, at any size, and cannot fail as a cast can.
  return leaf(
    sql`(e.metrics -> ${condition.name}::text) ${comparison} ${JSON.stringify(condition.value)}::jsonb`,
    { nullable: true },
  );
}

function field(condition: Extract<Condition, { kind: 'field' }>): Expression {
  const matches = fieldMatches(condition.field, condition.values);
  return condition.operator === 'INCLUSIVE' ? matches : not(matches);
}

function fieldMatches(name: string, values: string[]): Expression {
  switch (name) {
    case 'Channel':
      return leaf(sql`e.channel = any(${values}::text[])`, { nullable: true });
    case 'Country':
      return leaf(sql`(e.location ->> 'Country') = any(${values}::text[])`, { nullable: true });
    case 'DeviceType':
      // An endpoint has no such member in Pinpoint's model either; the custom attribute of this name stands for it.
      return leaf(sql`(e.attributes -> 'DeviceType') ?| ${values}::text[]`, { nullable: true });
    default:
      return leaf(sql`(e.demographic ->> ${name}::text) = any(${values}::text[])`, { nullable: true });
  }
}

function distance(condition: Extract<Condition, { kind: 'distance' }>): Expression {
  const { latitude, longitude, rangeKm } = condition;
  // A band of latitude rules most out cheaply. jsonb sorts other types outside the numbers, so the casts are safe.
  const degrees = rangeKm / kmPerDegree + 1e-6;
  return leaf(
    sql`case when (e.location -> 'Latitude') between ${String(latitude - degrees)}::jsonb and ${String(latitude + degrees)}::jsonb
      and jsonb_typeof(e.location -> 'Longitude') = 'number'
      then great_circle_km((e.location -> 'Latitude')::float8, (e.location -> 'Longitude')::float8, ${latitude}::float8, ${longitude}::float8) <= ${rangeKm}::float8
      else false end`,
  );
}
