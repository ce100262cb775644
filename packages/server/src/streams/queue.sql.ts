import sql, { type Sql } from 'sql-template-tag';
import { type Batch, factColumns } from '../events/index.ts';

/** Types of facts of which there are records: clients' events, what became of messages, what windows held back. */
const streamed = sql`(starts_with(e.type, 'event.') or starts_with(e.type, 'message.') or e.type = 'dispatch.window')`;

/** Looked at before the facts are. */
export const selectAnyStream = 'select exists (select from streams) as found';

// Facts are found by their batch: without `offset 0` the planner may prefer the index on application and type, by which
// it reads the application's whole day for each batch.

/**
 * Notes for each stream which of these batches hold facts of its application. `arrivals` are the batches' times in
 * milliseconds; a stream gets what arrived after it was made. The limit keeps each batch a look at the index: a young
 * partition has no statistics for a list.
 */
export function insertSlices(batches: readonly Batch[], arrivals: readonly number[]): Sql {
  return sql`insert into stream_slices (stream_id, position, application_id, day, batch_id, facts, arrived_at)
    select s.id, b.position, s.application_id, b.day, b.batch_id, found.facts, b.arrived_at
    from unnest(${batches.map(({ position }) => position)}::int8[], ${batches.map(({ day }) => day)}::date[],
        ${batches.map(({ batchId }) => batchId)}::uuid[], ${arrivals.map((at) => new Date(at))}::timestamptz[])
      as b (position, day, batch_id, arrived_at)
    cross join lateral (
      select e.application_id, count(*)::int as facts
      from (select type, application_id from events where day = b.day and batch_id = b.batch_id offset 0) e
      where ${streamed} group by e.application_id
    ) found
    join streams s on s.application_id = found.application_id and b.arrived_at >= s.created_at - interval '1 second'
    on conflict do nothing`;
}

/** Slices looked at in one round. */
export const maxSlices = 500;
/** So many facts are a file, also before its time has come: some megabytes. */
export const factsOfFile = 5_000;

export interface SliceRow {
  position: number;
  day: string;
  batchId: string;
  facts: number;
  fromSeq: number;
}

export function selectSlices(streamId: string, fromPosition: number, limit: number): Sql {
  return sql`select position, day, batch_id as "batchId", facts, from_seq as "fromSeq"
    from stream_slices where stream_id = ${streamId} and position >= ${fromPosition} order by position limit ${limit}`;
}

/** What part of a batch is meant: the facts from `fromSeq` on, below `toSeq`. */
export interface FactRange {
  position: number;
  day: string;
  batchId: string;
  fromSeq: number;
  toSeq: number;
}

/**
 * The application's facts of these ranges, in order, at most `limit`, and at most the first whose payloads add up to
 * `maxBytes` (one in any case). What is stored may be packed, so its size, which costs nothing, is looked at first.
 */
export function selectFacts(
  applicationId: string,
  ranges: readonly FactRange[],
  limit: number,
  maxBytes: number,
): Sql {
  return sql`select * from (
      select stored.*, sum(octet_length(payload::text)) over (order by n) as bytes from (
        select read.*, sum(size) over (order by n) as "storedBytes" from (
        select q.position, fact.*, pg_column_size(fact.payload) as size,
          row_number() over (order by q.position, fact.seq) as n
        from unnest(${ranges.map(({ position }) => position)}::int8[], ${ranges.map(({ day }) => day)}::date[],
            ${ranges.map(({ batchId }) => batchId)}::uuid[], ${ranges.map(({ fromSeq }) => fromSeq)}::int[],
            ${ranges.map(({ toSeq }) => toSeq)}::int[])
          as q (position, day, batch_id, from_seq, to_seq)
        cross join lateral (
          select ${factColumns} from (
            select * from events
            where day = q.day and batch_id = q.batch_id and seq >= q.from_seq and seq < q.to_seq offset 0
          ) e
          where e.application_id = ${applicationId} and ${streamed}
          order by e.seq limit ${limit}
        ) fact
        order by q.position, fact.seq limit ${limit}
        ) read
      ) stored where "storedBytes" <= ${maxBytes} or n = 1
    ) sized where bytes <= ${maxBytes} or n = 1 order by n`;
}

export const forbidScans = "select set_config('enable_seqscan', 'off', true)";

/** Locks a stream for the end of a round; no row when it is not this worker's (any more). */
export function lockOwned(streamId: string, workerId: string): Sql {
  return sql`select id from streams where id = ${streamId} and worker_id = ${workerId} for update`;
}

