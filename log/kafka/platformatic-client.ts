import {
  Admin,
  type BaseOptions,
  type ClusterTopicMetadata,
  Consumer,
  Producer,
} from '@platformatic/kafka';
import type { KafkaLogConfig } from '../../runtime/config.ts';
import type { LogRecord, OffsetRange, PartitionBatch, PartitionOffset } from '../log.ts';
import type { RecordHeader, StoredRecord } from '../log.ts';
import type {
  FetchLimits,
  FetchResult,
  KafkaClient,
  KafkaProducer,
  PartitionState,
  TopicPartitions,
  TopicSettings,
} from './client.ts';
import { fetchToken, readTls } from './connection-options.ts';
import { protocolNames, translateKafkaError } from './errors.ts';

const acksAll = -1;
const earliest = -2n;
const latest = -1n;
const topicResource = 2;
const readUncommitted = 0;
const isControlBatch = 0x20;
const int32Max = 2 ** 31 - 1;
const groupId = 'tributary';

/** Sending through @platformatic/kafka: half the CPU of kafkajs for each record. */
export function createPlatformaticProducer(config: KafkaLogConfig): KafkaProducer {
  return new PlatformaticProducer(config);
}

/** Everything through @platformatic/kafka. */
export function createPlatformaticClient(config: KafkaLogConfig): KafkaClient {
  return new PlatformaticClient(config);
}

class PlatformaticProducer implements KafkaProducer {
  readonly #config: KafkaLogConfig;
  readonly #producer: Producer;

  constructor(config: KafkaLogConfig) {
    this.#config = config;
    // One request is under way at a time, so sequence numbers would protect nothing.
    this.#producer = new Producer({
      ...connectionOptions(config),
      acks: acksAll,
      idempotent: false,
      autocreateTopics: false,
      repeatOnStaleMetadata: false,
    });
  }

  async produce(batches: readonly PartitionBatch[]): Promise<readonly PartitionOffset[]> {
    return translating(this.#config, batches[0]?.topic, async () => {
      const messages = batches.flatMap(({ topic, partition, records }) =>
        records.map((record) => ({ topic, partition, ...toMessage(record) })),
      );
      const { offsets = [] } = await this.#producer.send({ messages, acks: acksAll });
      return offsets.map(({ topic, partition, offset }) => {
        return { topic, partition, offset: Number(offset) };
      });
    });
  }

  close(): Promise<void> {
    return closeQuietly(this.#producer);
  }
}

class PlatformaticClient implements KafkaClient {
  readonly #config: KafkaLogConfig;
  readonly #producer: KafkaProducer;
  readonly #admin: Admin;
  readonly #consumer: Consumer;
  /** One fetch at a time: the library keeps one fetch session a broker. */
  #fetching: Promise<unknown> = Promise.resolve();

  constructor(config: KafkaLogConfig) {
    this.#config = config;
    this.#producer = new PlatformaticProducer(config);
    this.#admin = new Admin(connectionOptions(config));
    this.#consumer = new Consumer({ ...connectionOptions(config), groupId, autocommit: false });
  }

  async topics(names?: readonly string[]): Promise<ReadonlyMap<string, readonly PartitionState[]>> {
    return translating(this.#config, names?.[0], async () => {
      const known = names ?? (await this.#admin.listTopics({ includeInternals: false }));
      if (known.length === 0) return new Map();
      const topics = await this.#metadata(known);
      return new Map(
        [...topics].map(([topic, { partitions }]) => [
          topic,
          partitions.map(({ leader }) => ({ leader })),
        ]),
      );
    });
  }

