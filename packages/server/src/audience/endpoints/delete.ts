import { type Database, repeatableTransaction, type Transaction } from '../../platform/database.ts';
import { CallerError } from '../../platform/errors.ts';
import { selectRecipients } from './endpoint.sql.ts';
import { getEndpoint, getUserEndpoints } from './read.ts';
import type { Recipient } from './row.ts';

const maxAttempts = 20;

/** Deletes a registered endpoint, and its user when that was the last. Returns what was deleted, or undefined. */
export async function deleteEndpoint(
  database: Database,
  applicationId: string,
  id: string,
): Promise<Recipient | undefined> {
  for (let attempt = 0; attempt < maxAttempts; attempt++) {
    const seen = await getEndpoint(database, applicationId, id);
    if (!seen) return undefined;
    const deleted = await repeatableTransaction(database, async (tx) => {
      if (seen.userId !== null) await lockUser(tx, applicationId, seen.userId);
      return deleteEndpoints(tx, applicationId, seen.userId, [id]);
    });
    if (deleted[0]) return deleted[0];
    // It has got another user (or was deleted) since it was seen; the lock was on the wrong one.
  }
  throw new CallerError('unavailable', 'This endpoint is changed by others all the time; try again');
}

/** Deletes all registered endpoints of a user, and the user. Returns what was deleted, by id. */
export async function deleteUserEndpoints(
  database: Database,
  applicationId: string,
  userId: string,
): Promise<Recipient[]> {
  return repeatableTransaction(database, async (tx) => {
    await lockUser(tx, applicationId, userId);
    const endpoints = await getUserEndpoints(tx, applicationId, userId);
    const ids = endpoints.map(({ id }) => id);
    return deleteEndpoints(tx, applicationId, userId, ids);
  });
}

/** Users are locked before endpoints, as everywhere (see upsert.ts): nobody attaches an endpoint meanwhile. */
async function lockUser(tx: Transaction, applicationId: string, userId: string): Promise<void> {
  await tx.query('select from users where application_id = $1 and id = $2 for update', [
    applicationId,
    userId,
  ]);
}

/** Deletes those of the endpoints that still belong to the user (locked by the caller), and what hangs on them. */
async function deleteEndpoints(
  tx: Transaction,
  applicationId: string,
  userId: string | null,
  ids: string[],
): Promise<Recipient[]> {
  const { rows } = await tx.query<{ id: string }>(
    `select id from endpoints
      where application_id = $1 and id = any($2) and segment_id is null and user_id is not distinct from $3
      order by id for update`,
    [applicationId, ids, userId],
  );
  const found = rows.map(({ id }) => id);
  const deleted = await selectRecipients(tx, applicationId, found);
  await tx.query('delete from endpoints where application_id = $1 and id = any($2)', [applicationId, found]);
  await tx.query('delete from endpoint_activity where application_id = $1 and endpoint_id = any($2)', [
    applicationId,
    found,
  ]);
  await tx.query(
    `delete from segment_endpoints where application_id = $1 and endpoint_id = any($2) and segment_id = any(array(
        select id from segments where application_id = $1 and type = 'IMPORT'))`,
    [applicationId, found],
  );
  if (userId !== null) {
    await tx.query(
      `delete from users u where u.application_id = $1 and u.id = $2 and not exists (
        select from endpoints e where e.application_id = (select $1::text) and e.user_id = $2)`,
      [applicationId, userId],
    );
  }
  return deleted.sort((a, b) => (a.id < b.id ? -1 : 1));
}
