import type { Log, LogRecord, PartitionBatch, PartitionEnd } from '../log/log.ts';
import { assert } from '../runtime/assert.ts';
import { failpoint } from './failpoint.ts';

export interface BatcherOptions<Mark> {
  readonly log: Log;
  /** Bytes appended but not yet durable above which the stream is held. */
  readonly inFlightBytesMax: number;
  /** The batch, and every batch before it, is durable; called in order. */
  readonly onDurable: (mark: Mark, batch: DurableBatch) => void;
}

export interface DurableBatch {
  readonly records: number;
  readonly bytes: number;
  readonly ends: readonly PartitionEnd[];
}

/** Records of one partition in the batch that is being filled. */
export interface PartitionBuffer {
  readonly topic: string;
  readonly partition: number;
  records: LogRecord[];
  /** Whether the partition ever got a record. */
  isUsed: boolean;
}

/** What a record costs beside its key and value: headers, length fields. */
const recordOverheadBytes = 120;

/**
 * Collects records and appends them, several batches in flight, in order. After a failed append
 * nothing more is appended: the log is opened again and resumed from what is durable.
 */
export class Batcher<Mark> {
  readonly #log: Log;
  readonly #inFlightBytesMax: number;
  readonly #onDurable: (mark: Mark, batch: DurableBatch) => void;
  #filled: PartitionBuffer[] = [];
  #bytes = 0;
  #records = 0;
  #inFlightBytes = 0;
  /** Completion of the newest batch, which comes after all others. */
  #tail: Promise<void> = Promise.resolve();
  #roomWanted: PromiseWithResolvers<void> | null = null;
  readonly #failed = Promise.withResolvers<never>();
  #hasFailed = false;

  constructor(options: BatcherOptions<Mark>) {
    this.#log = options.log;
    this.#inFlightBytesMax = options.inFlightBytesMax;
    this.#onDurable = options.onDurable;
    this.#failed.promise.catch(() => undefined);
  }

  /** Rejects with the first failed append; never resolves. */
  get failed(): Promise<never> {
    return this.#failed.promise;
  }

  /** Bytes of the batch being filled. */
  get bytes(): number {
    return this.#bytes;
  }

  get records(): number {
    return this.#records;
  }

  add(buffer: PartitionBuffer, record: LogRecord): void {
    if (buffer.records.length === 0) this.#filled.push(buffer);
    buffer.records.push(record);
    buffer.isUsed = true;
    this.#records += 1;
    this.#bytes += (record.key?.length ?? 0) + (record.value?.length ?? 0) + recordOverheadBytes;
  }

  /** Appends what was added; `mark` comes back through `onDurable` once it is durable. */
  flush(mark: Mark): void {
    if (this.#hasFailed) return;
    const batches = this.#take();
    const bytes = this.#bytes;
    const records = this.#records;
    this.#bytes = 0;
    this.#records = 0;
    this.#inFlightBytes += bytes;
    const previous = this.#tail;
    const appended = batches.length === 0 ? Promise.resolve([]) : this.#log.append(batches);
    this.#tail = this.#complete(mark, { previous, appended, bytes, records });
  }

  /** Undefined when more may be added; else resolves when there is room. */
  room(): Promise<void> | undefined {
    if (this.#inFlightBytes < this.#inFlightBytesMax) return undefined;
    this.#roomWanted ??= Promise.withResolvers<void>();
    return this.#roomWanted.promise;
  }

  /** Resolves when everything flushed so far is durable. */
  async drained(): Promise<void> {
    await Promise.race([this.#tail, this.#failed.promise]);
  }

  #take(): PartitionBatch[] {
    const batches = this.#filled.map((buffer) => {
      const { topic, partition, records } = buffer;
      buffer.records = [];
      return { topic, partition, records };
    });
    this.#filled = [];
    return batches;
  }

  async #complete(
    mark: Mark,
    batch: {
      readonly previous: Promise<void>;
      readonly appended: Promise<readonly PartitionEnd[]>;
      readonly bytes: number;
      readonly records: number;
    },
  ): Promise<void> {
    try {
      const [ends] = await Promise.all([batch.appended, batch.previous]);
      if (this.#hasFailed) return;
      failpoint('append');
      this.#inFlightBytes -= batch.bytes;
      assert(this.#inFlightBytes >= 0, 'no batch completes twice');
      this.#onDurable(mark, { records: batch.records, bytes: batch.bytes, ends });
      if (this.#inFlightBytes < this.#inFlightBytesMax) {
        this.#roomWanted?.resolve();
        this.#roomWanted = null;
      }
    } catch (error) {
      this.#hasFailed = true;
      this.#failed.reject(error);
      this.#roomWanted?.reject(error);
    }
  }
}
