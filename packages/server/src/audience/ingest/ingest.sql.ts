import type { Queryable } from '../../platform/database.ts';

/** The two generations that are looked at, as UTC days. */
export interface Generations {
  today: string;
  yesterday: string;
  /**
   * The day has just begun: writers whose clocks are late still write yesterday's generation, so keys are entered
   * there as well, which waits for those writers and is seen by them.
   */
  overMidnight: boolean;
}

/**
 * Enters keys of events, sorted by the caller so that two writers never wait for each other, and answers which of
 * them are new; 'all' saves sending them back. A key that another transaction is entering is waited for.
 */
export async function enterKeys(
  db: Queryable,
  { today, yesterday, overMidnight }: Generations,
  keys: readonly string[],
): Promise<'all' | Set<string>> {
  const { rows } = await db.query<{ count: number; keys: string[] | null }>({
    name: overMidnight ? 'ingest-enter-keys-over-midnight' : 'ingest-enter-keys',
    text: `with ${overMidnight ? enterBoth : enterToday}
      select count(*) as count, case when count(*) < $4 then array_agg(key::text) end as keys from entered`,
    values: [today, yesterday, keys, keys.length],
  });
  const { count, keys: entered } = rows[0]!;
  return count === keys.length ? 'all' : new Set(entered);
}

// Key by key through the index (the `offset 0` keeps the subquery as it is): a young partition has no statistics, and
// for a join PostgreSQL would read yesterday's whole.
const enterToday = `entered as (
    insert into ingested_events (day, key)
    select $1::date, given.key from unnest($3::uuid[]) as given (key)
    where not exists (select from ingested_events old where old.day = $2::date and old.key = given.key offset 0)
    on conflict do nothing returning key)`;
const enterBoth = `yesterdays as (
    insert into ingested_events (day, key) select $2::date, given.key from unnest($3::uuid[]) as given (key)
    on conflict do nothing returning key
  ), entered as (
    insert into ingested_events (day, key) select $1::date, key from yesterdays
    on conflict do nothing returning key)`;

/** Refusals of endpoints that came with these keys, by key. */
export async function selectRefusals(
  db: Queryable,
  { today, yesterday }: Generations,
  keys: readonly string[],
): Promise<Map<string, string>> {
  const { rows } = await db.query<{ key: string; refusal: string }>({
    name: 'ingest-refusals',
    text: `select given.key::text as key, found.refusal from unnest($3::uuid[]) as given (key)
      cross join lateral (
        select refusal from ingested_events e
        where e.key = given.key and e.day in ($1::date, $2::date) and e.refusal is not null limit 1
      ) as found`,
    values: [today, yesterday, keys],
  });
  return new Map(rows.map(({ key, refusal }) => [key, refusal]));
}

/** Notes how the endpoint was refused that came with these keys. */
export async function noteRefusals(
  db: Queryable,
  { today }: Generations,
  keys: readonly string[],
  refusals: readonly string[],
): Promise<void> {
  await db.query({
    name: 'ingest-note-refusals',
    text: `update ingested_events e set refusal = given.refusal
      from unnest($2::uuid[], $3::text[]) as given (key, refusal) where e.day = $1::date and e.key = given.key`,
    values: [today, keys, refusals],
  });
}

/** The users of those of these endpoints that exist; null where there is none. */
export async function selectUserIds(
  db: Queryable,
  applicationId: string,
  endpointIds: readonly string[],
): Promise<Map<string, string | null>> {
  const { rows } = await db.query<{ id: string; userId: string | null }>({
    name: 'ingest-user-ids',
    text: `select found.id, found."userId" from unnest($2::text[]) as given (id) cross join lateral (
        select e.id, e.user_id as "userId" from endpoints e
        where e.application_id = $1 and e.id = given.id and e.segment_id is null offset 0
      ) as found`,
    values: [applicationId, endpointIds],
  });
  return new Map(rows.map(({ id, userId }) => [id, userId]));
}

export type NameKind = 'type' | 'attribute' | 'metric';

/** Writers that bring new names of an application go one after the other, until their commit. */
export async function lockNames(db: Queryable, applicationId: string): Promise<void> {
  await db.query(`select pg_advisory_xact_lock(hashtextextended('event names of ' || $1::text, 0))`, [
    applicationId,
  ]);
}

export async function selectNames(
  db: Queryable,
  applicationId: string,
): Promise<{ kind: NameKind; name: string }[]> {
  const { rows } = await db.query<{ kind: NameKind; name: string }>(
    'select kind, name from event_names where application_id = $1',
    [applicationId],
  );
  return rows;
}

export async function insertNames(
  db: Queryable,
  applicationId: string,
  names: readonly { kind: NameKind; name: string }[],
): Promise<void> {
  await db.query(
    `insert into event_names (application_id, kind, name)
      select $1, given.* from unnest($2::text[], $3::text[]) as given on conflict do nothing`,
    [applicationId, names.map(({ kind }) => kind), names.map(({ name }) => name)],
  );
}
