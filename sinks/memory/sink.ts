import { assert } from '../../runtime/assert.ts';
import { PipelineError } from '../../runtime/errors.ts';
import { positionZero } from '../../schemas/position.ts';
import type { TableVersion } from '../../schemas/table-schema.ts';
import { firstCheckpoint } from '../checkpoint.ts';
import type { Checkpoint, Sink, SinkBatch } from '../sink.ts';
import { copyContent, type MemoryContent, type MemoryLake } from './client.ts';
import { mergeBatch } from './merge.ts';
import { evolveContent } from './schema.ts';

/** Where a test may let the sink die: `onStep` throws. */
export type MemorySinkStep = 'before-merge' | 'before-commit' | 'after-commit';

export interface MemorySinkOptions {
  readonly onStep?: (step: MemorySinkStep) => void;
}

/** The reference sink: the port's rules in their plainest form, for tests. */
export class MemorySink implements Sink {
  readonly #lake: MemoryLake;
  readonly #onStep: (step: MemorySinkStep) => void;
  #epoch = 0;
  /** What is applied and not yet published; null when that is nothing. */
  #working: MemoryContent | null = null;

  constructor(lake: MemoryLake, options: MemorySinkOptions = {}) {
    this.#lake = lake;
    this.#onStep = options.onStep ?? (() => {});
  }

  async open(): Promise<Checkpoint> {
    this.#working = null;
    this.#lake.epoch += 1;
    this.#epoch = this.#lake.epoch;
    const stored = this.#lake.content.checkpoint;
    return stored === null ? firstCheckpoint(this.#epoch) : { ...stored, epoch: this.#epoch };
  }

  async evolve(version: TableVersion): Promise<void> {
    this.#refuseWhenFenced();
    const working = this.#working ?? copyContent(this.#lake.content);
    evolveContent(working, version);
    // With nothing pending the change of shape stands by itself, as DDL does elsewhere.
    if (this.#working === null) this.#lake.content = working;
  }

  async apply(batch: SinkBatch): Promise<void> {
    this.#refuseWhenFenced();
    const applied = (this.#working ?? this.#lake.content).checkpoint?.applied ?? positionZero;
    assert(applied <= batch.checkpoint.applied, 'batches rise in position');
    this.#onStep('before-merge');
    const working = this.#working ?? copyContent(this.#lake.content);
    mergeBatch(working, batch);
    this.#working = working;
    this.#onStep('before-commit');
    this.#refuseWhenFenced();
    if (batch.cut.publish) {
      this.#lake.content = working;
      this.#working = null;
    }
    this.#onStep('after-commit');
  }

  lend<T>(use: () => Promise<T>): Promise<T> {
    return use();
  }

  async close(): Promise<void> {
    this.#working = null;
  }

  #refuseWhenFenced(): void {
    const { epoch } = this.#lake;
    if (this.#epoch === epoch) return;
    throw new PipelineError('sink-fenced', `epoch ${this.#epoch} was taken over by ${epoch}`);
  }
}
