import { PipelineError } from '../runtime/errors.ts';

/** Up to this length a loop over the bytes beats the engine's own decoder. */
const shortBytesMax = 64;
/** Bytes of the longest varint of 64 bits. */
const varintBytesMax = 10;

/**
 * A cursor over Avro's binary encoding, bounds-checked: bytes that end too early or lengths that reach
 * past the end throw `value-invalid`, whatever they hold.
 * https://avro.apache.org/docs/1.11.1/specification/#binary-encoding
 */
export class AvroReader {
  bytes: Buffer = Buffer.alloc(0);
  at = 0;

  /** Goes to the start of other bytes. */
  reset(bytes: Buffer, at: number): void {
    this.bytes = bytes;
    this.at = at;
  }

  readByte(): number {
    const byte = this.bytes[this.at];
    if (byte === undefined) throw this.cutShort();
    this.at += 1;
    return byte;
  }

  readBoolean(): boolean {
    const byte = this.readByte();
    if (byte > 1) throw new PipelineError('value-invalid', `byte ${byte} is no Avro boolean`);
    return byte === 1;
  }

  /** Avro int, and a long that is known to be small: union branches, lengths. */
  readInt(): number {
    const first = this.bytes[this.at];
    if (first !== undefined && first < 0x80) {
      this.at += 1;
      return (first >>> 1) ^ -(first & 1);
    }
    let bits = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.readByte();
      bits |= (byte & 0x7f) << shift;
      if (shift === 28 && byte > 0x0f) break;
      if (byte < 0x80) return (bits >>> 1) ^ -(bits & 1);
    }
    throw new PipelineError('value-invalid', 'an Avro int has more than 32 bits');
  }

  /** Avro long, exact. Both words are put together as 32-bit integers; a BigInt is made once, at the end. */
  readLong(): bigint {
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.readByte();
      low |= (byte & 0x7f) << shift;
      if (byte < 0x80) return unzigzag(low, high);
    }
    const border = this.readByte();
    low |= (border & 0x0f) << 28;
    high = (border & 0x7f) >>> 4;
    if (border < 0x80) return unzigzag(low, high);
    for (let shift = 3; shift < 32; shift += 7) {
      const byte = this.readByte();
      high |= (byte & 0x7f) << shift;
      if (shift === 31 && byte > 1) break;
      if (byte < 0x80) return unzigzag(low, high);
    }
    throw new PipelineError('value-invalid', 'an Avro long has more than 64 bits');
  }

  skipVarint(): void {
    const start = this.at;
    while (this.readByte() >= 0x80) {
      if (this.at - start >= varintBytesMax) {
        throw new PipelineError('value-invalid', 'an Avro long has more than 64 bits');
      }
    }
  }

  readFloat(): number {
    return this.bytes.readFloatLE(this.advance(4));
  }

  readDouble(): number {
    return this.bytes.readDoubleLE(this.advance(8));
  }

  /** Moves past `length` bytes; gives where they begin. */
  advance(length: number): number {
    const start = this.at;
    if (length < 0 || length > this.bytes.length - start) throw this.cutShort();
    this.at = start + length;
    return start;
  }

  /** A string; a short one that `recent` has is not made again. */
  readString(recent: RecentTexts): string {
    const length = this.readInt();
    const start = this.advance(length);
    const end = start + length;
    if (length > shortBytesMax) return this.bytes.toString('utf8', start, end);
    return recent.get(this.bytes, start, end);
  }

  /** A view, not a copy: it lives as long as the record's bytes do. */
  readBytes(): Buffer {
    const length = this.readInt();
    const start = this.advance(length);
    return this.bytes.subarray(start, start + length);
  }

  /** Past a string or bytes. */
  skipSized(): void {
    this.advance(this.readInt());
  }

  cutShort(): PipelineError {
    return new PipelineError(
      'value-invalid',
      `an Avro value needs bytes beyond the ${this.bytes.length} that it has`,
    );
  }
}

const recentTextsMax = 256;

/**
 * Short texts of one column that were read lately. Many columns hold few different ones (an enum, a state,
 * a kind): made once, they cost no memory for each row.
 */
export class RecentTexts {
  readonly #texts: string[] = Array.from({ length: recentTextsMax }, () => '');

  /** The text of the UTF-8 bytes [start, end). */
  get(bytes: Buffer, start: number, end: number): string {
    const slot = slotOf(bytes, start, end);
    const recent = this.#texts[slot] ?? '';
    if (recent.length === end - start && isAsciiAt(bytes, start, recent)) return recent;
    const text = bytes.toString(isAscii(bytes, start, end) ? 'latin1' : 'utf8', start, end);
    this.#texts[slot] = text;
    return text;
  }
}

function slotOf(bytes: Buffer, start: number, end: number): number {
  const [first, middle, last] = [
    bytes[start] ?? 0,
    bytes[(start + end) >>> 1] ?? 0,
    bytes[end - 1] ?? 0,
  ];
  return (first + 7 * middle + 31 * last + 131 * (end - start)) % recentTextsMax;
}

/** Whether the text is there, in ASCII: any other one is made again. */
function isAsciiAt(bytes: Buffer, start: number, text: string): boolean {
  for (let at = 0; at < text.length; at += 1) {
    const byte = bytes[start + at] ?? 0;
    if (byte >= 0x80 || text.charCodeAt(at) !== byte) return false;
  }
  return true;
}

function isAscii(bytes: Buffer, start: number, end: number): boolean {
  let all = 0;
  for (let at = start; at < end; at += 1) all |= bytes[at] ?? 0;
  return all < 0x80;
}

const words = new Int32Array(2);
const long = new BigInt64Array(words.buffer);
/** Which of the two words is the low one depends on the machine. */
const lowWord = new Uint8Array(new Int32Array([1]).buffer)[0] === 1 ? 0 : 1;

function unzigzag(low: number, high: number): bigint {
  const sign = -(low & 1);
  words[lowWord] = ((low >>> 1) | (high << 31)) ^ sign;
  words[1 - lowWord] = (high >>> 1) ^ sign;
  return long[0] ?? 0n;
}

/** Big-endian two's complement of any length, as Avro's decimal has it; no bytes are 0. */
export function readUnscaled(bytes: Buffer, start: number, length: number): bigint {
  if (length === 0) return 0n;
  if (length <= 6) return BigInt(bytes.readIntBE(start, length));
  if (length <= 8) {
    const high = bytes.readIntBE(start, length - 4);
    return (BigInt(high) << 32n) | BigInt(bytes.readUInt32BE(start + length - 4));
  }
  const magnitude = BigInt(`0x${bytes.toString('hex', start, start + length)}`);
  return BigInt.asIntN(8 * length, magnitude);
}
