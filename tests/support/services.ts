import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import type { Services } from '../../packages/server/src/edge/aws/index.ts';
import { ensurePartitions } from '../../packages/server/src/events/index.ts';
import { systemClock } from '../../packages/server/src/platform/clock.ts';
import { readConfig } from '../../packages/server/src/platform/config.ts';
import type { Database } from '../../packages/server/src/platform/database.ts';
import { type Log, silentLog } from '../../packages/server/src/platform/log.ts';
import { createMetrics } from '../../packages/server/src/platform/metrics.ts';
import { createFolderObjects } from '../../packages/server/src/platform/objects.ts';
import { createOutboundConnections } from '../../packages/server/src/platform/outbound-connections.ts';
import { createSecrets } from '../../packages/server/src/platform/secrets.ts';
import { registerWorker } from '../../packages/server/src/platform/workers.ts';
import type { ProcessContext } from '../../packages/server/src/roles/process.ts';
import { createIngesting, erasers, taggable } from '../../packages/server/src/roles/rooms.ts';
import { createSending } from '../../packages/server/src/roles/sending.ts';
import { createStreams } from '../../packages/server/src/streams/index.ts';

/**
 * What the handlers of every family need, as the `api` role makes it: direct messages go into the sandbox. Closed after
 * the calling file's last test.
 */
export async function testServices(database: Database, log: Log = silentLog): Promise<Services> {
  const folder = await mkdtemp('/tmp/postrider-services-');
  const context: ProcessContext = {
    role: 'api',
    config: readConfig({ POSTRIDER_DATA_DIR: folder }),
    database,
    log,
    clock: systemClock,
    secrets: createSecrets(Buffer.alloc(32, 7)),
    objects: createFolderObjects(join(folder, 'objects')),
    metrics: createMetrics('api'),
    outbound: { allowPrivateHosts: false, connections: createOutboundConnections() },
  };
  await ensurePartitions(database);
  const registration = await registerWorker({ database, log, clock: systemClock, role: 'api' });
  const sending = createSending(context, registration.id, { renderThreads: 1 });
  afterAll(async () => {
    await sending.pipeline.drain(5_000);
    await sending.renderer.close();
    context.outbound.connections.close();
    await registration.stop();
    await rm(folder, { recursive: true, force: true });
  });
  const ingesting = createIngesting(context);
  const streams = createStreams({ ...context, allowPrivateHosts: true });
  return {
    ...sending,
    ...ingesting,
    erasers,
    taggable,
    streams,
    endpointsPerUser: 15,
    retentionDays: 90,
    enqueue: async () => undefined,
  };
}
