import { randomBytes } from 'node:crypto';
import { afterAll } from 'vitest';
import {
  type CampaignScheduler,
  campaignCounters,
  campaignTriggers,
  createCampaignScheduler,
} from '../../packages/server/src/engagement/index.ts';
import {
  createNumberer,
  createSubscriber,
  ensurePartitions,
  type Subscriber,
} from '../../packages/server/src/events/index.ts';
import { systemClock } from '../../packages/server/src/platform/clock.ts';
import { readConfig } from '../../packages/server/src/platform/config.ts';
import type { Database } from '../../packages/server/src/platform/database.ts';
import { silentLog } from '../../packages/server/src/platform/log.ts';
import { createSecrets } from '../../packages/server/src/platform/secrets.ts';
import { registerWorker } from '../../packages/server/src/platform/workers.ts';
import type { ProcessContext } from '../../packages/server/src/roles/process.ts';
import { createSending, type Sending } from '../../packages/server/src/roles/sending.ts';

export interface TestSending extends Sending {
  scheduler: CampaignScheduler;
  /** Compares events with campaigns. */
  triggers: Subscriber;
}

/**
 * All that a worker does for campaigns, in this process: scheduler, pipeline with its retries, log and counters. What
 * has no provider account goes into the sandbox's inbox. Ends after the calling file's last test.
 */
export async function testSending(
  database: Database,
  settings: Record<string, string> = {},
): Promise<TestSending> {
  await ensurePartitions(database);
  const log = silentLog;
  const clock = systemClock;
  const config = readConfig({ POSTRIDER_RETRY_FIRST_DELAY_MS: '20', ...settings });
  const registration = await registerWorker({ database, log, clock, role: 'worker' });
  // What sending asks of a process; it serves nothing and stores no objects.
  const outbound = { allowPrivateHosts: config.allowPrivateHosts };
  const secrets = createSecrets(randomBytes(32));
  const context = { config, database, log, clock, secrets, outbound } as ProcessContext;
  const sending = createSending(context, registration.id, { renderThreads: 1 });
  const scheduler = createCampaignScheduler({ database, log, pollMs: 20 });
  const numberer = createNumberer({ database, log });
  const counters = createSubscriber({ database, log, ...campaignCounters });
  const triggers = createSubscriber({
    database,
    log,
    ...campaignTriggers({
      maxAgeMs: config.eventCampaignMaxAgeMs,
      maxLatenessMs: config.campaignMaxLatenessMs,
      lifetimeMs: config.campaignLifetimeMs,
      onDispatched: () => sending.pipeline.wake('triggered'),
    }),
  });
  numberer.start();
  counters.start();
  triggers.start();
  scheduler.start();
  sending.pipeline.startWorker();
  afterAll(async () => {
    await scheduler.stop();
    await sending.pipeline.drain(5_000);
    await sending.renderer.close();
    await Promise.all([counters.stop(), triggers.stop()]);
    await numberer.stop();
    await registration.stop();
  });
  return { ...sending, scheduler, triggers };
}
