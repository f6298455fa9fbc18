import { z } from 'zod';
import type { Log, StoredRecord } from '../log/log.ts';
import { PipelineError } from '../runtime/errors.ts';
import { controlTopics, type Watermark } from '../schemas/control.ts';
import { mergeOffsets, type Offsets } from './checkpoint.ts';
import type { Checkpoint } from './sink.ts';

/** Watermarks before the checkpoint that are read again, to begin with the ends of every partition. */
const lookBackMax = 512;
/** Watermarks read ahead at most, in bytes of their records. */
const readBytesMax = 1 << 20;

const watermarkSchema: z.ZodType<Watermark> = z.object({
  cut: z.string(),
  lsn: z.string(),
  committedAtUs: z.string().nullable(),
  publish: z.boolean(),
  full: z.boolean(),
  ends: z.record(z.string(), z.array(z.int().min(0))),
});

/** A watermark whose `ends` name every partition, and the offset after it. */
export interface PlacedWatermark extends Watermark {
  readonly nextOffset: number;
}

export interface WatermarkReaderOptions {
  readonly log: Log;
  readonly prefix: string;
  readonly from: Checkpoint;
}

/**
 * Reads `<prefix>.tributary.watermarks` from where a checkpoint is, with what each one leaves out filled
 * in from those before it. `pending` holds those not yet `drop`ped, oldest first.
 */
export class WatermarkReader {
  readonly #log: Log;
  readonly #topic: string;
  readonly #firstOffset: number;
  /** What the ends are when no full watermark was found on the way to the first offset. */
  readonly #firstEnds: Offsets | null;
  #offset: number;
  /** Null until a full watermark gives all of them. */
  #ends: Offsets | null = null;
  #pending: PlacedWatermark[] = [];
  #newest: Watermark | null = null;

  constructor({ log, prefix, from }: WatermarkReaderOptions) {
    this.#log = log;
    this.#topic = controlTopics(prefix).watermarks;
    this.#firstOffset = from.watermarkOffset;
    this.#firstEnds = from.offsets;
    this.#offset = Math.max(0, from.watermarkOffset - lookBackMax);
  }

  get newest(): Watermark | null {
    return this.#newest;
  }

  get pending(): readonly PlacedWatermark[] {
    return this.#pending;
  }

  /** Forgets those before offset `next`. */
  drop(next: number): void {
    this.#pending = this.#pending.filter((watermark) => watermark.nextOffset > next);
  }

  /** Forgets those that give nothing. */
  skip(isUseless: (watermark: PlacedWatermark) => boolean): void {
    this.#pending = this.#pending.filter((watermark) => !isUseless(watermark));
  }

  /** Reads on; waits up to `waitMs` when nothing is pending. Throws `log-corrupt` on a record that is no watermark. */
  async read(waitMs: number, signal: AbortSignal): Promise<void> {
    const records = await this.#log.read(
      { topic: this.#topic, partition: 0, offset: this.#offset },
      {
        bytesMax: readBytesMax,
        waitMs: this.#pending.length > 0 ? 0 : waitMs,
        signal,
        allowTruncated: true,
      },
    );
    for (const record of records) this.#take(record);
  }

  #take(record: StoredRecord): void {
    const { offset, value } = record;
    // What retention took may have moved ends that only a full watermark repeats.
    if (offset !== this.#offset) this.#ends = null;
    // Then the checkpoint's are as good: what moved before it, it has.
    if (offset === this.#firstOffset) this.#ends ??= this.#firstEnds;
    this.#offset = offset + 1;
    if (value === null) return;
    const watermark = this.#parse(value, offset);
    this.#newest = watermark;
    if (this.#ends === null && !watermark.full) return;
    this.#ends = mergeOffsets(this.#ends ?? {}, watermark.ends);
    if (offset < this.#firstOffset) return;
    this.#pending.push({ ...watermark, ends: this.#ends, nextOffset: this.#offset });
  }

  #parse(value: Buffer, offset: number): Watermark {
    try {
      return watermarkSchema.parse(JSON.parse(value.toString()));
    } catch (cause) {
      const message = `the record at offset ${offset} of ${this.#topic} is no watermark`;
      throw new PipelineError('log-corrupt', message, { cause });
    }
  }
}
