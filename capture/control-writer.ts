import type { Log, LogRecord, PartitionBatch, PartitionEnd } from '../log/log.ts';
import { assert } from '../runtime/assert.ts';
import { controlTopics, type Watermark } from '../schemas/control.ts';
import { formatLsn, type Lsn } from '../schemas/lsn.ts';
import type { PositionText } from '../schemas/position.ts';
import { failpoint } from './failpoint.ts';
import { isTableTopic } from './log-tails.ts';
import { encodeProgress, type ProgressRecord } from './progress.ts';

/** How far the stream was when a batch was closed. */
export interface StreamMark {
  readonly cut: PositionText;
  /** Every transaction that committed before it is below the cut. */
  readonly lsn: Lsn;
  readonly committedAtUs: bigint | null;
  /** False inside a transaction or chunk. */
  readonly complete: boolean;
  /** A watermark follows the batch, */
  readonly watermark: boolean;
  /** and this progress record; null inside a transaction. */
  readonly progress: ProgressRecord | null;
}

export interface ControlWriterOptions {
  readonly log: Log;
  readonly prefix: string;
  /** End offsets of every partition when capture opened the log. */
  readonly ends: ReadonlyMap<string, readonly number[]>;
  /** No watermark below it: what the log holds above the first cuts was not counted by this process. */
  readonly cutMin: PositionText;
  /** A watermark that names every partition, after this many that name only what moved. */
  readonly fullEvery?: number;
  /** The mark is durable in watermark and progress: called in order, for complete marks only. */
  readonly onRecorded: (mark: StreamMark) => void;
  readonly onFailed: (error: unknown) => void;
}

const fullEveryDefault = 200;

/**
 * Writes the watermark and the progress record of a durable batch: first the data, then what vouches
 * for it. One write at a time; marks that become durable meanwhile share the next.
 */
export class ControlWriter {
  readonly #options: ControlWriterOptions;
  readonly #ends = new Map<string, number[]>();
  #moved = new Set<string>();
  #cut: PositionText = '';
  #sinceFull = Number.POSITIVE_INFINITY;
  #writing: Promise<void> | null = null;

  constructor(options: ControlWriterOptions) {
    this.#options = options;
    for (const [topic, ends] of options.ends) this.#ends.set(topic, [...ends]);
  }

  /** A batch is durable: counts its offsets, and writes control records when the mark asks for them. */
  durable(mark: StreamMark, ends: readonly PartitionEnd[]): void {
    for (const { topic, partition, end } of ends) {
      if (!isTableTopic(this.#options.prefix, topic)) continue;
      const known = this.#ends.get(topic) ?? [];
      assert((known[partition] ?? 0) <= end, 'end offsets only rise');
      // Partitions of a new topic that hold nothing yet end at 0.
      while (known.length < partition) known.push(0);
      known[partition] = end;
      this.#ends.set(topic, known);
      this.#moved.add(topic);
    }
    if (!mark.watermark) return;
    // The vector belongs to this mark only as long as no later batch was counted, so it is taken now.
    this.#writing = this.#write(mark, this.#records(mark), this.#writing);
  }

  /** Resolves when all control records are durable. */
  async drained(): Promise<void> {
    await this.#writing;
  }

  #records(mark: StreamMark): readonly PartitionBatch[] {
    const topics = controlTopics(this.#options.prefix);
    const batches: PartitionBatch[] = [];
    if (mark.cut >= this.#options.cutMin) {
      batches.push({ topic: topics.watermarks, partition: 0, records: [this.#watermark(mark)] });
    }
    if (mark.progress !== null) {
      const record = encodeProgress(mark.progress, Date.now());
      batches.push({ topic: topics.progress, partition: 0, records: [record] });
    }
    return batches;
  }

  #watermark(mark: StreamMark): LogRecord {
    assert(mark.cut >= this.#cut, 'a watermark never falls');
    this.#cut = mark.cut;
    const full = this.#sinceFull >= (this.#options.fullEvery ?? fullEveryDefault);
    const topics = full ? [...this.#ends.keys()] : [...this.#moved];
    const watermark: Watermark = {
      cut: mark.cut,
      lsn: formatLsn(mark.lsn),
      committedAtUs: mark.committedAtUs === null ? null : String(mark.committedAtUs),
      publish: mark.complete,
      full,
      ends: Object.fromEntries(topics.map((topic) => [topic, [...(this.#ends.get(topic) ?? [])]])),
    };
    this.#moved = new Set();
    this.#sinceFull = full ? 0 : this.#sinceFull + 1;
    const value = Buffer.from(JSON.stringify(watermark));
    return { key: null, value, headers: [], timestampMs: Date.now() };
  }

  async #write(
    mark: StreamMark,
    records: readonly PartitionBatch[],
    before: Promise<void> | null,
  ): Promise<void> {
    try {
      const written = records.length === 0 ? undefined : this.#options.log.append(records);
      failpoint('watermark');
      await Promise.all([written, before]);
      failpoint('progress');
      if (mark.complete) this.#options.onRecorded(mark);
    } catch (error) {
      this.#options.onFailed(error);
    }
  }
}
