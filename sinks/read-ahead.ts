import type { BatchSource, LogBatch, NextBatch } from './batch-source.ts';
import { planSteps, type SinkStep, type StepInput } from './batch-steps.ts';

export type ReadAheadSource = Pick<BatchSource, 'next' | 'release' | 'newestWatermark'> &
  Pick<StepInput, 'versions' | 'wants'>;

/** A batch, and what to do with it. */
export interface PlannedBatch {
  readonly batch: LogBatch;
  readonly steps: readonly SinkStep[];
}

/**
 * The batches of a source, one of them read and folded while the one before it is applied. What was read
 * ahead and is not wanted after all is read again: the source forgets nothing above the checkpoint.
 */
export class ReadAhead {
  readonly #source: ReadAheadSource;
  #ahead: Promise<PlannedBatch | null> | null = null;

  constructor(source: ReadAheadSource) {
    this.#source = source;
  }

  /** The next batch; null and failures as of `BatchSource.next`, or of the reading ahead. */
  async next(request: NextBatch): Promise<PlannedBatch | null> {
    const ahead = this.#ahead;
    this.#ahead = null;
    const planned = await ahead;
    const isWithin =
      planned !== null && (request.until === null || planned.batch.cut.cut <= request.until);
    return isWithin ? planned : this.#read(request);
  }

  /**
   * Reads the batch behind the one that is about to be applied, `request` being what it will be asked for
   * with. Only when more is known to be there: else that batch would be smaller than one read afterwards.
   */
  start(applied: LogBatch, request: NextBatch): void {
    const newest = this.#source.newestWatermark;
    if (newest === null || newest.cut <= applied.cut.cut || request.signal.aborted) return;
    this.#source.release(request.checkpoint);
    this.#ahead = this.#read(request);
    // Whoever asks for it is told; nobody may.
    this.#ahead.catch(() => {});
  }

  /** Waits for what is under way. */
  async stop(): Promise<void> {
    await this.#ahead?.catch(() => {});
  }

  async #read(request: NextBatch): Promise<PlannedBatch | null> {
    const { versions, wants } = this.#source;
    const batch = await this.#source.next(request);
    if (batch === null) return null;
    return { batch, steps: planSteps({ batch, before: request.checkpoint, versions, wants }) };
  }
}
