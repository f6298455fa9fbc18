import { assert } from '../../runtime/assert.ts';
import { avroFieldName } from '../../schemas/avro-names.ts';
import type { TableSchema } from '../../schemas/table-schema.ts';
import { tupleByte } from '../pgoutput/tuple.ts';
import { AvroOutput, type TextSpan } from './avro-output.ts';
import { keyCodec, type ColumnCodec } from './column-codec.ts';
import { unrepresentable } from './outcome.ts';
import type { TupleSpans } from './tuple-spans.ts';

/** Room that a value may need beyond its text: branches, lengths, fixed-size numbers, placeholders. */
export const overheadBytesMax = 128;

interface KeyColumn {
  readonly index: number;
  /** Its field in the key's record. */
  readonly field: string;
  readonly codec: ColumnCodec;
}

/** Bytes and text of record keys: the key columns in key order. */
export class KeyWriter {
  readonly #frame: Buffer;
  readonly #columns: readonly KeyColumn[];
  readonly #scratch = new AvroOutput();

  constructor(table: TableSchema, frame: Buffer) {
    this.#frame = frame;
    this.#columns = table.key.map((name) => {
      const index = table.columns.findIndex((column) => column.name === name);
      const column = table.columns[index];
      assert(column !== undefined, `key column ${name} is a column of the table`);
      return { index, field: avroFieldName(name), codec: keyCodec(column) };
    });
  }

  /** Places of the key columns in a row. */
  get indices(): ReadonlySet<number> {
    return new Set(this.#columns.map(({ index }) => index));
  }

  /** The framed key of an image; what is not in it comes from `before`, the image before it. */
  encode(output: AvroOutput, image: TupleSpans, before: TupleSpans | null): Buffer {
    output.begin();
    output.reserve(this.#frame.length);
    output.writeBuffer(this.#frame);
    for (const { index, codec } of this.#columns) {
      const spans = sourceOf(index, image, before);
      output.reserve(overheadBytesMax);
      if (spans === null) output.writeBuffer(codec.nothing);
      else writeKeyValue(output, codec, spans.at(index));
    }
    return output.take();
  }

  /**
   * Whether the change left the key as it was. The texts decide, not the Avro: there 1.0 and 1.00 of a
   * numeric without scale are one number, but the rows that sinks know by them are two.
   */
  isKept(image: TupleSpans, before: TupleSpans): boolean {
    return this.#columns.every(({ index }) => {
      const spans = sourceOf(index, image, before);
      if (spans === null || before.kind(index) !== tupleByte.text) return spans === null;
      const { bytes, start, end } = spans.at(index);
      const [from, to] = [start, end];
      const old = before.at(index);
      return bytes.compare(old.bytes, old.start, old.end, from, to) === 0;
    });
  }

  /** The key as JSON text with the names of its record's fields: `{"a":2,"b":"c"}`. */
  toJson(image: TupleSpans, before: TupleSpans | null): string {
    const members = this.#columns.map(({ index, field, codec }) => {
      const spans = sourceOf(index, image, before);
      const value = spans === null ? 'null' : this.#jsonOf(codec, spans.at(index));
      return `${JSON.stringify(field)}:${value}`;
    });
    return `{${members.join(',')}}`;
  }

  #jsonOf(codec: ColumnCodec, span: TextSpan): string {
    const text = span.bytes.toString('utf8', span.start, span.end);
    switch (codec.type.kind) {
      case 'bool':
        return text === 't' ? 'true' : 'false';
      case 'int2':
      case 'int4':
      case 'int8':
      case 'oid':
        return text;
      case 'float4':
      case 'float8':
      case 'numeric':
      case 'numeric-free':
        return /^-?[0-9]/.test(text) ? text : connectText(text);
      case 'date':
      case 'time':
      case 'timestamp':
        return String(readLong(this.#encoded(codec, span)));
      case 'timestamptz':
        return JSON.stringify(this.#encoded(codec, span).toString('utf8', 1));
      case 'bytea':
        return JSON.stringify(Buffer.from(text.slice(2), 'hex').toString('base64'));
      case 'text':
      case 'uuid':
      case 'json':
      case 'jsonb':
      case 'enum':
      case 'inet':
      case 'named-text':
      case 'restated':
      case 'array':
      case 'other':
        return connectText(text);
    }
  }

  #encoded(codec: ColumnCodec, span: TextSpan): Buffer {
    this.#scratch.begin();
    this.#scratch.reserve(overheadBytesMax);
    codec.write(this.#scratch, span);
    return this.#scratch.take();
  }
}

/** Text in a header as Kafka Connect writes it: only backslash and quote are escaped. */
const connectText = (text: string): string => `"${text.replaceAll(/[\\"]/g, '\\$&')}"`;

/** The image itself, or the one before it where the value was not sent; null where neither has it. */
function sourceOf(index: number, image: TupleSpans, before: TupleSpans | null): TupleSpans | null {
  if (image.kind(index) === tupleByte.text) return image;
  return before?.kind(index) === tupleByte.text ? before : null;
}

function writeKeyValue(output: AvroOutput, codec: ColumnCodec, span: TextSpan): void {
  output.reserve((span.end - span.start) * codec.growth + overheadBytesMax);
  const mark = output.mark();
  if (codec.write(output, span) !== unrepresentable) return;
  output.rewind(mark);
  output.writeBuffer(codec.nothing);
}

/** An Avro long from the start of `bytes`. */
function readLong(bytes: Buffer): bigint {
  let zigzag = 0n;
  for (const [index, byte] of bytes.entries()) zigzag |= BigInt(byte & 0x7f) << BigInt(7 * index);
  return (zigzag >> 1n) ^ -(zigzag & 1n);
}
