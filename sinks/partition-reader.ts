import type { Log, StoredRecord, TopicPartition } from '../log/log.ts';
import { PipelineError } from '../runtime/errors.ts';
import type { PositionText } from '../schemas/position.ts';
import { wholeChange } from './batch.ts';
import {
  type Decoded,
  type PlacedRecord,
  positionOf,
  type RecordDecoder,
} from './decode-record.ts';

/** What a record costs beside its bytes, roughly. */
const recordOverheadBytes = 64;
/** How long records that a watermark vouches for may take to be read. */
const readTimeoutMs = 3_000;

/** A record that was read: its place, and what it says. */
export interface ReadRecord {
  readonly offset: number;
  readonly seq: PositionText | null;
  /** Of key and value. */
  readonly bytes: number;
  /** Null for a tombstone, and for what was applied before. */
  readonly content: Decoded;
  /** Its bytes where the sink may still make a dead letter of it; else null. */
  readonly key: Buffer | null;
  readonly value: Buffer | null;
}

export interface PartitionReaderOptions extends TopicPartition {
  readonly log: Pick<Log, 'read' | 'ranges'>;
  readonly decoder: Pick<RecordDecoder, 'decode'>;
  /** The first one to read. */
  readonly offset: number;
  /** Whether the bytes of records are kept until they are applied. */
  readonly keepsRecords?: boolean;
}

export interface ReadTowards {
  /** Records below it are read and decoded: a watermark names it, so their versions are known. */
  readonly end: number;
  /** What is at or below it was applied before. */
  readonly floor: PositionText;
  readonly bytesMax: number;
  readonly signal: AbortSignal;
}

/** One partition's records from the checkpoint on: those read and not yet applied wait in `buffered`. */
export class PartitionReader implements TopicPartition {
  readonly topic: string;
  readonly partition: number;
  readonly #log: PartitionReaderOptions['log'];
  readonly #decoder: PartitionReaderOptions['decoder'];
  readonly #keepsRecords: boolean;
  #nextOffset: number;
  #buffered: ReadRecord[] = [];
  /** Came with the last read, behind the end that was asked for. */
  #beyond: readonly StoredRecord[] = [];
  #bytes = 0;

  constructor({ log, decoder, keepsRecords, topic, partition, offset }: PartitionReaderOptions) {
    this.#log = log;
    this.#keepsRecords = keepsRecords ?? false;
    this.#decoder = decoder;
    this.topic = topic;
    this.partition = partition;
    this.#nextOffset = offset;
  }

  get nextOffset(): number {
    return this.#nextOffset;
  }

  /**
   * Up to here every record of the partition is here or was: what is still to be read is newer. A change
   * counts once a later one was met, for its tombstone and insert half may follow. Null when unknown.
   */
  get readUpTo(): PositionText | null {
    let newest: PositionText | null = null;
    let before: PositionText | null = null;
    for (const { seq } of this.#buffered) {
      const change = seq === null ? null : wholeChange(seq);
      if (change === null || (newest !== null && change <= newest)) continue;
      before = newest;
      newest = change;
    }
    return before;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** True when every record below `end` is here. */
  hasAllBelow(end: number): boolean {
    return this.#nextOffset >= end;
  }

  /** Records below `end` that are here, in offset order. */
  below(end: number): readonly ReadRecord[] {
    const last = this.#buffered.at(-1);
    if (last === undefined || last.offset < end) return this.#buffered;
    return this.#buffered.filter(({ offset }) => offset < end);
  }

  /**
   * Reads once towards the end. Throws `log-corrupt` when the log has dropped records that were not
   * applied yet, or ends before, and what decoding throws.
   */
  async readTowards({ end, floor, bytesMax, signal }: ReadTowards): Promise<void> {
    if (this.#beyond.length === 0) this.#beyond = await this.#read(bytesMax, signal);
    if (this.#beyond.length === 0) {
      if (!signal.aborted) await this.#passGap(end);
      return;
    }
    const found = this.#beyond.findIndex(({ offset }) => offset >= end);
    const count = found < 0 ? this.#beyond.length : found;
    await this.#take(this.#beyond.slice(0, count), floor);
    this.#beyond = this.#beyond.slice(count);
    if (found >= 0) this.#nextOffset = Math.max(this.#nextOffset, end);
    // Reading and decoding are synchronous: let timers and signals have their turn, or others take us for dead.
    await new Promise(setImmediate);
  }

  /** Forgets the records below `offset`: they are applied. */
  release(below: number): void {
    const kept = this.#buffered.findIndex(({ offset }) => offset >= below);
    const released = kept < 0 ? this.#buffered : this.#buffered.slice(0, kept);
    for (const { bytes } of released) this.#bytes -= recordOverheadBytes + bytes;
    this.#buffered = kept < 0 ? [] : this.#buffered.slice(kept);
  }

  #read(bytesMax: number, signal: AbortSignal): Promise<readonly StoredRecord[]> {
    const { topic, partition } = this;
    return this.#log.read(
      { topic, partition, offset: this.#nextOffset },
      // A lake that has nothing of a partition begins where the log does.
      { bytesMax, waitMs: readTimeoutMs, signal, allowTruncated: this.#nextOffset === 0 },
    );
  }

  /** A compacted log can lack its last records: then its end is still past them. */
  async #passGap(end: number): Promise<void> {
    const { topic, partition } = this;
    const range = (await this.#log.ranges([topic])).get(topic)?.[partition];
    if ((range?.end ?? 0) < end) {
      const place = `${topic}/${partition}`;
      const message = `a watermark vouches for ${place} up to offset ${end}, but it ends at ${range?.end ?? 0}`;
      throw new PipelineError('log-corrupt', message);
    }
    this.#nextOffset = end;
  }

  async #take(records: readonly StoredRecord[], floor: PositionText): Promise<void> {
    const { topic, partition } = this;
    const placed: PlacedRecord[] = [];
    for (const record of records) {
      placed.push({ topic, partition, record, seq: positionOf(record) });
    }
    const decoded = await this.#decoder.decode(placed, floor);
    for (let index = 0; index < placed.length; index += 1) {
      const one = placed[index];
      if (one !== undefined) this.#keep(one, decoded[index] ?? null);
    }
  }

  #keep({ record, seq }: PlacedRecord, content: Decoded): void {
    const { offset, key, value } = record;
    const bytes = (key?.length ?? 0) + (value?.length ?? 0);
    this.#buffered.push({
      offset,
      seq,
      bytes,
      content,
      key: this.#keepsRecords ? key : null,
      value: this.#keepsRecords ? value : null,
    });
    this.#bytes += recordOverheadBytes + bytes;
    this.#nextOffset = offset + 1;
  }
}
