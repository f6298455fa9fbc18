import { crc32c } from '@node-rs/crc32';
import { assert } from '../../runtime/assert.ts';
import type { LogRecord } from '../log.ts';
import type { ProducerIdentity } from './client.ts';

/** Of a record batch: what comes before its records. */
export const batchHeadBytes = 61;
/** The length of a batch does not count its first offset and itself. */
const batchStartBytes = 8 + 4;
/** The checksum covers what comes behind it. */
const checksumEndAt = 21;
const formatVersion = 2;
/** Only brokers know the epoch of a partition's leader. */
const noLeaderEpoch = -1;
/** Of an unset length: zigzag of -1. */
const absent = 1;

/** Length, attributes, deltas and the lengths of key, value and headers at their longest. */
const recordOverheadBytes = 36;
const headerOverheadBytes = 10;
/** Of the length before a record. */
const lengthBytesMax = 5;
/** 35,000 years: differences of two timestamps stay exact as doubles. */
const timestampMsMax = 2 ** 50;

/** Below this a byte loop beats the call into the engine's own copy. */
const loopBytesMax = 32;

/** Memory that records are encoded into, one piece of it; a larger record gets memory of its own. */
const blockBytes = 128 << 10;
/** Blocks that wait to be used again. */
const freeBlocksMax = 128;

/** More names of headers than this, and the oldest are forgotten. */
const namesMax = 1_000;

/** Names of headers as bytes: the same few for every record. */
export class HeaderNames {
  readonly #known = new Map<string, Buffer>();

  bytesOf(name: string): Buffer {
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    if (this.#known.size >= namesMax) this.#known.clear();
    const bytes = Buffer.from(name);
    this.#known.set(name, bytes);
    return bytes;
  }
}

/** An upper bound of what a record takes in a batch. */
export function recordBytesMax({ key, value, headers }: LogRecord, names: HeaderNames): number {
  let bytes = recordOverheadBytes + (key?.length ?? 0) + (value?.length ?? 0);
  for (const [name, content] of headers) {
    bytes += headerOverheadBytes + names.bytesOf(name).length + content.length;
  }
  return bytes;
}

/**
 * Blocks of memory, used again and again: those that the collector has to find only go after a full
 * collection, and by then there are hundreds of megabytes of them.
 */
export class BlockPool {
  readonly #free: Buffer[] = [];

  take(bytesMin: number): Buffer {
    if (bytesMin > blockBytes) return Buffer.allocUnsafeSlow(bytesMin);
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(blockBytes);
  }

  /** Nobody may look at the block any more. */
  giveBack(block: Buffer): void {
    if (block.length === blockBytes && this.#free.length < freeBlocksMax) this.#free.push(block);
  }
}

/**
 * A record batch of Kafka's format 2, uncompressed, encoded as records are added, so that nothing holds
 * on to the records themselves. https://kafka.apache.org/documentation/#recordbatch
 */
export class RecordBatch {
  readonly #pool: BlockPool;
  readonly #names: HeaderNames;
  readonly #full: { readonly block: Buffer; readonly end: number }[] = [];
  #block: Buffer = Buffer.alloc(0);
  #at = 0;
  #count = 0;
  #firstTimestampMs = 0;
  #lastTimestampMs = 0;

  constructor(pool: BlockPool, names: HeaderNames) {
    this.#pool = pool;
    this.#names = names;
  }

  get count(): number {
    return this.#count;
  }

