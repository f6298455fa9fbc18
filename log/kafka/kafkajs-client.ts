import type { KafkaLogConfig } from '../../runtime/config.ts';
import type {
  LogRecord,
  OffsetRange,
  PartitionBatch,
  PartitionOffset,
  RecordHeader,
  StoredRecord,
} from '../log.ts';
import type {
  FetchLimits,
  FetchResult,
  KafkaClient,
  PartitionState,
  TopicPartitions,
  TopicSettings,
} from './client.ts';
import { translateKafkaError } from './errors.ts';
import { KafkajsCluster } from './kafkajs-cluster.ts';
import { createErrorFromCode } from './kafkajs-internals.ts';

const acksAll = -1;
const earliest = -2;
const latest = -1;
const readUncommitted = 0;
const topicResource = 2;
const offsetOutOfRange = 1;
const unknownTopic = 3;
const topicExists = 36;
const int32Max = 2 ** 31 - 1;

/** The parts of kafkajs's answers that are read. */
interface PartitionAnswer {
  readonly partition: number;
  readonly errorCode: number;
}
interface ProduceAnswer {
  readonly topics: readonly {
    readonly topicName: string;
    readonly partitions: readonly (PartitionAnswer & { readonly baseOffset: string })[];
  }[];
}
interface OffsetsAnswer {
  readonly responses: readonly {
    readonly topic: string;
    readonly partitions: readonly (PartitionAnswer & { readonly offset: string })[];
  }[];
}
interface FetchAnswer {
  readonly responses: readonly {
    readonly topicName: string;
    readonly partitions: readonly (PartitionAnswer & {
      readonly highWatermark: string;
      readonly messages: readonly FetchedMessage[];
    })[];
  }[];
}
interface FetchedMessage {
  readonly offset: string;
  readonly timestamp: string;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers?: Readonly<Record<string, Buffer | null | readonly (Buffer | null)[]>>;
  readonly isControlRecord?: boolean;
}

/** Kafka through kafkajs, below its consumers and producers. */
export class KafkajsClient implements KafkaClient {
  readonly #config: KafkaLogConfig;
  readonly #cluster: KafkajsCluster;
  /** Topic → leader of each partition; forgotten after every failure. */
  readonly #leaders = new Map<string, readonly PartitionState[]>();

  constructor(config: KafkaLogConfig) {
    this.#config = config;
    this.#cluster = new KafkajsCluster(config);
  }

