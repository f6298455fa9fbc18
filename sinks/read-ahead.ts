import type { BatchSource, LogBatch, NextBatch } from './batch-source.ts';

export type ReadAheadSource = Pick<BatchSource, 'next' | 'release' | 'newestWatermark'>;

/**
 * The batches of a source, one of them read and decoded while the one before it is applied. What was read
 * ahead and is not wanted after all is read again: the source forgets nothing above the checkpoint.
 */
export class ReadAhead {
  readonly #source: ReadAheadSource;
  #ahead: Promise<LogBatch | null> | null = null;

  constructor(source: ReadAheadSource) {
    this.#source = source;
  }

  /** The next batch, as `BatchSource.next` gives it; fails as the reading ahead did. */
  async next(request: NextBatch): Promise<LogBatch | null> {
    const ahead = this.#ahead;
    this.#ahead = null;
    const batch = await ahead;
    const isWithin = batch !== null && (request.until === null || batch.cut.cut <= request.until);
    return isWithin ? batch : this.#source.next(request);
  }

  /**
   * Reads the batch behind the one that is about to be applied, `request` being what it will be asked for
   * with. Only when more is known to be there: else that batch would be smaller than one read afterwards.
   */
  start(applied: LogBatch, request: NextBatch): void {
    const newest = this.#source.newestWatermark;
    if (newest === null || newest.cut <= applied.cut.cut || request.signal.aborted) return;
    this.#source.release(request.checkpoint);
    this.#ahead = this.#source.next(request);
    // Whoever asks for it is told; nobody may.
    this.#ahead.catch(() => {});
  }

  /** Waits for what is under way. */
  async stop(): Promise<void> {
    await this.#ahead?.catch(() => {});
  }
}
