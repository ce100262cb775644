import { listChannels } from '../accounts/index.ts';
import { createRenderer, type Renderer } from '../content/index.ts';
import {
  type ChannelSender,
  createAccountLimits,
  createRoutes,
  type DeliveryChannel,
  Pipeline,
  ProviderAccounts,
  type ProviderContext,
  receiveReceipts,
  smtpUrlAccount,
  storeInInbox,
} from '../messaging/index.ts';
import { providers } from '../providers/index.ts';
import type { ProcessContext } from './process.ts';

/** Everything of a process that has to do with sending. */
export interface Sending {
  renderer: Renderer;
  pipeline: Pipeline;
  providers: typeof providers;
  providerAccounts: ProviderAccounts;
  providerContext: ProviderContext;
}

const senderCacheMs = 1_000;
const maxCachedSenders = 10_000;

/** Makes the pipeline of a process; `workerId` is the row of `workers` under which it holds what it sends. */
export function createSending(
  context: ProcessContext,
  workerId: string,
  options: { renderThreads: number },
): Sending {
  const { config, database, log, clock, secrets } = context;
  const renderer = createRenderer({ clock, log, threads: options.renderThreads });
  const smtp = providers.find(({ name }) => name === 'smtp')!;
  const routes = createRoutes({
    database,
    secrets,
    clock,
    smtpUrlAccount: config.smtpUrl ? smtpUrlAccount(config.smtpUrl, smtp) : undefined,
  });
  const providerContext: ProviderContext = {
    log,
    allowPrivateHosts: config.allowPrivateHosts,
    async receive(receipts) {
      const { unknown } = await receiveReceipts(database, receipts);
      if (unknown > 0) log.warn({ unknown }, 'Receipts for messages that are not in the log');
    },
    storeInInbox: (messages) => storeInInbox(database, messages),
  };
  const pipeline = new Pipeline({
    database,
    log,
    workerId,
    renderer,
    senderOf: createSenders(context),
    providers,
    routeFor: routes.routeFor,
    limits: createAccountLimits(database),
    context: providerContext,
    retryFirstDelayMs: config.retryFirstDelayMs,
    capsCount: config.capsCount,
  });
  const providerAccounts = new ProviderAccounts({ database, secrets, providers, routes });
  return { renderer, pipeline, providers, providerAccounts, providerContext };
}

/** Who an application's messages come from by default, at most a second old. */
function createSenders({ database, clock }: ProcessContext) {
  const cache = new Map<string, { at: number; senders: Promise<Map<string, ChannelSender>> }>();
  const read = async (applicationId: string) =>
    new Map(
      (await listChannels(database, applicationId)).map(({ type, settings }) => [
        type,
        {
          from: settings.FromAddress as string | undefined,
          senderId: settings.SenderId as string | undefined,
          originationNumber: settings.ShortCode as string | undefined,
        },
      ]),
    );
  return async (applicationId: string, channel: DeliveryChannel): Promise<ChannelSender> => {
    const now = clock.now();
    let cached = cache.get(applicationId);
    if (!cached || now - cached.at >= senderCacheMs) {
      if (cache.size >= maxCachedSenders) cache.clear();
      cached = { at: now, senders: read(applicationId) };
      cache.set(applicationId, cached);
      cached.senders.catch(() => cache.delete(applicationId));
    }
    return (await cached.senders).get(channel) ?? {};
  };
}
