import { setTimeout as pause } from 'node:timers/promises';
import type { KafkaLogConfig } from '../../runtime/config.ts';
import { PipelineError } from '../../runtime/errors.ts';
import type { Log, OffsetRange, PartitionBatch, PartitionEnd, PartitionOffset } from '../log.ts';
import type { ReadLimits, StoredRecord, TopicPartition, TopicSpec } from '../log.ts';
import type { KafkaClient, KafkaProducer } from './client.ts';
import { KafkajsClient } from './kafkajs-client.ts';
import { createPlatformaticClient, createPlatformaticProducer } from './platformatic-client.ts';
import { settingsDrift, topicSettings } from './topic-settings.ts';
import { WriteQueue } from './write-queue.ts';

export interface KafkaLogOptions {
  readonly config: KafkaLogConfig;
  /** True: appending and creating topics throw. */
  readonly readOnly?: boolean;
  /** Told what a person should look at, in one sentence: a topic that is not as configured. */
  readonly onAlert?: (message: string) => void;
  /** Quiet time of all ends before the first append; 0 for tests that know that nobody else writes. */
  readonly settleMs?: number;
}

/** Bytes of one produce request, below the brokers' socket.request.max.bytes of 100 MiB. */
const requestBytesMax = 32 * 1024 * 1024;
/** A waiting read asks again this often, so that an abort or a new topic is soon seen. */
const pollMs = 250;
const topicPollMs = 100;
/** How long a new topic may take to get its leaders. */
const leadersWaitMs = 30_000;
/** A request of a dead writer that a broker still holds is carried out within moments. */
const settleMsDefault = 300;
const settleMsMax = 30_000;
const closeWaitMs = 5_000;

/**
 * Opens the log that lives in a Kafka cluster. Throws `log-unreachable` with every broker's name, or
 * `log-denied`. One writer a partition; see `Log` for the rest.
 */
export async function openKafkaLog(options: KafkaLogOptions): Promise<Log> {
  const { config } = options;
  const client =
    config.client === 'platformatic' ? createPlatformaticClient(config) : new KafkajsClient(config);
  const isWriter = options.readOnly !== true;
  const producer =
    isWriter && config.client === 'auto' ? createPlatformaticProducer(config) : client;
  const log = new KafkaLog(options, client, producer);
  try {
    await log.open();
    return log;
  } catch (error) {
    await log.close();
    throw error;
  }
}

class KafkaLog implements Log {
  readonly #options: KafkaLogOptions;
  readonly #client: KafkaClient;
  readonly #producer: KafkaProducer;
  readonly #queue: WriteQueue | undefined;
  /** Topic → how many partitions it has; they only ever grow. */
  readonly #partitions = new Map<string, number>();
  readonly #closed = new AbortController();

  constructor(
    ...[options, client, producer]: readonly [KafkaLogOptions, KafkaClient, KafkaProducer]
  ) {
    this.#options = options;
    this.#client = client;
    this.#producer = producer;
    const batchBytesMax = options.config.topics.message_size;
    this.#queue =
      options.readOnly === true
        ? undefined
        : new WriteQueue(
            { produce: (batches) => this.#produce(batches), close: () => producer.close() },
            { batchBytesMax, requestBytesMax },
          );
  }

  /**
   * Where a writer goes on is read from the ends of the partitions. A process that was killed may have
   * left a request in a broker's queue, which would land behind the end that we read; so a writer waits
   * until the ends hold still.
   */
  async open(): Promise<void> {
    let before = await this.ranges();
    const { readOnly = false, settleMs = settleMsDefault } = this.#options;
    const hasRecords = [...before.values()].flat().some(({ end }) => end > 0);
    if (readOnly || settleMs === 0 || !hasRecords) return;
    const deadline = performance.now() + settleMsMax;
    for (;;) {
      await pause(settleMs);
      const now = await this.ranges();
      const isQuiet = JSON.stringify([...now]) === JSON.stringify([...before]);
      if (isQuiet || performance.now() > deadline) return;
      before = now;
    }
  }

  async createTopics(specs: readonly TopicSpec[]): Promise<void> {
    this.#openQueue();
    for (const spec of specs) await this.#createTopic(spec);
  }

  async append(batches: readonly PartitionBatch[]): Promise<readonly PartitionEnd[]> {
    return this.#openQueue().append(batches);
  }

  async read(from: PartitionOffset, limits: ReadLimits): Promise<readonly StoredRecord[]> {
    const { bytesMax, waitMs, signal, allowTruncated = false } = limits;
    const deadline = performance.now() + waitMs;
    let at = from;
    for (;;) {
      this.#checkOpen();
      const leftMs = Math.max(0, Math.min(pollMs, deadline - performance.now()));
      const fetched = await this.#untilStopped(
        this.#client.fetch(at, { bytesMax, waitMs: Math.ceil(leftMs) }),
        signal,
      );
      if (fetched === undefined) return [];
      if (fetched === 'out-of-range') {
        at = await this.#rangeStart(from, allowTruncated);
        continue;
      }
      if (fetched !== 'unknown-topic') {
        if (fetched.records.length > 0) return fetched.records;
        at = { ...at, offset: Math.max(at.offset, fetched.next) };
        if (at.offset < fetched.end) continue;
      }
      if (performance.now() >= deadline || signal?.aborted) return [];
      if (fetched === 'unknown-topic') await this.#untilStopped(pause(topicPollMs), signal);
    }
  }

