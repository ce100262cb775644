import { createWebhookSecrets, listChannels, type WebhookSecrets } from '../accounts/index.ts';
import { createRenderer, type Renderer } from '../content/index.ts';
import {
  type AccountCheck,
  createAccountCheck,
  createInAppMessages,
  type InAppMessages,
} from '../engagement/index.ts';
import {
  type ChannelSender,
  type CustomerFunctions,
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
import { configuredAwsClient } from '../platform/aws-request.ts';
import { createRemoteFunctions, parseFunctionTarget } from '../platform/remote-function.ts';
import { createFunctionProvider, providers } from '../providers/index.ts';
import type { ProcessContext } from './process.ts';

/** Everything of a process that has to do with sending. */
export interface Sending {
  renderer: Renderer;
  pipeline: Pipeline;
  providers: typeof providers;
  providerAccounts: ProviderAccounts;
  providerContext: ProviderContext;
  webhookSecrets: WebhookSecrets;
  inApp: InAppMessages;
  accountCheck?: AccountCheck;
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
  const webhookSecrets = createWebhookSecrets({ database, secrets, clock });
  const functions = createCustomerFunctions(context, webhookSecrets);
  const pipeline = new Pipeline({
    database,
    log,
    workerId,
    renderer,
    senderOf: createSenders(context),
    functions,
    providers: [...providers, createFunctionProvider(functions)],
    routeFor: routes.routeFor,
    limits: createAccountLimits(database),
    context: providerContext,
    retryFirstDelayMs: config.retryFirstDelayMs,
    capsCount: config.capsCount,
  });
  const providerAccounts = new ProviderAccounts({ database, secrets, providers, routes });
  const inApp = createInAppMessages({ database, renderer, clock, log });
  const sending = { renderer, pipeline, providers, providerAccounts, providerContext, webhookSecrets, inApp };
  if (!config.webhookAccountCheck) return sending;
  const { outbound } = context;
  return { ...sending, accountCheck: createAccountCheck({ accountId: config.accountId, outbound }) };
}

/** How this process calls the functions of customers. */
function createCustomerFunctions(context: ProcessContext, webhookSecrets: WebhookSecrets): CustomerFunctions {
  const remote = createRemoteFunctions({
    outbound: context.outbound,
    clock: context.clock,
    aws: configuredAwsClient(context.config, context),
    region: context.config.region,
  });
  return {
    async call(applicationId, uri, call) {
      const target = parseFunctionTarget(uri);
      if (!target) {
        const words = `${uri.slice(0, 100)} is neither an https URL nor a Lambda function`;
        return { ok: false, why: 'impossible', words, tries: 0 };
      }
      const secrets = target.kind === 'url' ? await webhookSecrets.signing(applicationId) : [];
      return remote.call(target, { ...call, secrets });
    },
  };
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
