import type { AvroOutput, TextSpan } from './avro-output.ts';
import {
  approximate,
  exact,
  invalidText,
  unrepresentable,
  type Outcome,
  type ValueWriter,
} from './outcome.ts';

const openBrace = 0x7b;
const closeBrace = 0x7d;
const openBracket = 0x5b;
const equals = 0x3d;
const comma = 0x2c;
const quote = 0x22;
const backslash = 0x5c;

/** Union branches of an item, as Avro numbers them: null, value. */
const nullBranch = 0;
const valueBranch = 2;

interface ItemWriter {
  readonly write: ValueWriter;
  /** False: Avro's items are no union, so NULL has no form. */
  readonly nullable: boolean;
}

/**
 * Array text → one block of items. Avro knows neither dimensions nor bounds: of several dimensions
 * only the outer length is kept, with null items (as Debezium does), and bounds other than 1 are lost;
 * the exact text goes beside both.
 * https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO
 */
export function arrayWriter(item: ItemWriter): ValueWriter {
  const reader = new ArrayText();
  return (output, text) => {
    const outcome = reader.begin(text) ? approximate : exact;
    if (reader.isNested) return writeNested(output, { count: reader.count(), item });
    const count = reader.count();
    if (count > 0) output.writeInteger(count);
    let worst: Outcome = outcome;
    while (reader.next()) {
      const written = writeItem(output, { reader, item });
      if (written === unrepresentable) return unrepresentable;
      if (written !== exact) worst = written;
    }
    output.writeByte(0);
    return worst;
  };
}

function writeNested(
  output: AvroOutput,
  { count, item }: { readonly count: number; readonly item: ItemWriter },
): Outcome {
  if (!item.nullable) return unrepresentable;
  output.writeInteger(count);
  for (let written = 0; written < count; written += 1) output.writeByte(nullBranch);
  output.writeByte(0);
  return approximate;
}

function writeItem(
  output: AvroOutput,
  { reader, item }: { readonly reader: ArrayText; readonly item: ItemWriter },
): Outcome {
  if (!item.nullable) return reader.isNull ? unrepresentable : item.write(output, reader);
  if (reader.isNull) {
    output.writeByte(nullBranch);
    return exact;
  }
  const mark = output.mark();
  output.writeByte(valueBranch);
  const written = item.write(output, reader);
  if (written !== unrepresentable) return written;
  output.rewind(mark);
  output.writeByte(nullBranch);
  return approximate;
}

/** Walks the elements of an array's text; stands on one as the span of its text, unescaped. */
class ArrayText implements TextSpan {
  bytes: Buffer = Buffer.alloc(0);
  start = 0;
  end = 0;
  isNull = false;
  #text: TextSpan = this;
  #at = 0;
  #unescaped: Buffer = Buffer.alloc(64);

  /** Goes before the first element; true when the text gives bounds of its own: "[2:3]={...}". */
  begin(text: TextSpan): boolean {
    this.#text = text;
    this.#at = text.start;
    const hasBounds = text.bytes[this.#at] === openBracket;
    if (hasBounds) {
      while (this.#at < text.end && text.bytes[this.#at] !== equals) this.#at += 1;
      this.#at += 1;
    }
    if (text.bytes[this.#at] !== openBrace || text.bytes[text.end - 1] !== closeBrace) {
      throw invalidText('array', text);
    }
    this.#at += 1;
    return hasBounds;
  }

  /** Elements are arrays themselves. */
  get isNested(): boolean {
    return this.#text.bytes[this.#at] === openBrace;
  }

  /** Elements of the outer dimension; the walk stays where it is. */
  count(): number {
    const { bytes, end } = this.#text;
    if (this.#at === end - 1) return 0;
    let count = 1;
    let depth = 0;
    for (let at = this.#at; at < end - 1; at += 1) {
      const byte = bytes[at];
      if (byte === quote) at = this.#closingQuote(at);
      else if (byte === openBrace) depth += 1;
      else if (byte === closeBrace) depth -= 1;
      else if (byte === comma && depth === 0) count += 1;
    }
    return count;
  }

  /** Goes to the next element; false when there is none. */
  next(): boolean {
    const { bytes, end } = this.#text;
    if (this.#at >= end - 1) return false;
    if (bytes[this.#at] === quote) this.#quoted();
    else this.#plain();
    if (this.#at < end - 1) {
      if (bytes[this.#at] !== comma) throw invalidText('array', this.#text);
      this.#at += 1;
    }
    return true;
  }

  #plain(): void {
    const { bytes, end } = this.#text;
    const first = this.#at;
    while (this.#at < end - 1 && bytes[this.#at] !== comma) this.#at += 1;
    this.bytes = bytes;
    this.start = first;
    this.end = this.#at;
    this.isNull = this.#at - first === 4 && bytes.toString('latin1', first, this.#at) === 'NULL';
  }

  #quoted(): void {
    const { bytes } = this.#text;
    const first = this.#at + 1;
    const close = this.#closingQuote(this.#at);
    this.#at = close + 1;
    this.isNull = false;
    this.bytes = bytes;
    this.start = first;
    this.end = close;
    const escape = bytes.indexOf(backslash, first);
    if (escape !== -1 && escape < close) this.#unescape();
  }

  /** Inside quotes a backslash stands before every quote and backslash of the value. */
  #unescape(): void {
    const { bytes, start, end } = this;
    if (this.#unescaped.length < end - start) this.#unescaped = Buffer.alloc(2 * (end - start));
    let length = 0;
    for (let at = start; at < end; at += 1) {
      if (bytes[at] === backslash) at += 1;
      this.#unescaped[length++] = bytes[at] as number;
    }
    this.bytes = this.#unescaped;
    this.start = 0;
    this.end = length;
  }

  #closingQuote(open: number): number {
    const { bytes, end } = this.#text;
    let at = open + 1;
    while (at < end && bytes[at] !== quote) at += bytes[at] === backslash ? 2 : 1;
    if (at >= end - 1) throw invalidText('array', this.#text);
    return at;
  }
}
