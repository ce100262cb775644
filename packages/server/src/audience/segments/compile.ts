import sql, { type Sql } from 'sql-template-tag';
import { systemClock } from '../../platform/clock.ts';
import type { Queryable } from '../../platform/database.ts';
import type { BehaviourJoins } from './behaviour.sql.ts';
import type { Condition, DimensionSet, Group, Join } from './criteria.ts';
import { all, any, type Expression, everything, given, not, renderWhere } from './expression.ts';
import {
  conditionExpression,
  fromEndpoints,
  imported,
  type Joins,
  noJoins,
  registered,
} from './predicates.sql.ts';
import { type ResolvedSegment, resolveSegment, type SegmentTarget } from './resolve.ts';

/** One node of a segment's definition with the expression that decides it. The root's decides membership. */
export interface PredicateNode {
  what:
    | { kind: 'segment'; segment: ResolvedSegment }
    | { kind: 'group' }
    | { kind: 'sources' }
    | { kind: 'dimensions' }
    | { kind: 'condition'; condition: Condition };
  /** Where it stands in the definition of the segment around it. */
  path: string;
  /** How the parts decide. */
  join: Join;
  expression: Expression;
  parts: PredicateNode[];
}

/** A segment as SQL. The parts are for statements of this room; others use `members`. */
export interface CompiledSegment {
  /** `select e.id …`: the id of every member, each once. Usable as a subquery or in `insert … select`. */
  members: Sql;
  /** `endpoints e` with its joins, and the condition: what `members` is made of. */
  from: Sql;
  where: Sql;
  tree: PredicateNode;
  /** Imported segments in it, whose own members (never registered) it can have. */
  importedIds: string[];
  /** What it counts of behaviour; `from` joins it. */
  behaviour: BehaviourJoins;
}

export interface CompileOptions {
  /** Milliseconds since the epoch that recency and windows count back from; default: now. */
  now?: number;
  /**
   * The statement will be about few endpoints (hundreds, named by their ids), not about the whole application: their
   * behaviour is looked up endpoint by endpoint instead of being counted for everybody.
   */
  fewEndpoints?: boolean;
}

/**
 * Compiles a segment, with everything that it is built upon, into one statement over the application's endpoints.
 * What endpoints, users and imported members are is read when the statement runs; what the segment asks for is read
 * now.
 * @throws CallerError not_found when there is no such segment or version; bad_request when a source segment is gone,
 *   or a definition is wrong.
 */
export async function compileSegment(
  db: Queryable,
  applicationId: string,
  target: SegmentTarget,
  options: CompileOptions = {},
): Promise<CompiledSegment> {
  const { root } = await resolveSegment(db, applicationId, target);
  return compileResolved(applicationId, root, options);
}

export function compileResolved(
  applicationId: string,
  root: ResolvedSegment,
  options: CompileOptions = {},
): CompiledSegment {
  const importedIds = [...new Set(listImported(root))];
  const onlyRegistered = importedIds.length === 0;
  const compiler: Compiler = {
    joins: noJoins({
      applicationId,
      now: options.now ?? systemClock.now(),
      fewEndpoints: options.fewEndpoints ?? false,
    }),
    // Without imported segments only registered endpoints can be members, which is then said once, at the top.
    registered: onlyRegistered ? everything : registered,
  };
  const node = segmentNode(root, '$', compiler);
  const tree: PredicateNode = onlyRegistered
    ? { ...node, expression: all([registered, node.expression]) }
    : node;
  const { where: met, counts } = renderWhere(tree.expression);
  // For few endpoints every count is read, for explanations.
  const from = fromEndpoints(compiler.joins, options.fewEndpoints ? undefined : counts);
  const where = sql`e.application_id = ${applicationId} and ${met}`;
  return {
    members: sql`select e.id from ${from} where ${where}`,
    from,
    where,
    tree,
    importedIds,
    behaviour: compiler.joins.behaviour,
  };
}

interface Compiler {
  joins: Joins;
  /** The whole application, which is what NONE is the complement in. */
  registered: Expression;
}

function listImported(segment: ResolvedSegment): string[] {
  const { basis } = segment;
  if (basis.kind === 'imported') return [segment.id!];
  return basis.kind === 'groups' ? basis.groups.flatMap(({ sources }) => sources.flatMap(listImported)) : [];
}

function segmentNode(segment: ResolvedSegment, path: string, compiler: Compiler): PredicateNode {
  const what = { kind: 'segment', segment } as const;
  const { basis } = segment;
  switch (basis.kind) {
    case 'imported': {
      const expression = imported(segment.id!, basis, compiler.joins);
      return { what, path, join: 'ALL', expression, parts: [] };
    }
    case 'dimensions': {
      const part = dimensionsNode(basis.dimensions, compiler);
      const expression = all([compiler.registered, part.expression]);
      return { what, path, join: 'ALL', expression, parts: part.parts };
    }
    case 'groups': {
      const parts = basis.groups.map((group) => groupNode(group, compiler));
      const { include: join } = basis;
      return { what, path, join, expression: joinWithin(join, parts, compiler), parts };
    }
  }
}

function groupNode(group: Group<ResolvedSegment>, compiler: Compiler): PredicateNode {
  const sources = sourcesNode(group, compiler);
  const dimensions = group.dimensions.map((set) => dimensionsNode(set, compiler));
  const parts: PredicateNode[] = [sources];
  if (dimensions.length > 0) {
    parts.push({
      what: { kind: 'dimensions' },
      path: `${group.path}.Dimensions`,
      join: group.type,
      expression: combine(group.type, dimensions),
      parts: dimensions,
    });
  }
  const expression = all(parts.map((part) => part.expression));
  return { what: { kind: 'group' }, path: group.path, join: 'ALL', expression, parts };
}

function sourcesNode(group: Group<ResolvedSegment>, compiler: Compiler): PredicateNode {
  const path = `${group.path}.SourceSegments`;
  const parts = group.sources.map((source, index) => segmentNode(source, `${path}[${index}]`, compiler));
  const join = group.sourceType;
  const expression = joinWithin(join, parts, compiler);
  return { what: { kind: 'sources' }, path, join, expression, parts };
}

function dimensionsNode(set: DimensionSet, compiler: Compiler): PredicateNode {
  const parts = set.conditions.map(
    (condition): PredicateNode => ({
      what: { kind: 'condition', condition },
      path: condition.path,
      join: 'ALL',
      expression: conditionExpression(condition, compiler.joins),
      parts: [],
    }),
  );
  const expression = combine('ALL', parts);
  return { what: { kind: 'dimensions' }, path: set.path, join: 'ALL', expression, parts };
}

/** Joins sets of endpoints: without any, and as what NONE leaves over, it is the whole application. */
function joinWithin(join: Join, parts: PredicateNode[], compiler: Compiler): Expression {
  if (parts.length === 0) return compiler.registered;
  if (join !== 'NONE') return combine(join, parts);
  // What is asked of registered endpoints only becomes an anti-join on an import's members.
  const union = given(registered, combine('ANY', parts));
  return all([compiler.registered, not(union)]);
}

function combine(join: Join, parts: PredicateNode[]): Expression {
  const expressions = parts.map((part) => part.expression);
  switch (join) {
    case 'ALL':
      return all(expressions);
    case 'ANY':
      return any(expressions);
    case 'NONE':
      return not(any(expressions));
  }
}
