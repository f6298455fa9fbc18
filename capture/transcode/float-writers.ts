import type { TextSpan } from './avro-output.ts';
import { exact, invalidText, type ValueWriter } from './outcome.ts';

const minus = 0x2d;
const point = 0x2e;
const zero = 0x30;

/** That many decimal digits always stay below 2^53, and powers of ten up to them are exact. */
const safeDigits = 15;
const powersOfTen = Array.from({ length: safeDigits + 1 }, (_, exponent) => 10 ** exponent);

/** float8: PostgreSQL writes the shortest text that reads back as the same number. */
export const writeDouble: ValueWriter = (output, text) => {
  const value = plainDecimal(text) ?? parse(latin1(text), text);
  output.position = output.bytes.writeDoubleLE(value, output.position);
  return exact;
};

/**
 * Short decimals without an exponent: a whole number over a power of ten, both exact, so that the one
 * division rounds right. Undefined for all else.
 */
function plainDecimal({ bytes, start, end }: TextSpan): number | undefined {
  const first = bytes[start] === minus ? start + 1 : start;
  if (end === first || end - first > safeDigits) return undefined;
  let value = 0;
  let fraction = 0;
  for (let at = first; at < end; at += 1) {
    const digit = (bytes[at] as number) - zero;
    if (digit === point - zero && fraction === 0 && at > first) fraction = end - 1 - at;
    else if (digit < 0 || digit > 9) return undefined;
    else value = value * 10 + digit;
  }
  const magnitude = fraction === 0 ? value : value / (powersOfTen[fraction] as number);
  return first === start ? magnitude : -magnitude;
}

/** float4. */
export const writeFloat: ValueWriter = (output, text) => {
  const digits = latin1(text);
  output.position = output.bytes.writeFloatLE(
    nearestFloat(digits, parse(digits, text)),
    output.position,
  );
  return exact;
};

const latin1 = (text: TextSpan): string => text.bytes.toString('latin1', text.start, text.end);

function parse(digits: string, text: TextSpan): number {
  const value = Number(digits);
  if (digits === '' || (Number.isNaN(value) && digits !== 'NaN')) throw invalidText('float', text);
  return value;
}

/**
 * Rounding text to a double and that to a float may round twice: when the double lies exactly between
 * two floats, the text itself decides.
 */
function nearestFloat(digits: string, value: number): number {
  const float = Math.fround(value);
  const other = value + (value - float);
  if (float === value || !Number.isFinite(other) || Math.fround(other) !== other) return float;
  const order = compareMagnitude(digits, value);
  if (order === 0) return float;
  const [smaller, larger] = Math.abs(float) < Math.abs(other) ? [float, other] : [other, float];
  return order < 0 ? smaller : larger;
}

/** Significant digits that settle every comparison with a text of at most 17. */
const comparedDigits = 60;

/** Negative when the text's magnitude is below the double's exact one, positive when above. */
function compareMagnitude(digits: string, value: number): number {
  const [textDigits, textExponent] = scientific(digits);
  const [valueDigits, valueExponent] = scientific(value.toExponential(comparedDigits));
  if (textExponent !== valueExponent) return textExponent - valueExponent;
  const length = Math.max(textDigits.length, valueDigits.length);
  const [left, right] = [textDigits.padEnd(length, '0'), valueDigits.padEnd(length, '0')];
  return left < right ? -1 : Number(left > right);
}

/** "0.00125e3" → ["125", 0]: significant digits, and the power of ten of the first. */
function scientific(digits: string): readonly [string, number] {
  const [mantissa = '', exponent = '0'] = digits.toLowerCase().replace('-', '').split('e');
  const [whole = '', fraction = ''] = mantissa.split('.');
  const all = whole + fraction;
  const significant = all.replace(/^0+/, '');
  const power = whole.length - 1 - (all.length - significant.length);
  return [significant, power + Number(exponent)];
}
