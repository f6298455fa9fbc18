import type { Log } from '../log/log.ts';
import { PipelineError } from '../runtime/errors.ts';
import type { Change, DeadLetter } from '../schemas/change.ts';
import type { Watermark } from '../schemas/control.ts';
import { formatLsn } from '../schemas/lsn.ts';
import { parsePosition, type PositionText, positionZero } from '../schemas/position.ts';
import type { SchemaRegistry } from '../schemas/registry.ts';
import { tableName } from '../schemas/table-schema.ts';
import { newestCommit, transactionOf } from './batch.ts';
import { mergeOffsets, type Offsets } from './checkpoint.ts';
import { RecordDecoder } from './decode-record.ts';
import { PartitionReader, type ReadRecord } from './partition-reader.ts';
import type { Checkpoint, Sink } from './sink.ts';
import { TableVersions } from './table-versions.ts';
import { type PlacedWatermark, WatermarkReader } from './watermarks.ts';

/** How much is read and applied at once. */
export interface BatchLimits {
  readonly batchRowsMax: number;
  /**
   * Bytes of records over all tables. Their decoded form is kept in memory; twice that while one batch is
   * applied and the next one read.
   */
  readonly batchBytesMax: number;
  /** One read of a partition: more would only wait in memory, less costs more calls than bytes. */
  readonly readBytesMax: number;
  /** Partitions that are read at the same time. */
  readonly readsMax: number;
}

export interface BatchSourceOptions {
  readonly log: Log;
  readonly registry: SchemaRegistry;
  readonly prefix: string;
  /** Which tables the sink takes, by "schema.table". */
  readonly wants: (table: string) => boolean;
  readonly limits: BatchLimits;
  readonly from: Checkpoint;
  /** Who the batches are for. */
  readonly sink: Pick<Sink, 'refuse'>;
}

/** Everything from the checkpoint up to a cut. */
export interface LogBatch {
  readonly cut: Watermark;
  readonly watermarkOffset: number;
  readonly offsets: Offsets;
  /** In rising order of `seq`, each once. */
  readonly changes: readonly Change[];
  readonly deadLetters: readonly DeadLetter[];
  /** Topics that the checkpoint does not know yet. */
  readonly lateTopics: readonly string[];
  readonly recordCount: number;
  readonly bytes: number;
}

export interface NextBatch {
  readonly checkpoint: Checkpoint;
  /** The last cut applied was not published. */
  readonly isHidden: boolean;
  /** Nothing above this position, if not null. */
  readonly until: PositionText | null;
  readonly waitMs: number;
  readonly signal: AbortSignal;
}

/** A cut to take the records up to: a watermark, or a position on the way to one. */
interface Target {
  readonly watermark: PlacedWatermark;
  readonly cut: PositionText;
  readonly kind: 'whole' | 'until' | 'partial';
}

/** Cuts the log into batches, each of which ends at a watermark wherever the limits allow it. */
export class BatchSource {
  readonly #options: BatchSourceOptions;
  readonly versions: TableVersions;
  readonly wants: (table: string) => boolean;
  readonly #watermarks: WatermarkReader;
  readonly #decoder: RecordDecoder;
  readonly #readers = new Map<string, PartitionReader>();

  constructor(options: BatchSourceOptions) {
    const { log, prefix, registry, wants, from } = options;
    this.#options = options;
    this.wants = wants;
    this.versions = new TableVersions(log, prefix);
    this.#watermarks = new WatermarkReader({ log, prefix, from });
    this.#decoder = new RecordDecoder({ registry, prefix, versions: this.versions });
  }

  /** The next batch; null when nothing new came within `waitMs`. */
  async next(request: NextBatch): Promise<LogBatch | null> {
    const { checkpoint, isHidden, waitMs, signal } = request;
    await this.#watermarks.read(waitMs, signal);
    this.#watermarks.skip(
      ({ cut, publish }) =>
        cut < checkpoint.applied || (cut === checkpoint.applied && !(isHidden && publish)),
    );
    if (this.#watermarks.pending.length === 0) return null;
    await this.versions.refresh();
    const target = await this.#chooseTarget(request);
    return target === null || signal.aborted ? null : this.#collect(target, checkpoint);
  }

  /** The newest watermark that was read, whether applied or not; null before the first. */
  get newestWatermark(): Watermark | null {
    return this.#watermarks.newest;
  }

  /** Forgets what is below the checkpoint: it is applied. */
  release(checkpoint: Checkpoint): void {
    this.#watermarks.drop(checkpoint.watermarkOffset);
    for (const reader of this.#readers.values()) {
      reader.release(checkpoint.offsets[reader.topic]?.[reader.partition] ?? 0);
    }
  }

