import { assert } from '../../runtime/assert.ts';
import type { RecordHeader, StoredRecord } from '../log.ts';
import { agreeOnVersions, apiKeys, type ApiName, type SpokenVersions } from './api-versions.ts';
import type { BrokerAddress, BrokerLink, ClientOptions, FetchRequest } from './client.ts';
import type { KafkaClient, NewTopic, PartitionRange, ProduceRequest } from './client.ts';
import type { SaslSettings } from './client.ts';
import type { TopicPartition } from '../log.ts';
import { fetchedEnd } from './fetched-end.ts';
import * as parts from './kafkajs-parts.ts';
import { encodeProduce } from './produce-request.ts';

const latest = '-1';
const earliest = '-2';
const topicResource = 2;
const readUncommitted = 0;

/** A client made of kafkajs' connections and protocol, without its producer, consumer and retries. */
export function kafkajsClient(options: ClientOptions): KafkaClient {
  return { name: 'kafkajs', open: (address) => openLink(address, options) };
}

/** The form of answers that we look into ourselves. */
const fetchVersion = 11;

/** The versions that kafkajs speaks, and we with it: brokers from 2.4 on. */
export function kafkajsVersions(): SpokenVersions {
  const names = Object.keys(apiKeys) as ApiName[];
  return Object.fromEntries(
    names.map((name) => {
      const versions = parts.requests[name].versions.map(Number);
      return [name, name === 'Fetch' ? versions.filter((one) => one === fetchVersion) : versions];
    }),
  ) as unknown as SpokenVersions;
}

async function openLink(address: BrokerAddress, options: ClientOptions): Promise<BrokerLink> {
  const { tls, sasl } = await options.security();
  const pool = new parts.ConnectionPool({
    ...address,
    rack: null,
    ssl: tls === null ? null : { ...tls },
    sasl: sasl === null ? null : saslOf(sasl),
    clientId: options.clientId,
    connectionTimeout: options.connectTimeoutMs,
    requestTimeout: options.requestTimeoutMs,
    enforceRequestTimeout: true,
    maxInFlightRequests: null,
    reauthenticationThreshold: 10_000,
    socketFactory: parts.socketFactory(),
    logger: parts.silentLogger,
  });
  const broker = new parts.Broker({
    connectionPool: pool,
    logger: parts.silentLogger,
    allowAutoTopicCreation: false,
    authenticationTimeout: options.connectTimeoutMs,
  });
  try {
    await broker.connect();
    const offered = Object.entries(broker.versions ?? {});
    const versions = agreeOnVersions(
      kafkajsVersions(),
      new Map(offered.map(([key, range]) => [Number(key), range])),
      { client: 'kafkajs', broker: `${address.host}:${address.port}` },
    );
    return new KafkajsLink(pool, versions);
  } catch (error) {
    closePool(pool);
    throw error;
  }
}

function saslOf(sasl: SaslSettings): unknown {
  if (sasl.mechanism !== 'oauthbearer') return sasl;
  const { mechanism, token } = sasl;
  return { mechanism, oauthBearerProvider: async () => ({ value: await token() }) };
}

function closePool(pool: parts.Pool): void {
  for (const connection of pool.pool) {
    connection.rejectRequests(new Error('the connection was closed'));
    // Not `disconnect`: it waits for answers, and a frozen broker gives none.
    connection.socket?.destroy();
    connection.disconnect().catch(() => undefined);
  }
}

class KafkajsLink implements BrokerLink {
  readonly #pool: parts.Pool;
  readonly #versions: Readonly<Record<ApiName, number>>;

  constructor(pool: parts.Pool, versions: Readonly<Record<ApiName, number>>) {
    this.#pool = pool;
    this.#versions = versions;
  }

