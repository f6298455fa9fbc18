import { assert } from '../../runtime/assert.ts';
import type { TableSchema } from '../../schemas/table-schema.ts';
import type { TupleBytes } from '../pgoutput/message.ts';
import { TupleCursor } from '../pgoutput/tuple.ts';
import type { StreamedChange } from './snapshot.ts';

/** The text of the key columns in key order, as JSON: the same for the stream, a chunk and the stored state. */
export type KeyText = string;

/** Column values of a row image; undefined where a TOASTed value was not sent. */
export type PartialImage = readonly (Buffer | null | undefined)[];

/** What a streamed change does to one key. A key change is a `gone` and an `image`. */
export type ChangeEffect =
  | { readonly kind: 'gone'; readonly key: KeyText }
  /** `image` is null when every column was sent: then no chunk is asked about this key. */
  | { readonly kind: 'image'; readonly key: KeyText; readonly image: PartialImage | null }
  | { readonly kind: 'truncate' };

const keyIndexes = new WeakMap<TableSchema, readonly number[]>();

/** Column numbers of the key, in key order. */
function keyColumns(table: TableSchema): readonly number[] {
  const known = keyIndexes.get(table);
  if (known !== undefined) return known;
  const indexes = table.key.map((name) =>
    table.columns.findIndex((column) => column.name === name),
  );
  assert(!indexes.includes(-1), 'every key column is a column of the table');
  keyIndexes.set(table, indexes);
  return indexes;
}

/** The key of a row that has all its key columns. */
export function rowKey(table: TableSchema, row: TupleBytes): KeyText {
  return keyOf(table, imageOf(row));
}

/** The effects of a change of a table with a key, in the order in which they happen. */
export function effectsOf(change: StreamedChange): readonly ChangeEffect[] {
  switch (change.op) {
    case 'truncate':
      return [{ kind: 'truncate' }];
    case 'delete':
      return [{ kind: 'gone', key: rowKey(change.table, change.before.tuple) }];
    case 'insert':
      return [imageEffect(change.table, imageOf(change.after))];
    case 'update':
      return updateEffects(change);
  }
}

/** Whether a change may leave columns out. */
export function hasUnchanged(tuple: TupleBytes): boolean {
  const cursor = scan.reset(tuple);
  while (cursor.next()) if (cursor.kind === 'unchanged') return true;
  return false;
}

/** A tuple in memory of its own: what the stream hands over is valid only for the moment. */
export function copyTuple(tuple: TupleBytes): TupleBytes {
  const cursor = scan.reset(tuple);
  while (cursor.next());
  const end = cursor.index < 0 ? tuple.offset + 2 : cursor.end;
  return { bytes: Buffer.from(tuple.bytes.subarray(tuple.offset, end)), offset: 0 };
}

const scan = new TupleCursor();

function updateEffects(
  change: StreamedChange & { readonly op: 'update' },
): readonly ChangeEffect[] {
  const { table, before } = change;
  const after = imageOf(change.after);
  if (before === null) return [imageEffect(table, after)];
  const old = imageOf(before.tuple);
  // A full old row has every value. An old key is also sent when a key column is stored out of line: then
  // the new tuple leaves that column out although the row cannot be told without it.
  const known = before.kind === 'full' ? table.columns.map((_, at) => at) : keyColumns(table);
  for (const at of known) if (after[at] === undefined) after[at] = old[at];
  const oldKey = keyOf(table, old);
  const image = imageEffect(table, after);
  return oldKey === image.key ? [image] : [{ kind: 'gone', key: oldKey }, image];
}

function imageEffect(
  table: TableSchema,
  image: PartialImage,
): ChangeEffect & { readonly kind: 'image' } {
  const key = keyOf(table, image);
  if (!image.includes(undefined)) return { kind: 'image', key, image: null };
  const copied = image.map((value) => (value instanceof Uint8Array ? Buffer.from(value) : value));
  return { kind: 'image', key, image: copied };
}

function imageOf(tuple: TupleBytes): (Buffer | null | undefined)[] {
  const image: (Buffer | null | undefined)[] = [];
  const cursor = scan.reset(tuple);
  while (cursor.next()) {
    if (cursor.kind === 'text') image.push(cursor.bytes.subarray(cursor.start, cursor.end));
    else image.push(cursor.kind === 'null' ? null : undefined);
  }
  return image;
}

function keyOf(table: TableSchema, image: PartialImage): KeyText {
  const texts = keyColumns(table).map((at) => {
    const value = image[at];
    assert(value !== undefined, 'a row image has its key columns');
    return value === null ? null : value.toString('utf8');
  });
  return JSON.stringify(texts);
}
