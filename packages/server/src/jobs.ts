import { dropOldPartitions, ensurePartitions } from './events/index.ts';
import { defineJobs, type JobDefinition } from './platform/jobs.ts';
import type { ProcessContext } from './roles/process.ts';

/** Every background job, and when those that run by themselves do (UTC). */
export function jobList(context: ProcessContext): JobDefinition[] {
  const { config, database, clock } = context;
  return defineJobs([
    {
      name: 'make-partitions',
      description: 'Makes the partitions of the coming days of the log and the messages.',
      cron: '5 */6 * * *',
      atStart: true,
      async run(_, { log }) {
        const { created, postponed } = await ensurePartitions(database, { clock });
        if (created.length > 0) log.info({ created }, 'partitions made');
        if (postponed.length > 0) log.warn({ postponed }, 'partitions have to wait');
      },
    },
    {
      name: 'drop-old-days',
      description: 'Drops days of the log and of the messages that are older than POSTRIDER_RETENTION_DAYS.',
      cron: '35 3 * * *',
      async run(_, { log }) {
        if (config.retentionDays === 0) return;
        const { dropped, kept } = await dropOldPartitions(database, {
          keepDays: config.retentionDays,
          clock,
        });
        if (dropped.length > 0) log.info({ dropped }, 'old days dropped');
        if (kept.length > 0) log.warn({ kept }, 'old days kept');
      },
    },
  ]);
}
