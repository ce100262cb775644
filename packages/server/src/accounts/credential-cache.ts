import type { Clock } from '../platform/clock.ts';
import type { Log } from '../platform/log.ts';

/** A revoked credential stops working within this time, in every process. */
const maxAgeMs = 1000;
const maxEntries = 10_000;
/** `last_used_at` is written at most this often for each credential and process. */
const usedIntervalMs = 60_000;

export interface CredentialSource<Value> {
  clock: Clock;
  log: Log;
  /** Looks one credential up; undefined when there is none or it was revoked. */
  load(key: string): Promise<Value | undefined>;
  /** Writes that it was used now. */
  markUsed(key: string): Promise<unknown>;
}

interface Entry<Value> {
  value: Promise<Value | undefined>;
  until: number;
}

/** Keeps what was looked up for a second, hits and misses alike, and notes uses without a write for each request. */
export class CredentialCache<Value> {
  readonly #source: CredentialSource<Value>;
  readonly #entries = new Map<string, Entry<Value>>();
  readonly #writtenAt = new Map<string, number>();

  constructor(source: CredentialSource<Value>) {
    this.#source = source;
  }

  /** The credential `key`. Requests that ask at the same time share one look-up. */
  find(key: string): Promise<Value | undefined> {
    const now = this.#source.clock.now();
    let entry = this.#entries.get(key);
    // The second condition is for a clock that was set back.
    if (!entry || entry.until <= now || entry.until > now + maxAgeMs) {
      entry = { value: this.#source.load(key), until: now + maxAgeMs };
      remember(this.#entries, key, entry);
      // A failed look-up is not kept: the next request tries again.
      entry.value.catch(() => this.#entries.delete(key));
    }
    return entry.value;
  }

  /** Looks up anew next time, after a change by this process. */
  forget(key: string): void {
    this.#entries.delete(key);
  }

  /** For a caller who proved to hold the credential. */
  noteUse(key: string): void {
    const now = this.#source.clock.now();
    const writtenAt = this.#writtenAt.get(key);
    if (writtenAt !== undefined && Math.abs(now - writtenAt) < usedIntervalMs) return;
    remember(this.#writtenAt, key, now);
    this.#source.markUsed(key).catch((error: unknown) => {
      this.#source.log.warn({ err: error }, 'could not write when a credential was last used');
    });
  }
}

function remember<Value>(map: Map<string, Value>, key: string, value: Value): void {
  map.delete(key);
  if (map.size >= maxEntries) map.delete(map.keys().next().value!);
  map.set(key, value);
}
