import { type Database, type Queryable, repeatableTransaction } from '../platform/database.ts';
import { badMember } from '../platform/errors.ts';
import { escapeLike } from './endpoints/read.ts';

/** The attribute types of RemoveAttributes, each with the table and column in which it lies. */
const places = {
  'endpoint-custom-attributes': { table: 'endpoints', column: 'attributes' },
  'endpoint-metric-attributes': { table: 'endpoints', column: 'metrics' },
  'endpoint-user-attributes': { table: 'users', column: 'attributes' },
} as const;
export type AttributeType = keyof typeof places;

export const attributeTypes = Object.keys(places) as AttributeType[];

/** Rows that one transaction changes: few enough that others wait only briefly. */
const chunkRows = 5000;
const maxPatterns = 1000;

/**
 * Removes attributes from every endpoint or user of an application, for good. A `*` in a name stands for any
 * characters. Works in chunks, each a transaction of its own. Returns the names that were removed, sorted.
 */
export async function removeAttributes(
  database: Database,
  applicationId: string,
  type: AttributeType,
  names: readonly string[],
): Promise<string[]> {
  const place = places[type];
  if (!place) throw badMember('$.AttributeType', `expected one of ${attributeTypes.join(', ')}`);
  if (names.length === 0 || names.length > maxPatterns) {
    throw badMember('$.Blacklist', `expected 1 to ${maxPatterns} attribute names`);
  }
  const patterns = names.map((name) => name.split('*').map(escapeLike).join('%'));
  const removed = new Set<string>();
  let after = '';
  for (;;) {
    const chunk = await repeatableTransaction(database, (tx) =>
      removeChunk(tx, place, applicationId, patterns, after),
    );
    for (const name of chunk.names) removed.add(name);
    if (chunk.last === null) break;
    after = chunk.last;
  }
  return [...removed].sort();
}

async function removeChunk(
  db: Queryable,
  { table, column }: { table: string; column: string },
  applicationId: string,
  patterns: string[],
  after: string,
): Promise<{ last: string | null; names: string[] }> {
  // Locks only the rows that have such a name, in the order of their ids.
  const { rows } = await db.query<{ last: string | null; names: string[] | null }>(
    `with hits as materialized (
        select t.id, t.${column} from ${table} t
        where t.application_id = $1 and t.id > $3 and exists (
          select from jsonb_object_keys(t.${column}) as key where key like any($2))
        order by t.id limit ${chunkRows} for update
      ), doomed as materialized (
        select hits.id, array_agg(key) as names
        from hits, jsonb_object_keys(hits.${column}) as key where key like any($2) group by hits.id
      ), changed as (
        update ${table} t set ${column} = t.${column} - doomed.names
        from doomed where t.application_id = $1 and t.id = doomed.id
      )
      select (select max(id) from hits) as last,
        (select array_agg(distinct name) from doomed, unnest(names) as name) as names`,
    [applicationId, patterns, after],
  );
  return { last: rows[0]!.last, names: rows[0]!.names ?? [] };
}
