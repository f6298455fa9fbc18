import { setTimeout as pause } from 'node:timers/promises';
import type { KafkaLogConfig } from '../../runtime/config.ts';
import { PipelineError } from '../../runtime/errors.ts';
import { controlTopics } from '../../schemas/control.ts';
import type { Log, OffsetRange, PartitionBatch, PartitionEnd, PartitionOffset } from '../log.ts';
import type { ReadLimits, StoredRecord, TopicPartition, TopicSpec } from '../log.ts';
import type { BrokerAddress, ClientOptions, KafkaClient } from './client.ts';
import { Cluster } from './cluster.ts';
import { kafkajsClient } from './kafkajs-client.ts';
import { ProduceQueue } from './produce-queue.ts';
import { RecordReader } from './record-reader.ts';
import { connectionSecurity } from './security.ts';
import { TopicAdmin, type TopicDrift } from './topic-admin.ts';

/** The ends must hold still this long before a writer believes them ... */
const settleQuietMs = 200;
/** ... and do so within this time, or somebody else is writing. */
const settleMsMax = 30_000;

export interface KafkaLogOptions {
  readonly config: KafkaLogConfig;
  /** True: appending and creating topics throw. */
  readonly readOnly?: boolean;
  /** Told once a topic about each setting that is not as the configuration wants it. */
  readonly onDrift?: (drift: TopicDrift) => void;
}

/**
 * Opens the log that lives in a Kafka cluster: the topics whose names begin with the prefix. Throws
 * `log-unreachable` that names each broker, `log-denied` when they refuse us, `log-unsupported` when a
 * broker speaks another protocol.
 */
export async function openKafkaLog(options: KafkaLogOptions): Promise<Log> {
  const { config } = options;
  const clientOptions: ClientOptions = {
    clientId: 'tributary',
    connectTimeoutMs: config.timeout.connect,
    requestTimeoutMs: config.timeout.request,
    security: connectionSecurity(config),
  };
  const cluster = clusterOf(await clientOf(config, clientOptions), config);
  try {
    await cluster.connect();
    return new KafkaLog(options, cluster);
  } catch (error) {
    cluster.close();
    throw error;
  }
}

/**
 * Measured: record batches are encoded by the driver, so both libraries write and read with the same CPU;
 * platformatic takes 60 MB of memory more, so it is only loaded when it is asked for.
 */
async function clientOf({ client }: KafkaLogConfig, options: ClientOptions): Promise<KafkaClient> {
  if (client !== 'platformatic') return kafkajsClient(options);
  const { platformaticClient } = await import('./platformatic-client.ts');
  return platformaticClient(options);
}

function clusterOf(client: KafkaClient, config: KafkaLogConfig): Cluster {
  return new Cluster({
    client,
    brokers: config.brokers.map(parseBroker),
    electionMs: config.timeout.request,
    hasTls: config.tls !== undefined,
    hasSasl: config.sasl !== undefined,
  });
}

/** The configuration has checked the form. */
function parseBroker(text: string): BrokerAddress {
  const at = text.lastIndexOf(':');
  const host = text.slice(0, at).replace(/^\[|\]$/g, '');
  return { host, port: Number(text.slice(at + 1)) };
}

class KafkaLog implements Log {
  readonly #config: KafkaLogConfig;
  readonly #cluster: Cluster;
  readonly #closed = new AbortController();
  readonly #reader: RecordReader;
  readonly #admin: TopicAdmin;
  /** null: opened for reading only. */
  readonly #writer: ProduceQueue | null;
  #isSettled: boolean;

