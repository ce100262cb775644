import sql, { empty, join, raw, type Sql } from 'sql-template-tag';
import { eventFactType } from '../ingest/event.ts';
import type { BehaviourCondition, Counted, EventFilter, Window } from './behaviour.ts';
import { type Conjunct, type Expression, leaf, not } from './expression.ts';
import { compareNumbers, type MetricOperator } from './operators.ts';
import { comparisons, instantRange } from './predicates.sql.ts';

const dayMs = 86_400_000;

/** What endpoints have done, as tables that a statement over `endpoints e` joins: `b1.n` is a count. */
export interface BehaviourJoins {
  applicationId: string;
  /** Milliseconds since the epoch that windows count back from. */
  now: number;
  /**
   * The statement asks about few endpoints: for each one its own facts are looked up. Otherwise the facts of the window
   * are counted once, for all endpoints together.
   */
  fewEndpoints: boolean;
  /** Alias number of each count that is asked for, by what is counted. */
  counts: Map<string, { number: number; counted: Counted; exact: boolean }>;
}

/** The criterion as an expression over the joined count. */
export function behaviourExpression(condition: BehaviourCondition, joins: BehaviourJoins): Expression {
  const { counted, operator, value, excluded } = condition;
  const zeroCounts = compareNumbers(0, operator, value);
  // Of a table that is joined from outside only the endpoints with a count have a row, so the test that 0 fails is the
  // one that lets PostgreSQL join from inside.
  const tested = zeroCounts ? negations[operator](value) : [{ operator, value }];
  const exact = needsExact(operator, value);
  const number = countNumber(counted, joins, exact);
  const count = raw(`b${number}.n`);
  const parts = tested.map((test) => sql`${count} ${raw(comparisons[test.operator])} ${test.value}::bigint`);
  // Not where the number is compared with 0 in a way that says nothing, as `at least 0`.
  const asksWhether = !exact && compareNumbers(1, operator, value) !== zeroCounts && !joins.fewEndpoints;
  const expression = leaf(join(parts, ' or '), {
    nullable: true,
    count: number,
    conjunct: asksWhether ? existence(counted, joins) : undefined,
  });
  return zeroCounts !== excluded ? not(expression) : expression;
}

/** Whether it was once or more often makes a difference. */
function needsExact(operator: MetricOperator, value: number): boolean {
  return !(
    (operator === 'GREATER_THAN_OR_EQUAL' && value <= 1) ||
    (operator === 'LESS_THAN' && value <= 1) ||
    (operator === 'GREATER_THAN' && value === 0) ||
    (operator === 'LESS_THAN_OR_EQUAL' && value === 0) ||
    (operator === 'EQUAL' && value === 0)
  );
}

type Test = { operator: MetricOperator; value: number };

/** What compareNumbers exactly where the comparison does not. */
const negations: Record<MetricOperator, (value: number) => Test[]> = {
  GREATER_THAN: (value) => [{ operator: 'LESS_THAN_OR_EQUAL', value }],
  GREATER_THAN_OR_EQUAL: (value) => [{ operator: 'LESS_THAN', value }],
  LESS_THAN: (value) => [{ operator: 'GREATER_THAN_OR_EQUAL', value }],
  LESS_THAN_OR_EQUAL: (value) => [{ operator: 'GREATER_THAN', value }],
  EQUAL: (value) => [
    { operator: 'LESS_THAN', value },
    { operator: 'GREATER_THAN', value },
  ],
};

/** Number of the join with the count of one of the criteria; criteria that count the same share it. */
function countNumber(counted: Counted, joins: BehaviourJoins, exact: boolean): number {
  const key = JSON.stringify(counted);
  const known = joins.counts.get(key) ?? { number: joins.counts.size + 1, counted, exact };
  joins.counts.set(key, { ...known, exact: known.exact || exact });
  return known.number;
}

/** How often, and when last: for explanations, of a statement about few endpoints. */
export function countedColumns(condition: BehaviourCondition, joins: BehaviourJoins): Sql {
  const alias = raw(`b${joins.counts.get(JSON.stringify(condition.counted))!.number}`);
  return sql`jsonb_build_object('count', ${alias}.n, 'last', ${alias}.last)`;
}

