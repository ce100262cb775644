import { setPriority } from 'node:os';
import { analyticsRollups, kpiResults } from '../analytics/index.ts';
import {
  activityIds,
  campaignCounters,
  campaignTriggers,
  createCampaignScheduler,
  inAppCounts,
} from '../engagement/index.ts';
import { createNumberer, createSubscriber, ensurePartitions } from '../events/index.ts';
import { jobList } from '../jobs.ts';
import { configuredAwsClient } from '../platform/aws-request.ts';
import { startJobs } from '../platform/jobs.ts';
import { registerWorker } from '../platform/workers.ts';
import { createStreamRunner } from '../streams/index.ts';
import { showInstallation, showPipeline } from './figures.ts';
import { startHttpServer } from './http-server.ts';
import type { ProcessContext, Role } from './process.ts';
import { createSending } from './sending.ts';
import { createStatusHandler } from './status.ts';

/** How long a drain waits for messages that this process is handing over. */
const drainMs = 20_000;

/** Figures may be a moment late: a few large slices cost much less than many small ones. */
const figuresPollMs = { busy: 250, rest: 500, idle: 1_000 };

/**
 * The first event triggers at once; what comes while others do is gathered, since a slice, its chunk and their
 * transactions cost the same for one event as for a hundred.
 */
const triggersPollMs = { busy: 20, rest: 100, idle: 1_000 };

/** As above: what is appended within a moment is numbered together. */
const numbererPollMs = { busy: 20, rest: 50, idle: 200 };

/** The role that works in the background: campaigns and retries, the log's numberer and subscribers, jobs. */
export function createWorkerRole(context: ProcessContext): Role {
  const { config, database, log, clock } = context;
  const server = startHttpServer({
    port: config.metricsPort ?? 0,
    host: config.metricsPort === undefined ? '127.0.0.1' : undefined,
    handlers: [createStatusHandler(context, () => [])],
    log,
  });
  yieldToRequests();
  let stop = async () => {};
  const start = async () => {
    const port = await server.listening;
    await ensurePartitions(database);
    const registration = await registerWorker({ database, log, clock, role: 'worker', id: context.workerId });
    const workerId = registration.id;
    const { pipeline, renderer } = createSending(context, workerId, { renderThreads: 1 });
    const triggers = campaignTriggers({
      clock,
      maxAgeMs: config.eventCampaignMaxAgeMs,
      maxLatenessMs: config.campaignMaxLatenessMs,
      lifetimeMs: config.campaignLifetimeMs,
      onDispatched: () => pipeline.wake('triggered'),
    });
    const subscribers = [
      createSubscriber({ database, log, pollMs: triggersPollMs, ...triggers }),
      ...[campaignCounters, inAppCounts, kpiResults, analyticsRollups].map((subscriber) =>
        createSubscriber({ database, log, pollMs: figuresPollMs, ...subscriber }),
      ),
    ];
    const streams = createStreamRunner({
      ...context,
      workerId,
      accountId: config.accountId,
      activityIds,
      aws: configuredAwsClient(config, context),
    });
    const numberer = createNumberer({
      database,
      log,
      pollMs: numbererPollMs,
      onNumbered: () => {
        for (const subscriber of subscribers) subscriber.wake();
        streams.wake();
      },
    });
    const scheduler = createCampaignScheduler({
      database,
      log,
      maxLatenessMs: config.campaignMaxLatenessMs,
      lifetimeMs: config.campaignLifetimeMs,
    });
    const jobs = startJobs({
      database,
      log,
      workerId,
      concurrency: config.jobConcurrency,
      jobs: jobList(context),
    });
    showInstallation(context);
    showPipeline(context, pipeline);
    pipeline.startWorker();
    numberer.start();
    for (const subscriber of subscribers) subscriber.start();
    streams.start();
    scheduler.start();
    stop = async () => {
      await scheduler.stop();
      await Promise.all([jobs.stop(), pipeline.drain(drainMs)]);
      await renderer.close();
      await numberer.stop();
      await Promise.all([...subscribers, streams].map((subscriber) => subscriber.stop()));
      context.outbound.connections.close();
      // Last: until here others must not take over.
      await registration.stop();
    };
    return { port };
  };
  return {
    ready: start(),
    async drain() {
      await stop();
      await server.drain();
    },
  };
}

/**
 * Where processors are short, the api's requests and direct messages come before campaigns and jobs. A platform that
 * does not let a process say so runs them side by side.
 */
function yieldToRequests(): void {
  try {
    setPriority(5);
  } catch {
    // Not allowed here; nothing depends on it.
  }
}
