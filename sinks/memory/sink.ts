import { assert } from '../../runtime/assert.ts';
import { PipelineError } from '../../runtime/errors.ts';
import { positionZero } from '../../schemas/position.ts';
import type { TableVersion } from '../../schemas/table-schema.ts';
import { firstCheckpoint } from '../checkpoint.ts';
import type { Checkpoint, Sink, SinkBatch } from '../sink.ts';
import { copyContent, type MemoryContent, type MemoryLake, type MemoryShare } from './client.ts';
import { mergeBatch } from './merge.ts';
import { evolveContent } from './schema.ts';

/** Where a test may let the sink die: `onStep` throws. */
export type MemorySinkStep = 'before-merge' | 'before-commit' | 'after-commit';

export interface MemorySinkOptions {
  /** Which share of the lake this sink loads, and how many there are; all of the lake unless told. */
  readonly share?: number;
  readonly shareCount?: number;
  readonly onStep?: (step: MemorySinkStep) => void;
}

/** The reference sink: the port's rules in their plainest form, for tests. */
export class MemorySink implements Sink {
  readonly #lake: MemoryLake;
  readonly #shareCount: number;
  readonly #share: MemoryShare;
  readonly #onStep: (step: MemorySinkStep) => void;
  #epoch = 0;
  /** What is applied and not yet published; null when that is nothing. */
  #working: MemoryContent | null = null;

  constructor(lake: MemoryLake, options: MemorySinkOptions = {}) {
    this.#lake = lake;
    this.#shareCount = options.shareCount ?? 1;
    this.#share = lake.share(options.share ?? 0);
    this.#onStep = options.onStep ?? (() => {});
  }

  async open(): Promise<Checkpoint> {
    this.#refuseOtherDivision();
    this.#working = null;
    this.#share.epoch += 1;
    this.#epoch = this.#share.epoch;
    const stored = this.#share.content.checkpoint;
    return stored === null ? firstCheckpoint(this.#epoch) : { ...stored, epoch: this.#epoch };
  }

  async evolve(version: TableVersion): Promise<void> {
    this.#refuseWhenFenced();
    const working = this.#working ?? copyContent(this.#share.content);
    evolveContent(working, version);
    // With nothing pending the change of shape stands by itself, as DDL does elsewhere.
    if (this.#working === null) this.#share.content = working;
  }

  async apply(batch: SinkBatch): Promise<void> {
    this.#refuseWhenFenced();
    const applied = (this.#working ?? this.#share.content).checkpoint?.applied ?? positionZero;
    assert(applied <= batch.checkpoint.applied, 'batches rise in position');
    this.#onStep('before-merge');
    const working = this.#working ?? copyContent(this.#share.content);
    mergeBatch(working, batch);
    this.#working = working;
    this.#onStep('before-commit');
    this.#refuseWhenFenced();
    if (batch.cut.publish) {
      this.#share.content = working;
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

  /** A table whose share changed would have no checkpoint that speaks for it. */
  #refuseOtherDivision(): void {
    this.#lake.shareCount ??= this.#shareCount;
    if (this.#lake.shareCount === this.#shareCount) return;
    const message = `the lake's tables are divided into ${this.#lake.shareCount} shares, not ${this.#shareCount}`;
    throw new PipelineError('config-invalid', message, {
      hint: `set it back to ${this.#lake.shareCount}, or load a new lake`,
    });
  }

  #refuseWhenFenced(): void {
    const { epoch } = this.#share;
    if (this.#epoch === epoch) return;
    throw new PipelineError('sink-fenced', `epoch ${this.#epoch} was taken over by ${epoch}`);
  }
}
