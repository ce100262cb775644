import type { ProviderContext, Receipt } from '../../messaging/provider.ts';

/** Receipts on their way back: reported in batches, a moment after the messages were accepted. */
export interface ReceiptQueue {
  /** Resolves at once unless too many wait already, then when they have been reported. */
  add(receipts: Receipt[]): Promise<void>;
  /** Reports what waits, then stops. */
  close(): Promise<void>;
}

const delayMs = 200;
const maxBatch = 1000;
const maxWaiting = 20_000;
const maxAttempts = 10;
const maxPauseMs = 10_000;

/**
 * Like a real provider, the sandbox repeats a report that was not taken; unlike one it forgets what it has not
 * reported when the process ends.
 */
export function createReceiptQueue(context: ProviderContext): ReceiptQueue {
  const waiting: Receipt[] = [];
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> | undefined;
  let closed = false;

  const schedule = () => {
    if (timer || running || waiting.length === 0) return;
    timer = setTimeout(() => void report(), closed ? 0 : delayMs);
  };

  async function report(): Promise<void> {
    timer = undefined;
    running = reportAll();
    await running;
    running = undefined;
    schedule();
  }

  async function reportAll(): Promise<void> {
    while (waiting.length > 0) {
      const part = waiting.splice(0, maxBatch);
      await reportBatch(part);
    }
  }

  async function reportBatch(receipts: Receipt[]): Promise<void> {
    for (let attempt = 1; attempt <= maxAttempts; attempt++) {
      try {
        await context.receive(receipts);
        return;
      } catch (error) {
        context.log.warn({ error, attempt }, 'Receipts of the sandbox were not taken');
        if (closed) break;
        await new Promise((resolve) => setTimeout(resolve, Math.min(delayMs * 2 ** attempt, maxPauseMs)));
      }
    }
    context.log.error({ receipts: receipts.length }, 'Receipts of the sandbox are given up');
  }

  return {
    async add(receipts) {
      for (const receipt of receipts) waiting.push(receipt);
      schedule();
      if (waiting.length > maxWaiting) await running;
    },
    async close() {
      closed = true;
      clearTimeout(timer);
      timer = undefined;
      await running;
      await report();
    },
  };
}
