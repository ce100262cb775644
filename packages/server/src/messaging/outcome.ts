import sql from 'sql-template-tag';
import { addSuppressions } from '../audience/index.ts';
import { appendFacts, type Fact } from '../events/index.ts';
import { type Database, isConnectionError, type Queryable, type Transaction } from '../platform/database.ts';
import type { Log } from '../platform/log.ts';
import { releaseDaily, releaseTotal } from './caps.sql.ts';
import type { DispatchClass, Lane } from './dispatch.ts';
import type { OutgoingMessage } from './provider.ts';
import type { RoutedResult } from './session.ts';
import { insertRetries, type Retry } from './window.sql.ts';

/** A message that was handed to a provider, with what its outcome must say. */
export interface InFlight {
  windowId: string;
  dispatchId: string;
  campaignId: string | null;
  endpointId: string | null;
  treatmentId: string | null;
  class: DispatchClass;
  lane: Lane;
  expiresAt: Date;
  message: OutgoingMessage;
}

/** What becomes of the message after this attempt. */
export type OutcomeType =
  | 'message.sent'
  | 'message.deferred'
  | 'message.failed'
  | 'message.in_doubt'
  | 'message.expired';

const backoffFactors = [1, 5, 10, 20, 40, 60, 120, 240];
const maxOutcomesPerCommit = 2000;

/** Attempts after which a provider's advice may make a wait longer, but no longer shorter. */
const advisedAttempts = 3;
const longestAdviceMs = 4 * 3_600_000;

/**
 * Milliseconds before attempt `attempt + 1`: growing, ±20 %. A provider that says when to come back is believed for
 * the first attempts; later its advice only ever adds.
 */
export function retryDelayMs(
  attempt: number,
  firstDelayMs: number,
  retryAfterMs?: number,
  random = Math.random(),
): number {
  const factor = backoffFactors[Math.min(attempt, backoffFactors.length) - 1]!;
  const delay = Math.round(firstDelayMs * factor * (0.8 + 0.4 * random));
  if (retryAfterMs === undefined) return delay;
  const advice = Math.min(Math.max(retryAfterMs, 1_000), longestAdviceMs);
  return attempt <= advisedAttempts ? advice : Math.max(delay, advice);
}

/** The fact that a result is, and the retry that it asks for. */
export function settle(
  inFlight: InFlight,
  result: RoutedResult,
  options: { now: number; firstDelayMs: number },
): { type: OutcomeType; retry?: Retry } {
  if (result.outcome === 'accepted') return { type: 'message.sent' };
  if (result.outcome === 'rejected') return { type: 'message.failed' };
  const { message } = inFlight;
  if (result.outcome === 'unknown' && inFlight.class === 'promotional') return { type: 'message.in_doubt' };
  const dueAt = options.now + retryDelayMs(message.attempt, options.firstDelayMs, result.retryAfterMs);
  if (dueAt >= inFlight.expiresAt.getTime()) {
    return { type: result.outcome === 'unknown' ? 'message.in_doubt' : 'message.expired' };
  }
  const { attempt, ...content } = message;
  const retry: Retry = {
    messageId: message.id,
    applicationId: message.applicationId,
    dispatchId: inFlight.dispatchId,
    endpointId: inFlight.endpointId,
    treatmentId: inFlight.treatmentId,
    class: inFlight.class,
    lane: inFlight.lane,
    dueAt: new Date(dueAt),
    expiresAt: inFlight.expiresAt,
    attempt: attempt + 1,
    message: content,
  };
  return { type: result.outcome === 'unknown' ? 'message.in_doubt' : 'message.deferred', retry };
}

interface Settled {
  inFlight: InFlight;
  result: RoutedResult;
  type: OutcomeType;
  retry?: Retry;
  /** The last of its window: the window's row goes with it. */
  closesWindow: boolean;
  done: () => void;
}

export interface OutcomeWriterOptions {
  database: Database;
  log: Log;
  /** Delay before the second attempt (POSTRIDER_RETRY_FIRST_DELAY_MS). */
  firstDelayMs: number;
  /** `sent` gives a cap back when the message was refused (POSTRIDER_CAPS_COUNT). */
  capsCount: 'targeted' | 'sent';
}

/**
 * Writes outcomes: one writer that takes all that waits. A batch holds the facts, the retries, the suppressions and
 * the end of the windows in one transaction. While the database is away it waits and tries again: what a provider
 * said is not forgotten as long as the process lives, and the lanes' limits bound how much that can be.
 */
export class OutcomeWriter {
  readonly #options: OutcomeWriterOptions;
  readonly #open = new Map<string, number>();
  #waiting: Settled[] = [];
  #writing: Promise<void> | undefined;

  constructor(options: OutcomeWriterOptions) {
    this.#options = options;
  }

  /** A window of `size` messages is on its way. */
  openWindow(id: string, size: number): void {
    this.#open.set(id, size);
  }

