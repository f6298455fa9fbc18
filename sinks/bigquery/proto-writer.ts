const chunkBytes = 1 << 20;
/** Characters up to which a string's bytes are surely fewer than 128, so that their count is one byte. */
const shortText = 42;

const scratch = new BigInt64Array(1);
const [halfLow, halfHigh] = [0, 1];
const halves = new Uint32Array(scratch.buffer);
const double = new Float64Array(1);
const doubleBytes = new Uint8Array(double.buffer);

/**
 * Writes messages in protobuf's wire format, one after the other into chunks that they share, so that a row
 * costs no buffer of its own. https://protobuf.dev/programming-guides/encoding/
 */
export class ProtoWriter {
  #chunk = Buffer.allocUnsafeSlow(chunkBytes);
  #start = 0;
  #at = 0;

  /** The message since the last `finish`. It stays valid: its bytes are never written again. */
  finish(): Uint8Array {
    const message = this.#chunk.subarray(this.#start, this.#at);
    this.#start = this.#at;
    return message;
  }

  /** Forgets what was written since the last `finish`. */
  discard(): void {
    this.#at = this.#start;
  }

  /** Fields that are encoded already. */
  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#chunk.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  bool(tag: number, value: boolean): void {
    this.#varint(tag);
    this.#reserve(1);
    this.#chunk[this.#at] = value ? 1 : 0;
    this.#at += 1;
  }

  /** An int32 or int64 of a number that is a safe integer. */
  integer(tag: number, value: number): void {
    if (value >= 0 && value < 0x80_00_00_00) {
      this.#varint(tag);
      this.#varint(value);
      return;
    }
    this.int64(tag, BigInt(value));
  }

  int64(tag: number, value: bigint): void {
    this.#varint(tag);
    this.#reserve(10);
    scratch[0] = value;
    let low = halves[halfLow] ?? 0;
    let high = halves[halfHigh] ?? 0;
    while (high !== 0 || low > 0x7f) {
      this.#chunk[this.#at] = (low & 0x7f) | 0x80;
      this.#at += 1;
      low = ((low >>> 7) | (high << 25)) >>> 0;
      high >>>= 7;
    }
    this.#chunk[this.#at] = low;
    this.#at += 1;
  }

  double(tag: number, value: number): void {
    this.#varint(tag);
    double[0] = value;
    this.raw(doubleBytes);
  }

  bytes(tag: number, value: Uint8Array): void {
    this.#varint(tag);
    this.#varint(value.length);
    this.raw(value);
  }

  text(tag: number, value: string): void {
    this.#varint(tag);
    if (value.length > shortText) {
      const length = Buffer.byteLength(value);
      this.#varint(length);
      this.#reserve(length);
      this.#at += this.#chunk.write(value, this.#at, 'utf8');
      return;
    }
    this.#reserve(1 + 3 * value.length);
    const begin = this.#at + 1;
    const length = this.#ascii(value, begin);
    const written = length < 0 ? this.#chunk.write(value, begin, 'utf8') : length;
    this.#chunk[this.#at] = written;
    this.#at = begin + written;
  }

  /** Writes a text of ASCII; −1 when it is none. */
  #ascii(value: string, begin: number): number {
    for (let index = 0; index < value.length; index += 1) {
      const code = value.charCodeAt(index);
      if (code > 0x7f) return -1;
      this.#chunk[begin + index] = code;
    }
    return value.length;
  }

  #varint(value: number): void {
    this.#reserve(5);
    let rest = value;
    while (rest > 0x7f) {
      this.#chunk[this.#at] = (rest & 0x7f) | 0x80;
      this.#at += 1;
      rest >>>= 7;
    }
    this.#chunk[this.#at] = rest;
    this.#at += 1;
  }

  #reserve(bytes: number): void {
    if (this.#at + bytes <= this.#chunk.length) return;
    const begun = this.#chunk.subarray(this.#start, this.#at);
    const next = Buffer.allocUnsafeSlow(Math.max(chunkBytes, 2 * (begun.length + bytes)));
    next.set(begun);
    this.#chunk = next;
    this.#start = 0;
    this.#at = begun.length;
  }
}

/** The wire types of our fields: varint, eight bytes, or a length and bytes. */
const wireTypes = { bool: 0, int32: 0, int64: 0, double: 1, string: 2, bytes: 2 } as const;
export type ProtoType = keyof typeof wireTypes;

/** Numbers of `google.protobuf.FieldDescriptorProto.Type`. */
export const fieldTypes = { double: 1, int64: 3, int32: 5, bool: 8, string: 9, bytes: 12 } as const;

/** What stands before each value of a field. */
export function fieldTag(number: number, type: ProtoType): number {
  return (number << 3) | wireTypes[type];
}

/** Tags of fields that are numbered from 1 in their order. */
export function fieldTags<N extends string>(
  types: Readonly<Record<N, ProtoType>>,
): Readonly<Record<N, number>> {
  const names = Object.keys(types) as N[];
  const tags = names.map((name, index) => [name, fieldTag(index + 1, types[name])]);
  return Object.fromEntries(tags) as Record<N, number>;
}
