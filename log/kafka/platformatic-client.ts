import { isIP } from 'node:net';
import * as kafka from '@platformatic/kafka';
import { assert } from '../../runtime/assert.ts';
import type { RecordHeader, StoredRecord, TopicPartition } from '../log.ts';
import { agreeOnVersions, apiKeys, type ApiName, type SpokenVersions } from './api-versions.ts';
import type { BrokerAddress, BrokerLink, ClientOptions, ConnectionSecurity } from './client.ts';
import type { FetchRequest, KafkaClient, NewTopic, PartitionRange } from './client.ts';
import type { ProduceRequest } from './client.ts';
import { encodeProduce, isFlexibleProduce } from './produce-request.ts';

const latest = -1n;
const earliest = -2n;
const readUncommitted = 0;
/** A session is a memory of the broker, which a fetch of one partition does not need. */
const noSession = { id: 0, epoch: -1 };
const controlFlag = 1 << 5;
/** Of transactions, which there are none of; the request wants a value. */
const identityTimeoutMs = 60_000;

const produces = {
  7: kafka.produceV7,
  8: kafka.produceV8,
  9: kafka.produceV9,
  10: kafka.produceV10,
  11: kafka.produceV11,
} as const;

/**
 * The versions of this client that we use: brokers from 2.7 on. From version 13 on a fetch names topics
 * by id; we go by name, as everywhere else.
 */
export const platformaticVersions: SpokenVersions = {
  Produce: Object.keys(produces).map(Number),
  Fetch: [12],
  ListOffsets: [5],
  Metadata: [9],
  CreateTopics: [5],
  InitProducerId: [2],
  DescribeConfigs: [2],
};

/** A client made of platformatic's connections and protocol, without its producer, consumer and retries. */
export function platformaticClient(options: ClientOptions): KafkaClient {
  return { name: 'platformatic', open: (address) => openLink(address, options) };
}

async function openLink(address: BrokerAddress, options: ClientOptions): Promise<BrokerLink> {
  const security = await options.security();
  const connection = new kafka.Connection(options.clientId, {
    connectTimeout: options.connectTimeoutMs,
    requestTimeout: options.requestTimeoutMs,
    ...securityOf(address, security),
  });
  // A connection that breaks rejects what is under way; without a listener the event would end the process.
  connection.on('error', () => undefined);
  try {
    await connection.connect(address.host, address.port);
    const answer = await kafka.apiVersionsV3.api.async(connection, 'tributary', '1');
    const versions = agreeOnVersions(
      platformaticVersions,
      new Map(answer.apiKeys.map((range) => [range.apiKey, range])),
      { client: 'platformatic', broker: `${address.host}:${address.port}` },
    );
    return new PlatformaticLink(connection, versions);
  } catch (error) {
    connection.close().catch(() => undefined);
    throw error;
  }
}

function securityOf({ host }: BrokerAddress, { tls, sasl }: ConnectionSecurity) {
  const name = isIP(host) === 0 ? { servername: host } : {};
  return {
    ...(tls === null ? {} : { tls: { ...name, ...tls } }),
    ...(sasl === null
      ? {}
      : sasl.mechanism === 'oauthbearer'
        ? { sasl: { mechanism: 'OAUTHBEARER' as const, token: sasl.token } }
        : { sasl: { ...sasl, mechanism: mechanisms[sasl.mechanism] } }),
  };
}

const mechanisms = {
  plain: 'PLAIN',
  'scram-sha-256': 'SCRAM-SHA-256',
  'scram-sha-512': 'SCRAM-SHA-512',
} as const;

class PlatformaticLink implements BrokerLink {
  readonly #connection: kafka.Connection;
  readonly #versions: Readonly<Record<ApiName, number>>;

  constructor(connection: kafka.Connection, versions: Readonly<Record<ApiName, number>>) {
    this.#connection = connection;
    this.#versions = versions;
  }