/** The joins of counts, for `from`: of all, or of those with these numbers. */
export function behaviourJoins(joins: BehaviourJoins, numbers?: ReadonlySet<number>): Sql[] {
  const wanted = [...joins.counts.values()].filter(({ number }) => numbers?.has(number) ?? true);
  return wanted.map(({ number, counted, exact }) => {
    const alias = raw(`b${number}`);
    return joins.fewEndpoints
      ? sql`left join lateral (${countOfEndpoint(counted, joins)}) ${alias} on true`
      : sql`left join (${countOfAll(counted, joins, exact)}) ${alias} on ${alias}.key = ${keyOf(counted, 'e')}`;
  });
}

/**
 * Counts of one endpoint `e`, by the index on the hash of endpoint ids. The other columns are hidden from the planner: in
 * a partition without statistics it takes all of a type for fewer rows than those of one endpoint.
 */
function countOfEndpoint(counted: Counted, joins: BehaviourJoins): Sql {
  const whose =
    counted.scope === 'ENDPOINT'
      ? sql`(values (e.id, e.user_id)) who (id, user_id)`
      : sql`(select o.id, o.user_id from endpoints o where o.application_id = e.application_id and o.user_id = e.user_id
          union all select e.id, null where e.user_id is null) who`;
  return sql`select ${count(counted, true)} as n, max(v.occurred_at) as last
    from ${whose}
    join events v on hashtext(v.endpoint_id) = hashtext(who.id) and v.endpoint_id = who.id
    ${dispatches(counted, joins)}
    where v.application_id || '' = ${joins.applicationId} and ${types(counted, sql`v.type || ''`)}
      and ${inWindow(counted.window, joins.now)} and ${meets(counted, joins)}
      ${counted.scope === 'USER' ? sql`and ${ofUser(raw('who.user_id'))}` : empty}`;
}

/**
 * Counts of all endpoints, each key once. The limit, which no count reaches, keeps PostgreSQL from counting in every
 * parallel worker the same; so it counts once, with workers of its own.
 */
function countOfAll(counted: Counted, joins: BehaviourJoins, exact: boolean): Sql {
  return sql`select ${keyOfFact(counted)} as key, ${count(counted, exact)} as n
      from ${factsOfAll(counted, joins)} group by 1 limit ${Number.MAX_SAFE_INTEGER}`;
}

/** Whether there is any fact at all: without groups, as a semi- or anti-join that workers share. */
function existence(counted: Counted, joins: BehaviourJoins): Conjunct {
  const facts = sql`(select from ${factsOfAll(counted, joins)} and ${keyOfFact(counted)} = ${keyOf(counted, 'e')})`;
  return { sql: sql`exists ${facts}`, complement: sql`not exists ${facts}` };
}

/** The facts that count, of all endpoints: what follows `from`. */
function factsOfAll(counted: Counted, joins: BehaviourJoins): Sql {
  const isUser = counted.scope === 'USER';
  return sql`events v
      ${isUser ? sql`join endpoints o on o.application_id = v.application_id and o.id = v.endpoint_id` : empty}
      ${dispatches(counted, joins)}
      where v.application_id = ${joins.applicationId} and ${types(counted, sql`v.type`)}
        and v.endpoint_id is not null and ${inWindow(counted.window, joins.now)} and ${meets(counted, joins)}
        ${isUser ? sql`and ${ofUser(raw('o.user_id'))}` : empty}`;
}

function keyOfFact(counted: Counted): Sql {
  return counted.scope === 'USER' ? keyOf(counted, 'o') : sql`v.endpoint_id`;
}

/** Whose count it is: the endpoint's, or its user's; an endpoint without a user stands for itself. */
function keyOf({ scope }: Counted, alias: 'e' | 'o'): Sql {
  const [id, userId] = [raw(`${alias}.id`), raw(`${alias}.user_id`)];
  return scope === 'ENDPOINT' ? sql`${id}` : sql`coalesce('u' || ${userId}, 'e' || ${id})`;
}

/** What the endpoint's app reported while it had another user is not this user's. */
function ofUser(userId: Sql): Sql {
  return sql`coalesce(v.payload ->> 'userId' = ${userId}, v.payload -> 'userId' is null)`;
}

/** Messages count once, however often they were opened. */
function count({ of }: Counted, exact: boolean): Sql {
  return of === 'messages' && exact ? sql`count(distinct v.message_id)` : sql`count(*)`;
}

