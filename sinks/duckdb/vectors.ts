import {
  DuckDBDataChunk,
  type DuckDBType,
  DuckDBTypeId,
  type DuckDBValue,
  DuckDBVector,
} from '@duckdb/node-api';
import duckdb from '@duckdb/node-bindings';
import { PipelineError } from '../../runtime/errors.ts';

/** Rows of one data chunk: DuckDB's vector size. */
export const chunkRows = duckdb.vector_size();

/**
 * A cell as the vector of its column has it in memory: numbers as they are (a boolean is 0 or 1, a date
 * days, times and timestamps µs, a decimal its unscaled digits), UUIDs and texts as strings, and what
 * takes more than 64 bits as the client's value object.
 */
export type Cell = number | bigint | string | Exclude<DuckDBValue, null>;

/**
 * Fills data chunks, one after the other. Cells are written into memory that is laid out as DuckDB's
 * vectors are, and copied a column at a time: an object and a call for each of them cost more than what
 * DuckDB then does with the rows. https://duckdb.org/docs/stable/clients/c/vector
 */
export class ChunkWriter {
  readonly columns: readonly ColumnWriter[];
  readonly #chunk: DuckDBDataChunk;

  constructor(types: readonly DuckDBType[]) {
    this.#chunk = DuckDBDataChunk.create(types);
    this.columns = types.map((type) => new ColumnWriter(cellsOf(type)));
  }

