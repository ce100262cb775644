import type { Queryable } from '../../platform/database.ts';

export interface SignOfLife {
  endpointId: string;
  /** Milliseconds since the epoch. */
  at: number;
}

/** A later sign within this time is not written: recency counts in hours and days. */
const stepMs = 60_000;
const step = `interval '${stepMs} milliseconds'`;

/** Is a sign worth writing when the stored one is from `activeAt` or later? */
export function isNews(sign: SignOfLife, activeAt: number | null): boolean {
  return activeAt === null || sign.at >= activeAt + stepMs;
}

/**
 * Writes when endpoints were last active (source of Behavior.Recency). Earlier times never replace later ones;
 * rows are written in the order of their ids, so that concurrent callers do not deadlock.
 */
export async function touchActivity(
  db: Queryable,
  applicationId: string,
  signs: readonly SignOfLife[],
): Promise<void> {
  if (signs.length === 0) return;
  const { ids, times } = latestSigns(signs);
  await db.query({
    name: 'activity-touch',
    text: insertActivity('$1', '$2', '$3'),
    values: [applicationId, ids, times],
  });
}

/** The latest sign of each endpoint, as the arguments of `insertActivity`. */
export function latestSigns(signs: readonly SignOfLife[]): { ids: string[]; times: number[] } {
  const latest = new Map<string, number>();
  for (const { endpointId, at } of signs) {
    const known = latest.get(endpointId);
    if (known === undefined || known < at) latest.set(endpointId, at);
  }
  const ids = [...latest.keys()].sort();
  return { ids, times: ids.map((id) => latest.get(id)!) };
}

/**
 * The insertion, for statements that write more than it. What is there is looked at before, since a conflict locks the
 * row (and so writes) also where there is nothing to update; key by key through the index, which the `offset 0` sees to.
 * @param application, ids, times the parameters, as `$1`: ids sorted, times in milliseconds
 */
export function insertActivity(application: string, ids: string, times: string): string {
  return `insert into endpoint_activity (application_id, endpoint_id, active_at)
    select ${application}, s.id, to_timestamp(s.at / 1000.0::float8)
    from unnest(${ids}::text[], ${times}::float8[]) as s (id, at)
    where not exists (
      select from endpoint_activity a where a.application_id = ${application} and a.endpoint_id = s.id
        and a.active_at + ${step} > to_timestamp(s.at / 1000.0::float8) offset 0)
    on conflict (application_id, endpoint_id) do update set active_at = excluded.active_at
      where endpoint_activity.active_at + ${step} <= excluded.active_at`;
}
