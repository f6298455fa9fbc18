import { setTimeout as pause } from 'node:timers/promises';
import { openKafkaLog } from '../../log/kafka/kafka-log.ts';
import type { Log, LogRecord, StoredRecord, TopicPartition } from '../../log/log.ts';
import type { KafkaLogConfig } from '../../runtime/config.ts';
import { PipelineError } from '../../runtime/errors.ts';

const reopenMs = 50;
const underWayMax = 4;
const recordsPerBatch = 40;

/**
 * Writes as capture does: numbers 0, 1, 2 … to every partition of a topic, several appends under way.
 * When one fails it closes the log, opens it again, and goes on after the last record of each partition.
 */
export class ResumingWriter {
  readonly topic: string;
  readonly failures: PipelineError[] = [];
  /** How many numbers of each partition were acknowledged. */
  readonly acknowledged: number[];
  readonly #config: KafkaLogConfig;
  readonly #partitions: number;
  #isStopping = false;
  #running: Promise<void> | undefined;

  constructor(config: KafkaLogConfig, partitions: number) {
    this.#config = config;
    this.#partitions = partitions;
    this.topic = `${config.prefix}.numbers`;
    this.acknowledged = Array.from({ length: partitions }, () => 0);
  }

  start(): void {
    this.#running = this.#run();
  }

  /** Ends after what is under way; rejects with a failure that must not be tried again. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#running;
  }

  /** All numbers that a partition holds now, in its order. */
  async content(partition: number): Promise<number[]> {
    const log = await openKafkaLog({ config: this.#config, readOnly: true });
    try {
      const records = await readAll(log, { topic: this.topic, partition });
      return records.map(({ value }) => Number(value?.toString().split(':', 1)[0]));
    } finally {
      await log.close();
    }
  }

  async #run(): Promise<void> {
    while (!this.#isStopping) {
      let log: Log | undefined;
      try {
        log = await openKafkaLog({ config: this.#config });
        await this.#write(log);
      } catch (error) {
        if (!(error instanceof PipelineError) || error.policy.retry === 'never') throw error;
        this.failures.push(error);
        await pause(reopenMs);
      } finally {
        await log?.close();
      }
    }
  }

  async #write(log: Log): Promise<void> {
    const { topic } = this;
    await log.createTopics([{ topic, partitions: this.#partitions, compacted: false }]);
    await log.ranges();
    const next: number[] = [];
    for (let partition = 0; partition < this.#partitions; partition += 1) {
      const last = await log.lastRecord({ topic, partition });
      next[partition] = last === undefined ? 0 : Number.parseInt(String(last.value), 10) + 1;
    }
    const underWay: Promise<void>[] = [];
    while (!this.#isStopping) {
      const batches = next.map((first, partition) => {
        next[partition] = first + recordsPerBatch;
        return { topic, partition, records: numbers(first) };
      });
      const acknowledged = this.#acknowledge(log.append(batches));
      // The failure is met where it is awaited; it must not count as unhandled until then.
      acknowledged.catch(() => undefined);
      underWay.push(acknowledged);
      if (underWay.length >= underWayMax) await underWay.shift();
    }
    await Promise.all(underWay);
  }

  async #acknowledge(append: ReturnType<Log['append']>): Promise<void> {
    for (const { partition, end } of await append) this.acknowledged[partition] = end;
  }
}

function numbers(first: number): LogRecord[] {
  return Array.from({ length: recordsPerBatch }, (_, index) => ({
    key: Buffer.from(`key ${first + index}`),
    value: Buffer.from(`${first + index}:`.padEnd(200, 'x')),
    headers: [],
    timestampMs: Date.now(),
  }));
}

/** Everything that a partition holds. */
export async function readAll(log: Log, place: TopicPartition): Promise<StoredRecord[]> {
  const records: StoredRecord[] = [];
  for (;;) {
    const offset = (records.at(-1)?.offset ?? -1) + 1;
    const read = await log.read({ ...place, offset }, { bytesMax: 8 << 20, waitMs: 0 });
    if (read.length === 0) return records;
    records.push(...read);
  }
}