  /** Resolves when the outcome is committed. */
  write(inFlight: InFlight, result: RoutedResult): Promise<OutcomeType> {
    const { type, retry } = settle(inFlight, result, {
      now: Date.now(),
      firstDelayMs: this.#options.firstDelayMs,
    });
    const left = (this.#open.get(inFlight.windowId) ?? 1) - 1;
    if (left === 0) this.#open.delete(inFlight.windowId);
    else this.#open.set(inFlight.windowId, left);
    return new Promise((resolve) => {
      this.#waiting.push({
        inFlight,
        result,
        type,
        retry,
        closesWindow: left === 0,
        done: () => resolve(type),
      });
      this.#writing ??= this.#run();
    });
  }

  /** Messages whose outcome is not committed yet, over all windows. */
  get pending(): number {
    let total = this.#waiting.length;
    for (const left of this.#open.values()) total += left;
    return total;
  }

  async #run(): Promise<void> {
    // Whoever comes in this turn of the loop travels along.
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, maxOutcomesPerCommit);
      await this.#commit(batch);
      for (const settled of batch) settled.done();
    }
    this.#writing = undefined;
  }

  async #commit(batch: Settled[]): Promise<void> {
    let rest = batch;
    for (let attempt = 1; ; attempt++) {
      try {
        const now = rest;
        await this.#options.database.transaction((tx) => this.#writeBatch(tx, now));
        return;
      } catch (error) {
        const waitMs = Math.min(5_000, 50 * 2 ** Math.min(attempt, 7));
        this.#options.log.error(
          { err: error, outcomes: rest.length, waitMs },
          'Outcomes could not be written; trying again',
        );
        await new Promise((resolve) => setTimeout(resolve, waitMs));
        // The commit may have happened although its answer was lost.
        if (isConnectionError(error)) rest = await this.#unwritten(rest).catch(() => rest);
        if (rest.length === 0) return;
      }
    }
  }

  async #writeBatch(tx: Transaction, batch: Settled[]): Promise<void> {
    const closed = batch.filter((settled) => settled.closesWindow).map(({ inFlight }) => inFlight.windowId);
    await insertRetries(
      tx,
      batch.flatMap(({ retry }) => retry ?? []),
    );
    await appendFacts(tx, batch.map(factOf));
    const refused = batch.filter(({ type }) => type === 'message.failed');
    await suppressHardBounces(tx, refused);
    if (this.#options.capsCount === 'sent') await releaseRefused(tx, refused);
    if (closed.length > 0) await tx.query(sql`delete from send_windows where id = any(${closed}::uuid[])`);
  }

  async #unwritten(batch: Settled[]): Promise<Settled[]> {
    const ids = batch.map(({ inFlight }) => inFlight.message.id);
    const { rows } = await this.#options.database.query<{ id: string; attempt: number }>(sql`
      select message_id as id, (payload->>'attempt')::int as attempt from events where message_id = any(${ids}::uuid[])`);
    const written = new Set(rows.map(({ id, attempt }) => `${id} ${attempt}`));
    return batch.filter(({ inFlight }) => !written.has(`${inFlight.message.id} ${inFlight.message.attempt}`));
  }
}

function factOf({ inFlight, result, type, retry }: Settled): Fact {
  const { message } = inFlight;
  return {
    type,
    applicationId: message.applicationId,
    endpointId: inFlight.endpointId ?? undefined,
    messageId: message.id,
    dispatchId: inFlight.dispatchId,
    payload: {
      attempt: message.attempt,
      treatmentId: inFlight.treatmentId ?? undefined,
      accountId: result.accountId ?? undefined,
      code: result.code,
      response: result.response,
      providerMessageId: result.providerMessageId,
      bounce: result.bounce,
      retryAt: retry?.dueAt.toISOString(),
    },
  };
}

async function suppressHardBounces(tx: Queryable, refused: Settled[]): Promise<void> {
  const byApplication = Map.groupBy(
    refused.filter(({ result }) => result.bounce === 'hard'),
    ({ inFlight }) => inFlight.message.applicationId,
  );
  for (const [applicationId, settled] of byApplication) {
    await addSuppressions(
      tx,
      applicationId,
      settled.map(({ inFlight: { message } }) => ({
        channel: message.channel,
        address: message.address,
        reason: 'bounce' as const,
        messageId: message.id,
      })),
    );
  }
}

async function releaseRefused(tx: Queryable, refused: Settled[]): Promise<void> {
  const byCampaign = Map.groupBy(refused, ({ inFlight }) => inFlight.campaignId);
  for (const [campaignId, settled] of byCampaign) {
    const endpointIds = settled.flatMap(({ inFlight }) => inFlight.endpointId ?? []);
    const applicationId = settled[0]!.inFlight.message.applicationId;
    if (!campaignId || endpointIds.length === 0) continue;
    await releaseTotal(tx, campaignId, endpointIds);
    await releaseDaily(tx, applicationId, endpointIds);
  }
}
