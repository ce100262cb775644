import { defineJobs, type JobDefinition } from './platform/jobs.ts';
import type { ProcessContext } from './roles/process.ts';

/** Every background job, and when those that run by themselves do. */
export function jobList(context: ProcessContext): JobDefinition[] {
  const { database } = context;
  return defineJobs([
    {
      name: 'delete-old-idempotency-keys',
      description: 'Forgets the answers that were kept for repeated requests, after a day.',
      cron: '17 * * * *',
      async run() {
        await database.query("delete from idempotency_keys where created_at < now() - interval '24 hours'");
      },
    },
  ]);
}
