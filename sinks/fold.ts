import { assert } from '../runtime/assert.ts';
import type { Change, RowImage, Value } from '../schemas/change.ts';
import type { PositionText } from '../schemas/position.ts';
import type { TableSchema } from '../schemas/table-schema.ts';
import { columnsIdentity, type Identity, rowIdentity } from '../schemas/value-identity.ts';
import type { FoldedRow, KeylessRow, TableFold } from './sink.ts';

type RowChange = Extract<Change, { readonly after: RowImage }>;
type DeleteChange = Extract<Change, { readonly op: 'd' }>;

/**
 * One table's changes of one batch, in rising order of `seq` and all of one table version, brought to
 * what they come to: the last image of each key, or the rows to add and to remove where there is no
 * key. Applying the fold to the rows before the batch gives what applying the changes one by one gives.
 */
export function foldChanges(table: TableSchema, changes: readonly Change[]): TableFold {
  assertRising(changes);
  return table.key.length === 0 ? foldKeyless(changes) : foldKeyed(keyIndices(table), changes);
}

/** Indices of the key columns in the row image, in key order. */
function keyIndices(table: TableSchema): readonly number[] {
  return table.key.map((name) => {
    const index = table.columns.findIndex((column) => column.name === name);
    assert(index >= 0, `key column ${name} of ${table.schema}.${table.name} is one of its columns`);
    return index;
  });
}

function assertRising(changes: readonly Change[]): void {
  for (let index = 1; index < changes.length; index += 1) {
    const before = changes[index - 1];
    const after = changes[index];
    assert(before && after && before.seq < after.seq, 'changes to fold rise in seq');
  }
}

interface KeyedFold {
  readonly key: readonly number[];
  readonly rows: Map<Identity, FoldedRow>;
  floor: PositionText | null;
  /** The delete half of a key change, waiting for its insert half, and the old key's row in this batch. */
  moving: { readonly change: DeleteChange; readonly row: FoldedRow | undefined } | null;
}

function foldKeyed(key: readonly number[], changes: readonly Change[]): TableFold {
  const fold: KeyedFold = { key, rows: new Map(), floor: null, moving: null };
  for (const change of changes) {
    switch (change.op) {
      case 't':
        fold.rows.clear();
        fold.floor = change.seq;
        fold.moving = null;
        break;
      case 'd':
        foldDelete(fold, change);
        break;
      default:
        putLast(fold.rows, columnsIdentity(change.after, key), foldRow(fold, change));
        fold.moving = null;
    }
  }
  return { floor: fold.floor, rows: [...fold.rows.values()], added: [], removed: [] };
}

function foldDelete(fold: KeyedFold, change: DeleteChange): void {
  const identity = columnsIdentity(change.before, fold.key);
  fold.moving = { change, row: fold.rows.get(identity) };
  const key = keyImage(change.before, fold.key);
  putLast(fold.rows, identity, { deleted: true, change, key });
}

/** The map's order stays the order of the newest changes. */
function putLast(rows: Map<Identity, FoldedRow>, identity: Identity, row: FoldedRow): void {
  const { size } = rows;
  rows.set(identity, row);
  if (rows.size > size) return;
  rows.delete(identity);
  rows.set(identity, row);
}

function foldRow(fold: KeyedFold, change: RowChange): FoldedRow {
  const { after, before, unchanged } = change;
  if (unchanged.length === 0) return complete(change, after);
  if (before !== null) return complete(change, overlay(after, before, unchanged));
  const origin = originOf(fold, change);
  const earlier = origin.row;
  if (earlier === undefined && fold.floor === null) {
    return { deleted: false, change, image: after, unchanged, baseKey: origin.key };
  }
  // Nothing of the row is left to take them from: it was deleted or truncated in this batch.
  if (earlier === undefined || earlier.deleted) return complete(change, after);
  return {
    deleted: false,
    change,
    image: overlay(after, earlier.image, unchanged),
    unchanged: unchanged.filter((index) => earlier.unchanged.includes(index)),
    baseKey: earlier.baseKey,
  };
}

const noColumns: readonly number[] = [];

/** A row that needs nothing from the lake. */
function complete(change: RowChange, image: RowImage): FoldedRow {
  return { deleted: false, change, image, unchanged: noColumns, baseKey: image };
}

/** The row that a change continues: the old key's for the insert half of a key change, else its own key's. */
function originOf(
  fold: KeyedFold,
  change: RowChange,
): { readonly row: FoldedRow | undefined; readonly key: RowImage } {
  const { moving, key, rows } = fold;
  // The delete half can be missing: a record that could not be decoded became a dead letter.
  if (change.seq.endsWith('/2') && moving !== null && isSameChange(moving.change, change)) {
    return { row: moving.row, key: keyImage(moving.change.before, key) };
  }
  return { row: rows.get(columnsIdentity(change.after, key)), key: keyImage(change.after, key) };
}

/** Halves of one key change differ in nothing but the position's part. */
function isSameChange(one: Change, other: Change): boolean {
  return one.seq.slice(0, -1) === other.seq.slice(0, -1);
}

function keyImage(image: RowImage, key: readonly number[]): RowImage {
  const values: Value[] = [];
  for (let index = 0; index < image.length; index += 1) values.push(null);
  for (const index of key) values[index] = image[index] ?? null;
  return values;
}

function overlay(image: RowImage, from: RowImage, indices: readonly number[]): RowImage {
  const merged = [...image];
  for (const index of indices) merged[index] = from[index] ?? null;
  return merged;
}

/** A multiset: a removal first cancels an equal row of this batch; equal rows are interchangeable. */
function foldKeyless(changes: readonly Change[]): TableFold {
  let floor: PositionText | null = null;
  let removed: RowImage[] = [];
  const added = new Map<string, KeylessRow[]>();
  const remove = (image: RowImage) => {
    const equal = added.get(rowIdentity(image));
    if (equal?.pop() === undefined && floor === null) removed.push(image);
  };
  for (const change of changes) {
    if (change.op === 't') {
      floor = change.seq;
      removed = [];
      added.clear();
    } else {
      if (change.op === 'd' || change.before !== null) remove(change.before ?? []);
      if (change.op !== 'd') add(added, change);
    }
  }
  const rows = [...added.values()]
    .flat()
    .toSorted((a, b) => (a.change.seq < b.change.seq ? -1 : 1));
  return { floor, rows: [], added: rows, removed };
}

function add(added: Map<string, KeylessRow[]>, change: RowChange): void {
  const { after, before, unchanged } = change;
  const image = before === null ? after : overlay(after, before, unchanged);
  const identity = rowIdentity(image);
  const equal = added.get(identity);
  if (equal === undefined) added.set(identity, [{ change, image }]);
  else equal.push({ change, image });
}
