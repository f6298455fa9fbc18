import { randomUUID } from 'node:crypto';
import { status } from '@grpc/grpc-js';
import type { Store } from '../store.ts';
import type { TableRef, TableSchema } from '../stream-store.ts';
import type { RowReader } from './row-reader.ts';
import { WriteError } from './write-error.ts';

interface CommittedStream {
  readonly ref: TableRef;
  /** Which table of the name it belongs to. */
  readonly tableCreatedMs: number;
  rows: bigint;
  isFinalized: boolean;
}

export interface Append {
  readonly stream: string;
  readonly offset: bigint | undefined;
  readonly reader: RowReader;
  readonly rows: readonly Uint8Array[];
}

export interface Appended {
  /** Undefined on a default stream. */
  readonly offset: bigint | undefined;
  /** Set when the table's schema has changed since the last request to it. */
  readonly newSchema: TableSchema | undefined;
}

const streamName = /^projects\/([^/]+)\/datasets\/([^/]+)\/tables\/([^/]+)\/streams\/([^/]+)$/;

/** The write streams of all tables, and what is in them. */
export class StreamBook {
  readonly #store: Store;
  readonly #streams = new Map<string, CommittedStream>();
  /** What streams know of a table, which may lag behind it. */
  readonly #seen = new Map<string, { schema: TableSchema; left: number }>();
  readonly #locks = new Map<string, Promise<unknown>>();
  /** Requests to a table that still see its old schema after a change of it. */
  schemaLagRequests = 0;

  constructor(store: Store) {
    this.#store = store;
  }

  /** A new COMMITTED stream; throws `notFound` without the table. */
  create(ref: TableRef): string {
    const { createdMs } = this.#store.table(ref);
    const { projectId, datasetId, tableId } = ref;
    const table = `projects/${projectId}/datasets/${datasetId}/tables/${tableId}`;
    const name = `${table}/streams/${randomUUID()}`;
    this.#streams.set(name, { ref, tableCreatedMs: createdMs, rows: 0n, isFinalized: false });
    return name;
  }

  /** Table of a stream. Throws when there is no such stream. */
  tableOf(name: string): TableRef {
    const [, projectId = '', datasetId = '', tableId = '', id] = streamName.exec(name) ?? [];
    const ref = { projectId, datasetId, tableId };
    if (id === '_default') return this.#store.table(ref).ref;
    return this.#committed(name).ref;
  }

  /** Ends a stream after the append that is under way; gives its rows, also of one that has ended. */
  finalize(name: string): Promise<bigint> {
    if (name.endsWith('/streams/_default')) {
      throw new WriteError(
        status.INVALID_ARGUMENT,
        'Finalize is not supported on the default stream',
      );
    }
    return this.#locked(name, async () => {
      const stream = this.#committed(name);
      stream.isFinalized = true;
      return stream.rows;
    });
  }

  /**
   * What days without a row do to a stream. One without rows was made a moment ago: nothing happens to it.
   * https://cloud.google.com/bigquery/docs/write-api#application-created_streams
   */
  expire(name: string, how: 'finalized' | 'forgotten'): Promise<void> {
    return this.#locked(name, async () => {
      const stream = this.#streams.get(name);
      if (stream === undefined || stream.rows === 0n) return;
      if (how === 'forgotten') this.#streams.delete(name);
      else stream.isFinalized = true;
    });
  }

  /** Appends all rows of a request or none. */
  append(request: Append): Promise<Appended> {
    return this.#locked(request.stream, () => this.#append(request));
  }

  async #append({ offset, reader, rows, stream: name }: Append): Promise<Appended> {
    const ref = this.tableOf(name);
    const stream = this.#streams.get(name);
    const { newSchema, schema } = this.#look(ref);
    if (stream === undefined && offset !== undefined) {
      throw new WriteError(status.INVALID_ARGUMENT, 'Offset is not allowed on the default stream');
    }
    if (stream !== undefined) checkPlace(name, stream, offset);
    const read = reader.read(schema.fields, rows);
    if (read.kind === 'rows') await this.#store.appendStreamed(ref, read.rows);
    else {
      if (stream !== undefined) {
        throw new WriteError(
          status.INVALID_ARGUMENT,
          'Changes by key are taken on the default stream only',
        );
      }
      await this.#store.applyChanges(ref, read.changes);
    }
    const at = stream?.rows;
    if (stream !== undefined) stream.rows += BigInt(rows.length);
    return { offset: at, newSchema };
  }

  #committed(name: string): CommittedStream {
    const stream = this.#streams.get(name);
    if (stream !== undefined) {
      if (this.#store.table(stream.ref).createdMs === stream.tableCreatedMs) return stream;
    }
    throw new WriteError(status.NOT_FOUND, `Requested entity was not found. Entity: ${name}`, {
      storage: 'STREAM_NOT_FOUND',
      entity: name,
    });
  }

  /** A table's schema as its streams know it. */
  #look(ref: TableRef): {
    readonly schema: TableSchema;
    readonly newSchema: TableSchema | undefined;
  } {
    const { createdMs } = this.#store.table(ref);
    const key = `${Object.values(ref).join('.')} ${createdMs}`;
    const schema = this.#store.tableSchema(ref);
    const seen = this.#seen.get(key) ?? { schema, left: this.schemaLagRequests };
    this.#seen.set(key, seen);
    if (seen.schema.schemaVersion === schema.schemaVersion) return { schema, newSchema: undefined };
    if (seen.left > 0) {
      seen.left -= 1;
      return { schema: seen.schema, newSchema: undefined };
    }
    this.#seen.set(key, { schema, left: this.schemaLagRequests });
    return { schema, newSchema: schema };
  }

  /** One after the other on a stream, whichever connections they come from. */
  #locked<T>(name: string, work: () => Promise<T>): Promise<T> {
    const done = (this.#locks.get(name) ?? Promise.resolve()).then(work);
    this.#locks.set(
      name,
      done.catch(() => undefined),
    );
    return done;
  }
}

/** The texts are the service's: clients read numbers out of them. */
function checkPlace(entity: string, stream: CommittedStream, offset: bigint | undefined): void {
  if (stream.isFinalized) {
    throw new WriteError(
      status.INVALID_ARGUMENT,
      `Stream has been finalized and cannot be appended. Entity: ${entity}`,
      { storage: 'STREAM_FINALIZED', entity },
    );
  }
  if (offset === undefined || offset === stream.rows) return;
  const numbers = `expected offset ${stream.rows}, received ${offset}`;
  if (offset < stream.rows) {
    throw new WriteError(
      status.ALREADY_EXISTS,
      `The offset is within stream, ${numbers} Entity: ${entity}`,
      {
        storage: 'OFFSET_ALREADY_EXISTS',
        entity,
      },
    );
  }
  throw new WriteError(
    status.OUT_OF_RANGE,
    `The offset is beyond stream, ${numbers} Entity: ${entity}`,
    {
      storage: 'OFFSET_OUT_OF_RANGE',
      entity,
    },
  );
}
