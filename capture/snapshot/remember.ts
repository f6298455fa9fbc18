import type { ChangeEffect, KeyText } from './change-effect.ts';
import { isVisible, type TransactionSnapshot } from './transaction-visibility.ts';

/** What streamed transactions that the chunk's snapshot does not see did to one key (rule 1). */
export interface RememberedKey {
  deleted: boolean;
  /** It was deleted and came back: the chunk's row is of a former life. */
  replaced: boolean;
  /** Every column is set: the log has the whole row. */
  complete: boolean;
  /** Column number → value set last. */
  readonly columns: Map<number, Buffer | null>;
}

/**
 * The memory of one chunk. Until the chunk's snapshot is known everything is kept as it came; then
 * what the snapshot sees is forgotten, and from then on only the rest is remembered (rule 2).
 */
export class ChunkMemory {
  readonly #columnCount: number;
  readonly #keys = new Map<KeyText, RememberedKey>();
  #early: { readonly xid: number; readonly effect: ChangeEffect }[] = [];
  #snapshot: TransactionSnapshot | null = null;
  #truncated = false;

  /** @param columnCount columns of the table version that the chunk is read with */
  constructor(columnCount: number) {
    this.#columnCount = columnCount;
  }

  /** A transaction that the snapshot does not see truncated the table: nothing the chunk read is left. */
  get truncated(): boolean {
    return this.#truncated;
  }

  get keys(): ReadonlyMap<KeyText, RememberedKey> {
    return this.#keys;
  }

  /** False for transactions that the chunk's snapshot sees. */
  concerns(xid: number): boolean {
    return this.#snapshot === null || !isVisible(this.#snapshot, xid);
  }

  observe(xid: number, effect: ChangeEffect): void {
    if (this.#snapshot === null) this.#early.push({ xid, effect });
    else if (!isVisible(this.#snapshot, xid)) this.#apply(effect);
  }

  /** The chunk's snapshot was taken, after the memory began. */
  seal(snapshot: TransactionSnapshot): void {
    this.#snapshot = snapshot;
    for (const { xid, effect } of this.#early) {
      if (!isVisible(snapshot, xid)) this.#apply(effect);
    }
    this.#early = [];
  }

  #apply(effect: ChangeEffect): void {
    if (effect.kind === 'truncate') {
      this.#keys.clear();
      this.#truncated = true;
      return;
    }
    const known = this.#keys.get(effect.key);
    const entry = known ?? { deleted: false, replaced: false, complete: false, columns: new Map() };
    if (known === undefined) this.#keys.set(effect.key, entry);
    if (effect.kind === 'gone') {
      Object.assign(entry, { deleted: true, replaced: true, complete: false });
      entry.columns.clear();
      return;
    }
    entry.deleted = false;
    if (effect.image === null) {
      entry.complete = true;
      entry.columns.clear();
    } else if (!entry.complete) {
      for (const [at, value] of effect.image.entries()) {
        if (value !== undefined) entry.columns.set(at, value);
      }
      entry.complete = entry.columns.size === this.#columnCount;
    }
  }
}
