import { resolve } from 'node:path';
import { PipelineError } from '../../runtime/errors.ts';
import type { Log, OffsetRange, PartitionBatch, PartitionEnd, PartitionOffset } from '../log.ts';
import type { ReadLimits, StoredRecord, TopicPartition, TopicSpec } from '../log.ts';
import { BatchReader } from './batch-reader.ts';
import { ChangeWatch } from './change-watch.ts';
import { openDatabase } from './database.ts';
import { translated } from './errors.ts';
import { closedError, WriteQueue } from './write-queue.ts';
import type { Retention } from './writer-protocol.ts';

export interface EmbeddedLogOptions {
  /** The SQLite file; its folder is created. Two more files beside it end in -wal and -shm. */
  readonly path: string;
  /** True: starts no writer; appending and creating topics throw. The file must exist. */
  readonly readOnly?: boolean;
  /** Nothing is dropped unless set. */
  readonly retention?: Retention;
  /** Encoded bytes under way to the disk (default 32 MiB); beyond it `append` waits. */
  readonly queueBytesMax?: number;
}

/**
 * Opens the log that needs no server: one SQLite file, one row a record batch. Any number of processes
 * may have it open; each partition has one writer. Throws `log-unwritable` when the file cannot be
 * opened (and, with `readOnly`, while it does not exist), `log-corrupt` when it is damaged or no log.
 */
export async function openEmbeddedLog(options: EmbeddedLogOptions): Promise<Log> {
  const path = resolve(options.path);
  const retention = options.retention ?? null;
  // The writer first: it creates the file.
  let log: EmbeddedLog | undefined;
  const writer = options.readOnly
    ? undefined
    : await WriteQueue.start({
        path,
        retention,
        ...(options.queueBytesMax === undefined ? {} : { queueBytesMax: options.queueBytesMax }),
        onWritten: () => log?.poke(),
      });
  try {
    log = new EmbeddedLog(path, writer);
    return log;
  } catch (error) {
    await writer?.close();
    throw error;
  }
}

class EmbeddedLog implements Log {
  readonly #path: string;
  readonly #writer: WriteQueue | undefined;
  readonly #reader: BatchReader;
  readonly #watch: ChangeWatch;
  #isClosed = false;

  constructor(path: string, writer: WriteQueue | undefined) {
    this.#path = path;
    this.#writer = writer;
    this.#reader = translated(path, () => new BatchReader(openDatabase(path, { readOnly: true })));
    this.#watch = new ChangeWatch(() => this.#reader.dataVersion());
  }

  async createTopics(specs: readonly TopicSpec[]): Promise<void> {
    await this.#openWriter().createTopics(specs);
  }

  async append(batches: readonly PartitionBatch[]): Promise<readonly PartitionEnd[]> {
    return this.#openWriter().append(batches);
  }

  async read(from: PartitionOffset, limits: ReadLimits): Promise<readonly StoredRecord[]> {
    const { bytesMax, waitMs, signal, allowTruncated = false } = limits;
    const deadline = performance.now() + waitMs;
    for (;;) {
      // Before reading, so that what is written right after it wakes us.
      const since = this.#use((reader) => reader.dataVersion());
      const records = this.#use((reader) => reader.read(from, { bytesMax, allowTruncated }));
      const leftMs = deadline - performance.now();
      if (records.length > 0 || leftMs <= 0 || signal?.aborted) return records;
      await this.#watch.changed(since, leftMs, signal);
      if (this.#isClosed || signal?.aborted) return [];
    }
  }

  async lastRecord(partition: TopicPartition): Promise<StoredRecord | undefined> {
    return this.#use((reader) => reader.lastRecord(partition));
  }

  async ranges(topics?: readonly string[]): Promise<ReadonlyMap<string, readonly OffsetRange[]>> {
    const all = this.#use((reader) => reader.ranges());
    if (topics === undefined) return all;
    const wanted = new Set(topics);
    return new Map([...all].filter(([topic]) => wanted.has(topic)));
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#watch.wakeAll();
    this.#reader.close();
    await this.#writer?.close();
  }

  /** Lets waiting readers look at once. */
  poke(): void {
    if (!this.#isClosed) this.#watch.poke();
  }

  #use<T>(use: (reader: BatchReader) => T): T {
    this.#checkOpen();
    return translated(this.#path, () => use(this.#reader));
  }

  #openWriter(): WriteQueue {
    this.#checkOpen();
    if (this.#writer !== undefined) return this.#writer;
    throw new PipelineError('log-unwritable', `log ${this.#path} was opened for reading only`, {
      hint: 'open it without readOnly to write',
    });
  }

  #checkOpen(): void {
    if (this.#isClosed) throw closedError(this.#path);
  }
}
