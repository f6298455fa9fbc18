import { assert } from '../../runtime/assert.ts';
import type { TupleBytes } from './message.ts';

export type TupleColumnKind = 'null' | 'unchanged' | 'text';

/** The bytes that say what follows of a column. */
export const tupleByte = { null: 0x6e, unchanged: 0x75, text: 0x74 } as const;

/** PostgreSQL's own limit is 1,664 entries of a target list; the field is an int16. */
const columnsMax = 0x7fff;

/** How many columns the tuple has. */
export function columnCount(tuple: TupleBytes): number {
  return tuple.bytes.readUInt16BE(tuple.offset);
}

/**
 * Walks the columns of tuples without making an object per column or tuple: keep one, `reset` it for
 * each tuple. The tuple must come from `decodeMessage` or `encodeTuple`: its bounds are trusted.
 *
 * `while (cursor.next()) use(cursor.index, cursor.kind, cursor.start, cursor.end)`
 */
export class TupleCursor {
  #bytes: Buffer = Buffer.alloc(0);
  #count = 0;
  #next = 0;
  /** Number of the column, from 0; −1 before the first `next`. */
  index = -1;
  kind: TupleColumnKind = 'null';
  /** The column's text is `bytes` from `start` to `end`; empty unless `kind` is 'text'. */
  start = 0;
  end = 0;

  /** Stands before the first column of this tuple; gives itself. */
  reset(tuple: TupleBytes): this {
    this.#bytes = tuple.bytes;
    this.#count = columnCount(tuple);
    this.#next = tuple.offset + 2;
    this.index = -1;
    return this;
  }

  get bytes(): Buffer {
    return this.#bytes;
  }

  /** Columns of the tuple. */
  get count(): number {
    return this.#count;
  }

  /** Goes to the next column; false when there is none. */
  next(): boolean {
    if (this.index + 1 >= this.#count) return false;
    this.index += 1;
    const kind = this.#bytes[this.#next];
    if (kind === tupleByte.text) {
      this.kind = 'text';
      this.start = this.#next + 5;
      this.end = this.start + this.#bytes.readInt32BE(this.#next + 1);
    } else {
      this.kind = kind === tupleByte.unchanged ? 'unchanged' : 'null';
      this.start = this.#next + 1;
      this.end = this.start;
    }
    this.#next = this.end;
    return true;
  }
}

/**
 * PostgreSQL's text of one column: null for SQL NULL, undefined for a TOASTed value that was not sent.
 * Walks the tuple from its start: for single columns, not for whole rows.
 */
export function columnText(tuple: TupleBytes, index: number): string | null | undefined {
  const cursor = new TupleCursor().reset(tuple);
  assert(index >= 0 && index < cursor.count, 'a column is asked for that the tuple has');
  while (cursor.index < index) cursor.next();
  if (cursor.kind === 'null') return null;
  if (cursor.kind === 'unchanged') return undefined;
  return cursor.bytes.toString('utf8', cursor.start, cursor.end);
}

/** Builds a tuple as pgoutput would send it: text as bytes, null = SQL NULL, 'unchanged' = not sent. */
export function encodeTuple(columns: readonly (Buffer | null | 'unchanged')[]): TupleBytes {
  assert(columns.length <= columnsMax, `a tuple has at most ${columnsMax} columns`);
  const length = columns.reduce((sum, column) => sum + encodedLength(column), 2);
  const bytes = Buffer.allocUnsafe(length);
  let at = bytes.writeUInt16BE(columns.length, 0);
  for (const column of columns) at = writeColumn(bytes, at, column);
  return { bytes, offset: 0 };
}

function encodedLength(column: Buffer | null | 'unchanged'): number {
  return column instanceof Uint8Array ? 5 + column.length : 1;
}

function writeColumn(bytes: Buffer, at: number, column: Buffer | null | 'unchanged'): number {
  if (column === null) return bytes.writeUInt8(tupleByte.null, at);
  if (column === 'unchanged') return bytes.writeUInt8(tupleByte.unchanged, at);
  const start = bytes.writeInt32BE(column.length, bytes.writeUInt8(tupleByte.text, at));
  return start + column.copy(bytes, start);
}
