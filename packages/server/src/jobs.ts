import { eraseDeletedApplications, expireEndpointCreations } from './accounts/index.ts';
import { runRebuilds, sweepRetiredRollups } from './analytics/index.ts';
import {
  runWaitingEventImports,
  runWaitingExports,
  runWaitingImports,
  sweepDeletedSegments,
} from './audience/index.ts';
import { expireIdempotencyKeys } from './edge/index.ts';
import { dropOldPartitions, ensurePartitions } from './events/index.ts';
import { deleteOldRates, trimInbox } from './messaging/index.ts';
import { defineJobs, type JobDefinition } from './platform/jobs.ts';
import type { ProcessContext } from './roles/process.ts';
import { erasers, eventSettings } from './roles/rooms.ts';
import { streamHold, trimDeadLetters } from './streams/index.ts';

/** Every background job, and when those that run by themselves do (UTC). */
export function jobList(context: ProcessContext): JobDefinition[] {
  const { config, database, clock, objects } = context;
  const { endpointsPerUser } = config;
  return defineJobs([
    {
      name: 'run-imports',
      description: 'Works off import jobs: those that were just created, and those whose worker has gone.',
      cron: '* * * * *',
      atStart: true,
      run: (_, { log, signal }) =>
        runWaitingImports({ database, objects, log, clock, endpointsPerUser }, signal),
    },
    {
      name: 'run-exports',
      description: 'Works off export jobs: those that were just created, and those whose worker has gone.',
      cron: '* * * * *',
      atStart: true,
      run: (_, { log, signal }) => runWaitingExports({ database, objects, log }, signal),
    },
    {
      name: 'run-event-imports',
      description: 'Works off imports of event archives: new ones, and those whose worker has gone.',
      cron: '* * * * *',
      atStart: true,
      run: (_, { log, signal }) =>
        runWaitingEventImports({ database, objects, log, clock, ...eventSettings(config) }, signal),
    },
    {
      name: 'erase-deleted-applications',
      description: 'Erases what is left of deleted applications, when the process ended during the deletion.',
      cron: '20 * * * *',
      atStart: true,
      async run(_, { log }) {
        await eraseDeletedApplications({ database, erasers, log });
      },
    },
    {
      name: 'sweep-deleted-segments',
      description: 'Removes the members of deleted segments.',
      cron: '25 * * * *',
      async run() {
        await sweepDeletedSegments(database);
      },
    },
    {
      name: 'rebuild-analytics',
      description: 'Computes figures again from the log where that was asked for, and deletes replaced ones.',
      cron: '*/5 * * * *',
      atStart: true,
      async run(_, { log, signal }) {
        await runRebuilds({ database, log }, signal);
        await sweepRetiredRollups(database);
      },
    },
    {
      name: 'trim-inbox',
      description:
        'Leaves each application the newest 10,000 messages of its inbox, none older than POSTRIDER_RETENTION_DAYS.',
      cron: '*/10 * * * *',
      async run() {
        await trimInbox(database, { days: config.retentionDays }, clock);
      },
    },
    {
      name: 'forget-small-things',
      description:
        'Deletes what was kept for repeated requests (answers for a day, makers of endpoints for two), and rates that nobody uses.',
      cron: '17 * * * *',
      async run() {
        await expireIdempotencyKeys(database);
        await expireEndpointCreations(database);
        await deleteOldRates(database);
      },
    },
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
      description:
        'Drops days of the log, of the messages and of the dead letters of streams that are older than POSTRIDER_RETENTION_DAYS.',
      cron: '35 3 * * *',
      async run(_, { log }) {
        if (config.retentionDays === 0) return;
        const { dropped, kept } = await dropOldPartitions(database, {
          keepDays: config.retentionDays,
          clock,
          holdOf: streamHold,
        });
        await trimDeadLetters(database, config.retentionDays, clock);
        if (dropped.length > 0) log.info({ dropped }, 'old days dropped');
        if (kept.length > 0) log.warn({ kept }, 'old days kept');
      },
    },
    {
      name: 'forget-event-keys',
      description: 'Drops the keys by which repeated events are known, after two days.',
      cron: '45 3 * * *',
      async run(_, { log }) {
        const { kept } = await dropOldPartitions(database, {
          keepDays: 2,
          tables: ['ingested_events'],
          clock,
        });
        if (kept.length > 0) log.warn({ kept }, 'keys of old days kept');
      },
    },
  ]);
}
