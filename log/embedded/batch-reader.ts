import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { PipelineError } from '../../runtime/errors.ts';
import type { OffsetRange, PartitionOffset, StoredRecord, TopicPartition } from '../log.ts';
import { batchColumns, decodeRow } from './batch-row.ts';

export interface ReadOptions {
  readonly bytesMax: number;
  readonly allowTruncated: boolean;
}

interface Partition extends TopicPartition {
  readonly id: number;
  readonly compacted: boolean;
  readonly start: number;
  readonly end: number;
}

/** The reading half of the log, on a connection of its own: never waits for a writer. */
export class BatchReader {
  readonly #database: DatabaseSync;
  readonly #selectPartition: StatementSync;
  readonly #selectBatches: StatementSync;
  readonly #selectLast: StatementSync;
  readonly #selectRanges: StatementSync;
  readonly #dataVersion: StatementSync;

  constructor(database: DatabaseSync) {
    this.#database = database;
    this.#dataVersion = database.prepare(/* sql */ `pragma data_version`);
    this.#selectPartition = database.prepare(/* sql */ `
      select p.id, p.start_offset, p.end_offset, t.compacted
      from partitions p join topics t on t.id = p.topic_id
      where t.topic = ? and p.partition = ?`);
    // From the batch that holds the offset on, or the first one above it.
    this.#selectBatches = database.prepare(/* sql */ `
      select b.byte_count, ${batchColumns}
      from batches b
      where b.partition_id = ?1 and b.base_offset >= coalesce((
        select max(base_offset) from batches where partition_id = ?1 and base_offset <= ?2), 0)
      order by b.base_offset`);
    this.#selectLast = database.prepare(/* sql */ `
      select ${batchColumns}
      from batches b where b.partition_id = ? order by b.base_offset desc limit 1`);
    this.#selectRanges = database.prepare(/* sql */ `
      select t.topic, p.start_offset, p.end_offset
      from topics t join partitions p on p.topic_id = t.id
      order by t.topic, p.partition`);
  }

  /** Another number after every commit of anyone else. */
  dataVersion(): number {
    return Number(this.#dataVersion.get()?.['data_version']);
  }

  /** Whole stored batches from the offset on, up to `bytesMax` but at least one; none at the end. */
  read(from: PartitionOffset, options: ReadOptions): StoredRecord[] {
    return this.#inTransaction(() => {
      const partition = this.#find(from);
      checkOffset(from, partition, options);
      if (partition === undefined) return [];
      const offset = Math.max(from.offset, partition.start);
      return offset === partition.end ? [] : this.#readBatches(partition, offset, options);
    });
  }

  lastRecord(partition: TopicPartition): StoredRecord | undefined {
    return this.#inTransaction(() => {
      const found = this.#find(partition);
      const row = found === undefined ? undefined : this.#selectLast.get(found.id);
      return row === undefined ? undefined : decodeRow(row, partition).at(-1);
    });
  }

  ranges(): Map<string, OffsetRange[]> {
    const ranges = new Map<string, OffsetRange[]>();
    for (const row of this.#selectRanges.all()) {
      const topic = String(row['topic']);
      const range = { start: Number(row['start_offset']), end: Number(row['end_offset']) };
      const list = ranges.get(topic);
      if (list === undefined) ranges.set(topic, [range]);
      else list.push(range);
    }
    return ranges;
  }

  close(): void {
    this.#database.close();
  }

  #find({ topic, partition }: TopicPartition): Partition | undefined {
    const row = this.#selectPartition.get(topic, partition);
    if (row === undefined) return undefined;
    return {
      topic,
      partition,
      id: Number(row['id']),
      compacted: row['compacted'] === 1,
      start: Number(row['start_offset']),
      end: Number(row['end_offset']),
    };
  }

  #readBatches(partition: Partition, offset: number, { bytesMax }: ReadOptions): StoredRecord[] {
    const records: StoredRecord[] = [];
    let next = offset;
    let bytes = 0;
    for (const row of this.#selectBatches.iterate(partition.id, offset)) {
      bytes += Number(row['byte_count']);
      if (records.length > 0 && bytes > bytesMax) break;
      const batch = decodeRow(row, partition);
      const base = Number(row['base_offset']);
      if (base > next && !partition.compacted) throw missing(partition, next, base);
      for (const record of batch) if (record.offset >= offset) records.push(record);
      next = Math.max(next, base + batch.length);
    }
    if (records.length === 0 && !partition.compacted) throw missing(partition, next, partition.end);
    return records;
  }

  /** One view of partitions and batches, although others write and drop meanwhile. */
  #inTransaction<T>(use: () => T): T {
    this.#database.exec(/* sql */ `begin`);
    try {
      return use();
    } finally {
      if (this.#database.isTransaction) this.#database.exec(/* sql */ `commit`);
    }
  }
}

function checkOffset(
  from: PartitionOffset,
  partition: Partition | undefined,
  { allowTruncated }: ReadOptions,
): void {
  const { topic, offset } = from;
  const start = partition?.start ?? 0;
  const end = partition?.end ?? 0;
  const place = `partition ${from.partition} of topic ${topic}`;
  const context = { topic, partition: from.partition, offset, start, end };
  if (offset > end) {
    throw new PipelineError('log-corrupt', `${place} ends at offset ${end}, before ${offset}`, {
      hint: 'the log was replaced or restored: start again with a new lake, or restore the newer log',
      context,
    });
  }
  if (offset < start && !allowTruncated) {
    throw new PipelineError('log-corrupt', `${place} starts at offset ${start}, after ${offset}`, {
      hint: 'retention dropped records that were not read: re-snapshot the table, and keep more',
      context,
    });
  }
}

function missing(partition: Partition, from: number, to: number): PipelineError {
  return new PipelineError(
    'log-corrupt',
    `offsets ${from} to ${to - 1} of partition ${partition.partition} of topic ${partition.topic} are missing`,
    { context: { topic: partition.topic, partition: partition.partition, offset: from } },
  );
}
