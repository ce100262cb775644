import { authorize } from '../accounts/index.ts';
import {
  createApi,
  createPublishableDoor,
  createSegmentDoor,
  createWireEngine,
  operations,
  type Services,
} from '../edge/index.ts';
import { ensurePartitions } from '../events/index.ts';
import { enqueue } from '../platform/jobs.ts';
import { registerWorker } from '../platform/workers.ts';
import { createStreams } from '../streams/index.ts';
import { requestFigures, showPipeline } from './figures.ts';
import { type RequestHandler, startHttpServer } from './http-server.ts';
import type { ProcessContext, Role } from './process.ts';
import { createCredentials, createIngesting, erasers, taggable } from './rooms.ts';
import { createSending } from './sending.ts';
import { createStatusHandler } from './status.ts';

/** How long a drain waits for messages that this process is handing over. */
const drainMs = 20_000;

/** The role that listens for HTTP. It sends direct messages itself, so they never queue behind a campaign. */
export async function createApiRole(context: ProcessContext, peers: () => readonly number[]): Promise<Role> {
  const { config, database, log, clock, objects } = context;
  await ensurePartitions(database);
  const registration = await registerWorker({ database, log, clock, role: 'api', id: context.workerId });
  const sending = createSending(context, registration.id, { renderThreads: 1 });
  const { accessKeys, tokens, publishableKeys, identitySecrets } = createCredentials(context);
  const ingesting = createIngesting(context);
  const streams = createStreams({ ...context, allowPrivateHosts: config.allowPrivateHosts });
  const services: Services = {
    ...sending,
    ...ingesting,
    erasers,
    taggable,
    streams,
    endpointsPerUser: config.endpointsPerUser,
    retentionDays: config.retentionDays,
    eventCampaignMinLeadMs: config.eventCampaignMinLeadMs,
    enqueue: (job, payload) => enqueue(database, job, payload),
  };
  const observe = requestFigures(context);
  const { trustedProxies } = config;
  const publishable = createPublishableDoor({ publishableKeys, database, clock, trustedProxies });
  const engine = createWireEngine({
    handlers: operations,
    findAccessKey: (id) => accessKeys.find(id),
    authorize,
    region: config.region,
    accountId: config.accountId,
    database,
    clock,
    log,
    services,
    publishable,
    observe,
  });
  showPipeline(context, sending.pipeline);
  const api = await createApi({
    ...sending,
    database,
    log,
    config,
    accessKeys,
    tokens,
    publishableKeys,
    identitySecrets,
    objects,
    streams,
    clock,
  });
  const segment = createSegmentDoor({ ...ingesting, publishable, tokens, database, clock, log, observe });
  const pinpoint: RequestHandler = (request, response) => {
    if (!request.url?.startsWith('/v1/')) return false;
    void engine.handle(request, response);
    return true;
  };
  const ownApi: RequestHandler = (request, response) => {
    api.handle(request, response);
    return true;
  };
  // Asked in this order; the first one that knows the path answers.
  const handlers = [createStatusHandler(context, peers), segment.handle, pinpoint, ownApi];
  const server = startHttpServer({ port: config.port, host: config.host, handlers, log });
  return {
    ready: server.listening.then((port) => ({ port })),
    async drain() {
      await server.drain();
      await ingesting.ingest.drain();
      await sending.pipeline.drain(drainMs);
      await sending.renderer.close();
      await api.close();
      context.outbound.connections.close();
      await registration.stop();
    },
  };
}
