import type { Lsn } from '../../schemas/lsn.ts';
import type { TableSchema } from '../../schemas/table-schema.ts';
import type { LogicalMessage, TupleBytes } from '../pgoutput/message.ts';

/** Prefix of the logical messages that fence a chunk; content = `<capture id>:<chunk number>`. */
export const fencePrefix = 'tributary.fence';

/** One row change as it passes through the stream, in stream order, at the moment it is emitted. */
export type StreamedChange =
  | {
      readonly op: 'insert';
      readonly table: TableSchema;
      readonly xid: number;
      readonly after: TupleBytes;
    }
  | {
      readonly op: 'update';
      readonly table: TableSchema;
      readonly xid: number;
      readonly before: { readonly kind: 'key' | 'full'; readonly tuple: TupleBytes } | null;
      readonly after: TupleBytes;
    }
  | {
      readonly op: 'delete';
      readonly table: TableSchema;
      readonly xid: number;
      readonly before: { readonly kind: 'key' | 'full'; readonly tuple: TupleBytes };
    }
  | { readonly op: 'truncate'; readonly table: TableSchema; readonly xid: number };

/**
 * What to emit at a fence, at position (fence LSN − 1, row number from 0). `table` is the version that the rows were
 * read with: newer than the stream's when an ALTER is visible that no row change has followed yet.
 */
export interface ChunkEmission {
  readonly table: TableSchema;
  /** A table without a key: a truncate record goes first (ordinal 0), so that the rows replace what was there. */
  readonly truncateFirst: boolean;
  /** Rows as the chunk read them, overlaid where streamed transactions had set columns. */
  readonly rows: readonly TupleBytes[];
  /** The fence from which on the changes of a table that was held back are taken again; it has no rows. */
  readonly reopens: boolean;
  /** A table without a key: changes of transactions that the chunk's snapshot did not see, to emit once more after the rows. */
  readonly again: readonly StreamedChange[];
}

/** Durable with the progress record; JSON. */
export interface SnapshotState {
  readonly tables: Readonly<Record<string, TableSnapshotState>>;
}

export interface TableSnapshotState {
  /** 'schema.table' is the record's key; a table that was dropped and created again has another oid. */
  readonly oid: number;
  readonly done: boolean;
  /** Next block to read of the CTID range; null for a keyless table. */
  readonly nextBlock: number | null;
  /** Block count when the snapshot of this table began. */
  readonly blocks: number;
  readonly rowsRead: number;
  /**
   * Names the files that the CTIDs refer to. A rewrite (vacuum full, cluster, truncate) moves rows without any row event:
   * then the table is read again from block 0. Null or left out before the first chunk.
   */
  readonly storage?: string | null;
  /** Keys (JSON arrays of text, in key order) whose rows must be read again. */
  readonly repair: readonly string[];
}

/**
 * The fenced-chunk snapshot: reads tables beside the stream and says at each fence what to emit.
 * `observe*` and `fence` are called in stream order by capture's one loop; the chunk reader runs on a
 * connection of its own and never holds up the stream.
 *
 * One object serves one replication connection: when the stream is opened again, stop it and make a new one from the
 * last durable state. What PostgreSQL then sends again must be observed again, also where the log already holds it.
 */
export interface Snapshot {
  /** False once every table is complete: then nothing needs to be observed. */
  readonly active: boolean;
  /** Begins (or resumes) reading; returns at once. Failures surface through `failed`. */
  start(): void;
  /** Rejects with the error that ended the chunk reader for good; never resolves otherwise. */
  readonly failed: Promise<never>;
  observe(change: StreamedChange): void;
  /**
   * After the last change of a transaction: its Begin or Stream Commit message. PostgreSQL skips a transaction whose
   * commit record *starts* below the confirmed LSN, so the ceiling is made of starts.
   */
  observeCommit(transaction: { readonly xid: number; readonly commitLsn: Lsn }): void;
  /** A fence came back through the stream: what to emit there; null for a fence of an earlier life. */
  fence(message: LogicalMessage): ChunkEmission | null;
  /** State to store once everything emitted so far is durable. */
  state(): SnapshotState;
  /**
   * No LSN above it may be confirmed yet (rule 6); null when there is no such limit. Refreshed by the reader.
   * It can stand for a moment after `active` became false: a crash may fall back to an unfinished state.
   * 0 until the first look. While a snapshot is unfinished, begin to stream at the slot's own position: what was
   * not confirmed must be observed again.
   */
  confirmCeiling(): Lsn | null;
  /**
   * Tables to read (again) from the start: a table added, a re-snapshot on demand. `reopen`: the log lacks
   * changes of them, deletes too, so a fence comes first at which everything on the log is truncated.
   */
  request(tables: readonly TableSchema[], options?: { readonly reopen: boolean }): void;
  /** Reads the table no more, until it is requested: its rows are not wanted. */
  release(table: TableSchema): void;
  /** Stops the reader; waits for its query to end. */
  stop(): Promise<void>;
}
