import { AvroOutput } from './avro-output.ts';
import type { ChangeFrame, TranscoderOptions, TransactionFrame } from './transcoder.ts';

/** Union branch 1, where null is branch 0. */
const present = 2;
const absent = 0;

/** Room for one pre-encoded part; names in PostgreSQL have at most 63 bytes, topic prefixes 249. */
const partBytesMax = 4096;

/** LSNs up to here go through numbers; PostgreSQL needs years of heavy writing to pass it. */
const safeLsn = BigInt(Number.MAX_SAFE_INTEGER);

/** Room for the numbers that differ from change to change. */
const numbersBytesMax = 128;

const empty = Buffer.alloc(0);

/** The part of the sequence text and of `source` after the change's LSN. */
const sequenceEnd = '"]';

/**
 * Writes what follows the row in Debezium's envelope: source, transaction, op and the three clocks.
 * Only the LSN differs from change to change; what lies between is encoded once per transaction, the
 * clocks once per reading.
 */
export class EnvelopeWriter {
  readonly #options: TranscoderOptions;
  readonly #scratch = new AvroOutput();
  #transaction: TransactionFrame | null = null;
  /** From `version` to the first digit of the LSN in `sequence`, for LSNs of `#digits` digits. */
  #head: Buffer = empty;
  #digits = 0;
  /** From the end of `sequence` to the branch of `lsn`. */
  #middle: Buffer = empty;
  /** From `xmin` to `origin_lsn`. */
  #origin: Buffer = empty;
  #capturedAtUs = -1n;
  #clocks: Buffer = empty;
  #op = '';
  #opAndClocks: Buffer = empty;
  #plainEnd: Buffer = empty;
  /** Capture's clock of the last frame, milliseconds since 1970. */
  timestampMs = 0;

  constructor(options: TranscoderOptions) {
    this.#options = options;
  }

  /** `orderOffset` is added to the transaction block's orders: 1 for the second half of a key change. */
  write(
    output: AvroOutput,
    frame: ChangeFrame,
    change: { readonly op: string; readonly orderOffset: number },
  ): void {
    const { block, lsn, transaction } = frame;
    const digits = lsn <= safeLsn ? String(Number(lsn)) : lsn.toString();
    if (transaction !== this.#transaction || digits.length !== this.#digits) {
      this.#enter(transaction, digits.length);
    }
    if (frame.capturedAtUs !== this.#capturedAtUs) this.#read(frame.capturedAtUs);
    if (this.#plainEnd.length === 0 || change.op !== this.#op) this.#compose(change.op);
    const parts = this.#head.length + this.#middle.length + this.#origin.length;
    const blockBytes = block === null ? 0 : 3 * block.id.length;
    output.reserve(parts + this.#clocks.length + blockBytes + numbersBytesMax);
    output.writeBuffer(this.#head);
    output.writeAscii(digits);
    output.writeBuffer(this.#middle);
    if (lsn <= safeLsn) output.writeInteger(Number(lsn));
    else output.writeLong(lsn);
    if (block === null) {
      output.writeBuffer(this.#plainEnd);
      return;
    }
    output.writeBuffer(this.#origin);
    writeBlock(output, block, change.orderOffset);
    output.writeBuffer(this.#opAndClocks);
  }

  /** What follows the LSN, for changes without a transaction block (all of it) and with one (after it). */
  #compose(op: string): void {
    this.#op = op;
    this.#opAndClocks = Buffer.concat([Buffer.of(op.length << 1), Buffer.from(op), this.#clocks]);
    this.#plainEnd = Buffer.concat([this.#origin, Buffer.of(absent), this.#opAndClocks]);
  }

  #enter(transaction: TransactionFrame, digits: number): void {
    this.#transaction = transaction;
    this.#digits = digits;
    this.#head = this.#encodeHead(transaction, digits);
    this.#middle = this.#encodeMiddle(transaction);
    this.#plainEnd = empty;
    const { origin } = transaction;
    this.#origin = this.#encode((part) => {
      writeOptionalLong(part, null);
      part.writeByte(origin === null ? absent : present);
      if (origin !== null) writeString(part, origin.name);
      writeOptionalLong(part, origin === null ? null : origin.lsn);
    });
  }

  #encodeHead(transaction: TransactionFrame, digits: number): Buffer {
    const { prefix, database, connector, version } = this.#options;
    const { committedAtUs, snapshot, lastCommitLsn } = transaction;
    const sequence = lastCommitLsn === null ? '[null,"' : `["${lastCommitLsn}","`;
    return this.#encode((part) => {
      writeString(part, version);
      writeString(part, connector);
      writeString(part, prefix);
      part.writeLong(floorDivide(committedAtUs, 1000n));
      // `snapshot` has a default, so its type is branch 0.
      part.writeByte(absent);
      writeString(part, snapshot);
      writeString(part, database);
      part.writeByte(present);
      part.writeInteger(sequence.length + digits + sequenceEnd.length);
      part.writeAscii(sequence);
    });
  }

  #encodeMiddle({ committedAtUs, xid }: TransactionFrame): Buffer {
    const { table } = this.#options;
    return this.#encode((part) => {
      part.writeAscii(sequenceEnd);
      writeOptionalLong(part, committedAtUs);
      writeOptionalLong(part, committedAtUs * 1000n);
      writeString(part, table.schema);
      writeString(part, table.name);
      writeOptionalLong(part, xid === null ? null : BigInt(xid));
      part.writeByte(present);
    });
  }

  #read(capturedAtUs: bigint): void {
    const milliseconds = floorDivide(capturedAtUs, 1000n);
    this.#capturedAtUs = capturedAtUs;
    this.timestampMs = Number(milliseconds);
    this.#plainEnd = empty;
    this.#clocks = this.#encode((part) => {
      writeOptionalLong(part, milliseconds);
      writeOptionalLong(part, capturedAtUs);
      writeOptionalLong(part, capturedAtUs * 1000n);
    });
  }

  #encode(write: (part: AvroOutput) => void): Buffer {
    this.#scratch.begin();
    this.#scratch.reserve(partBytesMax);
    write(this.#scratch);
    return this.#scratch.take();
  }
}

/** Commit times before 1970 round down, as Java's instants do. */
const floorDivide = (value: bigint, divisor: bigint): bigint =>
  value < 0n ? (value - divisor + 1n) / divisor : value / divisor;

function writeString(output: AvroOutput, text: string): void {
  const bytes = Buffer.from(text);
  output.writeText({ bytes, start: 0, end: bytes.length });
}

function writeOptionalLong(output: AvroOutput, value: bigint | null): void {
  output.writeByte(value === null ? absent : present);
  if (value !== null) output.writeLong(value);
}

function writeBlock(
  output: AvroOutput,
  block: NonNullable<ChangeFrame['block']>,
  orderOffset: number,
): void {
  output.writeByte(present);
  writeString(output, block.id);
  output.writeLong(block.totalOrder + BigInt(orderOffset));
  output.writeLong(block.collectionOrder + BigInt(orderOffset));
}
