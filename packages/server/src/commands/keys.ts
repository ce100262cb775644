import { createAccessKeys } from '../accounts/index.ts';
import { isoTime } from '../platform/clock.ts';
import { withMigrated } from './context.ts';

/** `postrider keys list`: one line a key, its members separated by tabs. */
export async function listKeys(env: NodeJS.ProcessEnv): Promise<void> {
  await withMigrated(env, async (context) => {
    const keys = await createAccessKeys(context).list();
    if (keys.length === 0) console.error('There is no access key.');
    for (const { id, name, createdAt, lastUsedAt, revokedAt } of keys) {
      const used = lastUsedAt ? `used ${isoTime(lastUsedAt)}` : 'never used';
      const state = revokedAt ? `revoked ${isoTime(revokedAt)}` : used;
      console.log([id, name, `made ${isoTime(createdAt)}`, state].join('\t'));
    }
  });
}

/** `postrider keys create <name>`: prints the key in the form in which shells and AWS clients take it. */
export async function createKey(env: NodeJS.ProcessEnv, name: string): Promise<void> {
  await withMigrated(env, async (context) => {
    const key = await createAccessKeys(context).create({ name, by: 'system' });
    console.log(`AWS_ACCESS_KEY_ID=${key.id}\nAWS_SECRET_ACCESS_KEY=${key.secret}`);
    console.error('The secret is not shown again.');
  });
}

/** `postrider keys revoke <id>` */
export async function revokeKey(env: NodeJS.ProcessEnv, id: string): Promise<void> {
  await withMigrated(env, async (context) => {
    await createAccessKeys(context).revoke(id, 'system');
    console.log(`Revoked ${id}.`);
  });
}
