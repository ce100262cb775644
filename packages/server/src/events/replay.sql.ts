import sql, { type Sql } from 'sql-template-tag';

export function lockCursorWaiting(name: string): Sql {
  return sql`select position, seq from log_subscribers where name = ${name} for update`;
}

export function deleteParkedOfApplications(name: string, applicationIds: readonly string[]): Sql {
  return sql`delete from log_parked_facts where subscriber = ${name} and application_id = any (${applicationIds})`;
}

export const selectOldestDay = 'select day from event_batches order by position limit 1';
