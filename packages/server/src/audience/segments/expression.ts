import sql, { join, type Sql } from 'sql-template-tag';

/** A Boolean expression over one endpoint's row, kept as a tree so that negation reaches the leaves. */
export type Expression =
  | { kind: 'constant'; value: boolean }
  | {
      kind: 'leaf';
      sql: Sql;
      /** May be NULL instead of false (members of an outer join, absent JSON members). */
      nullable: boolean;
      /** Its exact complement, when there is a better form than `not coalesce(…)`; never NULL. */
      complement?: Sql;
      /** Number of the count of behaviour that must be joined for it. */
      count?: number;
      /** A form for where it is one of the conditions that must all be met, which needs no count. */
      conjunct?: Conjunct;
    }
  | { kind: 'all' | 'any'; of: Expression[] };

/** A condition and its complement as PostgreSQL turns them into semi- and anti-joins; both of them never NULL. */
export interface Conjunct {
  sql: Sql;
  complement: Sql;
}

export const everything: Expression = { kind: 'constant', value: true };

export function leaf(
  statement: Sql,
  options: {
    nullable?: boolean;
    complement?: Sql;
    count?: number | undefined;
    conjunct?: Conjunct | undefined;
  } = {},
): Expression {
  return {
    kind: 'leaf',
    sql: sql`(${statement})`,
    nullable: options.nullable ?? false,
    ...(options.complement && { complement: options.complement }),
    ...(options.count !== undefined && { count: options.count }),
    ...(options.conjunct && { conjunct: options.conjunct }),
  };
}

/** True where every one of `of` is; of none: true. */
export function all(of: Expression[]): Expression {
  return combine('all', of);
}

/** True where at least one of `of` is; of none: false. */
export function any(of: Expression[]): Expression {
  return combine('any', of);
}

function combine(kind: 'all' | 'any', of: Expression[]): Expression {
  // True is neutral for `all` and decides `any`; false the other way round.
  const neutral = kind === 'all';
  const kept: Expression[] = [];
  for (const expression of of) {
    if (expression.kind === 'constant') {
      if (expression.value !== neutral) return expression;
      continue;
    }
    const parts = expression.kind === kind ? expression.of : [expression];
    kept.push(...parts.filter((part) => !kept.includes(part)));
  }
  if (kept.length === 0) return { kind: 'constant', value: neutral };
  return kept.length === 1 ? kept[0]! : { kind, of: kept };
}

/** The expression where `known` is true anyway. */
export function given(known: Expression, expression: Expression): Expression {
  if (expression === known) return everything;
  if (expression.kind === 'all') return all(expression.of.map((part) => given(known, part)));
  if (expression.kind === 'any') return any(expression.of.map((part) => given(known, part)));
  return expression;
}

/**
 * The exact complement. Pushed down to the leaves, where PostgreSQL recognises anti-joins; there NULL counts as
 * false, as it does in `where`.
 */
export function not(expression: Expression): Expression {
  switch (expression.kind) {
    case 'constant':
      return { kind: 'constant', value: !expression.value };
    case 'all':
      return any(expression.of.map(not));
    case 'any':
      return all(expression.of.map(not));
    case 'leaf':
      return leaf(
        expression.complement ??
          (expression.nullable ? sql`not coalesce(${expression.sql}, false)` : sql`not ${expression.sql}`),
        // The complement of the complement must be two-valued as well.
        {
          complement: isTrue(expression),
          count: expression.count,
          conjunct: expression.conjunct && opposite(expression.conjunct),
        },
      );
  }
}

function opposite({ sql: met, complement }: Conjunct): Conjunct {
  return { sql: complement, complement: met };
}

/**
 * For all of a `where`: as `render`, with what must be met anyway in the form for that. Answers the numbers of the counts
 * that the rest needs.
 */
export function renderWhere(expression: Expression): { where: Sql; counts: Set<number> } {
  const parts = expression.kind === 'all' ? expression.of : [expression];
  const counts = new Set<number>();
  const rendered = parts.map((part) => {
    if (part.kind === 'leaf' && part.conjunct) return part.conjunct.sql;
    collectCounts(part, counts);
    return render(part);
  });
  return { where: join(rendered, ' and '), counts };
}

function collectCounts(expression: Expression, counts: Set<number>): void {
  if (expression.kind === 'leaf' && expression.count !== undefined) counts.add(expression.count);
  if (expression.kind === 'all' || expression.kind === 'any') {
    for (const part of expression.of) collectCounts(part, counts);
  }
}

/** For `where`: NULL means false there, so leaves stay bare and indexes usable. */
export function render(expression: Expression): Sql {
  switch (expression.kind) {
    case 'constant':
      return expression.value ? sql`true` : sql`false`;
    case 'leaf':
      return expression.sql;
    default: {
      const parts = expression.of.map(render);
      return sql`(${join(parts, expression.kind === 'all' ? ' and ' : ' or ')})`;
    }
  }
}

/** For `select`: never NULL, and true exactly where `render` selects. */
export function isTrue(expression: Expression): Sql {
  return expression.kind === 'leaf' && !expression.nullable
    ? expression.sql
    : sql`coalesce(${render(expression)}, false)`;
}
