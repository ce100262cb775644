import sql from 'sql-template-tag';
import type { Queryable } from '../platform/database.ts';
import { hasFreeChunk } from './dispatch.sql.ts';
import { type Lane, lanes } from './dispatch.ts';

/**
 * The lanes in which a chunk can be claimed, and those in which a retry is due or its dispatch was stopped; so that idle
 * lanes cost one statement together. May name a lane in which there is nothing to do after all (retries of paused
 * dispatches), never leaves one out. Without a name: a plan that was made while the tables were empty would read them
 * whole.
 */
export async function lanesWithWork(db: Queryable): Promise<{ chunks: Lane[]; retries: Lane[] }> {
  const { rows } = await db.query<{ lane: Lane; chunks: boolean; retries: boolean }>(sql`
    select lane,
      exists (select from dispatches d where d.lane = lanes.lane and ${hasFreeChunk}) as chunks,
      exists (select from retries r where r.lane = lanes.lane and r.due_at <= now())
        or exists (
          select from dispatches d join retries r on r.dispatch_id = d.id and r.lane = lanes.lane
          where d.lane = lanes.lane and d.finished_at is null and d.state = 'stopped'
        ) as retries
    from unnest(${lanes}::text[]) as lanes (lane)`);
  const named = (kind: 'chunks' | 'retries') => rows.filter((row) => row[kind]).map(({ lane }) => lane);
  return { chunks: named('chunks'), retries: named('retries') };
}
