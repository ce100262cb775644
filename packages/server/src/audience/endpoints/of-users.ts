import type { Queryable } from '../../platform/database.ts';
import { selectUserEndpoints } from './endpoint.sql.ts';

/** Ids of the registered endpoints of each of these users, sorted; users without one are missing. */
export async function endpointIdsOfUsers(
  db: Queryable,
  applicationId: string,
  userIds: readonly string[],
): Promise<Map<string, string[]>> {
  const found = await selectUserEndpoints(db, applicationId, [...new Set(userIds)]);
  const byUser = new Map<string, string[]>();
  for (const { userId, id } of found) {
    const ids = byUser.get(userId);
    if (ids) ids.push(id);
    else byUser.set(userId, [id]);
  }
  for (const ids of byUser.values()) ids.sort();
  return byUser;
}
