import type { Change, DeadLetter, RowImage } from '../schemas/change.ts';
import type { Watermark } from '../schemas/control.ts';
import type { PositionText } from '../schemas/position.ts';
import type { TableSchema, TableVersion } from '../schemas/table-schema.ts';

/**
 * A warehouse that changes are loaded into exactly once.
 *
 * Order: `apply` is called with batches in rising order of position, one at a time. Atomicity: a batch
 * and its checkpoint become visible together or not at all; a batch whose cut is not published stays
 * invisible to readers until a published one follows, and may be lost with the process: it is given
 * again. Ownership: `open` raises the epoch; from then on the owner before it fails with `sink-fenced`.
 * A lake whose tables are divided into shares has one sink, checkpoint and epoch a share, of one worker.
 * Duplicates: the caller drops what is not above the checkpoint, so a sink never searches for them.
 */
export interface Sink {
  /** Creates the shared tables if missing, takes ownership, and says where to go on. */
  open(): Promise<Checkpoint>;
  /**
   * Asked of each change once, in rising order of position and before any batch has it: why it is to be a dead
   * letter, null to take it. `key` is that of its record. A sink that takes everything leaves it out.
   */
  refuse?(change: Change, key: Uint8Array | null): Refusal | null;
  /** Makes the lake able to hold rows of this table version, before the first batch that has them. */
  evolve(version: TableVersion): Promise<void>;
  apply(batch: SinkBatch): Promise<void>;
  /** How long the next batch should wait, so that it is a larger one; not at all if left out. */
  pauseMs?(): number;
  /** Lets another process have the lake's file while `use` runs; at once where nothing is locked. */
  lend<T>(use: () => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

/** Why a sink does not take a change. */
export interface Refusal {
  readonly reason: string;
  /** What it takes in the change's place, at its position; null for nothing. */
  readonly instead: Change | null;
}

/** How far a sink is: stored in the lake, in the same transaction as the rows. */
export interface Checkpoint {
  readonly epoch: number;
  /** Every record at or below it is applied. */
  readonly applied: PositionText;
  /** Next watermark to read. */
  readonly watermarkOffset: number;
  /** topic → next offset of each partition. */
  readonly offsets: Readonly<Record<string, readonly number[]>>;
}

export interface SinkBatch {
  /** Deterministic: the same records give the same id. */
  readonly id: string;
  readonly cut: Watermark;
  readonly checkpoint: Checkpoint;
  readonly tables: readonly TableBatch[];
  readonly deadLetters: readonly DeadLetter[];
}

/** One table's part of a batch, changes in `_cdc_seq` order and what they come to. */
export interface TableBatch {
  readonly version: TableVersion;
  readonly changes: readonly Change[];
  readonly fold: TableFold;
}

export interface TableFold {
  /** The newest truncate: no row below it may stay or come back. */
  readonly floor: PositionText | null;
  /** Keyed tables: one entry a key. */
  readonly rows: readonly FoldedRow[];
  /** Tables without a key: rows to add, after removals. */
  readonly added: readonly KeylessRow[];
  /** Tables without a key: full images, each to be removed once from the rows before this batch. */
  readonly removed: readonly RowImage[];
}

export type FoldedRow =
  | { readonly deleted: true; readonly change: Change; readonly key: RowImage }
  | {
      readonly deleted: false;
      /** The newest change of the key: its position and origin. */
      readonly change: Change;
      readonly image: RowImage;
      /** Columns still not known after folding: taken from the row of `baseKey` as it was before this batch. */
      readonly unchanged: readonly number[];
      /** In the key columns the row's own key, or the key it moved from; the others are of no account. */
      readonly baseKey: RowImage;
    };

export interface KeylessRow {
  readonly change: Change;
  readonly image: RowImage;
}

/** Names of a table's three relations in the lake. */
export interface LakeNames {
  readonly schema: string;
  readonly changes: string;
  readonly state: string;
  readonly view: string;
}

/** `T__changes`, `T__state` and view `T` for table T. */
export function lakeNames(table: Pick<TableSchema, 'schema' | 'name'>): LakeNames {
  const { schema, name } = table;
  return { schema, changes: `${name}__changes`, state: `${name}__state`, view: name };
}
