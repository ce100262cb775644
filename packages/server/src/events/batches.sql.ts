import sql, { type Sql } from 'sql-template-tag';

/** Facts of one batch column by column, for a batch that is small enough to be an argument. */
export interface FactColumns {
  occurredAt: number[];
  applicationId: string[];
  type: string[];
  endpointId: (string | null)[];
  messageId: (string | null)[];
  dispatchId: (string | null)[];
  payload: string[];
}

/**
 * CTEs that write a batch, for statements that write more than it: $1 to $4 are its id, its day, how many facts it has
 * and the length of all their payloads as JSON text.
 * @param facts a relation (at, application_id, type, endpoint_id, message_id, dispatch_id, payload, n): `at` in
 * milliseconds, `n` the place in the batch, from 1 on
 */
export function batchCtes(facts: string): string {
  return `batch as (
      insert into event_batches_unnumbered (batch_id, day, facts, length) values ($1, $2, $3, $4)
    ), facts as (
      insert into events (day, batch_id, seq, occurred_at, application_id, type, endpoint_id, message_id, dispatch_id, payload)
      select $2, $1, n - 1, to_timestamp(at / 1000), application_id, type, endpoint_id, message_id, dispatch_id, payload
      from ${facts}
    )`;
}

/** Batch row and facts in one round trip. Named, so that each connection plans it once. */
export function insertBatch(batchId: string, day: string, columns: FactColumns, facts: number) {
  const length = columns.payload.reduce((sum, payload) => sum + payload.length, 0);
  return {
    name: 'events-insert-batch',
    text: `with ${batchCtes(`unnest($5::float8[], $6::text[], $7::text[], $8::text[], $9::uuid[], $10::uuid[],
        $11::jsonb[]) with ordinality
        as fact (at, application_id, type, endpoint_id, message_id, dispatch_id, payload, n)`)}
      select`,
    values: [
      batchId,
      day,
      facts,
      length,
      columns.occurredAt,
      columns.applicationId,
      columns.type,
      columns.endpointId,
      columns.messageId,
      columns.dispatchId,
      columns.payload,
    ],
  };
}

export const copyFacts =
  'copy events (day, batch_id, seq, occurred_at, application_id, type, endpoint_id, message_id, dispatch_id, payload) from stdin';

/** @param length of all payloads together, as JSON text. */
export function insertUnnumbered(batchId: string, day: string, facts: number, length: number) {
  return {
    name: 'events-insert-unnumbered',
    text: 'insert into event_batches_unnumbered (batch_id, day, facts, length) values ($1, $2, $3, $4)',
    values: [batchId, day, facts, length],
  };
}

/**
 * Waits for the transaction that inserted this batch, when it still runs: a row comes back only if there is no such
 * batch, or one that is numbered already. To be rolled back.
 */
export function probeUnnumbered(batchId: string, day: string): Sql {
  return sql`insert into event_batches_unnumbered (batch_id, day, facts) values (${batchId}, ${day}, 0)
    on conflict do nothing returning batch_id`;
}

export function hasFacts(batchId: string, day: string): Sql {
  return sql`select exists (select from events where day = ${day} and batch_id = ${batchId}) as found`;
}

/** Looked at before the lock, so that an idle log writes nothing. */
export const selectIsUnnumbered = 'select exists (select from event_batches_unnumbered) as found';

/** Locks the head for a round of numbering; no row when another numberer is at it. */
export const lockHead = `select position,
    set_config('statement_timeout', '30s', true),
    set_config('idle_in_transaction_session_timeout', '10s', true)
  from log_head where id = 1 for update skip locked`;

/** Numbers at most `limit` committed batches from `position` + 1 on; answers how many. */
export function numberBatches(position: number, limit: number): Sql {
  return sql`with taken as (
      delete from event_batches_unnumbered
      where batch_id = any (array(select batch_id from event_batches_unnumbered order by arrival limit ${limit}))
      returning batch_id, arrival, day, facts, length
    ), numbered as (
      insert into event_batches (position, batch_id, day, facts, length)
      select ${position} + row_number() over (order by arrival), batch_id, day, facts, length from taken
      returning position
    )
    update log_head set position = greatest(log_head.position, (select max(position) from numbered))
    where id = 1 and exists (select from numbered)
    returning position - ${position} as numbered`;
}

export const selectHead = 'select position from log_head where id = 1';