  add(record: LogRecord): void {
    const { key, value, headers, timestampMs } = record;
    assert(isTimestamp(timestampMs), 'a timestamp is a whole number of ms within 2^50');
    if (this.#count === 0) this.#firstTimestampMs = this.#lastTimestampMs = timestampMs;
    this.#lastTimestampMs = Math.max(this.#lastTimestampMs, timestampMs);
    const timestampDelta = zigzag(timestampMs - this.#firstTimestampMs);
    const offsetDelta = zigzag(this.#count);
    this.#count += 1;
    let length = 1 + varintBytes(timestampDelta) + varintBytes(offsetDelta);
    length += optionalBytes(key) + optionalBytes(value) + varintBytes(zigzag(headers.length));
    for (const [name, content] of headers) {
      length += optionalBytes(this.#names.bytesOf(name)) + optionalBytes(content);
    }
    const room = length + lengthBytesMax;
    if (this.#at + room > this.#block.length) this.#nextBlock(room);
    this.#varint(zigzag(length));
    this.#byte(0);
    this.#varint(timestampDelta);
    this.#varint(offsetDelta);
    this.#optional(key);
    this.#optional(value);
    this.#varint(zigzag(headers.length));
    for (const [name, content] of headers) {
      this.#optional(this.#names.bytesOf(name));
      this.#optional(content);
    }
  }

  /** The bytes of the batch, valid until `release`; nothing may be added any more. */
  seal({ id, epoch }: ProducerIdentity, firstSequence: number): readonly Buffer[] {
    assert(this.#count > 0, 'a batch has records');
    const records = [...this.#full, { block: this.#block, end: this.#at }]
      .filter(({ end }) => end > 0)
      .map(({ block, end }) => block.subarray(0, end));
    const bytes = records.reduce((sum, { length }) => sum + length, batchHeadBytes);
    const head = Buffer.alloc(batchHeadBytes);
    let at = head.writeBigInt64BE(0n, 0);
    at = head.writeInt32BE(bytes - batchStartBytes, at);
    at = head.writeInt32BE(noLeaderEpoch, at);
    at = head.writeInt8(formatVersion, at);
    // Behind the checksum: attributes, distance to the last offset, timestamps, producer, count.
    at = head.writeInt16BE(0, checksumEndAt);
    at = head.writeInt32BE(this.#count - 1, at);
    at = head.writeBigInt64BE(BigInt(this.#firstTimestampMs), at);
    at = head.writeBigInt64BE(BigInt(this.#lastTimestampMs), at);
    at = head.writeBigInt64BE(id, at);
    at = head.writeInt16BE(epoch, at);
    at = head.writeInt32BE(firstSequence, at);
    head.writeInt32BE(this.#count, at);
    let checksum = crc32c(head.subarray(checksumEndAt));
    for (const part of records) checksum = crc32c(part, checksum);
    head.writeUInt32BE(checksum, checksumEndAt - 4);
    return [head, ...records];
  }

  /** Its memory is used for other batches. */
  release(): void {
    for (const { block } of this.#full) this.#pool.giveBack(block);
    this.#pool.giveBack(this.#block);
    this.#full.length = 0;
    this.#block = Buffer.alloc(0);
    this.#at = 0;
  }

  #nextBlock(bytesMin: number): void {
    if (this.#block.length > 0) this.#full.push({ block: this.#block, end: this.#at });
    this.#block = this.#pool.take(bytesMin);
    this.#at = 0;
  }

  #byte(value: number): void {
    this.#block[this.#at++] = value;
  }

  #varint(value: number): void {
    const target = this.#block;
    let at = this.#at;
    let rest = value;
    while (rest > 0x7fff_ffff) {
      target[at++] = (rest % 0x80) + 0x80;
      rest = Math.floor(rest / 0x80);
    }
    while (rest > 0x7f) {
      target[at++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    target[at++] = rest;
    this.#at = at;
  }

  #optional(bytes: Buffer | null): void {
    if (bytes === null) return this.#byte(absent);
    const { length } = bytes;
    this.#varint(2 * length);
    const target = this.#block;
    let at = this.#at;
    if (length > loopBytesMax) {
      target.set(bytes, at);
      this.#at = at + length;
      return;
    }
    for (let from = 0; from < length; from += 1) target[at++] = bytes[from] as number;
    this.#at = at;
  }
}

const isTimestamp = (value: number): boolean =>
  Number.isInteger(value) && Math.abs(value) <= timestampMsMax;

const zigzag = (value: number): number => (value < 0 ? -2 * value - 1 : 2 * value);

/** Bytes of key, value, name or content, with their length before them. */
const optionalBytes = (bytes: Buffer | null): number =>
  bytes === null ? 1 : varintBytes(2 * bytes.length) + bytes.length;

function varintBytes(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  let bytes = 2;
  for (let rest = Math.floor(value / 0x4000); rest > 0; rest = Math.floor(rest / 0x80)) bytes += 1;
  return bytes;
}
