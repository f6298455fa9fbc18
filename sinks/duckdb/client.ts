import { mkdir, realpath } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { dirname, basename, join, resolve } from 'node:path';
import {
  type DuckDBConnection,
  type DuckDBDataChunk,
  DuckDBInstance,
  type DuckDBResult,
  type DuckDBValue,
} from '@duckdb/node-api';
import { assert } from '../../runtime/assert.ts';
import { lockedError, translateDuckdbError } from './errors.ts';
import { createStageSql, quoteText, type StageColumn } from './sql.ts';
import { chunkRows, ChunkWriter, type ColumnWriter } from './vectors.ts';

/**
 * Name of the lake in every connection of ours. DuckDB refuses `a.b` when `a` is both a schema and an
 * attached file, so it is a name that no schema of PostgreSQL can have.
 */
const lakeAlias = 'tributary_lake_under_a_name_longer_than_the_63_bytes_that_postgresql_allows';

export interface LakeOptions {
  readonly isReadOnly?: boolean;
  /** DuckDB's own memory, bytes; beyond it DuckDB spills into `<path>.tmp`. */
  readonly memoryBytesMax?: number;
  /** DuckDB's threads, beside the one that this process reads and fills with. */
  readonly threadsMax?: number;
  /** Size of the write-ahead log, bytes, at which DuckDB folds it into the file. */
  readonly walBytesMax?: number;
}

const optionDefaults = {
  isReadOnly: false,
  memoryBytesMax: 1024 * 1024 * 1024,
  // With as many threads as processors they would take turns with ours; more than two gain nothing.
  threadsMax: availableParallelism() > 2 ? 2 : 1,
  walBytesMax: 64 * 1024 * 1024,
} as const;

/**
 * Rows of a row group, a multiple of a vector's. A transaction that appends as many compresses them once, on
 * their way into the file; fewer go through the write-ahead log first, and what does not fill a group is merged
 * with its neighbours later, up to three groups at a time. DuckDB's own 122,880 are more than most batches have.
 * The file does not remember it: a checkpoint of another program makes full ones of ours, unless that program
 * sets `max_vacuum_tasks` to 0. https://duckdb.org/docs/1.5/sql/statements/attach
 */
const rowGroupRows = 15 * chunkRows;

/** One process has one instance of a file: a second one would not see the first one's lock, and destroy it. */
interface SharedFile {
  readonly path: string;
  readonly isReadOnly: boolean;
  readonly instance: Promise<DuckDBInstance>;
  connections: number;
  writer: FileWriter | undefined;
}

/** Who writes the file in this process; told when another takes over. */
export interface FileWriter {
  /** Rolls back what is open and writes nothing more. */
  fence(): Promise<void>;
}

const sharedFiles = new Map<string, SharedFile>();

/**
 * A connection to the lake file, with the lake as default catalog and UTC as time zone. Throws
 * `sink-locked`, `sink-corrupt` or `sink-failed`.
 */
export async function openLake(path: string, options: LakeOptions = {}): Promise<LakeConnection> {
  const file = await shareFile(path, options);
  try {
    const connection = await (await file.instance).connect();
    const lake = new LakeConnection(connection, file);
    await lake.run(`use ${lakeAlias}.main`);
    return lake;
  } catch (error) {
    await releaseFile(file);
    throw translateDuckdbError(error, path);
  }
}

async function fileKey(path: string): Promise<string> {
  const full = resolve(path);
  const folder = await realpath(dirname(full)).catch(() => dirname(full));
  return realpath(full).catch(() => join(folder, basename(full)));
}

async function shareFile(path: string, options: LakeOptions): Promise<SharedFile> {
  const { isReadOnly, ...limits } = { ...optionDefaults, ...options };
  if (!isReadOnly) await mkdir(dirname(resolve(path)), { recursive: true });
  const key = await fileKey(path);
  const known = sharedFiles.get(key);
  if (known !== undefined) {
    if (known.isReadOnly && !isReadOnly) throw lockedError(path, process.pid);
    known.connections += 1;
    return known;
  }
  const instance = openInstance(key, isReadOnly, limits);
  // The first `connect` reports it.
  instance.catch(() => {});
  const file: SharedFile = { path: key, isReadOnly, instance, connections: 1, writer: undefined };
  sharedFiles.set(key, file);
  return file;
}

type Limits = Required<Omit<LakeOptions, 'isReadOnly'>>;

