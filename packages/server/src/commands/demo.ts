import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import sql from 'sql-template-tag';
import { deleteApplication, eraseDeletedApplications } from '../accounts/index.ts';
import { deleteTemplate, templateExists } from '../content/index.ts';
import { demoBucket, demoName, demoTemplate } from '../demo/index.ts';
import { erasers } from '../roles/rooms.ts';
import { withMigrated } from './context.ts';

/** `postrider demo remove`: the demo application with everything in it, its template and its file. */
export async function removeDemo(env: NodeJS.ProcessEnv): Promise<void> {
  await withMigrated(env, async ({ config, database, log }) => {
    const { rows } = await database.query<{ id: string }>(
      sql`select id from applications where name = ${demoName}`,
    );
    for (const { id } of rows) await deleteApplication(database, id);
    await eraseDeletedApplications({ database, erasers, log });
    if (await templateExists(database, 'EMAIL', demoTemplate)) {
      await database.transaction((tx) => deleteTemplate(tx, 'EMAIL', demoTemplate));
    }
    await rm(join(config.dataDir, 'objects', demoBucket), { recursive: true, force: true });
    console.log(rows.length > 0 ? 'The demo is removed.' : 'There is no demo here.');
  });
}
