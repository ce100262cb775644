import sql, { type Sql } from 'sql-template-tag';

export interface RevenueRow {
  day: number;
  currency: string;
  /** numeric, as text. */
  amount: string;
  units: string;
  purchases: number;
  endpoints: number;
  users: number;
}

/** Purchases of each day and currency. What endpoints bought is the sum; users are counted beside it. */
export function selectRevenueByDay(rollupId: number, from: number, to: number): Sql {
  return sql`select day, currency, ${sums} from analytics_payers
    where rollup_id = ${rollupId} and kind = any ('{e,u}'::"char"[]) and day between ${from} and ${to}
    group by 1, 2 order by 1, 2`;
}

const sums = sql`coalesce(sum(amount) filter (where kind = 'e'), 0)::text as amount,
  coalesce(sum(units) filter (where kind = 'e'), 0)::text as units,
  coalesce(sum(purchases) filter (where kind = 'e'), 0)::int8 as purchases,
  count(distinct actor_id) filter (where kind = 'e') as endpoints,
  count(distinct actor_id) filter (where kind = 'u') as users`;

/** The same over all days; distinct buyers of the whole range. The row without a currency counts buyers of any. */
export function selectRevenueByCurrency(rollupId: number, from: number, to: number): Sql {
  return sql`select currency, ${sums} from analytics_payers
    where rollup_id = ${rollupId} and kind = any ('{e,u}'::"char"[]) and day between ${from} and ${to}
    group by grouping sets ((currency), ()) order by currency nulls last`;
}

export interface PurchaseSums {
  rollupId: number[];
  kind: string[];
  day: number[];
  currency: string[];
  actorId: number[];
  amount: string[];
  units: string[];
  purchases: number[];
}

/** Adds what was bought. */
export function addPurchases(sums: PurchaseSums) {
  return {
    name: 'analytics-add-purchases',
    text: `insert into analytics_payers as p (rollup_id, kind, day, currency, actor_id, amount, units, purchases)
      select * from unnest($1::int[], $2::"char"[], $3::int[], $4::text[], $5::int8[], $6::numeric[], $7::numeric[], $8::int8[])
      on conflict (rollup_id, kind, day, currency, actor_id) do update
        set amount = p.amount + excluded.amount, units = p.units + excluded.units,
          purchases = p.purchases + excluded.purchases`,
    values: [
      sums.rollupId,
      sums.kind,
      sums.day,
      sums.currency,
      sums.actorId,
      sums.amount,
      sums.units,
      sums.purchases,
    ],
  };
}
