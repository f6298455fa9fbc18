/** Tables that are loaded, or views that are made, at the same time: each load holds its rows as text. */
export const loadsInFlightMax = 8;

/** Lets so many pieces of work run at the same time; the others wait for their turn, in order. */
export class InFlight {
  readonly #max: number;
  readonly #waiting: (() => void)[] = [];
  #count = 0;

  constructor(max: number) {
    this.#max = max;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#count >= this.#max) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else {
      this.#count += 1;
    }
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      // The place is handed over, so that nobody takes it in between.
      if (next === undefined) this.#count -= 1;
      else next();
    }
  }
}
