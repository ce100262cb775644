import sql, { type Sql } from 'sql-template-tag';

const columns = sql`s.id, s.application_id as "applicationId", s.name, s.kind, s.destination,
  s.role_arn as "roleArn", s.settings, s.secrets, s.state, s.state_reason as "stateReason",
  s.failing_since as "failingSince", s.failures, nullif(s.next_attempt_at, '-infinity') as "nextAttemptAt",
  s.last_error as "lastError", s.last_error_at as "lastErrorAt", s.delivered,
  s.delivered_at as "deliveredAt", s.created_at as "createdAt", s.modified_at as "modifiedAt",
  s.modified_by as "modifiedBy"`;

/** How far a stream is behind; counting stops where it is alarming enough. */
const status = sql`
  (select coalesce(sum(facts), 0) from (
    select facts from stream_slices q where q.stream_id = s.id order by position limit 10000) waiting
  )::int8 as "waitingFacts",
  (select arrived_at from stream_slices q where q.stream_id = s.id order by position limit 1) as "oldestWaiting",
  (select coalesce(sum(facts), 0) from (
    select facts from stream_dead_letters l where l.stream_id = s.id limit 10000) dead
  )::int8 as "deadLetters"`;

export function selectStreams(applicationId: string): Sql {
  return sql`select ${columns}, ${status} from streams s where s.application_id = ${applicationId} order by s.name`;
}

export function selectStream(applicationId: string, name: string): Sql {
  return sql`select ${columns}, ${status} from streams s
    where s.application_id = ${applicationId} and s.name = ${name}`;
}

export function selectStreamId(applicationId: string, name: string): Sql {
  return sql`select id from streams where application_id = ${applicationId} and name = ${name}`;
}

export function lockStream(applicationId: string, name: string): Sql {
  return sql`select ${columns} from streams s
    where s.application_id = ${applicationId} and s.name = ${name} for update`;
}

export function selectStreamById(id: string): Sql {
  return sql`select ${columns} from streams s where s.id = ${id}`;
}

export function countStreams(applicationId: string): Sql {
  return sql`select count(*) from streams where application_id = ${applicationId}`;
}

/** Makes writers of one application's streams wait for each other, and for its deletion. */
export function lockApplication(applicationId: string): Sql {
  return sql`select id from applications where id = ${applicationId} for no key update`;
}

export interface StreamRowValues {
  id: string;
  applicationId: string;
  name: string;
  kind: string;
  destination: string;
  roleArn: string | null;
  settings: string;
  secrets: Buffer | null;
  state: string;
  principal: string;
}

/** A new definition has not failed yet: it is tried at once. What waits goes to where it says now. */
export function upsertStream(row: StreamRowValues): Sql {
  return sql`insert into streams (id, application_id, name, kind, destination, role_arn, settings, secrets, state, modified_by)
    values (${row.id}, ${row.applicationId}, ${row.name}, ${row.kind}, ${row.destination}, ${row.roleArn},
      ${row.settings}, ${row.secrets}, ${row.state}, ${row.principal})
    on conflict (application_id, name) do update set kind = excluded.kind, destination = excluded.destination,
      role_arn = excluded.role_arn, settings = excluded.settings, secrets = excluded.secrets, state = excluded.state,
      state_reason = null, failing_since = null, failures = 0, next_attempt_at = '-infinity', last_error = null,
      last_error_at = null, modified_at = now(), modified_by = excluded.modified_by`;
}

export function deleteStreamRow(applicationId: string, name: string): Sql {
  return sql`delete from streams where application_id = ${applicationId} and name = ${name}`;
}

/** The first stream that has not delivered all of a day of the log. */
export function selectHoldOfDay(day: string): Sql {
  return sql`select s.application_id as "applicationId", s.name from stream_slices q
    join streams s on s.id = q.stream_id where q.day = ${day} limit 1`;
}
