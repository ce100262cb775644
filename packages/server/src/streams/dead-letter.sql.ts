import sql, { type Sql } from 'sql-template-tag';

const columns = sql`l.id, l.day, l.batch_id as "batchId", l.position, l.from_seq as "fromSeq", l.to_seq as "toSeq", l.facts,
  l.error, l.attempts, l.parked_at as "parkedAt", l.replay_at as "replayAt"`;

export interface DeadLetterValues {
  position: number;
  day: string;
  batchId: string;
  fromSeq: number;
  toSeq: number;
  error: string;
}

export function insertDeadLetters(
  stream: { id: string; applicationId: string },
  letters: readonly DeadLetterValues[],
  now: number,
): Sql {
  const column = <Key extends keyof DeadLetterValues>(key: Key) => letters.map((letter) => letter[key]);
  return sql`insert into stream_dead_letters (stream_id, application_id, position, day, batch_id, from_seq, to_seq, facts, error, parked_at)
    select ${stream.id}, ${stream.applicationId}, position, day, batch_id, from_seq, to_seq, 1, error, ${new Date(now)}
    from unnest(${column('position')}::int8[], ${column('day')}::date[], ${column('batchId')}::uuid[],
        ${column('fromSeq')}::int[], ${column('toSeq')}::int[], ${column('error')}::text[])
      as l (position, day, batch_id, from_seq, to_seq, error)`;
}

export function selectDeadLetters(streamId: string, page: { limit: number; after: number }): Sql {
  return sql`select ${columns} from stream_dead_letters l
    where l.stream_id = ${streamId} and l.id > ${page.after} order by l.id limit ${page.limit}`;
}

/** The oldest for which a replay was asked. */
export function selectReplays(streamId: string, limit: number): Sql {
  return sql`select ${columns} from stream_dead_letters l
    where l.stream_id = ${streamId} and l.replay_at is not null order by l.id limit ${limit}`;
}

export function requestReplay(streamId: string, ids: readonly number[] | undefined, now: number): Sql {
  const which = ids ? sql`and id = any (${ids}::int8[])` : sql``;
  return sql`update stream_dead_letters set replay_at = ${new Date(now)}
    where stream_id = ${streamId} and replay_at is null ${which}`;
}

/** What is asked for is tried at once. */
export function wakeStream(streamId: string): Sql {
  return sql`update streams set next_attempt_at = '-infinity' where id = ${streamId}`;
}

export function deleteDeadLetters(streamId: string, ids: readonly number[] | undefined): Sql {
  return ids
    ? sql`delete from stream_dead_letters where stream_id = ${streamId} and id = any (${ids}::int8[])`
    : sql`delete from stream_dead_letters where stream_id = ${streamId}`;
}

/** A replay that ended with a part delivered: what is left begins at `fromSeq`. */
export function shortenDeadLetter(id: number, fromSeq: number): Sql {
  return sql`update stream_dead_letters set from_seq = ${fromSeq} where id = ${id}`;
}

export function endReplay(id: number, error: string): Sql {
  return sql`update stream_dead_letters set replay_at = null, error = ${error}, attempts = attempts + 1 where id = ${id}`;
}

/** Replays that were asked for long ago and never came through end. */
export function endOldReplays(streamId: string, before: number, error: string): Sql {
  return sql`update stream_dead_letters set replay_at = null, error = ${error}, attempts = attempts + 1
    where stream_id = ${streamId} and replay_at < ${new Date(before)}`;
}

/** Dead letters whose day the log does not hold any more name nothing. */
export function deleteOldDeadLetters(beforeDay: string, limit: number): Sql {
  return sql`delete from stream_dead_letters where id = any (array(
    select id from stream_dead_letters where day < ${beforeDay} order by id limit ${limit}))`;
}
