import { PipelineError } from '../../runtime/errors.ts';
import type { TupleBytes } from './message.ts';
import { tupleByte } from './tuple.ts';

const binaryColumn = 0x62; // 'b'

/**
 * A cursor over the bytes of one pgoutput message. Every read checks the bounds first and throws
 * `protocol-violation` with the message's type, the field and the offset; it never reads past the end.
 */
export class ByteReader {
  readonly #bytes: Buffer;
  #offset = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  uint8(field: string): number {
    const at = this.#take(1, field);
    return this.#bytes[at] ?? 0;
  }

  uint16(field: string): number {
    return this.#bytes.readUInt16BE(this.#take(2, field));
  }

  uint32(field: string): number {
    return this.#bytes.readUInt32BE(this.#take(4, field));
  }

  int32(field: string): number {
    return this.#bytes.readInt32BE(this.#take(4, field));
  }

  uint64(field: string): bigint {
    return this.#bytes.readBigUInt64BE(this.#take(8, field));
  }

  int64(field: string): bigint {
    return this.#bytes.readBigInt64BE(this.#take(8, field));
  }

  /** A string in UTF-8 that a zero byte ends. */
  text(field: string): string {
    const end = this.#bytes.indexOf(0, this.#offset);
    if (end === -1) this.fail(`${field} is not ended by a zero byte`);
    const text = this.#bytes.toString('utf8', this.#offset, end);
    this.#offset = end + 1;
    return text;
  }

  /** `length` bytes where they lie, not copied. */
  slice(length: number, field: string): Buffer {
    if (length < 0) this.fail(`${field} has length ${length}`);
    const at = this.#take(length, field);
    return this.#bytes.subarray(at, at + length);
  }

  /** Walks a tuple to its end, so that whoever reads it later needs no checks. */
  tuple(field: string): TupleBytes {
    const start = this.#offset;
    const count = this.uint16(field);
    for (let index = 0; index < count; index += 1) {
      const kind = this.uint8(field);
      if (kind === tupleByte.text) {
        const length = this.int32(field);
        if (length < 0) this.fail(`column ${index} of ${field} has length ${length}`);
        this.#take(length, field);
      } else if (kind !== tupleByte.null && kind !== tupleByte.unchanged) {
        this.#failColumn(kind, `column ${index} of ${field}`);
      }
    }
    return { bytes: this.#bytes, offset: start };
  }

  /** Checks that nothing is left: a longer message is of a protocol that we do not speak. */
  end(): void {
    const left = this.#bytes.length - this.#offset;
    if (left !== 0) this.fail(`${left} bytes are left over`);
  }

  fail(reason: string): never {
    const first = this.#bytes[0];
    const type = first === undefined ? 'empty' : describeByte(first);
    throw new PipelineError(
      'protocol-violation',
      `pgoutput message ${type} of ${this.#bytes.length} bytes: ${reason} (byte ${this.#offset})`,
      { context: { messageType: type, offset: this.#offset, length: this.#bytes.length } },
    );
  }

  #failColumn(kind: number, column: string): never {
    if (kind === binaryColumn) this.fail(`${column} is binary, which was not asked for`);
    return this.fail(`${column} is of unknown kind ${describeByte(kind)}`);
  }

  #take(length: number, field: string): number {
    const at = this.#offset;
    if (length > this.#bytes.length - at) this.fail(`${field} ends beyond the message`);
    this.#offset = at + length;
    return at;
  }
}

/** 0x49 → "I"; bytes that do not print as hex. */
export function describeByte(byte: number): string {
  const isPrintable = byte > 0x20 && byte < 0x7f;
  return isPrintable ? `"${String.fromCharCode(byte)}"` : `0x${byte.toString(16).padStart(2, '0')}`;
}