  async createTopic({ topic, partitions, replication, settings }: TopicSettings) {
    return translating(this.#config, topic, async () => {
      const configs = Object.entries(settings).map(([name, value]) => ({ name, value }));
      try {
        await this.#admin.createTopics({
          topics: [topic],
          partitions,
          replicas: replication,
          configs,
        });
        return 'created';
      } catch (error) {
        if (protocolNames(error).includes('TOPIC_ALREADY_EXISTS')) return 'exists';
        throw error;
      }
    });
  }

  async settings(topic: string): Promise<ReadonlyMap<string, string>> {
    return translating(this.#config, topic, async () => {
      const [found] = await this.#admin.describeConfigs({
        resources: [{ resourceType: topicResource, resourceName: topic, configurationKeys: null }],
      });
      const configs = found?.configs ?? [];
      return new Map(configs.map(({ name, value }) => [name, String(value)]));
    });
  }

  async ranges(topics: readonly TopicPartitions[]) {
    return translating(this.#config, topics[0]?.topic, async () => {
      const starts = await this.#listOffsets(topics, earliest);
      const ends = await this.#listOffsets(topics, latest);
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

  produce(batches: readonly PartitionBatch[]): Promise<readonly PartitionOffset[]> {
    return this.#producer.produce(batches);
  }

  async fetch(from: PartitionOffset, limits: FetchLimits): Promise<FetchResult> {
    const turn = this.#fetching.then(() => this.#fetchNow(from, limits));
    this.#fetching = turn.catch(() => undefined);
    return turn;
  }

  async close(): Promise<void> {
    await Promise.all([
      this.#producer.close(),
      closeQuietly(this.#admin),
      closeQuietly(this.#consumer),
    ]);
  }

  async #fetchNow(from: PartitionOffset, { bytesMax, waitMs }: FetchLimits): Promise<FetchResult> {
    const { topic, partition, offset } = from;
    return translating(this.#config, topic, async () => {
      const found = (await this.#metadata([topic])).get(topic);
      const leader = found?.partitions[partition]?.leader;
      if (found === undefined || leader === undefined) return 'unknown-topic';
      try {
        const { responses } = await this.#consumer.fetch({
          node: leader,
          minBytes: 1,
          maxBytes: Math.min(bytesMax, int32Max),
          maxWaitTime: waitMs,
          isolationLevel: readUncommitted,
          topics: [
            {
              topicId: found.id,
              partitions: [
                {
                  partition,
                  fetchOffset: BigInt(offset),
                  partitionMaxBytes: Math.min(bytesMax, int32Max),
                  currentLeaderEpoch: -1,
                  lastFetchedEpoch: -1,
                },
              ],
            },
          ],
        });
        const answer = responses
          .flatMap(({ partitions }) => partitions)
          .find(({ partitionIndex }) => partitionIndex === partition);
        return toResult(answer, offset);
      } catch (error) {
        if (protocolNames(error).includes('OFFSET_OUT_OF_RANGE')) return 'out-of-range';
        throw error;
      }
    });
  }

  /** Only topics that exist. */
  async #metadata(topics: readonly string[]): Promise<ReadonlyMap<string, ClusterTopicMetadata>> {
    try {
      const options = { topics: [...topics], autocreateTopics: false, forceUpdate: true };
      return (await this.#admin.metadata(options)).topics;
    } catch (error) {
      if (!isUnknownTopic(error)) throw error;
      if (topics.length === 1) return new Map<string, ClusterTopicMetadata>();
      const existing = new Set(await this.#admin.listTopics());
      const left = topics.filter((topic) => existing.has(topic));
      return left.length === 0
        ? new Map<string, ClusterTopicMetadata>()
        : await this.#metadata(left);
    }
  }

  async #listOffsets(topics: readonly TopicPartitions[], timestamp: bigint) {
    const listed = await this.#admin.listOffsets({
      topics: topics.map(({ topic, partitions }) => ({
        name: topic,
        partitions: Array.from({ length: partitions }, (_, partitionIndex) => {
          return { partitionIndex, timestamp };
        }),
      })),
    });
    const found = new Map<string, number>();
    for (const { name, partitions } of listed) {
      for (const { partitionIndex, offset } of partitions) {
        found.set(`${name}/${partitionIndex}`, Number(offset));
      }
    }
    return found;
  }
}

type FetchedPartition = Awaited<
  ReturnType<Consumer['fetch']>
>['responses'][number]['partitions'][number];

function toResult(answer: FetchedPartition | undefined, offset: number): FetchResult {
  const records: StoredRecord[] = [];
  let next = offset;
  for (const batch of answer?.records ?? []) {
    next = Number(batch.firstOffset) + batch.lastOffsetDelta + 1;
    if ((batch.attributes & isControlBatch) !== 0) continue;
    for (const record of batch.records) {
      const at = Number(batch.firstOffset) + record.offsetDelta;
      if (at < offset) continue;
      records.push({
        offset: at,
        key: record.key,
        value: record.value,
        timestampMs: Number(batch.firstTimestamp + record.timestampDelta),
        headers: record.headers.map(([name, content]): RecordHeader => {
          return [String(name), content ?? Buffer.alloc(0)];
        }),
      });
    }
  }
  return { records, next, end: Number(answer?.highWatermark ?? 0n) };
}

/** The library writes null as it should; its types speak of Buffers only. */
function toMessage({ key, value, headers, timestampMs }: LogRecord) {
  return {
    key: key as Buffer,
    value: value as Buffer,
    // Names are Buffers, so that one may stand twice.
    headers: new Map(headers.map(([name, content]) => [Buffer.from(name), content])),
    timestamp: BigInt(timestampMs),
  };
}

const mechanisms = {
  plain: 'PLAIN',
  'scram-sha-256': 'SCRAM-SHA-256',
  'scram-sha-512': 'SCRAM-SHA-512',
  oauthbearer: 'OAUTHBEARER',
} as const;

function connectionOptions(config: KafkaLogConfig): BaseOptions {
  const { brokers, timeout, sasl } = config;
  const tls = readTls(config);
  const mechanism = mechanisms[(sasl?.mechanism ?? '') as keyof typeof mechanisms];
  const { username = '', password = '' } = sasl ?? {};
  const token = async () => (await fetchToken(config)).value;
  const credentials = mechanism === 'OAUTHBEARER' ? { token } : { username, password };
  return {
    clientId: 'tributary',
    bootstrapBrokers: [...brokers],
    // A second try could put a batch behind a later one.
    retries: 0,
    timeout: timeout.request,
    requestTimeout: timeout.request,
    connectTimeout: timeout.connect,
    ...(tls === undefined ? {} : { tls, tlsServerName: tls.servername ?? true }),
    ...(mechanism === undefined ? {} : { sasl: { mechanism, ...credentials } }),
  };
}

async function translating<T>(
  { brokers }: KafkaLogConfig,
  topic: string | undefined,
  ask: () => Promise<T>,
): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    throw translateKafkaError(error, { brokers, ...(topic === undefined ? {} : { topic }) });
  }
}

/** Told by the brokers, or by the library when their answer leaves the topic out. */
const isUnknownTopic = (error: unknown): boolean =>
  protocolNames(error).includes('UNKNOWN_TOPIC_OR_PARTITION') ||
  (error instanceof Error && error.message.startsWith('Unknown topic'));

/** A connection that is broken already is as closed as it can be. */
async function closeQuietly(client: { close(): Promise<void> }): Promise<void> {
  await client.close().catch(() => undefined);
}