  async metadata(topics: readonly string[] | null) {
    const answer = await this.#ask<parts.MetadataAnswer>('Metadata', {
      // kafkajs writes an empty list as "all topics".
      topics: topics ?? [],
      allowAutoTopicCreation: false,
    });
    const wanted = topics === null ? null : new Set(topics);
    return {
      brokers: new Map(answer.brokers.map(({ nodeId, host, port }) => [nodeId, { host, port }])),
      topics: answer.topicMetadata
        .filter(({ topic, isInternal }) => wanted?.has(topic) ?? !isInternal)
        .map(({ topic, topicErrorCode, partitionMetadata }) => ({
          topic,
          errorCode: topicErrorCode,
          partitions: partitionMetadata
            .map(({ partitionId, leader, replicas }) => ({
              partition: partitionId,
              leader,
              replicas,
            }))
            .toSorted((left, right) => left.partition - right.partition),
        })),
    };
  }

  async producerIdentity() {
    const answer = await this.#ask<parts.IdentityAnswer>('InitProducerId', {
      transactionalId: null,
      transactionTimeout: 60_000,
    });
    const { errorCode, producerId, producerEpoch } = answer;
    return { errorCode, id: BigInt(producerId), epoch: producerEpoch };
  }

  async produce({ batches, timeoutMs }: ProduceRequest) {
    const version = this.#versions.Produce;
    const body = encodeProduce(batches, { version, timeoutMs });
    const protocol = parts.requests.Produce.protocol({ version })({});
    const answer = await parts.sendEncoded<parts.ProduceAnswer>(this.#pool, protocol, body);
    return answer.topics.flatMap(({ topicName, partitions }) =>
      partitions.map(({ partition, errorCode, baseOffset }) => ({
        topic: topicName,
        partition,
        errorCode,
        baseOffset: Number(baseOffset),
      })),
    );
  }

  async fetch({ topic, partition, offset, bytesMax, waitMs }: FetchRequest) {
    let nextOffset = offset;
    const onAnswer = (bytes: Buffer) => {
      nextOffset = fetchedEnd(bytes, offset);
    };
    const request = {
      replicaId: -1,
      isolationLevel: readUncommitted,
      maxWaitTime: waitMs,
      minBytes: 1,
      maxBytes: bytesMax,
      topics: [
        { topic, partitions: [{ partition, fetchOffset: String(offset), maxBytes: bytesMax }] },
      ],
      rackId: '',
    };
    const answer = await this.#ask<parts.FetchAnswer>('Fetch', request, onAnswer);
    const found = answer.responses[0]?.partitions[0];
    // A broker that throttles us answers for no partition.
    if (found === undefined) return { errorCode: 0, nextOffset, records: [] };
    return {
      errorCode: found.errorCode,
      nextOffset,
      records: found.messages.filter((message) => !message.isControlRecord).map(storedOf),
    };
  }

  async ranges(partitions: readonly TopicPartition[]): Promise<readonly PartitionRange[]> {
    const [starts, ends] = await Promise.all([
      this.#offsets(partitions, earliest),
      this.#offsets(partitions, latest),
    ]);
    return partitions.map((place) => {
      const key = placeKey(place);
      const [start, end] = [starts.get(key), ends.get(key)];
      assert(start !== undefined && end !== undefined, 'offsets are listed for what was asked for');
      return {
        topic: place.topic,
        partition: place.partition,
        errorCode: start.errorCode === 0 ? end.errorCode : start.errorCode,
        start: Number(start.offset),
        end: Number(end.offset),
      };
    });
  }

  async createTopics(topics: readonly NewTopic[], timeoutMs: number) {
    const answer = await this.#ask<parts.CreateTopicsAnswer>('CreateTopics', {
      topics: topics.map(({ topic, partitions, replication, settings }) => ({
        topic,
        numPartitions: partitions,
        replicationFactor: replication,
        configEntries: Object.entries(settings).map(([name, value]) => ({ name, value })),
      })),
      timeout: timeoutMs,
      validateOnly: false,
    });
    return answer.topicErrors;
  }

  async settings(topics: readonly string[]) {
    const answer = await this.#ask<parts.SettingsAnswer>('DescribeConfigs', {
      resources: topics.map((name) => ({ type: topicResource, name })),
      includeSynonyms: false,
    });
    return new Map(
      answer.resources.map(({ errorCode, resourceName, configEntries }) => {
        parts.failOn(errorCode);
        const pairs = configEntries.map(
          ({ configName, configValue }) => [configName, configValue ?? ''] as const,
        );
        return [resourceName, new Map(pairs)] as const;
      }),
    );
  }

  close(): void {
    closePool(this.#pool);
  }

  async #offsets(partitions: readonly TopicPartition[], timestamp: string) {
    const answer = await this.#ask<parts.OffsetsAnswer>('ListOffsets', {
      replicaId: -1,
      isolationLevel: readUncommitted,
      topics: byTopic(partitions).map(([topic, list]) => ({
        topic,
        partitions: list.map(({ partition }) => ({ partition, timestamp })),
      })),
    });
    return new Map(
      answer.responses.flatMap(({ topic, partitions: found }) =>
        found.map((one) => [placeKey({ topic, partition: one.partition }), one] as const),
      ),
    );
  }

  async #ask<T>(name: ApiName, request: object, onAnswer?: (bytes: Buffer) => void): Promise<T> {
    const protocol = parts.requests[name].protocol({ version: this.#versions[name] })(request);
    const decode = (bytes: Buffer) => {
      onAnswer?.(bytes);
      return protocol.response.decode(bytes);
    };
    // Its own `parse` throws away all partitions but the first that failed.
    const response = { decode, parse: async (answer: unknown) => answer };
    return (await this.#pool.send({ ...protocol, response, logResponseError: false })) as T;
  }
}

const placeKey = ({ topic, partition }: TopicPartition): string => `${topic}/${partition}`;

function byTopic<T extends TopicPartition>(places: readonly T[]): [string, T[]][] {
  return [...Map.groupBy(places, ({ topic }) => topic)];
}

function storedOf({ offset, key, value, timestamp, headers }: parts.FetchedMessage): StoredRecord {
  return {
    offset: Number(offset),
    key,
    value,
    timestampMs: Number(timestamp),
    headers: Object.entries(headers).flatMap(([name, values]) =>
      [values].flat().map((one): RecordHeader => [name, one ?? Buffer.alloc(0)]),
    ),
  };
}
