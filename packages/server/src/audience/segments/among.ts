import sql from 'sql-template-tag';
import type { Queryable } from '../../platform/database.ts';
import { type CompileOptions, compileSegment } from './compile.ts';
import { storedIds } from './membership.ts';
import type { SegmentTarget } from './resolve.ts';

/** Which of some endpoints are in a segment. Ids are those that callers know. */
export interface Among {
  /** The id under which each member is stored: its own, or that of an import's own member. */
  members: Map<string, string>;
  /** Endpoints that exist, members or not. */
  existing: Set<string>;
}

/**
 * Which of these endpoints (some hundreds or thousands) are in the segment now? One statement, a look at the key for
 * each, however large the segment is. Of a registered endpoint and an import's own member with the same id, both in
 * the segment, the registered one is the member.
 * @throws CallerError as `compileSegment`
 */
export async function membersAmong(
  db: Queryable,
  applicationId: string,
  target: SegmentTarget,
  endpointIds: readonly string[],
  options?: CompileOptions,
): Promise<Among> {
  const { from, where, importedIds } = await compileSegment(db, applicationId, target, {
    ...options,
    fewEndpoints: true,
  });
  const asked: string[] = [];
  const stored: string[] = [];
  for (const id of new Set(endpointIds)) {
    for (const storedId of storedIds(id, importedIds)) {
      asked.push(id);
      stored.push(storedId);
    }
  }
  // The subqueries are not flattened: for a join PostgreSQL might read the whole application.
  const { rows } = await db.query<{ asked: string; stored: string; member: boolean }>(sql`
    select wanted.asked, wanted.stored, member.id is not null as member
    from unnest(${asked}::text[], ${stored}::text[]) as wanted (asked, stored)
    cross join lateral (
      select from endpoints present
      where present.application_id = ${applicationId} and present.id = wanted.stored offset 0
    ) as present
    left join lateral (select e.id from ${from} where e.id = wanted.stored and ${where} limit 1) as member on true`);
  const among: Among = { members: new Map(), existing: new Set(rows.map((row) => row.asked)) };
  for (const row of rows) {
    if (row.member && (row.stored === row.asked || !among.members.has(row.asked)))
      among.members.set(row.asked, row.stored);
  }
  return among;
}
