import { batchCtes } from '../../events/index.ts';
import type { Queryable } from '../../platform/database.ts';
import { insertActivity } from '../endpoints/activity.ts';
import { endpointColumns, updateUnchanged, type VersionedRow } from '../endpoints/endpoint.sql.ts';
import type { KnownRow } from './endpoint-memory.ts';
import type { Generations } from './ingest.sql.ts';

/** What has to be known of a group before it is written. */
export interface Found {
  /** One of the keys was entered before. */
  isReplay: boolean;
  /** Changes of attributes are facts for somebody. */
  isWatched: boolean;
  /** Those that exist. */
  endpoints: KnownRow[];
}

/** The endpoints of a group and whether it is one like most, in one round trip. */
export async function selectKnown(
  db: Queryable,
  applicationId: string,
  { today, yesterday }: Generations,
  keys: readonly string[],
  endpointIds: readonly string[],
): Promise<Found> {
  const { rows } = await db.query<{
    isReplay: boolean;
    isWatched: boolean;
    endpoints: KnownRow[] | null;
  }>({
    name: 'ingest-known',
    // As JSON, which is parsed as one. Key by key through the indexes, which each `offset 0` sees to.
    text: `select exists (
        select from unnest($4::uuid[]) as given (key) cross join lateral (
          select from ingested_events e where e.key = given.key and e.day in ($2::date, $3::date) offset 0
        ) as entered
      ) as "isReplay",
      exists (select from attribute_watches where application_id = $1) as "isWatched",
      (select json_agg(found) from unnest($5::text[]) as given (id) cross join lateral (
        select ${endpointColumns}, e.xmin::text as version, (
          select floor(extract(epoch from a.active_at) * 1000)::int8 from endpoint_activity a
          where a.application_id = e.application_id and a.endpoint_id = e.id
        ) as "activeAt" from endpoints e
        where e.application_id = $1 and e.id = given.id offset 0
      ) as found) as endpoints`,
    values: [applicationId, today, yesterday, keys, endpointIds],
  });
  const { endpoints, ...rest } = rows[0]!;
  return { ...rest, endpoints: endpoints ?? [] };
}

/** What a group of events of endpoints that exist comes to. */
export interface KnownWrite {
  batchId: string;
  generations: Generations;
  /** Facts and their keys in the order of the log, as JSON: `[{key, type, at, endpoint, payload}]`, at most 10,000. */
  facts: string;
  count: number;
  /** Length of all payloads as JSON text. */
  length: number;
  /** Endpoints that are different now, sorted by id, with the versions that they had. */
  changed: readonly VersionedRow[];
  /** The other ones: ids, and their rows' versions. */
  unchanged: { ids: string[]; versions: string[] };
  /** Signs of life: ids, sorted, and times in milliseconds. */
  activity: { ids: string[]; times: number[] };
}

export interface Written {
  /** That the rows of `changed` have now. */
  version: string;
  /** Endpoints of which a sign of life was written; the others have a later one. */
  active: string[];
}

const record = `jsonb_to_recordset($6::jsonb) as (
  "key" uuid, "type" text, "at" float8, "endpoint" text, "payload" jsonb)`;

/**
 * Writes it by one statement, which is a transaction of its own: keys in their order, endpoints, activity, facts. The
 * order of the first three is that of their mention in the last lines; facts are written last.
 * @throws the database's 40001 when a key was entered before, an endpoint is not as it was known, somebody watches what
 * changed, or the application is gone
 */
export async function insertKnown(db: Queryable, applicationId: string, write: KnownWrite): Promise<Written> {
  const { batchId, generations, facts, count, length, changed, unchanged, activity } = write;
  const { rows } = await db.query<Written>({
    name: 'ingest-known-write',
    text: `with given as materialized (
        select * from rows from (${record}) with ordinality as fact (key, type, at, endpoint_id, payload, n)
      ), entered as (
        insert into ingested_events (day, key) select $2::date, key from given order by key
        on conflict do nothing returning key
      ), changed as (
        ${updateUnchanged('$5', '$7')} returning e.id
      ), active as (
        ${insertActivity('$5', '$8', '$9')} returning endpoint_id
      ), ${batchCtes(`(
        select at, $5::text as application_id, type, endpoint_id, null::uuid as message_id, null::uuid as dispatch_id, payload, n
        from given
      ) as fact`)}
      select require_unchanged(hold_application($5) and (select count(*) from entered) = $3
          and not exists (select from given cross join lateral (
            select from ingested_events e where e.day = $10::date and e.key = given.key offset 0) as yesterdays)
          and (select count(*) from changed) = $11
          and ($11 = 0 or not exists (select from attribute_watches where application_id = $5))
          and not exists (select from unnest($12::text[], $13::xid[]) as seen (id, version) where not exists (
            select from endpoints e where e.application_id = $5 and e.id = seen.id and e.xmin = seen.version offset 0))),
        pg_current_xact_id()::xid::text as version, array(select endpoint_id from active) as active`,
    values: [
      ...[batchId, generations.today, count, length, applicationId],
      ...[facts, JSON.stringify(changed), activity.ids, activity.times],
      ...[generations.yesterday, changed.length, unchanged.ids, unchanged.versions],
    ],
  });
  return rows[0]!;
}