  async lastRecord({ topic, partition }: TopicPartition): Promise<StoredRecord | undefined> {
    const range = (await this.ranges([topic])).get(topic)?.[partition];
    if (range === undefined) return undefined;
    // The last offsets may be holes, where compaction or a marker took a place.
    for (let back = 1; ; back *= 2) {
      const offset = Math.max(range.start, range.end - back);
      const last = (await this.#readRange({ topic, partition, offset }, range.end)).at(-1);
      if (last !== undefined || offset === range.start) return last;
    }
  }

  async ranges(topics?: readonly string[]): Promise<ReadonlyMap<string, readonly OffsetRange[]>> {
    this.#checkOpen();
    const { prefix } = this.#options.config;
    const found = topics === undefined ? await this.#client.topics() : await this.#existing(topics);
    const own = [...found].filter(
      ([topic]) => topics !== undefined || topic.startsWith(`${prefix}.`),
    );
    if (own.length === 0) return new Map();
    return this.#client.ranges(
      own.map(([topic, partitions]) => ({ topic, partitions: partitions.length })),
    );
  }

  async close(): Promise<void> {
    if (this.#closed.signal.aborted) return;
    this.#closed.abort();
    await Promise.race([
      this.#queue?.close(closedError()),
      pause(closeWaitMs, undefined, { ref: false }),
    ]);
    await Promise.all(new Set([this.#client.close(), this.#producer.close()]));
  }

  /** Checked here, because a library may put what has no partition somewhere else. */
  async #produce(batches: readonly PartitionBatch[]): Promise<readonly PartitionOffset[]> {
    for (const { topic, partition } of batches) {
      if ((this.#partitions.get(topic) ?? 0) > partition) continue;
      const found = (await this.#client.topics([topic])).get(topic) ?? [];
      this.#partitions.set(topic, found.length);
      if (partition >= found.length) throw noPartition({ topic, partition });
    }
    return this.#producer.produce(batches);
  }

  async #existing(topics: readonly string[]) {
    const found = new Map<string, readonly unknown[]>();
    for (const topic of topics) {
      const partitions = (await this.#client.topics([topic])).get(topic);
      if (partitions !== undefined) found.set(topic, partitions);
    }
    return found;
  }

  async #createTopic(spec: TopicSpec): Promise<void> {
    const { topic } = spec;
    const wanted = topicSettings(spec, this.#options.config);
    const known = (await this.#client.topics([topic])).get(topic);
    if (known === undefined && (await this.#client.createTopic(wanted)) === 'created') {
      await this.#untilLed(topic, wanted.partitions);
      return;
    }
    const partitions = known?.length ?? (await this.#untilLed(topic, wanted.partitions));
    if (partitions !== spec.partitions) throw partitionsError(spec, partitions);
    for (const drift of settingsDrift(wanted.settings, await this.#client.settings(topic))) {
      this.#options.onAlert?.(
        `topic ${topic} has ${drift.setting}=${drift.found}, the configuration wants ${drift.wanted}: change one of them`,
      );
    }
  }

  /** Waits until every partition has a leader that knows of it; gives how many there are. */
  async #untilLed(topic: string, partitions: number): Promise<number> {
    const deadline = performance.now() + leadersWaitMs;
    for (;;) {
      const found = (await this.#client.topics([topic])).get(topic) ?? [];
      const isLed = found.length > 0 && found.every(({ leader }) => leader >= 0);
      if (isLed && (await this.#answers(topic, found.length))) return found.length;
      if (performance.now() > deadline) {
        const message = `topic ${topic} with ${partitions} partitions got no leaders within ${leadersWaitMs / 1000} s`;
        throw new PipelineError('log-unreachable', message);
      }
      await pause(topicPollMs);
    }
  }

  async #answers(topic: string, partitions: number): Promise<boolean> {
    try {
      await this.#client.ranges([{ topic, partitions }]);
      return true;
    } catch (error) {
      if (error instanceof PipelineError && error.kind === 'log-unwritable') return false;
      throw error;
    }
  }

  async #readRange(from: PartitionOffset, end: number): Promise<readonly StoredRecord[]> {
    const records: StoredRecord[] = [];
    let { offset } = from;
    while (offset < end) {
      const fetched = await this.#client.fetch(
        { ...from, offset },
        { bytesMax: lastBytesMax, waitMs: 0 },
      );
      if (typeof fetched === 'string') return records;
      records.push(...fetched.records);
      if (fetched.next <= offset) return records;
      offset = fetched.next;
    }
    return records;
  }

  /** Where reading goes on when an offset is not in its partition. */
  async #rangeStart(from: PartitionOffset, allowTruncated: boolean): Promise<PartitionOffset> {
    const { topic, partition, offset } = from;
    const range = (await this.ranges([topic])).get(topic)?.[partition] ?? { start: 0, end: 0 };
    const where = `partition ${partition} of topic ${topic}`;
    if (offset > range.end) {
      throw new PipelineError(
        'log-corrupt',
        `${where} ends at offset ${range.end}, not at ${offset}`,
        {
          hint: 'this is not the log that was read before: check log.brokers and log.prefix',
          context: { topic, partition, offset, ...range },
        },
      );
    }
    if (allowTruncated) return { ...from, offset: range.start };
    throw new PipelineError(
      'log-corrupt',
      `offset ${offset} of ${where} is gone: retention kept what begins at ${range.start}`,
      {
        hint: 'raise log.retention above the longest stop of a sink, and load the lake anew',
        context: { topic, partition, offset, ...range },
      },
    );
  }

  /** Undefined when the log was closed or the signal aborted first. */
  async #untilStopped<T>(work: Promise<T>, signal?: AbortSignal): Promise<T | undefined> {
    const signals = [this.#closed.signal, ...(signal === undefined ? [] : [signal])];
    const stop = AbortSignal.any(signals);
    if (stop.aborted) {
      work.catch(() => undefined);
      return undefined;
    }
    const stopped = Promise.withResolvers<undefined>();
    const onAbort = () => stopped.resolve(undefined);
    stop.addEventListener('abort', onAbort, { once: true });
    try {
      return await Promise.race([work, stopped.promise]);
    } catch (error) {
      // Closing ends the requests under way.
      if (this.#closed.signal.aborted) return undefined;
      throw error;
    } finally {
      stop.removeEventListener('abort', onAbort);
      work.catch(() => undefined);
    }
  }

  #openQueue(): WriteQueue {
    this.#checkOpen();
    if (this.#queue !== undefined) return this.#queue;
    throw new PipelineError('log-unwritable', 'the log was opened for reading only', {
      hint: 'open it without readOnly to write',
    });
  }

  #checkOpen(): void {
    if (this.#closed.signal.aborted) throw closedError();
  }
}

/** The end of a partition is found in steps of this. */
const lastBytesMax = 1024 * 1024;

const closedError = (): PipelineError =>
  new PipelineError('log-unwritable', 'the log is closed', { hint: 'open the log again' });

function noPartition({ topic, partition }: TopicPartition): PipelineError {
  return new PipelineError('log-conflict', `topic ${topic} has no partition ${partition}`, {
    hint: 'create the topic before its first append',
    context: { topic, partition },
  });
}

function partitionsError({ topic, partitions }: TopicSpec, found: number): PipelineError {
  return new PipelineError(
    'log-conflict',
    `topic ${topic} has ${found} partitions, not ${partitions}`,
    {
      hint: `set log.partitions to ${found}: with another number the keys would move to other partitions`,
      context: { topic, partitions, found },
    },
  );
}
