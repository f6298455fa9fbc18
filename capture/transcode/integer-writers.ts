import type { AvroOutput, TextSpan } from './avro-output.ts';
import { exact, invalidText, type Outcome, type ValueWriter } from './outcome.ts';

const minus = 0x2d;
const zero = 0x30;

/** That many decimal digits always stay below 2^53. */
const safeDigits = 15;

/** Digits of the low part when an int8 is split. */
const lowDigits = 9;
const lowUnit = 1_000_000_000;

const int8DigitsMax = 19;
const twoTo16 = 65_536;
const twoTo32 = 4_294_967_296;

/** "t" and "f". */
export const writeBool: ValueWriter = (output, text) => {
  const byte = text.bytes[text.start];
  if (text.end - text.start !== 1 || (byte !== 0x74 && byte !== 0x66))
    throw invalidText('boolean', text);
  output.writeByte(byte === 0x74 ? 1 : 0);
  return exact;
};

/** int2, int4, oid, and every int8 that stays below 2^53; larger ones in two halves, without BigInt. */
export const writeDecimalInteger: ValueWriter = (output, text) => {
  const { bytes, end } = text;
  const isNegative = bytes[text.start] === minus;
  const start = isNegative ? text.start + 1 : text.start;
  const count = end - start;
  if (count < 1 || count > int8DigitsMax) throw invalidText('integer', text);
  if (count > safeDigits) return writeLargeInteger(output, { text, start, isNegative });
  let value = 0;
  for (let at = start; at < end; at += 1) {
    const digitValue = (bytes[at] as number) - zero;
    if (digitValue < 0 || digitValue > 9) throw invalidText('integer', text);
    value = value * 10 + digitValue;
  }
  output.writeInteger(isNegative ? -value : value);
  return exact;
};

interface LargeInteger {
  readonly text: TextSpan;
  readonly start: number;
  readonly isNegative: boolean;
}

function writeLargeInteger(output: AvroOutput, { text, start, isNegative }: LargeInteger): Outcome {
  const middle = text.end - lowDigits;
  let upper = 0;
  for (let at = start; at < middle; at += 1) upper = upper * 10 + digit(text, at);
  let lower = 0;
  for (let at = middle; at < text.end; at += 1) lower = lower * 10 + digit(text, at);
  // upper * 10^9 + lower in 64 bits: every product below stays under 2^53.
  const upperLow = upper % twoTo16;
  const product = ((upper - upperLow) / twoTo16) * lowUnit;
  const productLow = product % twoTo16;
  const rest = productLow * twoTo16 + upperLow * lowUnit + lower;
  const high = (product - productLow) / twoTo16 + Math.floor(rest / twoTo32);
  const low = rest % twoTo32;
  if (high > 0x8000_0000 || (high === 0x8000_0000 && !(isNegative && low === 0))) {
    throw invalidText('integer', text);
  }
  if (isNegative) output.writeWords(low === 0 ? -high | 0 : ~high, -low >>> 0);
  else output.writeWords(high, low);
  return exact;
}

function digit(text: TextSpan, at: number): number {
  const value = (text.bytes[at] as number) - zero;
  if (value < 0 || value > 9) throw invalidText('integer', text);
  return value;
}
