import sql, { empty, join, type Sql } from 'sql-template-tag';
import { factColumns } from './facts.sql.ts';

/** A new subscriber begins with the oldest batch that is kept. */
export function insertSubscriber(name: string): Sql {
  return sql`insert into log_subscribers (name, position)
    select ${name}, coalesce((select min(position) - 1 from event_batches), log_head.position) from log_head
    on conflict do nothing`;
}

/** Looked at before the lock, so that an idle subscriber writes nothing. */
export function selectIsBehind(name: string): Sql {
  return sql`select exists (
    select from log_subscribers s join event_batches b on b.position > s.position where s.name = ${name}
  ) as found`;
}

/**
 * Locks the cursor for a transaction; no row when another process works. The bounds end a transaction whose process
 * hangs, so that another one can go on. Sequential scans are off until `allowScans`: a young partition has no statistics,
 * and the planner would rather read it whole than use the index on batch_id.
 */
export function lockCursor(name: string, timeoutMs: number): Sql {
  const timeout = `${timeoutMs}ms`;
  return sql`select position, seq,
      set_config('statement_timeout', ${timeout}, true),
      set_config('idle_in_transaction_session_timeout', ${timeout}, true),
      set_config('enable_seqscan', 'off', true)
    from log_subscribers where name = ${name} for update skip locked`;
}

export const allowScans = "select set_config('enable_seqscan', 'on', true)";

export function moveCursor(name: string, position: number, seq: number): Sql {
  return sql`update log_subscribers set position = ${position}, seq = ${seq}, moved_at = now() where name = ${name}`;
}

export function selectCursor(name: string): Sql {
  return sql`select position, seq from log_subscribers where name = ${name}`;
}

export function selectBatches(afterPosition: number, limit: number): Sql {
  return sql`select position, batch_id as "batchId", day, facts, length from event_batches
    where position > ${afterPosition} order by position limit ${limit}`;
}

/** `offset 0`: by their batches in any case, not by the index on application and type, in which lies the whole day. */
export function selectBatchFacts(
  days: readonly [first: string, last: string],
  batchIds: readonly string[],
  wanted: Sql = empty,
): Sql {
  return sql`select ${factColumns} from (
      select * from events where day between ${days[0]} and ${days[1]} and batch_id = any (${batchIds}::uuid[]) offset 0
    ) of_batches where true ${wanted}`;
}

export function selectPartOfBatch(
  day: string,
  batchId: string,
  [fromSeq, toSeq]: readonly [from: number, to: number],
  wanted: Sql = empty,
): Sql {
  return sql`select ${factColumns} from (
      select * from events where day = ${day} and batch_id = ${batchId} and seq >= ${fromSeq} and seq < ${toSeq} offset 0
    ) of_batch where true ${wanted} order by seq`;
}

/** Facts of these applications (undefined means all) and of these types. */
export function wantedFacts(
  types: readonly string[] = [],
  applicationIds: readonly string[] | undefined = undefined,
): Sql {
  const ofApplications = applicationIds ? sql`and application_id = any (${applicationIds}::text[])` : empty;
  return sql`${ofTypes(types)} ${ofApplications}`;
}

/** Exact types, and prefixes that end in a dot; none means all. Looked at for every fact, so in its plainest form. */
function ofTypes(types: readonly string[]): Sql {
  if (types.length === 0) return empty;
  const prefixes = types.filter((type) => type.endsWith('.'));
  const exact = types.filter((type) => !type.endsWith('.'));
  const conditions = prefixes.map((prefix) => sql`starts_with(type, ${prefix})`);
  if (exact.length > 0) conditions.push(sql`type = any (${exact}::text[])`);
  return sql`and (${join(conditions, ' or ')})`;
}

export function insertParked(parked: {
  subscriber: string;
  batchId: string;
  seq: number;
  applicationId: string;
  fact: string;
  error: string;
  attempts: number;
}): Sql {
  return sql`insert into log_parked_facts (subscriber, batch_id, seq, application_id, fact, error, attempts)
    values (${parked.subscriber}, ${parked.batchId}, ${parked.seq}, ${parked.applicationId}, ${parked.fact}, ${parked.error}, ${parked.attempts})`;
}

/** The parked fact after the given one, locked; those that another process has at hand are left out. */
export function lockParkedAfter(subscriber: string, batchId: string, seq: number): Sql {
  return sql`select batch_id as "batchId", seq, fact from log_parked_facts
    where subscriber = ${subscriber} and (batch_id, seq) > (${batchId}, ${seq})
    order by batch_id, seq limit 1 for update skip locked`;
}

export function deleteParked(subscriber: string, batchId: string, seq: number): Sql {
  return sql`delete from log_parked_facts where subscriber = ${subscriber} and batch_id = ${batchId} and seq = ${seq}`;
}

export function updateParked(subscriber: string, batchId: string, seq: number, error: string): Sql {
  return sql`update log_parked_facts set error = ${error}, attempts = attempts + 1
    where subscriber = ${subscriber} and batch_id = ${batchId} and seq = ${seq}`;
}

/** For each subscriber how far it is behind the head, in positions and by the age of the oldest batch it has not finished. */
export const selectLag = `
  select s.name, s.position, greatest(h.position - s.position, 0) as "lagPositions",
    coalesce(extract(epoch from now() - next.numbered_at), 0)::float8 as "lagSeconds",
    (select count(*) from log_parked_facts p where p.subscriber = s.name) as parked
  from log_subscribers s
  cross join log_head h
  left join lateral (
    select numbered_at from event_batches b where b.position > s.position order by b.position limit 1
  ) next on true
  order by s.name`;

/** Counting stops at a number that is alarming enough. */
export const selectUnnumbered = `
  select count(*) as batches from (select from event_batches_unnumbered limit 100000) waiting`;

export const selectOldestUnnumbered = `
  select batch_id as "batchId" from event_batches_unnumbered order by arrival limit 1`;
