import type { Log, StoredRecord, TopicPartition } from '../log/log.ts';
import { PipelineError } from '../runtime/errors.ts';
import type { PositionText } from '../schemas/position.ts';
import { wholeChange } from './batch.ts';
import { type PlacedRecord, positionOf } from './decode-record.ts';

/** What a record costs beside its bytes, roughly. */
const recordOverheadBytes = 64;
/** How long records that a watermark vouches for may take to be read. */
const readTimeoutMs = 3_000;

/** One partition's records from the checkpoint on: those read and not yet applied wait in `buffered`. */
export class PartitionReader implements TopicPartition {
  readonly topic: string;
  readonly partition: number;
  readonly #log: Log;
  #nextOffset: number;
  #buffered: PlacedRecord[] = [];
  #bytes = 0;

  constructor(log: Log, { topic, partition }: TopicPartition, offset: number) {
    this.#log = log;
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
  below(end: number): readonly PlacedRecord[] {
    const last = this.#buffered.at(-1);
    if (last === undefined || last.record.offset < end) return this.#buffered;
    return this.#buffered.filter(({ record }) => record.offset < end);
  }

  /**
   * Reads once towards `end`, which a watermark named. Throws `log-corrupt` when the log has dropped
   * records that were not applied yet, or ends before.
   */
  async readTowards(end: number, bytesMax: number, signal: AbortSignal): Promise<void> {
    const { topic, partition } = this;
    const records = await this.#log.read(
      { topic, partition, offset: this.#nextOffset },
      // A lake that has nothing of a partition begins where the log does.
      { bytesMax, waitMs: readTimeoutMs, signal, allowTruncated: this.#nextOffset === 0 },
    );
    for (const record of records) this.#take(record);
    if (records.length > 0 || signal.aborted) return;
    // A compacted log can lack its last records: then its end is still past them.
    const range = (await this.#log.ranges([topic])).get(topic)?.[partition];
    if ((range?.end ?? 0) < end) {
      const place = `${topic}/${partition}`;
      const message = `a watermark vouches for ${place} up to offset ${end}, but it ends at ${range?.end ?? 0}`;
      throw new PipelineError('log-corrupt', message);
    }
    this.#nextOffset = end;
  }

  /** Forgets the records below `offset`: they are applied. */
  release(offset: number): void {
    const kept = this.#buffered.findIndex(({ record }) => record.offset >= offset);
    const released = kept < 0 ? this.#buffered : this.#buffered.slice(0, kept);
    for (const { record } of released) this.#bytes -= sizeOf(record);
    this.#buffered = kept < 0 ? [] : this.#buffered.slice(kept);
  }

  #take(record: StoredRecord): void {
    const { topic, partition } = this;
    this.#buffered.push({ topic, partition, record, seq: positionOf(record) });
    this.#bytes += sizeOf(record);
    this.#nextOffset = record.offset + 1;
  }
}

function sizeOf({ key, value }: StoredRecord): number {
  return recordOverheadBytes + (key?.length ?? 0) + (value?.length ?? 0);
}