function types(counted: Counted, column: Sql): Sql {
  if (counted.of === 'messages') return sql`${column} = ${factTypes[counted.interaction]}`;
  const [first, ...more] = counted.types.map(eventFactType);
  return more.length === 0 ? sql`${column} = ${first}` : sql`${column} = any(${[first, ...more]}::text[])`;
}

const factTypes = {
  SENT: 'message.sent',
  DELIVERED: 'message.sent',
  OPENED: 'message.opened',
  CLICKED: 'message.clicked',
} as const;

/**
 * The campaign, by its dispatches (a table of messaging, which comes after this room; no fact carries the campaign). Test
 * messages do not count.
 */
function dispatches(counted: Counted, { applicationId }: BehaviourJoins): Sql {
  if (counted.of === 'events') return empty;
  const { campaignId } = counted;
  const which =
    campaignId === undefined ? sql`d.campaign_id is not null` : sql`d.campaign_id = ${campaignId}`;
  return sql`join dispatches d on d.id = v.dispatch_id and d.application_id = ${applicationId} and d.kind = 'campaign' and ${which}`;
}

/** No fact arrives before it occurs, so older partitions are left alone; a day is for clocks that differ. */
function inWindow(window: Window, now: number): Sql {
  const [start, end] =
    window.kind === 'between'
      ? [window.start, window.end]
      : [window.kind === 'last' ? now - window.ms : undefined];
  const parts: Sql[] = [];
  if (start !== undefined) {
    parts.push(
      sql`v.day >= ${dayOf(start - dayMs)}::date and v.occurred_at >= ${timeOf(start)}::timestamptz`,
    );
  }
  if (end !== undefined) parts.push(sql`v.occurred_at < ${timeOf(end)}::timestamptz`);
  return parts.length === 0 ? sql`true` : join(parts, ' and ');
}

/** Outside of these years PostgreSQL and ISO 8601 part; no fact is there. */
const firstTime = Date.UTC(1, 0, 2);
const lastTime = Date.UTC(9999, 11, 31);

function timeOf(at: number): string {
  return new Date(Math.min(Math.max(at, firstTime), lastTime)).toISOString();
}

function dayOf(at: number): string {
  return timeOf(at).slice(0, 10);
}

function meets(counted: Counted, { applicationId }: BehaviourJoins): Sql {
  if (counted.of === 'events') {
    if (counted.filters.length === 0) return sql`true`;
    // In a `case`, which the planner takes for half of the rows. It takes each of the tests for very few, and would then
    // look up endpoints one by one.
    return sql`case when ${join(counted.filters.map(filterCondition), ' and ')} then true else false end`;
  }
  switch (counted.interaction) {
    case 'SENT':
      return sql`true`;
    case 'DELIVERED':
      return sql`not exists (select from events w where w.message_id = v.message_id and w.application_id = ${applicationId}
        and w.type = 'message.bounced' and w.payload ->> 'bounce' = 'hard')`;
    default:
      // A machine's open says nothing about the person.
      return sql`v.payload -> 'machine' is distinct from 'true'::jsonb`;
  }
}

/** One test of the event `v`; null counts as false. */
function filterCondition(filter: EventFilter): Sql {
  const { name } = filter;
  if (filter.kind === 'metric') {
    const metric = sql`(v.payload -> 'metrics' -> ${name}::text)`;
    return sql`${metric} ${raw(comparisons[filter.operator])} ${JSON.stringify(filter.value)}::jsonb`;
  }
  const { operator, values } = filter;
  const value = sql`(v.payload -> 'attributes' ->> ${name}::text)`;
  switch (operator) {
    case 'INCLUSIVE':
      return sql`${value} = any(${values}::text[])`;
    case 'EXCLUSIVE':
      return sql`coalesce(${value} <> all(${values}::text[]), true)`;
    case 'CONTAINS':
      return sql`(${join(
        values.map((part) => sql`strpos(${value}, ${part}) > 0`),
        ' or ',
      )})`;
    default: {
      const { from, to } = instantRange(operator, values);
      const bounds = [
        ...(from === null ? [] : [sql`instant_ms(${value}) >= ${from}::bigint`]),
        ...(to === null ? [] : [sql`instant_ms(${value}) <= ${to}::bigint`]),
      ];
      return join(bounds, ' and ');
    }
  }
}
