import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { PipelineError } from '../../runtime/errors.ts';
import type { LogRecord, PartitionBatch, PartitionEnd, TopicSpec } from '../log.ts';
import { encodeBatch, encodedBytesMax } from './batch-codec.ts';
import type { EncodedBatch, PlainError, WriterOptions } from './writer-protocol.ts';
import type { WriterReply, WriterRequest } from './writer-protocol.ts';

/** Encoded bytes on their way to the disk; further appends wait. The last one let in may exceed it. */
const queueBytesMaxDefault = 32 * 1024 * 1024;
/** A stored batch is at most this large, unless one record is larger: readers take whole batches. */
const batchBytesMax = 1024 * 1024;
/** SQLite's own limit of a blob is 1 GB. */
const recordBytesMax = 900 * 1024 * 1024;

export interface WriteQueueOptions extends WriterOptions {
  readonly queueBytesMax?: number;
  /** Called whenever something became durable. */
  readonly onWritten: () => void;
}

interface Pending {
  readonly bytes: number;
  readonly resolve: (ends: readonly PartitionEnd[]) => void;
  readonly reject: (error: unknown) => void;
}

interface Waiting {
  readonly batches: readonly PartitionBatch[];
  readonly resolve: Pending['resolve'];
  readonly reject: Pending['reject'];
}

/**
 * The caller's side of the writer thread: encodes, hands over in the order of the calls, bounds what is
 * under way, and fails everything after the first failed append.
 */
export class WriteQueue {
  readonly #worker: Worker;
  readonly #options: WriteQueueOptions;
  readonly #queueBytesMax: number;
  readonly #pending = new Map<number, Pending>();
  readonly #waiting: Waiting[] = [];
  #lastId = 0;
  #pendingBytes = 0;
  #failure: unknown;

  private constructor(worker: Worker, options: WriteQueueOptions) {
    this.#worker = worker;
    this.#options = options;
    this.#queueBytesMax = options.queueBytesMax ?? queueBytesMaxDefault;
    worker.on('message', (reply: WriterReply) => this.#receive(reply));
    worker.on('error', (error) => this.#fail(error));
    worker.on('exit', () => this.#fail(closedError(options.path)));
  }

  /** Starts the thread and waits until it has opened the file. Throws what opening throws. */
  static async start(options: WriteQueueOptions): Promise<WriteQueue> {
    const { path, retention } = options;
    const workerData: WriterOptions = { path, retention };
    const worker = new Worker(new URL('./writer.ts', import.meta.url), { workerData });
    const [reply] = (await once(worker, 'message')) as [WriterReply];
    if (reply.kind === 'failed') {
      await worker.terminate();
      throw revive(reply.error);
    }
    return new WriteQueue(worker, options);
  }

  append(batches: readonly PartitionBatch[]): Promise<readonly PartitionEnd[]> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ batches, resolve, reject });
      this.#sendWaiting();
    });
  }

  createTopics(specs: readonly TopicSpec[]): Promise<void> {
    return new Promise((resolve, reject) => {
      const id = this.#track({ bytes: 0, resolve: () => resolve(), reject });
      if (id !== undefined) this.#post({ kind: 'create-topics', id, specs }, []);
    });
  }

  /** Lets what was appended become durable, then ends the thread. */
  async close(): Promise<void> {
    while (this.#failure === undefined && this.#waiting.length > 0) {
      await new Promise<void>((resolve) => {
        const step = () => resolve();
        this.#worker.once('message', step);
        this.#worker.once('exit', step);
      });
    }
    if (this.#worker.threadId === -1) return;
    const exited = once(this.#worker, 'exit');
    this.#post({ kind: 'close' }, []);
    await exited;
  }

  #sendWaiting(): void {
    while (this.#waiting.length > 0) {
      const isFull = this.#pendingBytes >= this.#queueBytesMax;
      if (isFull && this.#failure === undefined) return;
      const next = this.#waiting.shift();
      if (next !== undefined) this.#send(next);
    }
  }

  #send({ batches, resolve, reject }: Waiting): void {
    if (this.#failure !== undefined) return reject(this.#failure);
    let encoded: readonly EncodedBatch[];
    try {
      encoded = batches.flatMap(encodeBatches);
    } catch (error) {
      // What cannot be encoded leaves a hole: nothing may follow it.
      this.#fail(error);
      return reject(error);
    }
    const bytes = encoded.reduce((sum, batch) => sum + batch.bytes.length, 0);
    const id = this.#track({ bytes, resolve, reject });
    if (id === undefined) return;
    const transfer = encoded.map((batch) => batch.bytes.buffer as ArrayBuffer);
    this.#post({ kind: 'append', id, batches: encoded }, transfer);
  }

  #track(pending: Pending): number | undefined {
    if (this.#failure !== undefined) {
      pending.reject(this.#failure);
      return undefined;
    }
    this.#lastId += 1;
    this.#pending.set(this.#lastId, pending);
    this.#pendingBytes += pending.bytes;
    return this.#lastId;
  }

  #post(request: WriterRequest, transfer: ArrayBuffer[]): void {
    this.#worker.postMessage(request, transfer);
  }

  #receive(reply: WriterReply): void {
    if (reply.kind === 'ready' || reply.id === null) return;
    const pending = this.#pending.get(reply.id);
    if (pending === undefined) return;
    this.#pending.delete(reply.id);
    this.#pendingBytes -= pending.bytes;
    if (reply.kind === 'done') {
      pending.resolve(reply.ends);
      this.#options.onWritten();
    } else {
      const error = revive(reply.error);
      pending.reject(error);
      if (reply.poisons) this.#fail(error);
    }
    this.#sendWaiting();
  }

  #fail(error: unknown): void {
    this.#failure ??= error;
    const failed = [...this.#pending.values(), ...this.#waiting.splice(0)];
    this.#pending.clear();
    this.#pendingBytes = 0;
    for (const { reject } of failed) reject(this.#failure);
  }
}

