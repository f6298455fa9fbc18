import type { Log, StoredRecord } from '../../log/log.ts';
import { controlTopics, type Watermark } from '../../schemas/control.ts';
import { positionOf, type PlacedRecord } from '../../sinks/decode-record.ts';

export interface FollowOptions {
  readonly log: Log;
  readonly prefix: string;
  readonly topic: string;
  /** False: only what comes after the call. */
  readonly fromStart: boolean;
  readonly signal: AbortSignal;
}

const readBytesMax = 256 * 1024;
const watermarkWaitMs = 1_000;

/**
 * The records of a topic in commit order, over all its partitions: watermark after watermark, because
 * below one of them every partition is complete. Ends when the signal aborts.
 */
export async function* followTopic(
  options: FollowOptions,
): AsyncGenerator<readonly PlacedRecord[]> {
  const { log, prefix, topic, fromStart, signal } = options;
  const { watermarks } = controlTopics(prefix);
  const ranges = await log.ranges([topic, watermarks]);
  const partitions = (ranges.get(topic) ?? []).map(
    (range, partition) =>
      new PartitionCursor(options, { partition, offset: fromStart ? range.start : range.end }),
  );
  // What is there already is merged up to its end; what follows comes with its watermark.
  const present = (ranges.get(topic) ?? []).map((range) => range.end);
  yield* merge(partitions, present);
  let offset = ranges.get(watermarks)?.[0]?.end ?? 0;
  while (!signal.aborted) {
    const records = await log.read(
      { topic: watermarks, partition: 0, offset },
      { bytesMax: readBytesMax, waitMs: watermarkWaitMs, signal, allowTruncated: true },
    );
    for (const record of records) {
      offset = record.offset + 1;
      const ends = endsOf(record, topic);
      if (ends !== undefined) yield* merge(partitions, ends);
    }
  }
}

function endsOf({ value }: StoredRecord, topic: string): readonly number[] | undefined {
  return value === null ? undefined : (JSON.parse(value.toString()) as Watermark).ends[topic];
}

/** All records below the ends, lowest position first, in pieces. */
async function* merge(
  partitions: readonly PartitionCursor[],
  ends: readonly number[],
): AsyncGenerator<readonly PlacedRecord[]> {
  for (;;) {
    for (const cursor of partitions) await cursor.fill(ends[cursor.partition] ?? 0);
    const heads = partitions.filter((cursor) => cursor.headSeq !== undefined);
    if (heads.length === 0) return;
    // Until one of the buffers that still has more behind it is empty, the lowest head is the next.
    const piece: PlacedRecord[] = [];
    for (;;) {
      const next = lowest(heads);
      if (next === undefined) break;
      piece.push(...next.take());
      if (next.headSeq === undefined) break;
    }
    yield piece;
  }
}

function lowest(cursors: readonly PartitionCursor[]): PartitionCursor | undefined {
  return cursors.reduce<PartitionCursor | undefined>(
    (best, cursor) =>
      cursor.headSeq !== undefined && cursor.headSeq < (best?.headSeq ?? '~') ? cursor : best,
    undefined,
  );
}

/** Reads one partition in pieces. */
class PartitionCursor {
  readonly partition: number;
  readonly #options: FollowOptions;
  #offset: number;
  #end = 0;
  #buffer: PlacedRecord[] = [];

  constructor(
    options: FollowOptions,
    place: { readonly partition: number; readonly offset: number },
  ) {
    this.#options = options;
    this.partition = place.partition;
    this.#offset = place.offset;
  }

  /** Position of the next record below the end that `fill` named; undefined when there is none in memory. */
  get headSeq(): string | undefined {
    const head = this.#buffer[0];
    return head !== undefined && head.record.offset < this.#end ? (head.seq ?? '') : undefined;
  }

  /** Reads on where memory holds nothing below `end`. */
  async fill(end: number): Promise<void> {
    const { log, topic, signal } = this.#options;
    const { partition } = this;
    this.#end = end;
    if (this.#buffer.length > 0 || this.#offset >= end || signal.aborted) return;
    const from = { topic, partition, offset: this.#offset };
    const records = await log.read(from, {
      bytesMax: readBytesMax,
      waitMs: 0,
      allowTruncated: true,
    });
    this.#buffer = records.map((record) => ({ topic, partition, record, seq: positionOf(record) }));
    this.#offset = (records.at(-1)?.offset ?? end - 1) + 1;
  }

  take(): readonly PlacedRecord[] {
    return this.#buffer.splice(0, 1);
  }
}