/** Everything below this place is settled. */
export function settleSlices(streamId: string, place: { position: number; seq: number }): Sql {
  return sql`with gone as (
      delete from stream_slices where stream_id = ${streamId} and position < ${place.position}
    )
    update stream_slices set from_seq = ${place.seq}
    where stream_id = ${streamId} and position = ${place.position} and from_seq < ${place.seq}`;
}

export function noteSuccess(streamId: string, delivered: number, now: number): Sql {
  return sql`update streams set delivered = delivered + ${delivered},
      delivered_at = case when ${delivered}::int8 > 0 then ${new Date(now)} else delivered_at end,
      failing_since = null, failures = 0, next_attempt_at = '-infinity'
    where id = ${streamId}`;
}

export function noteFailure(
  streamId: string,
  failure: { error: string; now: number; nextAttemptAt: number; disabled: boolean },
): Sql {
  const now = new Date(failure.now);
  return sql`update streams set failures = failures + 1, failing_since = coalesce(failing_since, ${now}),
      next_attempt_at = ${new Date(failure.nextAttemptAt)}, last_error = ${failure.error}, last_error_at = ${now},
      state = case when ${failure.disabled} then 'disabled' else state end,
      state_reason = case when ${failure.disabled} then ${failure.error} else state_reason end
    where id = ${streamId}`;
}

/** Puts whole slices that arrived before `before` aside, the oldest `limit` of them. */
export function parkSlices(
  streamId: string,
  parked: { before: number; error: string; now: number; limit: number },
): Sql {
  return sql`with stuck as (
      delete from stream_slices where stream_id = ${streamId} and position = any (array(
        select position from stream_slices
        where stream_id = ${streamId} and arrived_at < ${new Date(parked.before)} order by position limit ${parked.limit}))
      returning *
    )
    insert into stream_dead_letters (stream_id, application_id, position, day, batch_id, from_seq, to_seq, facts, error, parked_at)
    select stream_id, application_id, position, day, batch_id, from_seq, 2147483647, facts, ${parked.error}, ${new Date(parked.now)}
    from stuck order by position`;
}

/** Free streams of applications that are there; of the rest those that a living worker holds stay with it. */
export function claimStreams(workerId: string, limit: number): Sql {
  return sql`update streams set worker_id = ${workerId} where id = any (array(
    select s.id from streams s join applications a on a.id = s.application_id
    where s.worker_id is distinct from ${workerId}
      and not exists (select from workers w where w.id = s.worker_id)
    order by s.id limit ${limit} for update of s skip locked))`;
}

/** How many streams a worker should have so that all have about the same. */
export const selectShare = `
  select ceil((select count(*) from streams) / greatest(1, (select count(*) from workers where role = 'worker'))::float8)::int as share`;

export function countOwned(workerId: string): Sql {
  return sql`select count(*)::int as owned from streams where worker_id = ${workerId}`;
}

/** Gives streams that are not at work back, so that a new worker gets its share. */
export function releaseStreams(workerId: string, busy: readonly string[], limit: number): Sql {
  return sql`update streams set worker_id = null where id = any (array(
    select id from streams where worker_id = ${workerId} and id <> all (${busy}::text[])
    order by id desc limit ${limit} for update skip locked))`;
}

export function releaseAll(workerId: string): Sql {
  return sql`update streams set worker_id = null where worker_id = ${workerId}`;
}

/** This worker's streams that have something to do now. Files wait until there is enough for one, or the time has come. */
export function selectDue(workerId: string, now: number, busy: readonly string[], limit: number): Sql {
  const at = new Date(now);
  return sql`select s.id from streams s
    where s.worker_id = ${workerId} and s.state = 'active' and s.next_attempt_at <= ${at} and s.id <> all (${busy}::text[])
      and (
        case when s.kind = 'files' then
          exists (select from stream_slices q where q.stream_id = s.id and q.arrived_at <=
            ${at}::timestamptz - coalesce((s.settings->>'flushSeconds')::int, 60) * interval '1 second')
          or (select sum(q.facts) from (
            select facts from stream_slices where stream_id = s.id order by position limit ${maxSlices}
          ) q) >= ${factsOfFile}
          or exists (select from stream_slices q where q.stream_id = s.id order by q.position offset ${maxSlices - 1} limit 1)
        else exists (select from stream_slices q where q.stream_id = s.id) end
        or exists (select from stream_dead_letters l where l.stream_id = s.id and l.replay_at is not null)
      )
    order by s.delivered_at nulls first limit ${limit}`;
}

/** Streams that nobody tries to deliver, with slices older than `before`. */
export function selectIdleOverdue(before: number): Sql {
  return sql`select s.id, s.state from streams s
    where s.state <> 'active' and exists (
      select from stream_slices q where q.stream_id = s.id and q.arrived_at < ${new Date(before)})
    for update of s skip locked`;
}
