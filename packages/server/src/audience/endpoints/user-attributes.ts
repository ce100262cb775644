import type { Transaction } from '../../platform/database.ts';
import { selectUsers, updateUsers } from './endpoint.sql.ts';
import { type NameMap, nameMap } from './item.ts';
import { mergeMap, sameValues } from './merge.ts';
import { appendChanges } from './watch.ts';

/** Merges attributes into users, whom it makes where they are missing; rows are locked in the order of the ids. */
export async function upsertUserAttributes(
  tx: Transaction,
  applicationId: string,
  changes: readonly { userId: string; attributes: NameMap<string[] | null> }[],
): Promise<void> {
  if (changes.length === 0) return;
  const ids = [...new Set(changes.map(({ userId }) => userId))].sort();
  await tx.query(
    `insert into users (application_id, id) select $1, id from unnest($2::text[]) as id on conflict do nothing`,
    [applicationId, ids],
  );
  const users = await selectUsers(tx, applicationId, ids, true);
  const before = new Map([...users].map(([id, user]) => [id, { id, attributes: nameMap(user.attributes) }]));
  const changed = new Set<string>();
  for (const { userId, attributes } of changes) {
    const user = users.get(userId);
    if (user && mergeMap(user.attributes, attributes, sameValues)) changed.add(userId);
  }
  if (changed.size > 0) {
    const rows = [...changed].map((id) => users.get(id)!);
    await updateUsers(tx, applicationId, rows);
    await appendChanges(tx, applicationId, {
      before: { endpoints: new Map(), users: before },
      endpoints: [],
      users: rows,
    });
  }
}
