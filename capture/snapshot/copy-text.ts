import { PipelineError } from '../../runtime/errors.ts';
import type { TupleBytes } from '../pgoutput/message.ts';
import { tupleByte } from '../pgoutput/tuple.ts';

const [tab, newline, backslash] = [0x09, 0x0a, 0x5c];
const letterN = 0x4e;
const slabBytes = 256 * 1024;

/** The letters that COPY puts after a backslash for control characters; any other byte stands for itself. */
const escaped: Readonly<Record<number, number>> = {
  0x62: 0x08,
  0x66: 0x0c,
  0x6e: 0x0a,
  0x72: 0x0d,
  0x74: 0x09,
  0x76: 0x0b,
};

/**
 * The text format of COPY → tuples as pgoutput sends them, so that a row of a chunk goes the way of a
 * streamed row. A newline byte always ends a row: inside values it is escaped.
 * https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS
 */
export class CopyTextReader {
  readonly #columnCount: number;
  readonly #rows: TupleBytes[] = [];
  #carry: Buffer | null = null;
  #slab: Buffer = Buffer.alloc(0);
  #used = 0;
  #bytes = 0;

  constructor(columnCount: number) {
    this.#columnCount = columnCount;
  }

  get rows(): readonly TupleBytes[] {
    return this.#rows;
  }

  /** Bytes of COPY text that came in. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Takes the next bytes, cut anywhere. Throws `protocol-violation` for a row of another number of columns. */
  push(chunk: Buffer): void {
    this.#bytes += chunk.length;
    const bytes = this.#carry === null ? chunk : Buffer.concat([this.#carry, chunk]);
    let start = 0;
    for (;;) {
      const end = bytes.indexOf(newline, start);
      if (end < 0) break;
      this.#row(bytes, start, end);
      start = end + 1;
    }
    this.#carry = start === bytes.length ? null : Buffer.from(bytes.subarray(start));
  }

  #row(bytes: Buffer, start: number, end: number): void {
    const count = this.#columnCount;
    const needed = 2 + 5 * count + (end - start);
    if (this.#slab.length - this.#used < needed) {
      this.#slab = Buffer.allocUnsafeSlow(Math.max(slabBytes, needed));
      this.#used = 0;
    }
    const offset = this.#used;
    const slab = this.#slab;
    slab[offset] = count >> 8;
    slab[offset + 1] = count & 0xff;
    this.#used = offset + 2;
    let at = start;
    for (let column = 0; column < count; column += 1) {
      if (at > end) throw columnMismatch(count);
      at = this.#column(bytes, at, end);
    }
    if (count > 0 && at !== end + 1) throw columnMismatch(count);
    this.#rows.push({ bytes: slab, offset });
  }

  /** Writes the column that starts at `at`; gives where the next one starts: past `end` after the last. */
  #column(bytes: Buffer, at: number, end: number): number {
    const slab = this.#slab;
    const lengthAt = this.#used + 1;
    let out = this.#used + 5;
    let from = at;
    for (; from < end; from += 1) {
      const byte = bytes[from] ?? 0;
      if (byte === tab) break;
      if (byte !== backslash) {
        slab[out] = byte;
      } else {
        from += 1;
        const letter = bytes[from] ?? 0;
        if (letter === letterN && from === at + 1) return this.#null(from + 2);
        slab[out] = escaped[letter] ?? letter;
      }
      out += 1;
    }
    slab[lengthAt - 1] = tupleByte.text;
    slab.writeInt32BE(out - lengthAt - 4, lengthAt);
    this.#used = out;
    return from + 1;
  }

  #null(next: number): number {
    this.#slab[this.#used] = tupleByte.null;
    this.#used += 1;
    return next;
  }
}

function columnMismatch(count: number): PipelineError {
  return new PipelineError(
    'protocol-violation',
    `a row of COPY has not the ${count} columns asked for`,
  );
}