/** Cuts the records of one partition into stored batches. */
function encodeBatches(batch: PartitionBatch): EncodedBatch[] {
  const encoded: EncodedBatch[] = [];
  let start = 0;
  let bytes = 0;
  for (const [index, record] of batch.records.entries()) {
    const recordBytes = encodedBytesMax(record);
    if (recordBytes > recordBytesMax) throw tooLarge(batch, recordBytes);
    if (index > start && bytes + recordBytes > batchBytesMax) {
      encoded.push(encodeSlice(batch, batch.records.slice(start, index), bytes));
      start = index;
      bytes = 0;
    }
    bytes += recordBytes;
  }
  const rest = start === 0 ? batch.records : batch.records.slice(start);
  if (rest.length > 0) encoded.push(encodeSlice(batch, rest, bytes));
  return encoded;
}

function encodeSlice(
  { topic, partition }: PartitionBatch,
  records: readonly LogRecord[],
  bytesMax: number,
): EncodedBatch {
  let timestampMs = Number.MIN_SAFE_INTEGER;
  for (const record of records) timestampMs = Math.max(timestampMs, record.timestampMs);
  const bytes = encodeBatch(records, bytesMax);
  return { topic, partition, recordCount: records.length, timestampMs, bytes };
}

function tooLarge({ topic, partition }: PartitionBatch, bytes: number): PipelineError {
  const message = `a record of ${bytes} bytes for partition ${partition} of topic ${topic} exceeds the log's limit of ${recordBytesMax} bytes`;
  return new PipelineError('value-invalid', message, {
    hint: 'leave the table or column out of the publication',
  });
}

export function closedError(path: string): PipelineError {
  return new PipelineError('log-unwritable', `log ${path} is closed`, {
    hint: 'open the log again',
  });
}

function revive({ kind, message, hint, context }: PlainError): Error {
  return kind === null ? new Error(message) : new PipelineError(kind, message, { hint, context });
}
