/** Bytes of one event as `selectFunnelEvents` hands it over. */
const eventBytes = 8;

/** A growing list of numbers without a box for each. */
class Numbers {
  #values = new Float64Array(1024);
  #length = 0;

  push(value: number): void {
    if (this.#length === this.#values.length) {
      const grown = new Float64Array(this.#length * 2);
      grown.set(this.#values);
      this.#values = grown;
    }
    this.#values[this.#length++] = value;
  }

  /** The middle one, or the mean of the two in the middle; null without any. Changes the order of the numbers. */
  median(): number | null {
    const count = this.#length;
    if (count === 0) return null;
    const values = this.#values.subarray(0, count);
    const upper = select(values, count >> 1);
    return count % 2 === 1 ? upper : (select(values, (count >> 1) - 1) + upper) / 2;
  }
}

/** The number that would stand at `place` if they were sorted; in linear time. */
function select(values: Float64Array, place: number): number {
  let left = 0;
  let right = values.length - 1;
  while (left < right) {
    const pivot = values[(left + right) >> 1]!;
    let [low, high] = [left, right];
    while (low <= high) {
      while (values[low]! < pivot) low++;
      while (values[high]! > pivot) high--;
      if (low > high) break;
      const kept = values[low]!;
      values[low++] = values[high]!;
      values[high--] = kept;
    }
    if (place <= high) right = high;
    else if (place >= low) left = low;
    else break;
  }
  return values[place]!;
}

/**
 * Follows the events of actors, in the order of their time, through the steps of a funnel. An actor is at step k when
 * there is a chain of events of the steps 1 to k, each later than the one before, all within the window after the first.
 * Of all chains to a step the one with the latest first event is kept: it leaves the most time for what follows. Events
 * of the same millisecond come in the order of the steps.
 */
export class FunnelChains {
  readonly counts: number[];
  readonly #windowMs: number;
  readonly #gaps: Numbers[];
  /** Of the actor at hand, for each step: first event of its chain, time of its latest completion; -1 for none yet. */
  readonly #starts: Float64Array;
  readonly #times: Float64Array;

  constructor(steps: number, windowMs: number) {
    this.counts = Array.from({ length: steps }, () => 0);
    this.#gaps = this.counts.map(() => new Numbers());
    this.#starts = new Float64Array(steps).fill(-1);
    this.#times = new Float64Array(steps).fill(-1);
    this.#windowMs = windowMs;
  }

  /** Takes all events of the actors that share a hash; the other hash tells them apart. */
  add(events: Buffer): void {
    const view = new DataView(events.buffer, events.byteOffset, events.length);
    let actor = -1;
    for (let at = 0; at < events.length; at += eventBytes) {
      const [upper, lower] = [view.getUint32(at), view.getUint32(at + 4)];
      if (upper >>> 14 !== actor) {
        actor = upper >>> 14;
        this.#starts.fill(-1);
        this.#times.fill(-1);
      }
      this.#follow((upper & 0x3fff) * 0x40_0000 + (lower >>> 10), lower & 0x3ff);
    }
  }

  /** From the last step to the first, so that an event serves one step of a chain only. */
  #follow(at: number, mask: number): void {
    const [starts, times] = [this.#starts, this.#times];
    for (let step = starts.length - 1; step > 0; step--) {
      const start = starts[step - 1]!;
      if ((mask & (1 << step)) === 0 || start < 0 || at > start + this.#windowMs) continue;
      if (times[step]! < 0) {
        this.counts[step]! += 1;
        this.#gaps[step]!.push(at - times[step - 1]!);
      }
      starts[step] = start;
      times[step] = at;
    }
    if ((mask & 1) === 0) return;
    if (times[0]! < 0) this.counts[0]! += 1;
    starts[0] = at;
    times[0] = at;
  }

  /** Of each step the median of the milliseconds since the step before, at the first completion by each actor. */
  medians(): (number | null)[] {
    return this.#gaps.map((gaps) => gaps.median());
  }
}
