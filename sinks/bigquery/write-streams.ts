import { PipelineError } from '../../runtime/errors.ts';
import { AppendConnection, type ConnectionLimits } from './append-connection.ts';
import type { LakeOptions } from './client.ts';
import type { RowDescriptor } from './encode-row.ts';
import type { LakePlace } from './errors.ts';
import { type RowsPart, splitRows } from './split-rows.ts';
import { type AppendAnswer, type AppendMessage, StorageClient } from './storage-client.ts';
import {
  codeName,
  errorOfRow,
  errorOfStatus,
  StorageFailure,
  storageCode,
  verdictOf,
} from './storage-errors.ts';
import { type AttemptLimits, WriteAttempts } from './write-attempts.ts';

export interface AppendRequest {
  /** A stream's full name, or a table's name for its default stream. */
  readonly stream: string;
  /** Place of the first row in a COMMITTED stream; null on the default stream. */
  readonly offset: bigint | null;
  readonly descriptor: RowDescriptor;
  readonly rows: readonly Uint8Array[];
}

/**
 * Rows into tables of one dataset by the Storage Write interface. Appends to one stream follow one another in
 * the order of their calls. A COMMITTED stream takes each row once and in order. A default stream takes it at
 * least once and promises no order: a request whose answer is lost or that is refused for now is sent again,
 * behind those that were under way.
 * https://cloud.google.com/bigquery/docs/write-api
 */
export interface WriteStreams {
  /** A new COMMITTED stream of a table of the dataset; gives its full name. */
  create(table: string): Promise<string>;
  /** `projects/…/tables/T/streams/_default` of a table of the dataset. */
  defaultStream(table: string): string;
  /**
   * Resolves when the server has taken all rows; rows that it has already at that offset count as taken. Throws
   * `sink-fenced` when another owner finalized the stream, `sink-corrupt` when the stream ends before the offset,
   * and `sink-refused` when a row or its schema is refused; `refusedRowOf` tells which row.
   */
  append(request: AppendRequest): Promise<void>;
  /**
   * After it no append is taken by anybody; gives how many rows the stream has. Of a stream that is finalized
   * already as well. A stream that the service has forgotten is `sink-refused` with the reason `notFound`.
   */
  finalize(stream: string): Promise<bigint>;
  close(): Promise<void>;
}

export interface WriteLimits extends AttemptLimits, ConnectionLimits {
  /** The service refuses requests above 10 MB. */
  readonly requestBytesMax: number;
}

/** Answers take 10 ms to some seconds; a new column is known after seconds to minutes. */
const writeLimits: WriteLimits = {
  ackTimeoutMs: 60_000,
  attemptsMax: 10,
  requestBytesMax: 9_000_000,
  requestsInFlightMax: 8,
  pauseMsMax: 20_000,
  exhaustedPauseMs: 2_000,
  foundWithinMs: 30_000,
  visibleWithinMs: 300_000,
};

export interface WriteStreamsOptions extends LakeOptions {
  /** Host and port; required where there is an `endpoint`, and reached without TLS and credentials there. */
  readonly storageEndpoint?: string | undefined;
}

/** Connects at the first use. */
export function openWriteStreams(
  options: WriteStreamsOptions,
  limits: WriteLimits = writeLimits,
): WriteStreams {
  return new StorageWriteStreams(options, limits);
}

class StorageWriteStreams implements WriteStreams {
  readonly #options: WriteStreamsOptions;
  readonly #limits: WriteLimits;
  readonly #client: StorageClient;
  readonly #writers = new Map<string, StreamWriter>();
  readonly #closing = new AbortController();

  constructor(options: WriteStreamsOptions, limits: WriteLimits) {
    this.#options = options;
    this.#limits = limits;
    this.#client = new StorageClient(options);
  }

  create(table: string): Promise<string> {
    return this.#retried(() => this.#client.create(this.#pathOf(table)));
  }

  defaultStream(table: string): string {
    return `${this.#pathOf(table)}/streams/_default`;
  }

  async append(request: AppendRequest): Promise<void> {
    const { stream } = request;
    const name = stream.includes('/') ? stream : this.defaultStream(stream);
    const known = this.#writers.get(name);
    const writer = known ?? new StreamWriter(name, this.#client, this.#limits);
    this.#writers.set(name, writer);
    // A stream that has rows was known everywhere: the service has forgotten it.
    const isKnown = request.offset !== null && request.offset > 0n;
    await writer.append(request, this.#attempts(isKnown ? { foundWithinMs: 0 } : {}));
  }

  async finalize(stream: string): Promise<bigint> {
    this.#writers.get(stream)?.close();
    this.#writers.delete(stream);
    return await this.#retried(async () => {
      try {
        return await this.#client.finalize(stream);
      } catch (error) {
        const isForgotten = error instanceof StorageFailure && error.status.code === 'NOT_FOUND';
        throw isForgotten ? errorOfStatus(error.status, this.#options) : error;
      }
    });
  }

  async close(): Promise<void> {
    this.#closing.abort();
    for (const writer of this.#writers.values()) writer.close();
    this.#writers.clear();
    await this.#client.close();
  }

  #pathOf(table: string): string {
    const { project, dataset } = this.#options;
    return `projects/${project}/datasets/${dataset}/tables/${table}`;
  }

  #attempts(limits: Partial<AttemptLimits> = {}): WriteAttempts {
    const { signal } = this.#closing;
    return new WriteAttempts(this.#options, { ...this.#limits, ...limits }, signal);
  }

  async #retried<T>(call: () => Promise<T>): Promise<T> {
    const attempts = this.#attempts();
    for (;;) {
      try {
        return await call();
      } catch (error) {
        await attempts.failed(error);
      }
    }
  }
}