  /** The newest watermark that the limits allow, or as far on the way to the next one as they do. */
  async #chooseTarget({ checkpoint, until, signal }: NextBatch): Promise<Target | null> {
    let chosen: Target | null = null;
    for (const watermark of this.#watermarks.pending) {
      const isBeyond = until !== null && until < watermark.cut;
      const { rows, readers, isLate } = this.#workUpTo(watermark, checkpoint);
      const { batchRowsMax, batchBytesMax } = this.#options.limits;
      if (chosen !== null && (isBeyond || rows > batchRowsMax)) return chosen;
      // A table new to this sink is below the applied position: no cut on the way could say how far it is.
      const bytesMax = isLate ? Number.POSITIVE_INFINITY : batchBytesMax;
      const isFirst = chosen === null;
      if (await this.#fill(readers, { bytesMax, isFirst, signal })) {
        chosen = isBeyond
          ? { watermark, cut: until, kind: 'until' }
          : { watermark, cut: watermark.cut, kind: 'whole' };
        if (isBeyond) return chosen;
      } else {
        return chosen ?? partialTarget(watermark, readers, until);
      }
    }
    return chosen;
  }

  /** What is to be read before a watermark can be applied. */
  #workUpTo(watermark: PlacedWatermark, checkpoint: Checkpoint) {
    let rows = 0;
    let isLate = false;
    const readers: Reading[] = [];
    for (const [topic, ends] of this.#wanted(watermark.ends)) {
      const floor = floorOf(topic, checkpoint);
      isLate ||= floor !== checkpoint.applied;
      for (const [partition, end] of ends.entries()) {
        rows += end - (checkpoint.offsets[topic]?.[partition] ?? 0);
        readers.push({ reader: this.#reader(topic, partition, checkpoint), end, floor });
      }
    }
    return { rows, readers, isLate };
  }

  /** Ends of the tables that the sink takes. Throws `log-corrupt` for records of a table without a version. */
  #wanted(ends: Offsets): readonly (readonly [string, readonly number[]])[] {
    return Object.entries(ends).filter(([topic, offsets]) => {
      const table = this.versions.of(topic).at(-1)?.table;
      if (table !== undefined) return this.wants(tableName(table));
      if (offsets.every((end) => end === 0)) return false;
      throw new PipelineError('log-corrupt', `topic ${topic} has records but no table version`);
    });
  }

  #reader(topic: string, partition: number, checkpoint: Checkpoint): PartitionReader {
    const place = `${topic}/${partition}`;
    const known = this.#readers.get(place);
    if (known !== undefined) return known;
    const offset = checkpoint.offsets[topic]?.[partition] ?? 0;
    const { log, sink } = this.#options;
    const keepsRecords = sink.refuse !== undefined;
    const decoder = this.#decoder;
    const reader = new PartitionReader({ log, decoder, topic, partition, offset, keepsRecords });
    this.#readers.set(place, reader);
    return reader;
  }

  /** Reads until all is here (true) or the bytes are used up; the first watermark gets a change of each. */
  async #fill(readings: readonly Reading[], limits: FillLimits): Promise<boolean> {
    const { bytesMax, isFirst, signal } = limits;
    for (;;) {
      const missing = readings.filter(({ reader, end }) => !reader.hasAllBelow(end));
      if (missing.length === 0) return true;
      const isUsedUp = readings.reduce((sum, { reader }) => sum + reader.bytes, 0) >= bytesMax;
      const wanted = !isUsedUp
        ? missing
        : missing.filter(({ reader }) => isFirst && reader.readUpTo === null);
      if (wanted.length === 0 || signal.aborted) return false;
      const { readBytesMax, readsMax } = this.#options.limits;
      await Promise.all(
        // Those with the least first: the cut goes as far as the slowest partition.
        wanted
          .toSorted((a, b) => a.reader.bytes - b.reader.bytes)
          .slice(0, readsMax)
          .map(({ reader, end, floor }) =>
            reader.readTowards({ end, floor, bytesMax: readBytesMax, signal }),
          ),
      );
    }
  }

  /** Which of the records that are here belong to the batch, in order, and where each partition goes on. */
  #collect(target: Target, checkpoint: Checkpoint): LogBatch {
    const found = this.#sort(target, checkpoint);
    const { changes, deadLetters } = offered(found.taken, this.#options.sink);
    const { watermark, kind } = target;
    const offsets = mergeOffsets(checkpoint.offsets, found.offsets);
    const isWhole = kind === 'whole';
    return {
      cut: isWhole ? { ...watermark, ends: offsets } : cutBetween(target, changes, found),
      watermarkOffset: isWhole ? watermark.nextOffset : checkpoint.watermarkOffset,
      offsets,
      changes,
      deadLetters,
      lateTopics: Object.keys(found.offsets).filter((topic) => isLateTopic(topic, checkpoint)),
      recordCount: found.recordCount,
      bytes: found.bytes,
    };
  }

  #sort({ watermark, cut }: Target, checkpoint: Checkpoint): SortedRecords {
    const taken: ReadRecord[] = [];
    const held: PositionText[] = [];
    const offsets: Record<string, number[]> = {};
    let recordCount = 0;
    let bytes = 0;
    for (const [topic, ends] of this.#wanted(watermark.ends)) {
      const floor = floorOf(topic, checkpoint);
      offsets[topic] = ends.map((end, partition) => {
        const reader = this.#reader(topic, partition, checkpoint);
        let next = reader.hasAllBelow(end) ? end : reader.nextOffset;
        for (const record of reader.below(end)) {
          const { seq, offset } = record;
          recordCount += 1;
          bytes += record.bytes;
          if (seq !== null && seq > cut) {
            next = Math.min(next, offset);
            held.push(seq);
          } else if (seq === null ? offset < next : floor < seq) {
            // Without a position only the offset says whether a record was taken before.
            taken.push(record);
          }
        }
        return next;
      });
    }
    return { taken: inOrder(taken), held, offsets, recordCount, bytes };
  }
}

