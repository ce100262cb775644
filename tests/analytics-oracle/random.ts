/** Random numbers that a seed repeats (xorshift, 32 bits). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = (seed ^ 0x9e3779b9) >>> 0 || 1;
    for (let warm = 0; warm < 8; warm++) this.next();
  }

  /** 0 ≤ x < 1 */
  next(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x >>> 0;
    return this.#state / 2 ** 32;
  }

  /** 0 … bound-1 */
  below(bound: number): number {
    return Math.floor(this.next() * bound);
  }

  /** least … most */
  between(least: number, most: number): number {
    return least + this.below(most - least + 1);
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)]!;
  }

  chance(share: number): boolean {
    return this.next() < share;
  }
}
