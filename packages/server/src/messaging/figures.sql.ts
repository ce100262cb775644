import sql from 'sql-template-tag';
import type { Queryable } from '../platform/database.ts';
import type { Lane } from './dispatch.ts';

/** Messages that wait for another attempt, by lane: for the metrics. */
export async function countRetries(db: Queryable): Promise<{ lane: Lane; count: number }[]> {
  const { rows } = await db.query<{ lane: Lane; count: number }>(sql`
    select lane, count(*) as count from retries group by lane`);
  return rows;
}
