import type { Log, OffsetRange } from '../log/log.ts';
import { PipelineError } from '../runtime/errors.ts';
import { controlTopics, headerSeq } from '../schemas/control.ts';
import { positionZero, type PositionText } from '../schemas/position.ts';
import { transactionTopicOf } from './transaction-topic.ts';

/** Partitions whose last record is read at the same time. */
const readsMax = 16;

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

/** Reads the last record of every partition. Throws `log-corrupt` when one has no position. */
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
      range.end > range.start ? [{ topic, partition }] : [],
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

async function readTail(
  log: Log,
  partition: { readonly topic: string; readonly partition: number },
): Promise<PositionText> {
  const record = await log.lastRecord(partition);
  if (record === undefined) return positionZero;
  const header = record.headers.find(([name]) => name === headerSeq);
  if (header !== undefined) return header[1].toString('latin1');
  throw new PipelineError(
    'log-corrupt',
    `the last record of ${partition.topic}/${partition.partition} (offset ${record.offset}) has no position`,
    { hint: 'another program wrote to this topic: choose another log.prefix' },
  );
}