  /** A chunk of the cells put into rows [0, rowCount); good until the next one. */
  finish(rowCount: number): DuckDBDataChunk {
    this.#chunk.reset();
    this.#chunk.rowCount = rowCount;
    for (const [index, column] of this.columns.entries()) {
      column.flush(duckdb.data_chunk_get_vector(this.#chunk.chunk, index), rowCount);
    }
    return this.#chunk;
  }
}

/** One column of a chunk. Rows that get no cell are NULL. */
export class ColumnWriter {
  readonly #cells: Cells;
  /** A bit a row, lowest first: it has a cell. */
  readonly #valid = new Uint32Array(chunkRows / 32);
  #count = 0;

  constructor(cells: Cells) {
    this.#cells = cells;
  }

  /** At most once a row. Throws `value-invalid` for an integer that the column cannot hold. */
  put(row: number, cell: Cell): void {
    this.#cells.put(row, cell);
    const word = row >>> 5;
    this.#valid[word] = (this.#valid[word] ?? 0) | (1 << (row & 31));
    this.#count += 1;
  }

  flush(vector: duckdb.Vector, rowCount: number): void {
    this.#cells.flush(vector, rowCount);
    if (this.#count < rowCount) {
      const { buffer, byteLength } = this.#valid;
      duckdb.vector_ensure_validity_writable(vector);
      duckdb.copy_data_to_vector_validity(vector, 0, buffer, 0, byteLength);
    }
    this.#valid.fill(0);
    this.#count = 0;
  }
}

interface Cells {
  put(row: number, cell: Cell): void;
  flush(vector: duckdb.Vector, rowCount: number): void;
}

/** Digits of the decimals that DuckDB keeps in 16, 32 and 64 bits. */
const int16DigitsMax = 4;
export const int32DigitsMax = 9;
export const int64DigitsMax = 18;

function cellsOf(type: DuckDBType): Cells {
  switch (type.typeId) {
    case DuckDBTypeId.BOOLEAN:
    case DuckDBTypeId.UTINYINT:
      return new FixedCells(new Uint8Array(chunkRows));
    case DuckDBTypeId.SMALLINT:
      return new FixedCells(new Int16Array(chunkRows));
    case DuckDBTypeId.INTEGER:
    case DuckDBTypeId.DATE:
      return new FixedCells(new Int32Array(chunkRows));
    case DuckDBTypeId.UINTEGER:
      return new FixedCells(new Uint32Array(chunkRows));
    case DuckDBTypeId.BIGINT:
    case DuckDBTypeId.TIME:
    case DuckDBTypeId.TIMESTAMP:
    case DuckDBTypeId.TIMESTAMP_TZ:
      return new FixedCells(new BigInt64Array(chunkRows));
    case DuckDBTypeId.UBIGINT:
      return new FixedCells(new BigUint64Array(chunkRows));
    case DuckDBTypeId.FLOAT:
      return new FixedCells(new Float32Array(chunkRows));
    case DuckDBTypeId.DOUBLE:
      return new FixedCells(new Float64Array(chunkRows));
    case DuckDBTypeId.DECIMAL:
      return decimalCells(type.width);
    case DuckDBTypeId.UUID:
      return new UuidCells();
    case DuckDBTypeId.VARCHAR:
      return new TextCells();
    default:
      return new ObjectCells();
  }
}

function decimalCells(digits: number): Cells {
  if (digits <= int16DigitsMax) return new FixedCells(new Int16Array(chunkRows));
  if (digits <= int32DigitsMax) return new FixedCells(new Int32Array(chunkRows));
  if (digits <= int64DigitsMax) return new FixedCells(new BigInt64Array(chunkRows));
  return new ObjectCells();
}

/** Cells that are elements of an array. What is beyond an element's range it wraps: then it reads otherwise. */
class FixedCells implements Cells {
  readonly #array: { [row: number]: number | bigint };
  readonly #bytes: ArrayBuffer;
  readonly #width: number;

  constructor(array: FixedArray) {
    this.#array = array;
    this.#bytes = array.buffer;
    this.#width = array.BYTES_PER_ELEMENT;
  }

  put(row: number, cell: number | bigint): void {
    this.#array[row] = cell;
    if (!Object.is(this.#array[row], cell)) throw beyondRange(cell);
  }

  flush(vector: duckdb.Vector, rowCount: number): void {
    duckdb.copy_data_to_vector(vector, 0, this.#bytes, 0, rowCount * this.#width);
  }
}

type FixedArray =
  | Uint8Array<ArrayBuffer>
  | Int16Array<ArrayBuffer>
  | Int32Array<ArrayBuffer>
  | Uint32Array<ArrayBuffer>
  | BigInt64Array<ArrayBuffer>
  | BigUint64Array<ArrayBuffer>
  | Float32Array<ArrayBuffer>
  | Float64Array<ArrayBuffer>;

const beyondRange = (cell: number | bigint) =>
  new PipelineError('value-invalid', `the number ${cell} is beyond the range of its column`);

/** 128 bits, the lowest first. The highest is turned over, so that they sort as signed integers do. */
class UuidCells implements Cells {
  readonly #words = new Uint32Array(4 * chunkRows);

  put(row: number, uuid: string): void {
    const at = 4 * row;
    this.#words[at + 3] = hexDigits(uuid, 0, 4) ^ 0x8000_0000;
    this.#words[at + 2] = hexDigits(uuid, 9, 14);
    this.#words[at + 1] = hexDigits(uuid, 19, 24);
    this.#words[at] = hexDigits(uuid, 28, 32);
  }

  flush(vector: duckdb.Vector, rowCount: number): void {
    duckdb.copy_data_to_vector(vector, 0, this.#words.buffer, 0, 16 * rowCount);
  }
}

/** The number in the lower-case digits [high, high + 4) and [low, low + 4), as an int32. */
function hexDigits(text: string, high: number, low: number): number {
  let word = 0;
  for (let at = high; at < high + 4; at += 1) word = (word << 4) | hexDigit(text.charCodeAt(at));
  for (let at = low; at < low + 4; at += 1) word = (word << 4) | hexDigit(text.charCodeAt(at));
  return word;
}

const hexDigit = (code: number): number => (code < 0x40 ? code - 0x30 : code - 0x57);

/** A text up to so many bytes is in its cell, a longer one where the cell points to. */
const inlineBytesMax = 12;
const heapBytesFirst = 1 << 16;
/** What is kept for the next chunk. */
const heapBytesMax = 16 << 20;
/** Up to here three bytes a UTF-16 unit are reserved uncounted. */
const uncountedMax = 1024;

/**
 * A cell is a `duckdb_string_t`, four words: the length in bytes, and the text; or its first four bytes and
 * where all of it is. The long ones of a chunk go to DuckDB as one text, which its cells then point into.
 * https://github.com/duckdb/duckdb/blob/v1.5.0/src/include/duckdb.h (duckdb_string_t)
 */
class TextCells implements Cells {
  readonly #words = new Uint32Array(4 * chunkRows);
  readonly #bytes = new Uint8Array(this.#words.buffer);
  #heap = Buffer.allocUnsafe(heapBytesFirst);
  #used = 0;

  put(row: number, text: string): void {
    const used = this.#used;
    const isShort = text.length <= uncountedMax;
    this.#reserve(used + (isShort ? 3 * text.length : Buffer.byteLength(text)));
    const length = this.#heap.write(text, used);
    this.#words[4 * row] = length;
    const isInline = length <= inlineBytesMax;
    const shown = isInline ? length : 4;
    const target = 16 * row + 4;
    for (let at = 0; at < shown; at += 1) this.#bytes[target + at] = this.#heap[used + at] ?? 0;
    if (isInline) return;
    this.#words[4 * row + 2] = used;
    this.#used = used + length;
  }

  flush(vector: duckdb.Vector, rowCount: number): void {
    if (this.#used > 0) this.#pointInto(vector, rowCount);
    duckdb.copy_data_to_vector(vector, 0, this.#words.buffer, 0, 16 * rowCount);
    this.#words.fill(0);
    this.#used = 0;
    if (this.#heap.length > heapBytesMax) this.#heap = Buffer.allocUnsafe(heapBytesFirst);
  }

  /** Gives the vector the long texts, and makes offsets addresses. */
  #pointInto(vector: duckdb.Vector, rowCount: number): void {
    duckdb.vector_assign_string_element_len(vector, 0, this.#heap.subarray(0, this.#used));
    const cell = duckdb.vector_get_data(vector, 16);
    const [low, high] = [readWord(cell, 8), readWord(cell, 12)];
    for (let at = 0; at < 4 * rowCount; at += 4) {
      if ((this.#words[at] ?? 0) <= inlineBytesMax) continue;
      const address = low + (this.#words[at + 2] ?? 0);
      this.#words[at + 2] = address;
      this.#words[at + 3] = high + (address > 0xffff_ffff ? 1 : 0);
    }
  }

  #reserve(bytes: number): void {
    if (bytes <= this.#heap.length) return;
    const larger = Buffer.allocUnsafe(Math.max(bytes, 2 * this.#heap.length));
    this.#heap.copy(larger, 0, 0, this.#used);
    this.#heap = larger;
  }
}

const readWord = (bytes: Uint8Array, at: number): number =>
  new DataView(bytes.buffer, bytes.byteOffset).getUint32(at, true);

/** Lists, blobs and decimals of more than 64 bits: as the client writes them. */
class ObjectCells implements Cells {
  #cells: DuckDBValue[] = [];

  put(row: number, cell: DuckDBValue): void {
    this.#cells[row] = cell;
  }

  flush(vector: duckdb.Vector, rowCount: number): void {
    const writer = DuckDBVector.create(vector, rowCount);
    for (let row = 0; row < rowCount; row += 1) writer.setItem(row, this.#cells[row] ?? null);
    writer.flush();
    this.#cells = [];
  }
}
