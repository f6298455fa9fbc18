import { type ServerDuplexStream, status } from '@grpc/grpc-js';
import type { protos } from '@google-cloud/bigquery-storage';
import type { TableSchema } from '../stream-store.ts';
import type { Field } from '../table-schema.ts';
import { RowReader, rowErrors } from './row-reader.ts';
import type { StreamBook } from './stream-book.ts';
import { WriteError, writeErrorOf } from './write-error.ts';
import type { WriteFault, WriteFaults } from './write-faults.ts';
import type { SizedRequest } from './write-methods.ts';

type Answer = protos.google.cloud.bigquery.storage.v1.IAppendRowsResponse;

/** Bytes of a request, at most. https://cloud.google.com/bigquery/quotas#write-api-limits */
const requestBytesMax = 10 * 1024 * 1024;

export interface AppendTools {
  readonly streams: StreamBook;
  readonly faults: WriteFaults;
  /** Resets all connections. */
  readonly cut: () => void;
}

/** Ends the call, or loses it; nothing more is read or answered. */
class CallEnd extends Error {
  readonly fault: WriteFault & { readonly kind: 'status' | 'cut' };

  constructor(fault: WriteFault & { readonly kind: 'status' | 'cut' }) {
    super(fault.kind);
    this.fault = fault;
  }
}

/** One connection for appends: its requests are taken and answered in their order. */
export class AppendCall {
  readonly #tools: AppendTools;
  readonly #call: ServerDuplexStream<SizedRequest, Answer>;
  #stream = '';
  #reader: RowReader | undefined;
  /** Once rows were taken: whether they were changes by key. */
  #isKeyed: boolean | undefined;

  constructor(tools: AppendTools, call: ServerDuplexStream<SizedRequest, Answer>) {
    this.#tools = tools;
    this.#call = call;
  }

  async serve(): Promise<void> {
    try {
      const requests = this.#call.iterator({ destroyOnReturn: false });
      for await (const sized of requests)
        this.#call.write(await this.#answer(sized as SizedRequest));
      this.#call.end();
    } catch (error) {
      if (error instanceof CallEnd && error.fault.kind === 'cut') this.#tools.cut();
      else if (error instanceof CallEnd && error.fault.kind === 'status') {
        const { code } = error.fault;
        this.#call.emit('error', { code, details: `Injected ${status[code]}` });
      }
      // Else the client has gone.
    }
  }

  async #answer(sized: SizedRequest): Promise<Answer> {
    const stream = sized.request.writeStream || this.#stream;
    const fault = this.#tools.faults.take('append', stream);
    if (fault?.kind === 'hold') await fault.until;
    if (fault?.kind === 'expire') await this.#tools.streams.expire(stream, fault.how);
    strike(fault, 'before');
    try {
      const answer = await this.#append(sized, fault);
      strike(fault, 'after');
      return answer;
    } catch (error) {
      if (error instanceof CallEnd) throw error;
      const refusal = writeErrorOf(error, stream);
      const { rowErrors: rows } = refusal;
      return { error: refusal.status(), writeStream: stream, rowErrors: [...rows] };
    }
  }

  async #append({ bytes, request }: SizedRequest, fault: WriteFault | undefined): Promise<Answer> {
    if (bytes > requestBytesMax) {
      throw new WriteError(
        status.INVALID_ARGUMENT,
        `Request size ${bytes} is larger than ${requestBytesMax} bytes`,
      );
    }
    if (fault?.kind === 'refusal') {
      throw new WriteError(fault.code, `Injected ${status[fault.code]}`);
    }
    const reader = this.#begin(request);
    const { offset, protoRows } = request;
    const rows = protoRows?.rows?.serializedRows ?? [];
    if (fault?.kind === 'row-errors') {
      throw rowErrors(
        fault.rows.map((index) => ({ index, code: 1, message: 'Field injected: wrong' })),
      );
    }
    const appended = await this.#tools.streams.append({
      stream: this.#stream,
      offset: offset === null || offset === undefined ? undefined : BigInt(String(offset.value)),
      reader,
      rows: rows as readonly Uint8Array[],
    });
    this.#isKeyed = reader.isKeyed;
    const { newSchema, offset: at } = appended;
    return {
      appendResult: at === undefined ? {} : { offset: { value: String(at) } },
      writeStream: this.#stream,
      ...(newSchema === undefined ? {} : { updatedSchema: schemaMessage(newSchema) }),
    };
  }

  /** What the connection knows from its first request on. */
  #begin({ protoRows, writeStream }: SizedRequest['request']): RowReader {
    if (writeStream !== '' && this.#stream !== '' && writeStream !== this.#stream) {
      throw new WriteError(status.INVALID_ARGUMENT, 'A connection is for one stream');
    }
    if (writeStream === '' && this.#stream === '') {
      throw new WriteError(status.INVALID_ARGUMENT, 'Invalid stream name, in the first request');
    }
    this.#stream = writeStream || this.#stream;
    const descriptor = protoRows?.writerSchema?.protoDescriptor;
    if (descriptor === undefined || descriptor === null) {
      if (this.#reader !== undefined) return this.#reader;
      throw new WriteError(
        status.INVALID_ARGUMENT,
        'Proto schema must be provided in the first request of a connection',
      );
    }
    const reader = new RowReader(descriptor);
    if (this.#isKeyed !== undefined && this.#isKeyed !== reader.isKeyed) {
      throw new WriteError(
        status.INVALID_ARGUMENT,
        'Rows and changes by key cannot be sent over one connection',
      );
    }
    this.#reader = reader;
    return reader;
  }
}

function strike(fault: WriteFault | undefined, side: 'before' | 'after'): void {
  if (fault === undefined || !('when' in fault) || fault.when !== side) return;
  throw new CallEnd(fault);
}

const typeNames: Partial<Record<Field['type'], string>> = { FLOAT64: 'DOUBLE' };

function schemaMessage({
  fields,
}: TableSchema): protos.google.cloud.bigquery.storage.v1.ITableSchema {
  type Type = keyof typeof protos.google.cloud.bigquery.storage.v1.TableFieldSchema.Type;
  return {
    fields: fields.map(({ mode, name, type }) => ({
      name,
      mode,
      type: (typeNames[type] ?? type) as Type,
    })),
  };
}