  async metadata(topics: readonly string[] | null) {
    const names = topics === null ? null : [...topics];
    const answer = await answered(
      kafka.metadataV9.api.async(this.#connection, names, false, false, false),
    );
    return {
      brokers: new Map(answer.brokers.map(({ nodeId, host, port }) => [nodeId, { host, port }])),
      topics: answer.topics
        .filter(({ isInternal }) => !isInternal)
        .map(({ name, errorCode, partitions }) => ({
          topic: name ?? '',
          errorCode,
          partitions: partitions
            .map(({ partitionIndex, leaderId, replicaNodes }) => ({
              partition: partitionIndex,
              leader: leaderId,
              replicas: replicaNodes,
            }))
            .toSorted((left, right) => left.partition - right.partition),
        })),
    };
  }

  async producerIdentity() {
    const answer = await answered(
      kafka.initProducerIdV2.api.async(this.#connection, null, identityTimeoutMs),
    );
    const { errorCode, producerId, producerEpoch } = answer;
    return { errorCode, id: producerId, epoch: producerEpoch };
  }

  async produce({ batches, timeoutMs }: ProduceRequest) {
    const version = this.#versions.Produce as keyof typeof produces;
    const writer = kafka.Writer.create();
    for (const part of encodeProduce(batches, { version, timeoutMs })) writer.append(part);
    const answer = await answered(this.#sendProduce(version, writer));
    return answer.responses.flatMap(({ name, partitionResponses }) =>
      partitionResponses.map(({ index, errorCode, baseOffset }) => ({
        topic: name,
        partition: index,
        errorCode,
        baseOffset: Number(baseOffset),
      })),
    );
  }

  /** The library's own request encodes records one by one, which takes more CPU than all of capture. */
  #sendProduce(
    version: keyof typeof produces,
    body: kafka.Writer,
  ): Promise<kafka.produceV9.ProduceResponse> {
    const isFlexible = isFlexibleProduce(version);
    const { parseResponse } = produces[version];
    return new Promise((resolve, reject) => {
      this.#connection.send<kafka.produceV9.ProduceResponse>(
        apiKeys.Produce,
        version,
        () => body,
        parseResponse,
        isFlexible,
        isFlexible,
        (error, answer) =>
          error instanceof Error || answer === undefined ? reject(error) : resolve(answer),
      );
    });
  }

  async fetch({ topic, partition, offset, bytesMax, waitMs }: FetchRequest) {
    const wanted = {
      partition,
      currentLeaderEpoch: -1,
      fetchOffset: BigInt(offset),
      lastFetchedEpoch: -1,
      partitionMaxBytes: bytesMax,
    };
    const answer = await answered(
      kafka.fetchV12.api.async(
        this.#connection,
        waitMs,
        1,
        bytesMax,
        readUncommitted,
        noSession.id,
        noSession.epoch,
        [{ topicId: topic, partitions: [wanted] }],
        [],
        '',
      ),
    );
    const found = answer.responses[0]?.partitions[0];
    // A broker that throttles us answers for no partition.
    if (found === undefined) return { errorCode: 0, nextOffset: offset, records: [] };
    const last = found.records?.at(-1);
    const end = last === undefined ? offset : Number(last.firstOffset) + last.lastOffsetDelta + 1;
    return {
      errorCode: found.errorCode,
      nextOffset: Math.max(offset, end),
      records: (found.records ?? []).flatMap(storedOf),
    };
  }

  async ranges(partitions: readonly TopicPartition[]): Promise<readonly PartitionRange[]> {
    const [starts, ends] = await Promise.all([
      this.#offsets(partitions, earliest),
      this.#offsets(partitions, latest),
    ]);
    return partitions.map(({ topic, partition }) => {
      const key = placeKey({ topic, partition });
      const [start, end] = [starts.get(key), ends.get(key)];
      assert(start !== undefined && end !== undefined, 'offsets are listed for what was asked for');
      return {
        topic,
        partition,
        errorCode: start.errorCode === 0 ? end.errorCode : start.errorCode,
        start: Number(start.offset),
        end: Number(end.offset),
      };
    });
  }

  async createTopics(topics: readonly NewTopic[], timeoutMs: number) {
    const wanted = topics.map(({ topic, partitions, replication, settings }) => ({
      name: topic,
      numPartitions: partitions,
      replicationFactor: replication,
      assignments: [],
      configs: Object.entries(settings).map(([name, value]) => ({ name, value })),
    }));
    const answer = await answered(
      kafka.createTopicsV5.api.async(this.#connection, wanted, timeoutMs, false),
    );
    return answer.topics.map(({ name, errorCode, errorMessage }) => ({
      topic: name,
      errorCode,
      errorMessage: errorMessage ?? null,
    }));
  }

  async settings(topics: readonly string[]) {
    const resources = topics.map((resourceName) => ({
      resourceType: kafka.ConfigResourceTypes.TOPIC,
      resourceName,
      configurationKeys: null,
    }));
    const answer = await kafka.describeConfigsV2.api.async(this.#connection, resources, false);
    return new Map(
      answer.results.map(({ resourceName, configs }) => [
        resourceName,
        new Map(configs.map(({ name, value }) => [name, value ?? ''])),
      ]),
    );
  }

  close(): void {
    this.#connection.close().catch(() => undefined);
    this.#connection.socket?.destroy();
  }

  async #offsets(partitions: readonly TopicPartition[], timestamp: bigint) {
    const topics = [...Map.groupBy(partitions, ({ topic }) => topic)].map(([name, list]) => ({
      name,
      partitions: list.map(({ partition }) => ({
        partitionIndex: partition,
        currentLeaderEpoch: -1,
        timestamp,
      })),
    }));
    const answer = await answered(
      kafka.listOffsetsV5.api.async(this.#connection, -1, readUncommitted, topics),
    );
    return new Map(
      answer.topics.flatMap(({ name, partitions: found }) =>
        found.map(
          (one) => [placeKey({ topic: name, partition: one.partitionIndex }), one] as const,
        ),
      ),
    );
  }
}

const placeKey = ({ topic, partition }: TopicPartition): string => `${topic}/${partition}`;

/** The library rejects an answer with an error code in it; the answer itself is what we want. */
async function answered<T>(asked: Promise<T>): Promise<T> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof kafka.ResponseError && 'response' in error) return error['response'] as T;
    throw error;
  }
}

function storedOf(batch: kafka.RecordsBatch): StoredRecord[] {
  if ((batch.attributes & controlFlag) !== 0) return [];
  const firstOffset = Number(batch.firstOffset);
  const firstTimestampMs = Number(batch.firstTimestamp);
  return batch.records.map(({ offsetDelta, timestampDelta, key, value, headers }) => ({
    offset: firstOffset + offsetDelta,
    timestampMs: firstTimestampMs + Number(timestampDelta),
    key,
    value,
    headers: headers.map(([name, bytes]): RecordHeader => [
      String(name ?? ''),
      bytes ?? Buffer.alloc(0),
    ]),
  }));
}
