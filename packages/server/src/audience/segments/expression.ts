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
    }
  | { kind: 'all' | 'any'; of: Expression[] };

export const everything: Expression = { kind: 'constant', value: true };

export function leaf(statement: Sql, options: { nullable?: boolean; complement?: Sql } = {}): Expression {
  return {
    kind: 'leaf',
    sql: sql`(${statement})`,
    nullable: options.nullable ?? false,
    ...(options.complement && { complement: options.complement }),
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
        { complement: isTrue(expression) },
      );
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
