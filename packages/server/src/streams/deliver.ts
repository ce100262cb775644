import { setTimeout as sleep } from 'node:timers/promises';
import { type OutgoingRecord, type Outlet, OutletError } from './outlets/outlet.ts';

/** What became of a set of records. What is in neither was not taken yet. */
export interface Delivery {
  accepted: Set<string>;
  /** Words of the outlet, for each record that it refuses for what it is. */
  refused: Map<string, string>;
  /** How many of them were refused for their size, which is certain and says nothing of the outlet. */
  tooLong: number;
  /** Why not everything is settled. */
  failure?: OutletError;
}

export interface DeliveryOptions {
  signal: AbortSignal;
  /** Times that one record is handed over before it is given up for now. */
  attempts?: number;
  /** Wait before a record is handed over again; doubles up to 3 s. Other keys go on meanwhile. */
  retryDelayMs?: number;
}

/** So many refusals without one acceptance are not the records' fault. */
const refusalsBeforeDoubt = 10;
const longestDelayMs = 3_000;

/**
 * Hands records to an outlet, by as many requests as it takes: in parallel for different keys, in order for each. Records
 * that fail are sent again, and only those; a request that is refused is cut down until the record at fault is alone.
 */
export async function deliver(
  records: readonly OutgoingRecord[],
  outlet: Outlet,
  options: DeliveryOptions,
): Promise<Delivery> {
  const delivery: Delivery = { accepted: new Set(), refused: new Map(), tooLong: 0 };
  const { recordBytes, overheadBytes } = outlet.limits;
  const lanes: Lane[] = Array.from({ length: lanesFor(records, outlet) }, () => new Lane(outlet));
  for (const record of records) {
    const bytes = Buffer.byteLength(record.json) + overheadBytes;
    if (bytes > recordBytes) {
      delivery.refused.set(record.id, `${bytes} bytes are more than the ${recordBytes} of one record`);
      delivery.tooLong++;
    } else lanes[lanes.length === 1 ? 0 : hash(record.key) % lanes.length]!.add(record, bytes);
  }
  await Promise.all(lanes.map((lane) => runLane(lane, outlet, delivery, options)));
  if (isDoubtful(delivery)) {
    const words = [...delivery.refused.values()].at(-1)!;
    delivery.refused.clear();
    delivery.failure ??= new OutletError('unavailable', `every record is refused: ${words}`);
  }
  return delivery;
}

/** Where a request holds one record of each key, few keys side by side would be more requests in the same time. */
function lanesFor(records: readonly OutgoingRecord[], outlet: Outlet): number {
  const { concurrency, order, records: inRequest } = outlet.limits;
  if (order !== 'key' || concurrency === 1) return concurrency;
  const keys = new Set(records.map(({ key }) => key)).size;
  return Math.max(1, Math.min(concurrency, Math.ceil(keys / inRequest)));
}

async function runLane(
  lane: Lane,
  outlet: Outlet,
  delivery: Delivery,
  options: DeliveryOptions,
): Promise<void> {
  const attempts = options.attempts ?? 8;
  const firstDelayMs = options.retryDelayMs ?? 50;
  while (!delivery.failure && !isDoubtful(delivery)) {
    if (options.signal.aborted) delivery.failure = new OutletError('unavailable', 'the process ends');
    const batch = lane.next(performance.now());
    if (!Array.isArray(batch)) {
      if (batch.waitMs === undefined) break;
      await pause(batch.waitMs, options.signal);
      continue;
    }
    try {
      const results = await outlet.put(batch, options.signal);
      lane.grow();
      const now = performance.now();
      batch.forEach((record, index) => {
        const result = results[index]!;
        if (typeof result === 'object' && 'failed' in result) {
          lane.fail(record, { words: result.failed, now, attempts, firstDelayMs });
          return;
        }
        if (result === 'accepted') delivery.accepted.add(record.id);
        else {
          delivery.refused.set(record.id, result.refused);
          if (result.tooLong) delivery.tooLong++;
        }
        lane.settle(record);
      });
    } catch (error) {
      if (!(error instanceof OutletError)) {
        const words = error instanceof Error ? error.message : String(error);
        delivery.failure = new OutletError('unavailable', words);
      } else if (error.reason !== 'refused') delivery.failure = error;
      else if (batch.length > 1) lane.shrink(batch.length);
      else {
        delivery.refused.set(batch[0]!.id, error.message);
        lane.settle(batch[0]!);
      }
    }
  }
  if (lane.givenUp !== undefined) delivery.failure ??= new OutletError('unavailable', lane.givenUp);
}

