import type { AttemptResult } from './provider.ts';

const firstPauseMs = 1_000;
const maxPauseMs = 30_000;
/** How long an account rests that has used up its limit: the limit may be raised, or the day end. */
const limitPauseMs = 60_000;
/** A probe that has not come back after this does not keep the next one waiting. */
const maxProbeMs = 60_000;
/** What waits for the result of a probe looks again after this. */
const probePollMs = 250;

/**
 * First attempts in a row that were neither accepted nor refused for good after which an account counts as out of
 * order: going on would only move the audience into the retries. One whose fate is unknown weighs ten, since nobody
 * sends it again by itself.
 */
const troubleLimit = 50;
const unknownWeight = 10;

/** `most` messages may be handed over after `waitMs`; with a wait, ask again then. */
export interface Admission {
  waitMs: number;
  most: number;
}

/**
 * Whether an account works, judged by what came of its attempts. It breaks when the account cannot be used at all, or
 * when it has refused everybody for a while; then there is a pause, which grows while it stays broken. After a pause
 * one message is let through: what comes of it closes the circuit again or starts the next pause.
 */
export class Circuit {
  /** Pauses in a row; 0 is closed. */
  #breaks = 0;
  #cause: 'unusable' | 'refusing' | 'limit' = 'unusable';
  #openUntil = 0;
  #probeUntil = 0;
  #trouble = 0;

  /** The account is worth using like any other. */
  get closed(): boolean {
    return this.#breaks === 0;
  }

  /**
   * How long to wait before messages are handed over, and how many then. An account that refuses everybody is still
   * asked for what it had refused before (`repeats`): they come rarely, and it may have wanted to see them twice.
   */
  admission(now: number, options: { repeats?: boolean } = {}): Admission {
    if (this.closed || (options.repeats && this.#cause === 'refusing'))
      return { waitMs: 0, most: Number.POSITIVE_INFINITY };
    if (now < this.#openUntil) return { waitMs: this.#openUntil - now, most: 0 };
    if (now < this.#probeUntil) return { waitMs: Math.min(probePollMs, this.#probeUntil - now), most: 0 };
    return { waitMs: 0, most: 1 };
  }

  /** Takes the right to use the account: always when it is closed, after a pause for one message. */
  tryEnter(now: number): boolean {
    if (this.#breaks === 0) return true;
    if (now < this.#openUntil || now < this.#probeUntil) return false;
    this.#probeUntil = now + maxProbeMs;
    return true;
  }

  /** Learns from the results of attempts that were made together. `first`: how many were first attempts. */
  note(results: readonly AttemptResult[], now: number, first: number): void {
    if (results.length === 0) return;
    if (results.some(({ outcome }) => outcome === 'accepted' || outcome === 'rejected')) {
      this.#close();
      return;
    }
    // A connection that broke proves nothing about an account that is out of order.
    const answered = results.some(({ accountUnusable, code }) => !accountUnusable && code > 0);
    const refusing = this.#breaks > 0 && this.#cause === 'refusing';
    if (results.every(({ accountUnusable }) => accountUnusable) || (!this.closed && !refusing && !answered)) {
      this.#break('unusable', now);
    } else if (refusing) {
      // Repeats go on as before, so only a first attempt was the probe.
      if (first > 0) this.#break('refusing', now);
    } else {
      this.#close(this.#trouble);
      this.#countTrouble(results, now, first);
    }
  }

  #countTrouble(results: readonly AttemptResult[], now: number, first: number): void {
    if (first === 0) return;
    const unknown = results.filter(({ outcome }) => outcome === 'unknown').length;
    this.#trouble += first + unknown * (unknownWeight - 1);
    if (this.#trouble >= troubleLimit) this.#break('refusing', now);
  }

  /** The account has used up its limit. */
  noteLimit(now: number): void {
    this.#break('limit', now);
  }

  #close(trouble = 0): void {
    this.#breaks = 0;
    this.#openUntil = 0;
    this.#probeUntil = 0;
    this.#trouble = trouble;
  }

  /** What was under way when it broke says the same once more; that is not another break. */
  #break(cause: 'unusable' | 'refusing' | 'limit', now: number): void {
    this.#probeUntil = 0;
    if (now < this.#openUntil) return;
    this.#breaks += 1;
    this.#cause = cause;
    this.#trouble = 0;
    const pauseMs =
      cause === 'limit'
        ? limitPauseMs
        : Math.min(maxPauseMs, firstPauseMs * 2 ** Math.min(this.#breaks - 1, 10));
    this.#openUntil = now + pauseMs;
  }
}
