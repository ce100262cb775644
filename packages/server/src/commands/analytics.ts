import { applicationExists } from '../accounts/index.ts';
import { rebuildKpiResults, requestRebuild, runRebuilds, sweepRetiredRollups } from '../analytics/index.ts';
import { notFound } from '../platform/errors.ts';
import { withMigrated } from './context.ts';

/** `postrider rebuild-analytics [application]`: computes figures again from the log; the old ones answer until it is done. */
export async function rebuildAnalytics(
  env: NodeJS.ProcessEnv,
  applicationId: string | undefined,
  { forgetDroppedDays = false }: { forgetDroppedDays?: boolean },
): Promise<void> {
  await withMigrated(env, async ({ database, log }) => {
    if (applicationId !== undefined) {
      if (!(await applicationExists(database, applicationId))) throw notFound('Application', applicationId);
    }
    // First what may be refused, so that nothing is done then.
    await requestRebuild(database, { ...(applicationId ? { applicationId } : {}), forgetDroppedDays });
    await rebuildKpiResults(database, applicationId);
    await runRebuilds({ database, log });
    await sweepRetiredRollups(database);
    console.log('The figures are rebuilt.');
  });
}