  async topics(names: readonly string[] = []) {
    return this.#asking(names[0], async () => {
      const found = new Map<string, readonly PartitionState[]>();
      const { topicMetadata } = await this.#cluster.metadata(names);
      for (const { topic, topicErrorCode, isInternal, partitionMetadata } of topicMetadata) {
        if (isInternal || topicErrorCode === unknownTopic) continue;
        if (names.length > 0) failOn(topicErrorCode);
        const partitions = partitionMetadata
          .toSorted((left, right) => left.partitionId - right.partitionId)
          .map(({ leader }) => ({ leader }));
        if (partitions.length > 0) found.set(topic, partitions);
      }
      for (const [topic, partitions] of found) this.#leaders.set(topic, partitions);
      return found;
    });
  }

  async createTopic({ topic, partitions, replication, settings }: TopicSettings) {
    return this.#asking(topic, async () => {
      const { controllerId } = await this.#cluster.metadata([topic]);
      const configEntries = Object.entries(settings).map(([name, value]) => ({ name, value }));
      const answer = (await this.#cluster.ask(controllerId, 'CreateTopics', {
        topics: [
          { topic, numPartitions: partitions, replicationFactor: replication, configEntries },
        ],
        validateOnly: false,
        timeout: this.#config.timeout.request,
      })) as { readonly topicErrors: readonly { readonly errorCode: number }[] };
      const code = answer.topicErrors[0]?.errorCode ?? 0;
      if (code === topicExists) return 'exists';
      failOn(code);
      return 'created';
    });
  }

  async settings(topic: string) {
    return this.#asking(topic, async () => {
      const { controllerId } = await this.#cluster.metadata([topic]);
      const answer = (await this.#cluster.ask(controllerId, 'DescribeConfigs', {
        resources: [{ type: topicResource, name: topic, configNames: [] }],
        includeSynonyms: false,
      })) as {
        readonly resources: readonly {
          readonly errorCode: number;
          readonly configEntries: readonly {
            readonly configName: string;
            readonly configValue: string;
          }[];
        }[];
      };
      const [resource] = answer.resources;
      failOn(resource?.errorCode ?? 0);
      const entries = resource?.configEntries ?? [];
      return new Map(entries.map(({ configName, configValue }) => [configName, configValue]));
    });
  }

  async ranges(topics: readonly TopicPartitions[]) {
    return this.#asking(topics[0]?.topic, async () => {
      const [starts, ends] = [
        await this.#listOffsets(topics, earliest),
        await this.#listOffsets(topics, latest),
      ];
      return new Map(
        topics.map(({ topic, partitions }) => {
          const ranges = Array.from({ length: partitions }, (_, partition): OffsetRange => {
            const at = `${topic}/${partition}`;
            return { start: starts.get(at) ?? 0, end: ends.get(at) ?? 0 };
          });
          return [topic, ranges];
        }),
      );
    });
  }

  async produce(batches: readonly PartitionBatch[]): Promise<readonly PartitionOffset[]> {
    return this.#asking(batches[0]?.topic, async () => {
      const byLeader = await this.#groupByLeader(batches);
      const answers = await Promise.all(
        [...byLeader].map(([leader, own]) => this.#produceTo(leader, own)),
      );
      return answers.flat();
    });
  }

  async fetch(from: PartitionOffset, { bytesMax, waitMs }: FetchLimits): Promise<FetchResult> {
    const { topic, partition, offset } = from;
    return this.#asking(topic, async () => {
      const leader = await this.#leaderOf(topic, partition);
      if (leader === undefined) return 'unknown-topic';
      const maxBytes = Math.min(bytesMax, int32Max);
      const fields = { partition, fetchOffset: String(offset), maxBytes };
      const answer = (await this.#cluster.ask(leader, 'Fetch', {
        replicaId: -1,
        isolationLevel: readUncommitted,
        maxWaitTime: waitMs,
        minBytes: 1,
        maxBytes,
        topics: [
          { topic, partitions: [{ ...fields, currentLeaderEpoch: -1, logStartOffset: -1 }] },
        ],
        rackId: '',
      })) as FetchAnswer;
      const [found] = answer.responses.flatMap(({ partitions }) => partitions);
      const code = found?.errorCode ?? 0;
      if (code === offsetOutOfRange) return 'out-of-range';
      failOn(code);
      const messages = found?.messages ?? [];
      return {
        records: messages.filter((message) => isRecordFrom(message, offset)).map(toRecord),
        next: Number(messages.at(-1)?.offset ?? offset - 1) + 1,
        end: Number(found?.highWatermark ?? 0),
      };
    });
  }

  async close(): Promise<void> {
    this.#cluster.close();
  }

  async #produceTo(leader: number, batches: readonly PartitionBatch[]) {
    const topics = Map.groupBy(batches, ({ topic }) => topic);
    const topicData = [...topics].map(([topic, own]) => ({
      topic,
      partitions: own.map(({ partition, records }) => {
        return { partition, firstSequence: 0, messages: records.map(toMessage) };
      }),
    }));
    const answer = (await this.#cluster.ask(leader, 'Produce', {
      acks: acksAll,
      timeout: this.#config.timeout.request,
      compression: 0,
      topicData,
    })) as ProduceAnswer;
    return answer.topics.flatMap(({ topicName, partitions }) =>
      partitions.map(({ partition, errorCode, baseOffset }): PartitionOffset => {
        failOn(errorCode, topicName);
        return { topic: topicName, partition, offset: Number(baseOffset) };
      }),
    );
  }

  async #groupByLeader(batches: readonly PartitionBatch[]) {
    const byLeader = new Map<number, PartitionBatch[]>();
    for (const batch of batches) {
      const leader = await this.#leaderOf(batch.topic, batch.partition);
      if (leader === undefined) throw atTopic(createErrorFromCode(unknownTopic), batch.topic);
      byLeader.set(leader, [...(byLeader.get(leader) ?? []), batch]);
    }
    return byLeader;
  }

  /** Undefined when the topic or the partition does not exist. */
  async #leaderOf(topic: string, partition: number): Promise<number | undefined> {
    const known = this.#leaders.get(topic) ?? (await this.topics([topic])).get(topic);
    return known?.[partition]?.leader;
  }

  async #listOffsets(topics: readonly TopicPartitions[], timestamp: number) {
    const byLeader = new Map<number, Map<string, object[]>>();
    for (const { topic, partitions } of topics) {
      for (let partition = 0; partition < partitions; partition += 1) {
        const leader = (await this.#leaderOf(topic, partition)) ?? -1;
        const own = byLeader.get(leader) ?? new Map<string, object[]>();
        byLeader.set(leader, own);
        own.set(topic, [...(own.get(topic) ?? []), { partition, timestamp }]);
      }
    }
    const offsets = new Map<string, number>();
    for (const [leader, own] of byLeader) {
      const answer = (await this.#cluster.ask(leader, 'ListOffsets', {
        replicaId: -1,
        isolationLevel: readUncommitted,
        topics: [...own].map(([topic, partitions]) => ({ topic, partitions })),
      })) as OffsetsAnswer;
      for (const { topic, partitions } of answer.responses) {
        for (const { partition, errorCode, offset } of partitions) {
          failOn(errorCode, topic);
          offsets.set(`${topic}/${partition}`, Number(offset));
        }
      }
    }
    return offsets;
  }

  async #asking<T>(topic: string | undefined, ask: () => Promise<T>): Promise<T> {
    try {
      return await ask();
    } catch (error) {
      this.#leaders.clear();
      const named = (error as { readonly topic?: string }).topic ?? topic;
      const place = {
        brokers: this.#config.brokers,
        ...(named === undefined ? {} : { topic: named }),
      };
      throw translateKafkaError(error, place);
    }
  }
}

function failOn(code: number, topic?: string): void {
  if (code !== 0) throw atTopic(createErrorFromCode(code), topic);
}

const atTopic = (error: Error, topic: string | undefined): Error =>
  topic === undefined ? error : Object.assign(error, { topic });

/** A batch is fetched whole, also when it begins before the offset; markers are no records. */
const isRecordFrom = ({ offset, isControlRecord }: FetchedMessage, from: number): boolean =>
  Number(offset) >= from && isControlRecord !== true;

function toRecord({ offset, timestamp, key, value, headers = {} }: FetchedMessage): StoredRecord {
  return {
    offset: Number(offset),
    key,
    value,
    timestampMs: Number(timestamp),
    headers: Object.entries(headers).flatMap(([name, content]): RecordHeader[] => {
      const values = Array.isArray(content) ? content : [content];
      return values.map((one: Buffer | null) => [name, one ?? Buffer.alloc(0)]);
    }),
  };
}

function toMessage({ key, value, headers, timestampMs }: LogRecord) {
  const named: Record<string, Buffer[]> = {};
  for (const [name, content] of headers) (named[name] ??= []).push(content);
  // As text, because kafkajs takes 0 for "now".
  return { key, value, headers: named, timestamp: String(timestampMs) };
}