/** Appends to one stream, one after the other. A stream's schema is its connection's: a new one needs a new one. */
class StreamWriter {
  readonly #name: string;
  readonly #client: StorageClient;
  readonly #limits: WriteLimits;
  #connection: AppendConnection | undefined;
  /** What the connection was told. */
  #descriptor: RowDescriptor | undefined;
  #queue: Promise<void> = Promise.resolve();

  constructor(name: string, client: StorageClient, limits: WriteLimits) {
    this.#name = name;
    this.#client = client;
    this.#limits = limits;
  }

  append(request: AppendRequest, attempts: WriteAttempts): Promise<void> {
    const appended = this.#queue.then(() => this.#append(request, attempts));
    this.#queue = appended.catch(() => undefined);
    return appended;
  }

  close(): void {
    this.#connection?.close();
    this.#connection = undefined;
    this.#descriptor = undefined;
  }

  /** Whatever fails, the next attempt begins with the first request that was not taken. */
  async #append(request: AppendRequest, attempts: WriteAttempts): Promise<void> {
    const parts = splitRows(request.rows, this.#limits.requestBytesMax);
    this.#refuseTooLarge(parts);
    let takenCount = 0;
    while (takenCount < parts.length) {
      try {
        const connection = await this.#connect(request.descriptor);
        const messages = this.#messages(request, parts.slice(takenCount));
        await connection.send(messages, (answer) => {
          const part = parts[takenCount];
          if (part !== undefined) this.#check(answer, request, part);
          takenCount += 1;
          attempts.progressed();
        });
      } catch (error) {
        this.close();
        await attempts.failed(error);
      }
    }
  }

  async #connect(descriptor: RowDescriptor): Promise<AppendConnection> {
    const known = this.#connection;
    const isSame = this.#descriptor === undefined || this.#descriptor === descriptor;
    if (known?.isOpen === true && isSame) return known;
    this.close();
    const call = await this.#client.append(this.#name);
    const failure = (error: unknown) => this.#client.failure(error);
    this.#connection = new AppendConnection(call, this.#limits, failure);
    return this.#connection;
  }

  *#messages(
    { descriptor, offset }: AppendRequest,
    parts: readonly RowsPart[],
  ): Generator<AppendMessage, void, undefined> {
    for (const { first, rows } of parts) {
      const isFirst = this.#descriptor === undefined;
      this.#descriptor = descriptor;
      const place = offset === null ? null : offset + BigInt(first);
      yield {
        ...(isFirst ? { writeStream: this.#name, traceId: 'tributary' } : {}),
        ...(place === null ? {} : { offset: { value: String(place) } }),
        protoRows: {
          ...(isFirst ? { writerSchema: { protoDescriptor: descriptor as object } } : {}),
          rows: { serializedRows: [...rows] },
        },
      };
    }
  }

  /** Throws unless the service has the rows of a request. */
  #check(answer: AppendAnswer, { offset }: AppendRequest, { first, rows }: RowsPart): void {
    const { error, rowErrors } = answer;
    if (error === null || error === undefined) return;
    const [row] = rowErrors ?? [];
    if (row !== undefined) {
      const refusal = { index: first + Number(row.index ?? 0), message: row.message ?? '' };
      throw errorOfRow(refusal, placeOf(this.#name), { taken: first });
    }
    const status = {
      code: codeName(error.code),
      storage: storageCode(error.details),
      message: error.message ?? '',
    };
    const isTaken = offset !== null && verdictOf(status) === 'taken';
    const place = (offset ?? 0n) + BigInt(first);
    if (isTaken && streamEnd(status.message, place) >= place + BigInt(rows.length)) return;
    throw new StorageFailure(status);
  }

  #refuseTooLarge(parts: readonly RowsPart[]): void {
    const { requestBytesMax } = this.#limits;
    for (const { first, rows } of parts) {
      const bytes = rows[0]?.length ?? 0;
      if (rows.length > 1 || bytes <= requestBytesMax) continue;
      throw new PipelineError(
        'sink-refused',
        `row ${first} of an append has ${bytes} bytes, more than a request of BigQuery takes`,
        {
          hint: 'load this table with mode: batch, or leave its large column out of the publication',
          context: { ...placeOf(this.#name), row: first, bytes },
        },
      );
    }
  }
}

/**
 * Where a stream ends, which only the text of `OFFSET_ALREADY_EXISTS` tells ("expected offset 10, received 0"); after
 * everything if it does not. An end inside the rows means that somebody else appended.
 */
function streamEnd(message: string, from: bigint): bigint {
  const end = /expected offset (\d+)/.exec(message)?.[1];
  return end === undefined ? from + BigInt(Number.MAX_SAFE_INTEGER) : BigInt(end);
}

/** Project and dataset of a stream's name. */
function placeOf(stream: string): LakePlace {
  const [, project = '', , dataset = ''] = stream.split('/');
  return { project, dataset };
}
