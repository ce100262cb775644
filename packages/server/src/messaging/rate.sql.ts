import sql from 'sql-template-tag';
import type { Queryable } from '../platform/database.ts';

/** Rates are given out in slices of this length. */
export const sliceMs = 250;

/** More than this is never asked for at once; keeps the counter of a slice far from its bounds. */
const maxWanted = 100_000;

export interface Lease {
  /** How many may be sent now. */
  granted: number;
  /** When fewer than wanted were granted: how long until there is room for at least one more. */
  waitMs: number;
}

/**
 * Takes up to `wanted` from the rate `perSecond` that all processes share under `key` (`dispatch:…`, `account:…`), by
 * the database's clock. Slice n has room for floor((n+1)·rate/4) − floor(n·rate/4) messages, so that whole seconds come
 * out exact for every rate; what a slice did not use can be used later, but never more than one slice's worth at once.
 * So any second sees at most the rate and one slice. The row is locked until the end of the caller's transaction:
 * call it outside of one.
 */
export async function leaseRate(
  db: Queryable,
  key: string,
  perSecond: number,
  wanted: number,
): Promise<Lease> {
  if (wanted <= 0) return { granted: 0, waitMs: 0 };
  const asked = Math.min(wanted, maxWanted);
  // `used` counts what was asked for, also beyond the room: of an answer that says how far the counter is now, both the
  // counter before and the number granted follow. It is negative when room came over from slices before.
  const { rows } = await db.query<{ slice: number; used: number; now_ms: number }>(sql`
    with asked as (select ${perSecond}::bigint as rate, ${asked}::int as wanted),
    clock as (select floor(extract(epoch from clock_timestamp()) * 1000)::bigint as now_ms),
    slice as (
      select now_ms / ${sliceMs}::bigint as n, rate, wanted, greatest(1, (rate + 3) / 4) as burst,
             (now_ms / ${sliceMs}::bigint + 1) * rate / 4 - now_ms / ${sliceMs}::bigint * rate / 4 as capacity
      from clock, asked)
    insert into rate_slices as r (key, slice, used)
    select ${key}, n, capacity - burst + wanted from slice
    on conflict (key) do update set
      slice = greatest(r.slice, excluded.slice),
      used = case
        when r.slice >= excluded.slice then r.used + ${asked}::int
        else (
          select s.capacity + ${asked}::int - least(
            s.burst,
            (s.n + 1) * s.rate / 4 - (r.slice + 1) * s.rate / 4
              + greatest(0, (r.slice + 1) * s.rate / 4 - r.slice * s.rate / 4 - r.used))
          from slice s)
        end
    returning slice, used, (select now_ms from clock)`);
  const { slice, used, now_ms: nowMs } = rows[0]!;
  const total = (n: number) => Math.floor((n * perSecond) / 4);
  const room = total(slice + 1) - total(slice) - (used - asked);
  const granted = Math.max(0, Math.min(room, asked));
  if (granted === wanted) return { granted, waitMs: 0 };
  // The first slice at whose end the rate has given one more than at the end of this one.
  const next = Math.ceil(((total(slice + 1) + 1) * 4) / perSecond) - 1;
  return { granted, waitMs: Math.max(1, next * sliceMs - nowMs) };
}

/** Deletes the counters of rates that nobody asked for since a day. A job. */
export async function deleteOldRates(db: Queryable): Promise<number> {
  const { rowCount } = await db.query(sql`
    delete from rate_slices
    where slice < floor(extract(epoch from clock_timestamp() - interval '1 day') * 1000)::bigint / ${sliceMs}::bigint`);
  return rowCount ?? 0;
}
