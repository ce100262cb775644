import type { Clock } from '../../platform/clock.ts';

interface Bucket {
  tokens: number;
  at: number;
}

/** A burst of this many seconds' worth is let through, so that a page may start with a handful of requests. */
const burstSeconds = 3;
const maxBuckets = 50_000;

/** Token buckets in memory, by name: `rate` requests a second each, and a short burst. */
export class RateLimits {
  readonly #clock: Clock;
  readonly #maxBuckets: number;
  /** In the order of their last use. */
  readonly #buckets = new Map<string, Bucket>();

  constructor(clock: Clock, options: { maxBuckets?: number } = {}) {
    this.#clock = clock;
    this.#maxBuckets = options.maxBuckets ?? maxBuckets;
  }

  get size(): number {
    return this.#buckets.size;
  }

  /** Takes one request from the bucket. @returns 0, or how long to wait in milliseconds when it is empty. */
  take(name: string, rate: number): number {
    const now = this.#clock.now();
    const capacity = rate * burstSeconds;
    const bucket = this.#buckets.get(name) ?? { tokens: capacity, at: now };
    // A clock that was set back gives nothing, and takes nothing.
    const elapsedMs = Math.max(0, now - bucket.at);
    bucket.tokens = Math.min(capacity, bucket.tokens + (elapsedMs / 1000) * rate);
    bucket.at = now;
    this.#buckets.delete(name);
    if (this.#buckets.size >= this.#maxBuckets) this.#makeRoom();
    this.#buckets.set(name, bucket);
    if (bucket.tokens < 1) return Math.ceil(((1 - bucket.tokens) / rate) * 1000);
    bucket.tokens -= 1;
    return 0;
  }

  /** The one that was used longest ago goes: it is the fullest, or soon would be. */
  #makeRoom(): void {
    this.#buckets.delete(this.#buckets.keys().next().value!);
  }
}