async function openInstance(path: string, isReadOnly: boolean, limits: Limits) {
  const instance = await DuckDBInstance.create(':memory:', {
    memory_limit: `${Math.ceil(limits.memoryBytesMax / 1024)}KiB`,
    threads: String(limits.threadsMax),
    temp_directory: `${path}.tmp`,
    checkpoint_threshold: `${Math.ceil(limits.walBytesMax / 1024)}KiB`,
    // Each one is compressed with the batch that fills it, and not five with one that others wait for.
    write_buffer_row_group_count: '1',
    autoinstall_known_extensions: 'false',
  });
  try {
    const connection = await instance.connect();
    await connection.run(/* sql */ `set global TimeZone = 'UTC'`);
    const mode = isReadOnly ? 'read_only' : `row_group_size ${rowGroupRows}`;
    await connection.run(/* sql */ `attach ${quoteText(path)} as ${lakeAlias} (${mode})`);
    connection.closeSync();
    return instance;
  } catch (error) {
    instance.closeSync();
    throw error;
  }
}

async function releaseFile(file: SharedFile): Promise<void> {
  file.connections -= 1;
  if (file.connections > 0) return;
  sharedFiles.delete(file.path);
  // Folds the write-ahead log into the file and gives the lock back.
  (await file.instance.catch(() => undefined))?.closeSync();
}

/** One connection; statements run one after the other. Errors come out translated. */
export class LakeConnection {
  readonly #connection: DuckDBConnection;
  readonly #file: SharedFile;
  #isClosed = false;
  #refusal: unknown;

  constructor(connection: DuckDBConnection, file: SharedFile) {
    this.#connection = connection;
    this.#file = file;
  }

  /** The connections of this process to the file, this one included. */
  get connectionCount(): number {
    return this.#file.connections;
  }

  /** Becomes the one writer of the file in this process; the one before it is fenced first. */
  async takeOver(writer: FileWriter): Promise<void> {
    const before = this.#file.writer;
    this.#file.writer = writer;
    if (before !== undefined && before !== writer) await before.fence();
  }

  /** Rolls back what is open; from now on every call fails with `reason`. */
  async refuseAll(reason: unknown): Promise<void> {
    this.#refusal ??= reason;
    if (!this.#isClosed) await this.#connection.run('rollback').catch(() => {});
  }

  /** Runs one or more statements; gives how many rows the last one changed. */
  async run(sql: string): Promise<number> {
    return this.#translated(async () => (await this.#connection.run(sql)).rowsChanged);
  }

  /** All rows of a small result, by column name. */
  async rows(sql: string): Promise<readonly Record<string, DuckDBValue>[]> {
    return this.#translated(async () =>
      (await this.#connection.runAndReadAll(sql)).getRowObjects(),
    );
  }

  /** A result of any size, chunk by chunk. */
  async *chunks(sql: string): AsyncGenerator<DuckDBDataChunk, void, undefined> {
    const result: DuckDBResult = await this.#translated(() => this.#connection.stream(sql));
    for (;;) {
      const chunk = await this.#translated(() => result.fetchChunk());
      if (chunk === null || chunk.rowCount === 0) return;
      yield chunk;
    }
  }

  /** Makes a temporary table, in the place of one of its name, and fills it. */
  async fillTemporary(table: string, content: TemporaryContent): Promise<void> {
    const { columns, rowCount, fill } = content;
    await this.run(createStageSql(table, columns));
    await this.#translated(async () => {
      const appender = await this.#connection.createAppender(table, 'main', 'temp');
      const writer = new ChunkWriter(columns.map(({ vector }) => vector));
      for (let from = 0; from < rowCount; from += chunkRows) {
        const count = Math.min(chunkRows, rowCount - from);
        fill(writer.columns, from, count);
        appender.appendDataChunk(writer.finish(count));
        // Encoding is synchronous: let timers and signals of the process have their turn.
        if ((from / chunkRows) % 8 === 7) await new Promise(setImmediate);
      }
      appender.closeSync();
    });
  }

  /** Gives the connection back; the last one of the process closes the file. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#connection.closeSync();
    await releaseFile(this.#file);
  }

  async #translated<T>(body: () => Promise<T>): Promise<T> {
    assert(!this.#isClosed, 'a closed lake connection is not used');
    // Statements after a rollback would each commit by themselves.
    if (this.#refusal !== undefined) throw this.#refusal;
    try {
      return await body();
    } catch (error) {
      throw translateDuckdbError(error, this.#file.path);
    }
  }
}

export interface TemporaryContent {
  readonly columns: readonly StageColumn[];
  readonly rowCount: number;
  /** Puts rows [from, from + count) into the first rows of a chunk with these columns. */
  readonly fill: (chunk: readonly ColumnWriter[], from: number, count: number) => void;
}
