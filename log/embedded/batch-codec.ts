import { assert } from '../../runtime/assert.ts';
import { PipelineError } from '../../runtime/errors.ts';
import type { LogRecord, RecordHeader, StoredRecord } from '../log.ts';

/**
 * Record batches as bytes: byte 1 (format version), varint number of header names, each name as
 * varint length + UTF-8, then per record
 *   zigzag varint timestamp minus the timestamp before · varint number of headers · per header varint
 *   index of its name, varint length, value · varint key length + 1, 0 = null · key · varint value
 *   length + 1, 0 = null · value.
 * A varint has 7 bits a byte, lowest first, as in protocol buffers.
 */
const formatVersion = 1;
const varintBytesMax = 8;
/** 35,000 years: differences of two timestamps stay exact as doubles. */
const timestampMsMax = 2 ** 50;
/** Version, timestamp, key, value and number of headers at their longest. */
const recordOverheadBytes = 4 * varintBytesMax;
const headerOverheadBytes = 2 * varintBytesMax;

/** Bytes that the record takes in a batch, at most, its header names not counted. */
export function encodedBytesMax(record: LogRecord): number {
  let bytes = recordOverheadBytes + (record.key?.length ?? 0) + (record.value?.length ?? 0);
  for (const [, value] of record.headers) bytes += headerOverheadBytes + value.length;
  return bytes;
}

/**
 * Encodes records into a buffer with memory of its own, so that it can be transferred to another
 * thread. `bytesMax` = the sum of `encodedBytesMax` over the records.
 */
export function encodeBatch(records: readonly LogRecord[], bytesMax: number): Buffer {
  const names = collectNames(records);
  const writer = new BatchWriter(bytesMax + names.bytesMax);
  writer.byte(formatVersion);
  writer.varint(names.indices.size);
  for (const name of names.indices.keys()) writer.text(name);
  let timestampMs = 0;
  for (const record of records) {
    assert(isTimestamp(record.timestampMs), 'a timestamp is a whole number of ms within 2^50');
    writer.zigzag(record.timestampMs - timestampMs);
    timestampMs = record.timestampMs;
    writeRecord(writer, record, names.indices);
  }
  return writer.finish();
}

/**
 * Reads what `encodeBatch` wrote; keys, values and headers are slices of `bytes`. Throws
 * `log-corrupt`, without a place, on anything else.
 */
export function decodeBatch(bytes: Buffer, baseOffset: number, count: number): StoredRecord[] {
  const reader = new BatchReader(bytes);
  const version = reader.byte();
  if (version !== formatVersion) fail(`it has format version ${version}, not ${formatVersion}`);
  const names: string[] = [];
  const nameCount = reader.length();
  for (let index = 0; index < nameCount; index += 1) names.push(reader.text());
  const records: StoredRecord[] = [];
  let timestampMs = 0;
  for (let index = 0; index < count; index += 1) {
    timestampMs += reader.zigzag();
    records.push(readRecord(reader, names, { offset: baseOffset + index, timestampMs }));
  }
  if (!reader.isAtEnd()) fail('bytes are left over after its last record');
  return records;
}

function isTimestamp(value: number): boolean {
  return Number.isInteger(value) && Math.abs(value) <= timestampMsMax;
}

function collectNames(records: readonly LogRecord[]) {
  const indices = new Map<string, number>();
  let bytesMax = 1 + varintBytesMax;
  for (const { headers } of records) {
    for (const [name] of headers) {
      if (indices.has(name)) continue;
      indices.set(name, indices.size);
      bytesMax += varintBytesMax + Buffer.byteLength(name);
    }
  }
  return { indices, bytesMax };
}

function writeRecord(
  writer: BatchWriter,
  { key, value, headers }: LogRecord,
  names: ReadonlyMap<string, number>,
): void {
  writer.varint(headers.length);
  for (const [name, content] of headers) {
    writer.varint(names.get(name) ?? 0);
    writer.varint(content.length);
    writer.bytes(content);
  }
  writer.nullable(key);
  writer.nullable(value);
}

function readRecord(
  reader: BatchReader,
  names: readonly string[],
  place: { readonly offset: number; readonly timestampMs: number },
): StoredRecord {
  const headerCount = reader.length();
  const headers: RecordHeader[] = [];
  for (let index = 0; index < headerCount; index += 1) {
    const name = names[reader.varint()];
    if (name === undefined) fail('a header has no name');
    headers.push([name, reader.bytes(reader.varint())]);
  }
  const key = reader.nullable();
  const value = reader.nullable();
  return { offset: place.offset, key, value, headers, timestampMs: place.timestampMs };
}

class BatchWriter {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytesMax: number) {
    // Not from the shared pool: the memory goes to another thread as a whole.
    this.#bytes = Buffer.allocUnsafeSlow(bytesMax);
  }

  byte(value: number): void {
    this.#bytes[this.#at] = value;
    this.#at += 1;
  }

  varint(value: number): void {
    let rest = value;
    while (rest > 0x7f) {
      this.byte((rest % 0x80) + 0x80);
      rest = Math.floor(rest / 0x80);
    }
    this.byte(rest);
  }

  zigzag(value: number): void {
    this.varint(value < 0 ? -2 * value - 1 : 2 * value);
  }

  bytes(value: Uint8Array): void {
    this.#bytes.set(value, this.#at);
    this.#at += value.length;
  }

  nullable(value: Uint8Array | null): void {
    if (value === null) return this.byte(0);
    this.varint(value.length + 1);
    this.bytes(value);
  }

  text(value: string): void {
    this.varint(Buffer.byteLength(value));
    this.#at += this.#bytes.write(value, this.#at);
  }

  finish(): Buffer {
    return this.#bytes.subarray(0, this.#at);
  }
}

class BatchReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  byte(): number {
    const value = this.#bytes[this.#at];
    if (value === undefined) fail('it ends inside a record');
    this.#at += 1;
    return value;
  }

  varint(): number {
    let value = 0;
    let scale = 1;
    for (let index = 0; index < varintBytesMax; index += 1) {
      const byte = this.byte();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      scale *= 0x80;
    }
    return fail('a number in it has too many bytes');
  }

  zigzag(): number {
    const value = this.varint();
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }

  /** A number of things that take at least a byte each, so a false one cannot make a long loop. */
  length(): number {
    const value = this.varint();
    if (value > this.#bytes.length - this.#at) fail('it ends inside a record');
    return value;
  }

  bytes(length: number): Buffer {
    const start = this.#at;
    if (length > this.#bytes.length - start) fail('it ends inside a record');
    this.#at = start + length;
    return this.#bytes.subarray(start, this.#at);
  }

  nullable(): Buffer | null {
    const length = this.varint();
    return length === 0 ? null : this.bytes(length - 1);
  }

  text(): string {
    return this.bytes(this.varint()).toString('utf8');
  }

  isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }
}

function fail(reason: string): never {
  throw new PipelineError('log-corrupt', `a record batch cannot be read: ${reason}`);
}
