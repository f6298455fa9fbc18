import type { AvroOutput, TextSpan } from './avro-output.ts';
import {
  approximate,
  exact,
  invalidText,
  unrepresentable,
  type Outcome,
  type ValueWriter,
} from './outcome.ts';

const minus = 0x2d;
const point = 0x2e;
const zero = 0x30;
const nine = 0x39;

/** That many decimal digits always stay below 2^53. */
const safeDigits = 15;

const twoTo32 = 4_294_967_296;

/**
 * numeric(p,s) → the unscaled number in two's complement, most significant byte first, as short as
 * possible. NaN has no such form; nor has a value with more digits after the point than the scale.
 */
export function decimalWriter(scale: number): ValueWriter {
  return (output, text) => {
    if (isSpecial(text)) return unrepresentable;
    const fraction = fractionDigits(text);
    if (fraction > scale && scale >= 0) return unrepresentable;
    if (scale < 0) return writeRounded(output, { text, dropped: -scale });
    writeUnscaled(output, { text, appended: scale - fraction });
    return exact;
  };
}

/**
 * numeric without a precision → VariableScaleDecimal. Debezium strips zeros at the end of the
 * fraction; they are part of what PostgreSQL shows, so the exact text then goes beside the value.
 */
export const writeFreeDecimal: ValueWriter = (output, text) => {
  if (isSpecial(text)) return unrepresentable;
  const end = strippedEnd(text);
  const stripped = end === text.end ? text : { bytes: text.bytes, start: text.start, end };
  output.writeInteger(fractionDigits(stripped));
  writeUnscaled(output, { text: stripped, appended: 0 });
  return end === text.end ? exact : approximate;
};

/** "NaN", "Infinity", "-Infinity". */
function isSpecial(text: TextSpan): boolean {
  const { bytes, start } = text;
  const first = bytes[bytes[start] === minus ? start + 1 : start];
  return first === 0x4e || first === 0x49;
}

function fractionDigits(text: TextSpan): number {
  for (let at = text.end - 1; at >= text.start; at -= 1) {
    if (text.bytes[at] === point) return text.end - 1 - at;
  }
  return 0;
}

/** Where the text ends without zeros at the end of its fraction, and without a point then left bare. */
function strippedEnd(text: TextSpan): number {
  if (fractionDigits(text) === 0) return text.end;
  let end = text.end;
  while (text.bytes[end - 1] === zero) end -= 1;
  return text.bytes[end - 1] === point ? end - 1 : end;
}

interface Unscaled {
  readonly text: TextSpan;
  /** Zeros to add, where the text has fewer digits after the point than the scale. */
  readonly appended: number;
}

function writeUnscaled(output: AvroOutput, { text, appended }: Unscaled): void {
  const { bytes, start, end } = text;
  const isNegative = bytes[start] === minus;
  if (end - start + appended > safeDigits) return writeLarge(output, { text, appended });
  let value = 0;
  let digits = 0;
  for (let at = isNegative ? start + 1 : start; at < end; at += 1) {
    const byte = bytes[at] as number;
    if (byte === point) continue;
    if (byte < zero || byte > nine) throw invalidText('numeric', text);
    value = value * 10 + (byte - zero);
    digits += 1;
  }
  if (digits === 0) throw invalidText('numeric', text);
  for (let count = 0; count < appended; count += 1) value *= 10;
  writeSafeBytes(output, isNegative ? -value : value);
}

function writeSafeBytes(output: AvroOutput, value: number): void {
  let length = 1;
  let limit = 128;
  while (value >= limit || value < -limit) {
    length += 1;
    limit *= 256;
  }
  output.writeByte(length << 1);
  const high = Math.floor(value / twoTo32);
  const low = value >>> 0;
  for (let shift = (length - 1) * 8; shift >= 0; shift -= 8) {
    output.writeByte(shift >= 32 ? (high >> (shift - 32)) & 0xff : (low >>> shift) & 0xff);
  }
}

function writeLarge(output: AvroOutput, { text, appended }: Unscaled): void {
  const written = text.bytes.toString('latin1', text.start, text.end).replace('.', '');
  if (!/^-?\d+$/.test(written)) throw invalidText('numeric', text);
  const value = BigInt(written + '0'.repeat(appended));
  const magnitude = (value < 0n ? -value - 1n : value).toString(16);
  const firstBits = 32 - Math.clz32(Number.parseInt(magnitude.charAt(0), 16));
  const length = Math.floor(((magnitude.length - 1) * 4 + firstBits) / 8) + 1;
  output.writeInteger(length);
  const hex = BigInt.asUintN(length * 8, value)
    .toString(16)
    .padStart(length * 2, '0');
  output.position += output.bytes.write(hex, output.position, 'hex');
}

/** numeric(p,-s): PostgreSQL wrote zeros for the digits that the scale rounds away. */
function writeRounded(
  output: AvroOutput,
  { text, dropped }: { text: TextSpan; dropped: number },
): Outcome {
  const { bytes, start, end } = text;
  const first = bytes[start] === minus ? start + 1 : start;
  if (end - first === 1 && bytes[first] === zero) {
    writeSafeBytes(output, 0);
    return exact;
  }
  for (let at = Math.max(end - dropped, first); at < end; at += 1) {
    if (bytes[at] !== zero) return unrepresentable;
  }
  if (end - dropped <= first) return unrepresentable;
  writeUnscaled(output, { text: { bytes, start, end: end - dropped }, appended: 0 });
  return exact;
}
