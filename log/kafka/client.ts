import type { OffsetRange, PartitionBatch, PartitionOffset, StoredRecord } from '../log.ts';

/**
 * What the log needs of a Kafka client library. Nothing here retries: who calls knows what a second try
 * would do to the order. Errors come out translated.
 */
export interface KafkaClient extends KafkaProducer {
  /** Topic → its partitions; topics that do not exist are left out. All topics unless named. */
  topics(names?: readonly string[]): Promise<ReadonlyMap<string, readonly PartitionState[]>>;
  createTopic(settings: TopicSettings): Promise<'created' | 'exists'>;
  /** Settings of a topic as the brokers have them. */
  settings(topic: string): Promise<ReadonlyMap<string, string>>;
  /** Retained range of each partition of existing topics. */
  ranges(topics: readonly TopicPartitions[]): Promise<ReadonlyMap<string, readonly OffsetRange[]>>;
  fetch(from: PartitionOffset, limits: FetchLimits): Promise<FetchResult>;
}

export interface KafkaProducer {
  /** One record batch a partition, acknowledged by all replicas in sync; gives the first offset of each. */
  produce(batches: readonly PartitionBatch[]): Promise<readonly PartitionOffset[]>;
  close(): Promise<void>;
}

export interface PartitionState {
  /** Id of the broker that leads it; −1 while there is none. */
  readonly leader: number;
}

export interface TopicPartitions {
  readonly topic: string;
  readonly partitions: number;
}

export interface TopicSettings extends TopicPartitions {
  readonly replication: number;
  readonly settings: Readonly<Record<string, string>>;
}

export interface FetchLimits {
  readonly bytesMax: number;
  readonly waitMs: number;
}

export type FetchResult =
  /** Records from the offset on; none when there is none yet, or only holes and markers up to `next`. */
  | { readonly records: readonly StoredRecord[]; readonly next: number; readonly end: number }
  /** The offset is not (any more, or yet) in the partition. */
  | 'out-of-range'
  | 'unknown-topic';