function isDoubtful({ accepted, refused, tooLong }: Delivery): boolean {
  return accepted.size === 0 && refused.size - tooLong >= refusalsBeforeDoubt;
}

/** Ends early when the process stops; the next request then says so. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => undefined);
}

interface Queue {
  waiting: { record: OutgoingRecord; bytes: number }[];
  /** Index of the first that is not settled. */
  at: number;
  /** How often that one failed, and when it may be tried again. */
  failures: number;
  notBefore: number;
}

/** Records of some keys, in order, and what of them may go into the next request. */
class Lane {
  readonly #outlet: Outlet;
  /** By key when an outlet may take a later record and not an earlier one; else all under one. */
  readonly #queues = new Map<string, Queue>();
  #limit: number;
  /** Words about a record that failed too often: its key waits for the next round. */
  givenUp: string | undefined;

  constructor(outlet: Outlet) {
    this.#outlet = outlet;
    this.#limit = outlet.limits.records;
  }

  #key(record: OutgoingRecord): string {
    const { order } = this.#outlet.limits;
    if (order === 'request') return '';
    return order === 'key' ? record.key : record.id;
  }

  add(record: OutgoingRecord, bytes: number): void {
    const key = this.#key(record);
    const queue = this.#queues.get(key);
    if (queue) queue.waiting.push({ record, bytes });
    else this.#queues.set(key, { waiting: [{ record, bytes }], at: 0, failures: 0, notBefore: 0 });
  }

  /** The next request, or how long there is none; without a wait when all is settled or given up. */
  next(now: number): OutgoingRecord[] | { waitMs: number | undefined } {
    const batch: OutgoingRecord[] = [];
    let bytes = 0;
    let earliest = Number.POSITIVE_INFINITY;
    for (const { waiting, at, notBefore } of this.#queues.values()) {
      if (notBefore > now) {
        earliest = Math.min(earliest, notBefore);
        continue;
      }
      const end = this.#outlet.limits.order === 'request' ? waiting.length : at + 1;
      for (let index = at; index < end; index++) {
        const item = waiting[index]!;
        const full = batch.length >= this.#limit || bytes + item.bytes > this.#outlet.limits.bytes;
        if (batch.length > 0 && full) return batch;
        batch.push(item.record);
        bytes += item.bytes;
      }
    }
    if (batch.length > 0) return batch;
    return { waitMs: earliest === Number.POSITIVE_INFINITY ? undefined : earliest - now };
  }

  /** The first of its key is done. */
  settle(record: OutgoingRecord): void {
    const key = this.#key(record);
    const queue = this.#queues.get(key)!;
    queue.at++;
    queue.failures = 0;
    if (queue.at === queue.waiting.length) this.#queues.delete(key);
  }

  /** The first of its key was not taken: the key waits, and after some attempts for the next round. */
  fail(
    record: OutgoingRecord,
    failure: { words: string; now: number; attempts: number; firstDelayMs: number },
  ): void {
    const key = this.#key(record);
    const queue = this.#queues.get(key)!;
    queue.failures++;
    if (queue.failures >= failure.attempts) {
      this.givenUp ??= failure.words;
      this.#queues.delete(key);
    } else {
      const delayMs = failure.firstDelayMs * 2 ** (queue.failures - 1);
      queue.notBefore = failure.now + Math.min(longestDelayMs, delayMs);
    }
  }

  shrink(refused: number): void {
    this.#limit = Math.max(1, Math.floor(refused / 2));
  }

  grow(): void {
    this.#limit = Math.min(this.#limit * 2, this.#outlet.limits.records);
  }
}

/** FNV-1a. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) {
    value ^= text.charCodeAt(index);
    value = Math.imul(value, 0x01000193);
  }
  return value >>> 0;
}
