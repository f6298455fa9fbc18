import type { OffsetRange, PartitionOffset, StoredRecord } from '../log.ts';
import type { TopicPartition } from '../log.ts';

/**
 * What the driver needs of a client library: requests over one connection to one broker, and answers
 * with Kafka's error codes in them. Leaders, order, sequence numbers, retries and errors are the
 * driver's own, so that both libraries behave alike and neither one's retry can reorder records.
 */
export interface KafkaClient {
  readonly name: 'kafkajs' | 'platformatic';
  /** Connects and authenticates. Rejects with the library's error. */
  open(address: BrokerAddress): Promise<BrokerLink>;
}

export interface BrokerAddress {
  readonly host: string;
  readonly port: number;
}

/** One connection. A request that rejects leaves it unusable: it is closed and another is opened. */
export interface BrokerLink {
  /** Brokers and the named topics; null: all topics. */
  metadata(topics: readonly string[] | null): Promise<ClusterMetadata>;
  /** A new producer identity, for sequence numbers. */
  producerIdentity(): Promise<ProducerIdentity>;
  produce(request: ProduceRequest): Promise<readonly ProducedBatch[]>;
  fetch(request: FetchRequest): Promise<FetchedRecords>;
  /** Start and end of partitions that this broker leads. */
  ranges(partitions: readonly TopicPartition[]): Promise<readonly PartitionRange[]>;
  createTopics(topics: readonly NewTopic[], timeoutMs: number): Promise<readonly TopicOutcome[]>;
  /** Settings in force, by topic. */
  settings(topics: readonly string[]): Promise<ReadonlyMap<string, ReadonlyMap<string, string>>>;
  /** At once; requests under way reject. */
  close(): void;
}

export interface ClusterMetadata {
  readonly brokers: ReadonlyMap<number, BrokerAddress>;
  readonly topics: readonly TopicMetadata[];
}

export interface TopicMetadata {
  readonly topic: string;
  readonly errorCode: number;
  readonly partitions: readonly PartitionMetadata[];
}

export interface PartitionMetadata {
  readonly partition: number;
  /** Broker id; -1 while there is none. */
  readonly leader: number;
  readonly replicas: readonly number[];
}

export interface ProducerIdentity {
  /** Brokers that have just started have none to give yet, and say so here. */
  readonly errorCode: number;
  readonly id: bigint;
  readonly epoch: number;
}

export interface ProduceRequest {
  /** At most one a partition. */
  readonly batches: readonly EncodedBatch[];
  /** How long the broker may wait for the replicas. */
  readonly timeoutMs: number;
}

/** A record batch in Kafka's format, producer identity and sequence number in it. */
export interface EncodedBatch extends TopicPartition {
  /** One behind the other; they change once the request has been answered. */
  readonly bytes: readonly Buffer[];
}

export interface ProducedBatch extends TopicPartition {
  readonly errorCode: number;
  readonly baseOffset: number;
}

export interface FetchRequest extends PartitionOffset {
  readonly bytesMax: number;
  readonly waitMs: number;
}

export interface FetchedRecords {
  readonly errorCode: number;
  /**
   * Behind the last batch of the answer, which may hold no record: compaction and transactions leave
   * such batches. The offset asked for when there was no batch.
   */
  readonly nextOffset: number;
  /** May begin below the offset asked for: a batch is given whole. Without control records. */
  readonly records: readonly StoredRecord[];
}

export interface PartitionRange extends TopicPartition, OffsetRange {
  readonly errorCode: number;
}

export interface NewTopic {
  readonly topic: string;
  readonly partitions: number;
  readonly replication: number;
  readonly settings: Readonly<Record<string, string>>;
}

export interface TopicOutcome {
  readonly topic: string;
  readonly errorCode: number;
  readonly errorMessage: string | null;
}

/** Limits of a connection, and how it shows who we are. */
export interface ClientOptions {
  readonly clientId: string;
  readonly connectTimeoutMs: number;
  readonly requestTimeoutMs: number;
  /** Asked at each new connection, so that rotated certificates and passwords are used. */
  readonly security: () => Promise<ConnectionSecurity>;
}

export interface ConnectionSecurity {
  readonly tls: TlsSettings | null;
  readonly sasl: SaslSettings | null;
}

export interface TlsSettings {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly servername?: string;
}

export type SaslSettings =
  | {
      readonly mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512';
      readonly username: string;
      readonly password: string;
    }
  | { readonly mechanism: 'oauthbearer'; readonly token: () => Promise<string> };
