/**
 * The log: topics of partitions of records, appended in order and read by offset. Capture writes it,
 * sinks read it; Kafka is the engine at scale, one SQLite file the one that starts with nothing.
 *
 * Order: a partition keeps the order of its appends. Durability: `append` resolves once every record
 * of it survives a power cut. Appends may overlap in time; they take effect in the order of the calls.
 * When one fails, all later ones of this handle fail too, so nothing can be accepted after a hole: the
 * caller closes the log, opens a new one and resumes from what is durable.
 */
export interface Log {
  /** Creates what is missing. An existing topic that differs in partitions throws `log-conflict`. */
  createTopics(specs: readonly TopicSpec[]): Promise<void>;
  /** Resolves when all of it is durable, with the next offset of every partition written. */
  append(batches: readonly PartitionBatch[]): Promise<readonly PartitionEnd[]>;
  /**
   * The records from `offset` on, in offset order; at least one unless `waitMs` passes or the signal
   * aborts first, which give an empty array. An offset below the retained start throws `log-corrupt`
   * unless `allowTruncated`; then reading begins at the start. An offset above the end throws
   * `log-corrupt`: this is not the log that was read before. A topic that does not exist is empty.
   */
  read(from: PartitionOffset, limits: ReadLimits): Promise<readonly StoredRecord[]>;
  /** The last record of a partition; undefined when it holds none. */
  lastRecord(partition: TopicPartition): Promise<StoredRecord | undefined>;
  /** Retained range of each partition, by topic; all topics unless named. Unknown topics are left out. */
  ranges(topics?: readonly string[]): Promise<ReadonlyMap<string, readonly OffsetRange[]>>;
  close(): Promise<void>;
}

export type RecordHeader = readonly [name: string, value: Buffer];

export interface LogRecord {
  readonly key: Buffer | null;
  /** null = tombstone. */
  readonly value: Buffer | null;
  readonly headers: readonly RecordHeader[];
  readonly timestampMs: number;
}

export interface StoredRecord extends LogRecord {
  readonly offset: number;
}

export interface TopicPartition {
  readonly topic: string;
  readonly partition: number;
}

export interface PartitionOffset extends TopicPartition {
  readonly offset: number;
}

export interface PartitionBatch extends TopicPartition {
  readonly records: readonly LogRecord[];
}

export interface PartitionEnd extends TopicPartition {
  /** Offset that the next record of the partition will get. */
  readonly end: number;
}

export interface OffsetRange {
  readonly start: number;
  readonly end: number;
}

export interface TopicSpec {
  readonly topic: string;
  readonly partitions: number;
  /** Keep the newest record of each key for ever, beside what retention keeps. */
  readonly compacted: boolean;
  /** Every record has a key, so the log may drop what a newer record replaces, where it is told to. */
  readonly keyed?: boolean;
}

export interface ReadLimits {
  readonly bytesMax: number;
  readonly waitMs: number;
  readonly signal?: AbortSignal;
  readonly allowTruncated?: boolean;
}
