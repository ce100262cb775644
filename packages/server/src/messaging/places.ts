/** Counts free places; whoever wants some waits in line. */
export class Places {
  readonly #size: number;
  #free: number;
  readonly #queue: { wanted: number; resolve: () => void }[] = [];

  constructor(size: number) {
    this.#size = size;
    this.#free = size;
  }

  /** Nobody has a place or waits for one. */
  get idle(): boolean {
    return this.#free === this.#size && this.#queue.length === 0;
  }

  /** Places that nobody has and nobody waits for. */
  get free(): number {
    return this.#queue.length === 0 ? this.#free : 0;
  }

  take(wanted: number): Promise<void> {
    if (this.#queue.length === 0 && wanted <= this.#free) {
      this.#free -= wanted;
      return Promise.resolve();
    }
    return new Promise((resolve) => this.#queue.push({ wanted, resolve }));
  }

  give(count: number): void {
    this.#free += count;
    while (this.#queue[0] && this.#queue[0].wanted <= this.#free) {
      const next = this.#queue.shift()!;
      this.#free -= next.wanted;
      next.resolve();
    }
  }
}
