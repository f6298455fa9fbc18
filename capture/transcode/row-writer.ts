import type { TableSchema } from '../../schemas/table-schema.ts';
import { tupleByte } from '../pgoutput/tuple.ts';
import type { AvroOutput, TextSpan } from './avro-output.ts';
import { columnCodec, type ColumnCodec } from './column-codec.ts';
import { overheadBytesMax } from './key-writer.ts';
import { exact, unrepresentable } from './outcome.ts';
import type { TupleSpans } from './tuple-spans.ts';

/** What the Avro of a row could not say. Empty for nearly every row, so nothing is made until needed. */
export interface Remainder {
  /** Columns whose TOASTed value was not sent. */
  unchanged: string[] | null;
  /** Column → exact text; null stands for an SQL NULL where the schema has none. */
  exact: Record<string, string | null> | null;
}

/** What a row image is made of. */
export interface RowSource {
  readonly image: TupleSpans;
  /** The image before the change, for values that were not sent again. */
  readonly before: TupleSpans | null;
  /** Only the key columns of `before` count. */
  readonly beforeIsKey: boolean;
  /** Only the key columns of `image` count. */
  readonly imageIsKey: boolean;
}

/** Writes row images: the record `Value` of the envelope. */
export class RowWriter {
  readonly #codecs: readonly ColumnCodec[];
  readonly #isKey: readonly boolean[];

  constructor(table: TableSchema) {
    this.#codecs = table.columns.map(columnCodec);
    this.#isKey = table.columns.map((column) => table.key.includes(column.name));
  }

  /** Writes all columns and notes in `remainder` what Avro could not say. */
  write(output: AvroOutput, source: RowSource, remainder: Remainder): void {
    const { image } = source;
    for (let index = 0; index < this.#codecs.length; index += 1) {
      const codec = this.#codecs[index] as ColumnCodec;
      if (image.kind(index) === tupleByte.text)
        writeText(output, codec, { span: image.at(index), remainder });
      else this.#writeWithoutText(output, index, { source, remainder });
    }
  }

  #writeWithoutText(
    output: AvroOutput,
    index: number,
    { source, remainder }: { readonly source: RowSource; readonly remainder: Remainder },
  ): void {
    const { image, before, beforeIsKey, imageIsKey } = source;
    const codec = this.#codecs[index] as ColumnCodec;
    output.reserve(codec.unchanged.length + codec.absent.length + overheadBytesMax);
    if (image.kind(index) === tupleByte.null) {
      const isMissing = imageIsKey && !this.#isKey[index];
      output.writeBuffer(isMissing ? codec.absent : codec.nothing);
      if (!isMissing && !codec.nullable) noteExact(remainder, codec.name, null);
      return;
    }
    const isKnown = before !== null && (!beforeIsKey || this.#isKey[index] === true);
    if (isKnown && before.kind(index) === tupleByte.text) {
      writeText(output, codec, { span: before.at(index), remainder });
      return;
    }
    output.writeBuffer(codec.unchanged);
    (remainder.unchanged ??= []).push(codec.name);
  }
}

interface TextValue {
  readonly span: TextSpan;
  readonly remainder: Remainder;
}

function writeText(output: AvroOutput, codec: ColumnCodec, { span, remainder }: TextValue): void {
  output.reserve((span.end - span.start) * codec.growth + overheadBytesMax);
  const mark = output.mark();
  if (codec.valueBranch !== -1) output.writeByte(codec.valueBranch);
  const outcome = codec.write(output, span);
  if (outcome === exact) return;
  if (outcome === unrepresentable) {
    output.rewind(mark);
    output.writeBuffer(codec.nothing);
  }
  noteExact(remainder, codec.name, span.bytes.toString('utf8', span.start, span.end));
}

function noteExact(remainder: Remainder, column: string, text: string | null): void {
  // A column may be called "__proto__": only an object without a prototype keeps it as a name.
  remainder.exact ??= Object.create(null) as Record<string, string | null>;
  remainder.exact[column] = text;
}
