import type { Change, RowImage, Value } from '../../schemas/change.ts';
import { rowIdentity } from '../../schemas/value-identity.ts';
import type { VersionLayout } from '../lake/layout.ts';
import type { FoldedRow, TableBatch } from '../sink.ts';
import { encodeValue, momentText, type StagedCell } from './encode.ts';
import { baseName, keysOf, stagedName, toChanges, toDeleted, toRemoved, toState } from './sql.ts';

type Cells = Record<string, StagedCell | readonly string[]>;

/** One table's part of a batch as the rows of its staging table, and what is special about them. */
export interface StagedBatch {
  readonly rows: readonly Readonly<Cells>[];
  readonly hasExactKeys: boolean;
  /** Indices of columns that some row takes from the row as it was before the batch. */
  readonly filled: readonly number[];
}

/**
 * A row that goes into the changes and, as it is, into the state is staged once: that is most of them.
 * `appended`: those of the batch's changes that the transaction is to append.
 */
export function stageBatch(
  layout: VersionLayout,
  batch: TableBatch,
  appended: readonly Change[],
): StagedBatch {
  const staging = new Staging(layout);
  for (const change of appended) {
    const row = staging.add(imageOf(change), toChanges);
    Object.assign(row, originOf(change));
    if ('unchanged' in change && change.unchanged.length > 0) {
      row['_unchanged'] = change.unchanged.map((index) => layout.columns[index]?.name ?? '');
    }
    staging.remember(change, row);
  }
  for (const row of batch.fold.rows) staging.addFolded(row);
  for (const { change, image } of batch.fold.added) staging.addState(change, image, toState);
  for (const [image, copies] of counted(batch.fold.removed)) {
    const row = staging.add(image, toRemoved);
    row['_copies'] = copies;
  }
  return {
    rows: staging.rows,
    hasExactKeys: staging.hasExactKeys,
    filled: [...staging.filled].toSorted((a, b) => a - b),
  };
}

const noImage: RowImage = [];

function imageOf(change: Change): RowImage {
  if (change.op === 't') return noImage;
  return change.op === 'd' ? change.before : change.after;
}

function counted(images: readonly RowImage[]): Iterable<readonly [RowImage, number]> {
  const groups = Map.groupBy(images, rowIdentity);
  return [...groups.values()].flatMap((equal) => {
    const [image] = equal;
    return image === undefined ? [] : [[image, equal.length] as const];
  });
}

function originOf(change: Change): Cells {
  const { lsn, xid, committedAtUs } = change;
  return {
    _op: change.op,
    _seq: change.seq,
    _lsn: `${(lsn >> 32n).toString(16)}/${(lsn & 0xff_ff_ff_ffn).toString(16)}`.toUpperCase(),
    _xid: xid === null ? null : String(xid),
    _committed: committedAtUs === null ? null : momentText(committedAtUs),
    _captured: momentText(change.capturedAtUs),
    _place: change.partition,
    _offset: change.offset,
  };
}

class Staging {
  readonly rows: Cells[] = [];
  readonly filled = new Set<number>();
  hasExactKeys = false;
  readonly #layout: VersionLayout;
  readonly #staged = new Map<Change, { readonly row: Cells; readonly image: RowImage }>();

  constructor(layout: VersionLayout) {
    this.#layout = layout;
  }

  add(image: RowImage, to: number): Cells {
    const row: Cells = { _to: to, _n: this.rows.length };
    const exact = this.#write(row, image, (index) => stagedName(index));
    if (exact !== null) row['_exact'] = exact;
    this.rows.push(row);
    return row;
  }

  remember(change: Change, row: Cells): void {
    this.#staged.set(change, { row, image: imageOf(change) });
  }

  addFolded(row: FoldedRow): void {
    const { change } = row;
    if (row.deleted) {
      // The tombstone keeps what the source sent of the row: the key at least.
      const image = change.op === 'd' ? change.before : row.key;
      this.addState(change, image, toState | toDeleted);
      return;
    }
    const cells = this.addState(change, row.image, toState);
    if (row.unchanged.length === 0) return;
    for (const index of row.unchanged) this.filled.add(index);
    cells['_fill'] = row.unchanged.map((index) => this.#layout.columns[index]?.physical ?? '');
    const keys = new Set(keysOf(this.#layout).map(({ index }) => index));
    const base = row.baseKey.map((value, index) => (keys.has(index) ? value : null));
    const exact = this.#write(cells, base, (index) => (keys.has(index) ? baseName(index) : null));
    if (exact !== null) cells['_base_exact'] = exact;
  }

  /** Uses the row that is staged for the changes if it is the same. */
  addState(change: Change, image: RowImage, to: number): Cells {
    const staged = this.#staged.get(change);
    if (staged !== undefined && isSameImage(staged.image, image)) {
      staged.row['_to'] = Number(staged.row['_to']) | to;
      return staged.row;
    }
    const row = this.add(image, to);
    Object.assign(row, originOf(change));
    return row;
  }

  /** Writes an image's cells; gives the text of what they cannot hold. */
  #write(row: Cells, image: RowImage, nameOf: (index: number) => string | null): string | null {
    const exacts: Record<string, string> = {};
    for (const [index, { type, physical, isKey, lakeType }] of this.#layout.columns.entries()) {
      const value: Value = image[index] ?? null;
      const name = nameOf(index);
      if (value === null || name === null) continue;
      const { cell, exact } = encodeValue(type, value, lakeType);
      row[name] = cell;
      if (exact === null) continue;
      exacts[physical] = exact;
      if (isKey) this.hasExactKeys = true;
    }
    return Object.keys(exacts).length === 0 ? null : JSON.stringify(exacts);
  }
}

function isSameImage(one: RowImage, other: RowImage): boolean {
  if (one === other) return true;
  return one.length === other.length && one.every((value, index) => value === other[index]);
}
