import { PipelineError } from '../../runtime/errors.ts';
import { tupleByte } from '../pgoutput/tuple.ts';
import type { TupleBytes } from '../pgoutput/message.ts';
import type { TextSpan } from './avro-output.ts';

/**
 * Where the columns of a tuple lie, for access in any order. One object is filled again for every
 * tuple; `at` makes it the span of one column's text.
 */
export class TupleSpans implements TextSpan {
  bytes: Buffer = Buffer.alloc(0);
  start = 0;
  end = 0;
  readonly #table: string;
  readonly #kinds: Uint8Array;
  readonly #starts: Int32Array;
  readonly #ends: Int32Array;

  constructor(table: string, columns: number) {
    this.#table = table;
    this.#kinds = new Uint8Array(columns);
    this.#starts = new Int32Array(columns);
    this.#ends = new Int32Array(columns);
  }

  /** Takes a tuple in. Throws `protocol-violation` when it has another number of columns. */
  fill(tuple: TupleBytes): this {
    const { bytes, offset } = tuple;
    const count = this.#kinds.length;
    const found = ((bytes[offset] as number) << 8) | (bytes[offset + 1] as number);
    if (found !== count) {
      throw new PipelineError(
        'protocol-violation',
        `a row of ${this.#table} came with ${found} columns, its table version has ${count}`,
      );
    }
    let at = offset + 2;
    for (let column = 0; column < count; column += 1) {
      const kind = bytes[at++] as number;
      this.#kinds[column] = kind;
      if (kind !== tupleByte.text) continue;
      const length = bytes.readInt32BE(at);
      at += 4;
      this.#starts[column] = at;
      at += length;
      this.#ends[column] = at;
    }
    this.bytes = bytes;
    return this;
  }

  /** One of `tupleByte`. */
  kind(column: number): number {
    return this.#kinds[column] as number;
  }

  /** Bytes of the column's text. */
  length(column: number): number {
    return (this.#ends[column] as number) - (this.#starts[column] as number);
  }

  /** Stands on the text of a column. */
  at(column: number): this {
    this.start = this.#starts[column] as number;
    this.end = this.#ends[column] as number;
    return this;
  }

  /** The text of a column, which must have one. */
  text(column: number): string {
    return this.bytes.toString('utf8', this.#starts[column], this.#ends[column]);
  }
}