/** What the records say, apart from what cannot be decoded and what the sink refuses. */
function offered(
  records: readonly ReadRecord[],
  sink: Pick<Sink, 'refuse'>,
): Pick<LogBatch, 'changes' | 'deadLetters'> {
  const changes: Change[] = [];
  const deadLetters: DeadLetter[] = [];
  for (const { content, key, value } of records) {
    if (content === null) continue;
    if ('reason' in content) {
      deadLetters.push(content);
      continue;
    }
    const refusal = sink.refuse?.(content, key) ?? null;
    if (refusal === null) changes.push(content);
    else {
      const { topic, partition, offset, seq } = content;
      const { reason, instead } = refusal;
      if (instead !== null) changes.push(instead);
      deadLetters.push({ topic, partition, offset, seq, reason, key, value });
    }
  }
  return { changes, deadLetters };
}

interface Reading {
  readonly reader: PartitionReader;
  readonly end: number;
  readonly floor: PositionText;
}

interface FillLimits {
  readonly bytesMax: number;
  /** False: only looks whether more fits into the batch. */
  readonly isFirst: boolean;
  readonly signal: AbortSignal;
}

interface SortedRecords {
  readonly taken: readonly ReadRecord[];
  /** Positions of records that wait for the next batch. */
  readonly held: readonly PositionText[];
  readonly offsets: Offsets;
  readonly recordCount: number;
  readonly bytes: number;
}

function isLateTopic(topic: string, { offsets }: Checkpoint): boolean {
  return offsets[topic] === undefined;
}

/** What is at or below it was applied: nothing of a table that is new to the sink. */
function floorOf(topic: string, checkpoint: Checkpoint): PositionText {
  return isLateTopic(topic, checkpoint) ? positionZero : checkpoint.applied;
}

/** By position; of records with the same one, the first to be written. Those without one come first. */
function inOrder(records: ReadRecord[]): readonly ReadRecord[] {
  records.sort((a, b) => {
    const [one, other] = [a.seq ?? '', b.seq ?? ''];
    if (one === other) return a.offset - b.offset;
    return one < other ? -1 : 1;
  });
  return records.filter(({ seq }, index) => seq === null || seq !== records[index - 1]?.seq);
}

/** The furthest position below which every record is here: as far as the slowest partition was read. */
function partialTarget(
  watermark: PlacedWatermark,
  readings: readonly Reading[],
  until: PositionText | null,
): Target | null {
  let cut: PositionText | null = null;
  for (const { reader, end } of readings) {
    if (reader.hasAllBelow(end)) continue;
    const { readUpTo } = reader;
    // Only when the reading was aborted.
    if (readUpTo === null) return null;
    if (cut === null || readUpTo < cut) cut = readUpTo;
  }
  if (cut === null) return null;
  if (until !== null && until <= cut) return { watermark, cut: until, kind: 'until' };
  return { watermark, cut, kind: 'partial' };
}

/** A cut that no watermark names. It is published when it parts no transaction. */
function cutBetween(
  { cut, kind }: Target,
  changes: readonly Change[],
  found: SortedRecords,
): Watermark {
  const last = changes.at(-1)?.seq ?? cut;
  const partsTransaction = found.held.some((seq) => transactionOf(seq) === transactionOf(last));
  const { commitLsn } = parsePosition(cut);
  return {
    cut,
    lsn: formatLsn(kind === 'until' ? commitLsn + 1n : commitLsn),
    committedAtUs: newestCommit(changes),
    publish: kind === 'until' && !partsTransaction,
    full: false,
    ends: found.offsets,
  };
}
