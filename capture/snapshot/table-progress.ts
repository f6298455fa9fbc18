import type { TableSchema } from '../../schemas/table-schema.ts';
import type { KeyText } from './change-effect.ts';
import type { TableSnapshotState } from './snapshot.ts';

/** The files that CTIDs refer to, and how many blocks they had when the reading began. */
export interface TableStorage {
  readonly storage: string;
  readonly blocks: number;
}

/** How far the snapshot of one table is. */
export class TableProgress {
  #table: TableSchema;
  #nextBlock = 0;
  #blocks = 0;
  #rowsRead = 0;
  #storage: string | null = null;
  #done = false;
  /** The log lacks changes of the table: a fence that truncates it comes before everything else. */
  mustReopen = false;
  /** Whether a keyless table has been read. */
  #wholeRead = false;
  #life = 0;
  /** A change with another shape than the table's came by: ask the catalog before the next chunk. */
  outdated = false;
  readonly #repair = new Set<KeyText>();
  /**
   * Those that the stored state named. The stream may be replaying what lies before that state, so only
   * a chunk takes them off the list: a replayed delete says nothing about the row that came after it.
   */
  readonly #inherited = new Set<KeyText>();

  constructor(table: TableSchema, state?: TableSnapshotState) {
    this.#table = table;
    if (state === undefined || state.oid !== table.oid) return;
    this.#done = state.done;
    this.#nextBlock = state.nextBlock ?? 0;
    this.#blocks = state.blocks;
    this.#rowsRead = state.rowsRead;
    this.#storage = state.storage ?? null;
    for (const key of state.repair) {
      this.#repair.add(key);
      this.#inherited.add(key);
    }
  }

  get table(): TableSchema {
    return this.#table;
  }
  get done(): boolean {
    return this.#done;
  }
  get hasKey(): boolean {
    return this.#table.key.length > 0;
  }
  get nextBlock(): number {
    return this.#nextBlock;
  }
  get blocks(): number {
    return this.#blocks;
  }
  get rowsRead(): number {
    return this.#rowsRead;
  }
  /** Null: the table's size is not known, its reading has not begun. */
  get storage(): string | null {
    return this.#storage;
  }
  /** Rises when the reading begins anew: chunks of an earlier life are void. */
  get life(): number {
    return this.#life;
  }
  /** Every block was read; a table of no blocks has its one empty chunk too, so that it ends at a fence. */
  get isRangeRead(): boolean {
    return this.#storage !== null && this.#nextBlock >= Math.max(1, this.#blocks);
  }

  /** Keys whose row the log has only in part. */
  get repair(): ReadonlySet<KeyText> {
    return this.#repair;
  }

  /** The stream brought a row with unchanged columns. */
  needsRepair(key: KeyText): void {
    this.#repair.add(key);
  }

  /** The stream brought the whole row, or took it away. */
  healed(key: KeyText): void {
    if (!this.#inherited.has(key)) this.#repair.delete(key);
  }

  /** The stream emptied the table. */
  healedAll(): void {
    for (const key of this.#repair) this.healed(key);
  }

  /** A chunk brought the row, or found it gone. */
  settled(key: KeyText): void {
    this.#repair.delete(key);
    this.#inherited.delete(key);
  }

  begin(measured: TableStorage): void {
    this.#storage = measured.storage;
    this.#blocks = measured.blocks;
  }

  readTo(block: number, rows: number): void {
    this.#nextBlock = block;
    this.#rowsRead += rows;
  }

  readWhole(rows: number): void {
    this.#rowsRead += rows;
    this.#wholeRead = true;
  }

  /** The table is complete on the log, or gone. */
  finish(): void {
    this.#done = true;
    this.#repair.clear();
    this.#inherited.clear();
  }

  /** True once nothing is left to read; then the table is done. */
  settle(): boolean {
    if (this.mustReopen) return false;
    const isRead = this.hasKey ? this.isRangeRead && this.#repair.size === 0 : this.#wholeRead;
    if (isRead) this.finish();
    return this.#done;
  }

  /** Everything is read again; the keys to repair stay, for what is wanted of them is still missing. */
  restart(): void {
    this.#life += 1;
    this.#nextBlock = 0;
    this.#blocks = 0;
    this.#rowsRead = 0;
    this.#storage = null;
    this.#done = false;
    this.#wholeRead = false;
  }

  /** The catalog's newest version. With another key or identity everything is read again. */
  describe(table: TableSchema): void {
    const old = this.#table;
    this.#table = table;
    this.outdated = false;
    if (old.oid === table.oid && old.key.join('\0') === table.key.join('\0')) return;
    this.restart();
    this.#repair.clear();
    this.#inherited.clear();
  }

  state(): TableSnapshotState {
    return {
      oid: this.#table.oid,
      done: this.#done,
      nextBlock: this.hasKey ? this.#nextBlock : null,
      blocks: this.#blocks,
      rowsRead: this.#rowsRead,
      storage: this.#storage,
      repair: [...this.#repair],
    };
  }
}
