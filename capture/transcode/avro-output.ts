/** What a value writer reads: `bytes` from `start` to `end`. */
export interface TextSpan {
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
}

/** Size of the blocks that records are cut from. Large enough that one allocation serves hundreds. */
const blockBytes = 256 * 1024;

/** Below this a byte loop beats the call into the engine's own copy. */
const loopBytesMax = 32;

const hexDigits = 8;
const digitZero = 0x30;
const letterA = 0x41;

const twoTo32 = 4_294_967_296;

/**
 * Where Avro bytes are written. Pieces (keys, values, headers) lie one after another in a block and
 * are handed out as views of it, so that a record costs no allocation but its views. `reserve` must
 * have made room before anything is written; it moves the piece begun to a new block when the old one
 * is full.
 * https://avro.apache.org/docs/1.11.1/specification/#binary-encoding
 */
export class AvroOutput {
  bytes: Buffer = Buffer.allocUnsafeSlow(blockBytes);
  position = 0;
  #start = 0;

  /** Begins a piece: what `take` will give. */
  begin(): void {
    this.#start = this.position;
  }

  /** The bytes since `begin`. */
  take(): Buffer {
    return this.bytes.subarray(this.#start, this.position);
  }

  /** Where the piece begun stands; give it to `rewind`. Offsets from the block's start may move, this may not. */
  mark(): number {
    return this.position - this.#start;
  }

  /** Takes back what the piece got since `mark`. */
  rewind(mark: number): void {
    this.position = this.#start + mark;
  }

  /** Makes room for `length` more bytes. */
  reserve(length: number): void {
    if (this.position + length <= this.bytes.length) return;
    const written = this.position - this.#start;
    const block = Buffer.allocUnsafeSlow(blockBytes + 2 * written + length);
    this.bytes.copy(block, 0, this.#start, this.position);
    this.bytes = block;
    this.#start = 0;
    this.position = written;
  }

  writeByte(byte: number): void {
    this.bytes[this.position++] = byte;
  }

  /** An integer between −2^53 and 2^53, as zigzag varint: Avro's int and long alike. */
  writeInteger(value: number): void {
    if (value >= -0x4000_0000 && value < 0x4000_0000) {
      const target = this.bytes;
      let position = this.position;
      let rest = (value << 1) ^ (value >> 31);
      while (rest > 0x7f) {
        target[position++] = (rest & 0x7f) | 0x80;
        rest >>>= 7;
      }
      target[position++] = rest;
      this.position = position;
      return;
    }
    this.writeWords(Math.floor(value / twoTo32), value >>> 0);
  }

  /** A 64-bit integer in two's complement, given as its signed high and its low 32 bits. */
  writeWords(high: number, low: number): void {
    const sign = high >> 31;
    let restLow = ((low << 1) ^ sign) >>> 0;
    let restHigh = (((high << 1) | (low >>> 31)) ^ sign) >>> 0;
    const target = this.bytes;
    let position = this.position;
    while (restHigh !== 0) {
      target[position++] = (restLow & 0x7f) | 0x80;
      restLow = ((restLow >>> 7) | (restHigh << 25)) >>> 0;
      restHigh >>>= 7;
    }
    while (restLow > 0x7f) {
      target[position++] = (restLow & 0x7f) | 0x80;
      restLow >>>= 7;
    }
    target[position++] = restLow;
    this.position = position;
  }

  /** A 64-bit integer of any size. Slow: for what does not fit `writeInteger`. */
  writeLong(value: bigint): void {
    this.writeWords(Number(BigInt.asIntN(32, value >> 32n)), Number(BigInt.asUintN(32, value)));
  }

  /** The bytes of the span, nothing else. */
  writeRaw(span: TextSpan): void {
    this.#copy(span.bytes, span.start, span.end);
  }

  /** Avro's string and bytes: a length and the bytes of the span. */
  writeText(span: TextSpan): void {
    this.writeInteger(span.end - span.start);
    this.#copy(span.bytes, span.start, span.end);
  }

  /** Bytes made before. */
  writeBuffer(buffer: Buffer): void {
    this.#copy(buffer, 0, buffer.length);
  }

  /** Text of ASCII characters without a length before it. */
  writeAscii(text: string): void {
    const target = this.bytes;
    let position = this.position;
    for (let at = 0; at < text.length; at += 1) target[position++] = text.charCodeAt(at);
    this.position = position;
  }

  /** Eight upper-case hexadecimal digits of an unsigned 32-bit integer. */
  writeHex(value: number): void {
    const end = this.position + hexDigits;
    let rest = value;
    for (let at = end - 1; at >= this.position; at -= 1) {
      const digit = rest & 0xf;
      this.bytes[at] = digit + (digit < 10 ? digitZero : letterA - 10);
      rest >>>= 4;
    }
    this.position = end;
  }

  #copy(source: Buffer, start: number, end: number): void {
    const target = this.bytes;
    let position = this.position;
    if (end - start > loopBytesMax) {
      source.copy(target, position, start, end);
      this.position = position + end - start;
      return;
    }
    for (let at = start; at < end; at += 1) target[position++] = source[at] as number;
    this.position = position;
  }
}
