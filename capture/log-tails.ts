import type {
  Log,
  OffsetRange,
  PartitionOffset,
  StoredRecord,
  TopicPartition,
} from '../log/log.ts';
import { PipelineError } from '../runtime/errors.ts';
import { controlTopics, headerSeq } from '../schemas/control.ts';
import { positionZero, type PositionText } from '../schemas/position.ts';
import { transactionTopicOf } from './transaction-topic.ts';

/** Partitions whose last record is read at the same time. */
const readsMax = 16;
/** Records of another program that are looked past, in growing steps, for the last one of ours. */
const foreignRecordsMin = 64;
const foreignRecordsMax = foreignRecordsMin * 4 ** 4;
const readBytesMax = 1 << 20;

/**
 * The position of the last record of each partition, when capture opened the log: what is not above it
 * is there already. A partition that retention emptied falls back to the progress record.
 */
export class LogTails {
  readonly #tails = new Map<string, readonly PositionText[]>();
  readonly #floor: PositionText;
  /** The highest tail. */
  readonly highest: PositionText;

  constructor(tails: ReadonlyMap<string, readonly PositionText[]>, floor: PositionText) {
    this.#tails = new Map(tails);
    this.#floor = floor;
    this.highest = [...tails.values()].flat().reduce((a, b) => (a > b ? a : b), floor);
  }

  /** False once the stream is past everything that the log held: then nothing needs to be looked up. */
  reaches(seqPrefix: string): boolean {
    return seqPrefix <= this.highest;
  }

  /** Whether the partition already holds the record at this position. */
  holds(
    partition: { readonly topic: string; readonly partition: number },
    seq: PositionText,
  ): boolean {
    const tail = this.#tails.get(partition.topic)?.[partition.partition] ?? positionZero;
    return seq <= tail || seq <= this.#floor;
  }
}

/** Whether a topic holds changes of a table of this prefix: those are what watermarks speak of. */
export function isTableTopic(prefix: string, topic: string): boolean {
  const control: readonly string[] = Object.values(controlTopics(prefix));
  const isOther = control.includes(topic) || topic === transactionTopicOf(prefix);
  return topic.startsWith(`${prefix}.`) && !isOther;
}

/**
 * Reads the position of the last record of every partition that capture wrote. Throws `log-corrupt` when
 * another program wrote more than `foreignRecordsMax` records after it.
 */
export async function readTails(
  log: Log,
  ranges: ReadonlyMap<string, readonly OffsetRange[]>,
): Promise<ReadonlyMap<string, readonly PositionText[]>> {
  const tails = new Map<string, PositionText[]>();
  const partitions = [...ranges].flatMap(([topic, list]) => {
    tails.set(
      topic,
      Array.from(list, () => positionZero),
    );
    return list.flatMap((range, partition) =>
      range.end > range.start ? [{ topic, partition, start: range.start }] : [],
    );
  });
  for (let first = 0; first < partitions.length; first += readsMax) {
    const some = partitions.slice(first, first + readsMax);
    const read = await Promise.all(some.map((partition) => readTail(log, partition)));
    for (const [index, { topic, partition }] of some.entries()) {
      const list = tails.get(topic);
      if (list !== undefined) list[partition] = read[index] ?? positionZero;
    }
  }
  return tails;
}

interface Tail extends TopicPartition {
  /** Its first retained offset. */
  readonly start: number;
}

async function readTail(log: Log, tail: Tail): Promise<PositionText> {
  const record = await log.lastRecord(tail);
  if (record === undefined) return positionZero;
  const own = positionOf(record);
  if (own !== null) return own;
  const { topic, partition } = tail;
  // Another program wrote to this topic. Sinks make dead letters of that; what we wrote lies before it.
  for (let window = foreignRecordsMin; window <= foreignRecordsMax; window *= 4) {
    const from = Math.max(tail.start, record.offset - window);
    const found = await lastPosition(log, { topic, partition, offset: from }, record.offset);
    if (found !== null) return found;
    if (from === tail.start) return positionZero;
  }
  throw new PipelineError(
    'log-corrupt',
    `the last ${foreignRecordsMax} records of ${topic}/${partition} (up to offset ${record.offset}) have no position`,
    { hint: 'another program writes to this topic: stop it, or choose another log.prefix' },
  );
}

/** The position of the last record below `end` that has one; null when none has. */
async function lastPosition(
  log: Log,
  { topic, partition, offset }: PartitionOffset,
  end: number,
): Promise<PositionText | null> {
  let found: PositionText | null = null;
  for (let next = offset; next < end;) {
    const limits = { bytesMax: readBytesMax, waitMs: 0, allowTruncated: true };
    const records = await log.read({ topic, partition, offset: next }, limits);
    for (const record of records) {
      if (record.offset < end) found = positionOf(record) ?? found;
      next = record.offset + 1;
    }
    if (records.length === 0) break;
  }
  return found;
}

function positionOf(record: StoredRecord): PositionText | null {
  const header = record.headers.find(([name]) => name === headerSeq);
  return header === undefined ? null : header[1].toString('latin1');
}
