import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Changes of one table's metadata in ten seconds: BigQuery allows 5, of which one is left for loads and
 * statements that come in between. https://cloud.google.com/bigquery/quotas#standard_tables
 */
export const metadataChangesMax = 4;
export const metadataWindowMs = 10_000;

export interface PaceClock {
  /** Milliseconds that never run backwards. */
  readonly now: () => number;
  readonly sleep: (ms: number) => Promise<unknown>;
}

const realClock: PaceClock = { now: performance.now.bind(performance), sleep };

/** Keeps the changes of each table's metadata below BigQuery's quota. */
export class MetadataPace {
  readonly #clock: PaceClock;
  readonly #changes = new Map<string, number[]>();

  constructor(clock: PaceClock = realClock) {
    this.#clock = clock;
  }

  /** Resolves when the table may be changed once more, which then counts as done. */
  async wait(table: string): Promise<void> {
    for (;;) {
      const nowMs = this.#clock.now();
      const recent = (this.#changes.get(table) ?? []).filter(
        (atMs) => atMs + metadataWindowMs > nowMs,
      );
      const [first] = recent;
      if (recent.length < metadataChangesMax || first === undefined) {
        this.#changes.set(table, [...recent, nowMs]);
        return;
      }
      await this.#clock.sleep(first + metadataWindowMs - nowMs);
    }
  }
}