  constructor(options: KafkaLogOptions, cluster: Cluster) {
    const { config, readOnly = false, onDrift = () => undefined } = options;
    const { request: requestTimeoutMs } = config.timeout;
    this.#config = config;
    this.#cluster = cluster;
    this.#reader = new RecordReader({
      cluster,
      requestTimeoutMs,
      electionMs: requestTimeoutMs,
      closed: this.#closed.signal,
    });
    this.#admin = new TopicAdmin({
      cluster,
      reader: this.#reader,
      config,
      onDrift,
    });
    this.#writer = readOnly
      ? null
      : new ProduceQueue({
          cluster,
          messageBytesMax: config.topics.message_size,
          requestTimeoutMs,
        });
    this.#isSettled = readOnly;
  }

  async createTopics(specs: readonly TopicSpec[]): Promise<void> {
    this.#openWriter();
    await this.#admin.create(specs);
  }

  async append(batches: readonly PartitionBatch[]): Promise<readonly PartitionEnd[]> {
    return this.#openWriter().append(batches);
  }

  async read(from: PartitionOffset, limits: ReadLimits): Promise<readonly StoredRecord[]> {
    this.#checkOpen();
    return this.#reader.read(from, limits);
  }

  async lastRecord(partition: TopicPartition): Promise<StoredRecord | undefined> {
    this.#checkOpen();
    return this.#reader.lastRecord(partition);
  }

  async ranges(topics?: readonly string[]): Promise<ReadonlyMap<string, readonly OffsetRange[]>> {
    this.#checkOpen();
    const ranges = await this.#rangesNow(topics);
    if (this.#isSettled || topics !== undefined || this.#writer?.isFresh !== true) return ranges;
    return this.#settled(ranges, this.#writer);
  }

  async close(): Promise<void> {
    if (this.#closed.signal.aborted) return;
    this.#closed.abort();
    await this.#writer?.close(closedError());
    this.#cluster.close();
  }

  async #rangesNow(topics?: readonly string[]) {
    const { topics: found } = await this.#cluster.metadata(topics ?? null);
    const prefix = `${this.#config.prefix}.`;
    const own =
      topics === undefined ? found.filter(({ topic }) => topic.startsWith(prefix)) : found;
    return this.#reader.topicRanges(own);
  }

  /**
   * A writer resumes from what it finds at the end of each partition. A process that died just before
   * may have left a request in a broker's queue, which would land behind the end that we have read, and
   * be written a second time by us. Such a request needs no more than the broker's attention, so the
   * ends are believed once they hold still. A broker that sleeps longer than that, and wakes up between
   * our look and our first append, is noticed: that append does not land where it should, and fails.
   */
  async #settled(
    first: ReadonlyMap<string, readonly OffsetRange[]>,
    writer: ProduceQueue,
  ): Promise<ReadonlyMap<string, readonly OffsetRange[]>> {
    const deadline = performance.now() + settleMsMax;
    const { members } = controlTopics(this.#config.prefix);
    let before = first;
    for (;;) {
      await pause(settleQuietMs, undefined, { signal: this.#closed.signal }).catch(() => undefined);
      this.#checkOpen();
      const after = await this.#rangesNow();
      const moved = [...after].find(([topic, list]) => {
        // Sinks announce themselves there all the time; no writer resumes from it.
        return topic !== members && hasMoved(list, before.get(topic));
      });
      if (moved === undefined) {
        for (const [topic, list] of after) {
          for (const [partition, { end }] of list.entries())
            writer.expect({ topic, partition }, end);
        }
        this.#isSettled = true;
        return after;
      }
      if (performance.now() > deadline) {
        throw new PipelineError(
          'log-conflict',
          `another program keeps writing to topic ${moved[0]}`,
          { hint: 'only one capture may write to the topics of a prefix: stop the other one' },
        );
      }
      before = after;
    }
  }

  #openWriter(): ProduceQueue {
    this.#checkOpen();
    if (this.#writer !== null) return this.#writer;
    throw new PipelineError('log-unwritable', 'the log on Kafka was opened for reading only', {
      hint: 'open it without readOnly to write',
    });
  }

  #checkOpen(): void {
    if (this.#closed.signal.aborted) throw closedError();
  }
}

function hasMoved(after: readonly OffsetRange[], before: readonly OffsetRange[] = []): boolean {
  return after.some(({ end }, partition) => end !== (before[partition]?.end ?? 0));
}

function closedError(): PipelineError {
  return new PipelineError('log-unwritable', 'the log on Kafka is closed', {
    hint: 'open it again',
  });
}
