import type {
  AttemptResult,
  OutgoingMessage,
  Provider,
  ProviderAccount,
  ProviderContext,
  ProviderSession,
  Receipt,
} from '../../messaging/provider.ts';
import { deliveryChannels } from '../../messaging/provider.ts';
import { type Clock, systemClock } from '../../platform/clock.ts';
import { type Behaviour, behaviourOf } from './magic.ts';
import { createReceiptQueue, type ReceiptQueue } from './receipts.ts';

const concurrency = 4;
const batch = 500;

/**
 * The built-in inbox and phone: takes the messages of every channel, stores them where they can be read, and reports
 * what happened to them later like a real provider does. Nothing leaves this server.
 */
export const sandbox: Provider = createSandbox(systemClock);

/** For tests: with a clock of their own. */
export function createSandbox(clock: Clock): Provider {
  return {
    name: 'sandbox',
    channels: deliveryChannels,
    fields: [
      {
        name: 'deliveryReceipts',
        label: 'Delivery receipts',
        type: 'boolean',
        default: true,
        description:
          'Reports each delivered message as such. Bounces and complaints are reported in any case.',
      },
    ],
    open: (account, context) => openSandbox(account, context, clock),
  };
}

function openSandbox(account: ProviderAccount, context: ProviderContext, clock: Clock): ProviderSession {
  const receipts = createReceiptQueue(context);
  const deliveryReceipts = account.settings.deliveryReceipts !== false;
  const calls = new Set<Promise<AttemptResult[]>>();
  return {
    limits: { concurrency, batch },
    send(messages, signal) {
      const call = answer(messages, signal, { context, receipts, deliveryReceipts, clock });
      calls.add(call);
      return call.finally(() => calls.delete(call));
    },
    check: () => Promise.resolve(),
    async close() {
      await Promise.allSettled(calls);
      await receipts.close();
    },
  };
}

interface Answering {
  context: ProviderContext;
  receipts: ReceiptQueue;
  deliveryReceipts: boolean;
  clock: Clock;
}

async function answer(
  messages: OutgoingMessage[],
  signal: AbortSignal,
  sandbox: Answering,
): Promise<AttemptResult[]> {
  const behaviours = messages.map(({ channel, address, attempt }) => behaviourOf(channel, address, attempt));
  const delayMs = behaviours.reduce((longest, behaviour) => Math.max(longest, behaviour.delayMs), 0);
  if (delayMs > 0) await sleep(delayMs, signal);
  if (signal.aborted)
    return messages.map(({ id }) => deferred(id, 'Stopped before the message was handed over'));
  const arriving = messages.filter((_, i) => arrives(behaviours[i]!));
  try {
    if (arriving.length > 0) await sandbox.context.storeInInbox(arriving);
  } catch (error) {
    // Not stored is not accepted; they come again when the inbox works.
    sandbox.context.log.warn({ error }, 'The sandbox could not store messages in the inbox');
    return messages.map(({ id }) => ({
      ...deferred(id, '451 4.3.0 the inbox is not available'),
      code: 451,
      accountUnusable: true,
    }));
  }
  await sandbox.receipts.add(messages.flatMap((message, i) => receiptsOf(message, behaviours[i]!, sandbox)));
  return messages.map((message, i) => resultOf(message, behaviours[i]!));
}

/** An inbox holds what a mailbox or phone got: also a message whose acceptance nobody heard of. */
function arrives({ verdict, receipts }: Behaviour): boolean {
  if (verdict.outcome === 'unknown') return true;
  return verdict.outcome === 'accepted' && receipts[0]?.kind === 'delivered';
}

function receiptsOf(message: OutgoingMessage, behaviour: Behaviour, sandbox: Answering): Receipt[] {
  const { id: messageId, applicationId } = message;
  const at = sandbox.clock.now();
  return behaviour.receipts
    .filter(({ kind }) => kind !== 'delivered' || sandbox.deliveryReceipts)
    .map((receipt) => ({ messageId, applicationId, at, ...receipt }));
}

function resultOf({ id }: OutgoingMessage, { verdict }: Behaviour): AttemptResult {
  switch (verdict.outcome) {
    case 'accepted':
      return {
        id,
        outcome: 'accepted',
        code: 250,
        response: `250 2.0.0 queued as sandbox-${id}`,
        providerMessageId: `sandbox-${id}`,
      };
    case 'unknown':
      return { id, code: 0, ...verdict };
    default:
      return { id, ...verdict };
  }
}

function deferred(id: string, response: string): AttemptResult {
  return { id, outcome: 'deferred', code: 0, response };
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
    if (signal.aborted) done();
  });
}
