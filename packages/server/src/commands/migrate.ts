import { prepareDatabase } from '../roles/prepare.ts';
import { withProcess } from './context.ts';

/** `postrider migrate` */
export async function migrateCommand(env: NodeJS.ProcessEnv): Promise<void> {
  await withProcess(env, async ({ database, log }) => {
    const ran = await prepareDatabase(database, log);
    for (const name of ran) console.log(`applied ${name}`);
    if (ran.length === 0) console.log('The database is up to date.');
  });
}
