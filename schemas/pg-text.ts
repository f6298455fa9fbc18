import { ExactText, type Value } from './change.ts';
import { civilFromDays } from './civil-date.ts';
import type { LogicalType } from './table-schema.ts';

const microsPerDay = 86_400_000_000n;
const microsPerSecond = 1_000_000n;

/**
 * One value as PostgreSQL prints it (datestyle ISO, timezone UTC), arrays as JSON of their elements and
 * floats as their bits, because those have more than one spelling. Written apart from the transcoder's
 * parsers on purpose: `verify` compares the two.
 */
export function canonicalValue(type: LogicalType, value: Value): string | null {
  if (value === null) return null;
  if (value instanceof ExactText) return canonicalText(type, value.text);
  if (type.kind === 'array' && Array.isArray(value)) {
    return JSON.stringify(
      (value as readonly Value[]).map((item) => canonicalValue(type.element, item)),
    );
  }
  return scalarText(type, value);
}

/** The same form, made of the text that PostgreSQL itself printed. */
export function canonicalText(type: LogicalType, text: string | null): string | null {
  if (text === null) return null;
  switch (type.kind) {
    case 'float4':
    case 'float8':
      return floatBits(Number(text), type.kind);
    case 'array': {
      const items = parseArray(text);
      // Bounds other than 1 and more than one dimension are kept as PostgreSQL prints them.
      return items === null
        ? text
        : JSON.stringify(items.map((item) => canonicalText(type.element, item)));
    }
    default:
      return text;
  }
}

function scalarText(type: LogicalType, value: Exclude<Value, null | ExactText>): string {
  switch (type.kind) {
    case 'bool':
      return value === true ? 't' : 'f';
    case 'float4':
    case 'float8':
      return floatBits(Number(value), type.kind);
    case 'numeric':
      return decimalText(BigInt(value as bigint), type.scale);
    case 'date':
      return dateText(Number(value));
    case 'time':
      return timeText(BigInt(value as bigint));
    case 'timestamp':
      return timestampText(BigInt(value as bigint), '');
    case 'timestamptz':
      return timestampText(BigInt(value as bigint), '+00');
    case 'bytea':
      return `\\x${Buffer.from(value as Uint8Array).toString('hex')}`;
    default:
      return String(value as string | number | bigint);
  }
}

function floatBits(value: number, kind: 'float4' | 'float8'): string {
  const bits = Buffer.alloc(8);
  bits.writeDoubleBE(kind === 'float4' ? Math.fround(value) : value);
  return Number.isNaN(value) ? 'NaN' : bits.toString('hex');
}

/** (−1250, 2) → "-12.50"; (12, −2) → "1200". */
export function decimalText(unscaled: bigint, scale: number): string {
  if (scale <= 0) return (unscaled * 10n ** BigInt(-scale)).toString();
  const sign = unscaled < 0n ? '-' : '';
  const digits = (unscaled < 0n ? -unscaled : unscaled).toString().padStart(scale + 1, '0');
  return `${sign}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}

const pad = (value: number, width: number) => String(value).padStart(width, '0');

function dateParts(days: number): { text: string; era: string } {
  const { year, month, day } = civilFromDays(days);
  const shown = year > 0 ? year : 1 - year;
  return { text: `${pad(shown, 4)}-${pad(month, 2)}-${pad(day, 2)}`, era: year > 0 ? '' : ' BC' };
}

export function dateText(days: number): string {
  const { text, era } = dateParts(days);
  return text + era;
}

/** Microseconds of the day → "12:34:56.789". */
function timeText(micros: bigint): string {
  const seconds = Number(micros / microsPerSecond);
  const fraction = Number(micros % microsPerSecond);
  const clock = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const text = clock.map((part) => pad(part, 2)).join(':');
  return fraction === 0 ? text : `${text}.${pad(fraction, 6).replace(/0+$/, '')}`;
}

/** Microseconds since 1970 → "2026-01-02 03:04:05.678901" + zone, with " BC" where it belongs. */
export function timestampText(micros: bigint, zone: '' | '+00'): string {
  const days =
    micros >= 0n ? micros / microsPerDay : -((microsPerDay - 1n - micros) / microsPerDay);
  const { text, era } = dateParts(Number(days));
  return `${text} ${timeText(micros - days * microsPerDay)}${zone}${era}`;
}

/**
 * Elements of a one-dimensional array literal with lower bound 1; null for anything else.
 * https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO
 */
export function parseArray(text: string): (string | null)[] | null {
  if (!text.startsWith('{') || !text.endsWith('}')) return null;
  if (text === '{}') return [];
  const items: (string | null)[] = [];
  const element = /"((?:[^"\\]|\\.)*)"|([^",{}]+)/y;
  for (let at = 1; ;) {
    element.lastIndex = at;
    const match = element.exec(text);
    if (match === null) return null;
    const quoted = match[1];
    if (quoted !== undefined) items.push(quoted.replaceAll(/\\(.)/gs, '$1'));
    else items.push(match[2] === 'NULL' ? null : (match[2] ?? ''));
    at = element.lastIndex + 1;
    if (text[at - 1] === '}') return at === text.length ? items : null;
    if (text[at - 1] !== ',') return null;
  }
}
