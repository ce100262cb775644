import { setTimeout as sleep } from 'node:timers/promises';
import { type OutgoingRecord, type Outlet, OutletError } from './outlets/outlet.ts';

/** What became of a set of records. What is in neither was not taken yet. */
export interface Delivery {
  accepted: Set<string>;
  /** Words of the outlet, for each record that it refuses for what it is. */
  refused: Map<string, string>;
  /** Why not everything is settled. */
  failure?: OutletError;
}

export interface DeliveryOptions {
  signal: AbortSignal;
  /** Rounds without any progress before a set is given up for now. */
  attempts?: number;
  /** Wait after a round in which records failed; doubles up to 3 s. */
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
  const delivery: Delivery = { accepted: new Set(), refused: new Map() };
  const { recordBytes, overheadBytes, concurrency } = outlet.limits;
  const lanes: Lane[] = Array.from({ length: concurrency }, () => new Lane(outlet));
  for (const record of records) {
    const bytes = Buffer.byteLength(record.json) + overheadBytes;
    if (bytes > recordBytes)
      delivery.refused.set(record.id, `${bytes} bytes are more than the ${recordBytes} of one record`);
    else lanes[concurrency === 1 ? 0 : hash(record.key) % concurrency]!.add(record, bytes);
  }
  await Promise.all(lanes.map((lane) => runLane(lane, outlet, delivery, options)));
  if (delivery.accepted.size === 0 && delivery.refused.size >= refusalsBeforeDoubt) {
    const [, words] = [...delivery.refused][0]!;
    delivery.refused.clear();
    delivery.failure ??= new OutletError('unavailable', `every record is refused: ${words}`);
  }
  return delivery;
}

async function runLane(
  lane: Lane,
  outlet: Outlet,
  delivery: Delivery,
  options: DeliveryOptions,
): Promise<void> {
  const attempts = options.attempts ?? 8;
  const firstDelayMs = options.retryDelayMs ?? 50;
  let failedRounds = 0;
  while (lane.size > 0 && !delivery.failure) {
    if (delivery.accepted.size === 0 && delivery.refused.size >= refusalsBeforeDoubt) return;
    const batch = lane.next();
    try {
      const results = await outlet.put(batch, options.signal);
      let failed: string | undefined;
      let settled = 0;
      batch.forEach((record, index) => {
        const result = results[index]!;
        if (typeof result === 'object' && 'failed' in result) {
          failed ??= result.failed;
          return;
        }
        settled++;
        if (result === 'accepted') delivery.accepted.add(record.id);
        else delivery.refused.set(record.id, result.refused);
        lane.settle(record);
      });
      lane.grow();
      if (failed === undefined) {
        failedRounds = 0;
        continue;
      }
      // Progress elsewhere does not make up for a shard that stays full: the wait grows all the same.
      failedRounds += settled > 0 ? 0.5 : 1;
      if (failedRounds >= attempts) delivery.failure = new OutletError('unavailable', failed);
      else
        await pause(Math.min(longestDelayMs, firstDelayMs * 2 ** Math.floor(failedRounds)), options.signal);
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
}

/** Ends early when the process stops; the next request then says so. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => undefined);
}

interface Waiting {
  record: OutgoingRecord;
  bytes: number;
}

/** Records of some keys, in order, and what of them may go into the next request. */
class Lane {
  readonly #outlet: Outlet;
  /** By key when an outlet may take a later record and not an earlier one; else all under one. */
  readonly #queues = new Map<string, { waiting: Waiting[]; at: number }>();
  #limit: number;
  size = 0;

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
    else this.#queues.set(key, { waiting: [{ record, bytes }], at: 0 });
    this.size++;
  }

  /** At least one record. */
  next(): OutgoingRecord[] {
    const batch: OutgoingRecord[] = [];
    let bytes = 0;
    for (const { waiting, at } of this.#queues.values()) {
      const end = this.#outlet.limits.order === 'request' ? waiting.length : at + 1;
      for (let index = at; index < end; index++) {
        const item = waiting[index]!;
        if (
          batch.length > 0 &&
          (batch.length >= this.#limit || bytes + item.bytes > this.#outlet.limits.bytes)
        )
          return batch;
        batch.push(item.record);
        bytes += item.bytes;
      }
    }
    return batch;
  }

  /** The first of its key is done. */
  settle(record: OutgoingRecord): void {
    const key = this.#key(record);
    const queue = this.#queues.get(key)!;
    queue.at++;
    this.size--;
    if (queue.at === queue.waiting.length) this.#queues.delete(key);
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
