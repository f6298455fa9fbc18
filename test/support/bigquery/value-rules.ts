import { storedJson } from './json-value.ts';
import { ServiceError } from './service-error.ts';
import type { Field } from './table-schema.ts';

/**
 * A value as the store takes it, checked: INT64, NUMERIC (times 10^9), BIGNUMERIC (times 10^38), TIMESTAMP,
 * DATETIME and TIME (microseconds) as bigint, DATE as days since 1970, JSON as text, BYTES as bytes.
 */
export type Cell =
  | null
  | boolean
  | bigint
  | number
  | string
  | Uint8Array
  | readonly Cell[]
  | { readonly [name: string]: Cell };
export type Row = Readonly<Record<string, Cell>>;

const invalid = (field: Field, what: string): never => {
  throw new ServiceError('invalid', `Field ${field.name}: ${what}`, field.name);
};

const int64Min = -(2n ** 63n);
const int64Max = 2n ** 63n - 1n;
/** 0001-01-01 and the last microsecond of 9999. https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types */
const microsMin = -62_135_596_800_000_000n;
const microsMax = 253_402_300_799_999_999n;
const dayMin = -719_162;
const dayMax = 2_932_896;
const dayMicros = 86_400_000_000n;
const numericMax = 10n ** 38n - 1n;
const numericScale = 9;
/** 578960446186580977117854925043439539266.34992332820282019728792003956564819967 */
export const bignumericMax = 2n ** 255n - 1n;
export const bignumericMin = -(2n ** 255n);
export const bignumericScale = 38;

/** A decimal text as an integer of 10^-scale, rounded half away from zero. Undefined if it is no number. */
function scaleDecimal(text: string, scale: number): bigint | undefined {
  const match = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,4}))?$/.exec(text.trim());
  const [, sign = '', whole = '', fraction = '', exponent = '0'] = match ?? [];
  if (match === null || whole + fraction === '') return undefined;
  const digits = BigInt(whole + fraction);
  const shift = scale - fraction.length + Number(exponent);
  const divisor = 10n ** BigInt(Math.max(0, -shift));
  const size =
    shift >= 0 ? digits * 10n ** BigInt(shift) : (digits * 2n + divisor) / (divisor * 2n);
  return sign === '-' ? -size : size;
}

/** The text of an integer of 10^-scale, without zeros at its end, as BigQuery prints it. */
export function decimalText(scaled: bigint, scale: number): string {
  const digits = (scaled < 0n ? -scaled : scaled).toString().padStart(scale + 1, '0');
  const fraction = digits.slice(digits.length - scale).replace(/0+$/, '');
  const whole = digits.slice(0, digits.length - scale);
  return `${scaled < 0n ? '-' : ''}${whole}${fraction === '' ? '' : `.${fraction}`}`;
}

function checkDecimal(field: Field, value: unknown): Cell {
  const isNumeric = field.type === 'NUMERIC';
  const scale = isNumeric ? numericScale : bignumericScale;
  const text =
    typeof value === 'string' || typeof value === 'number' || typeof value === 'bigint'
      ? String(value)
      : '';
  const scaled = scaleDecimal(text, scale);
  if (scaled === undefined) return invalid(field, `Invalid ${field.type} value: ${text}`);
  const [min, max] = isNumeric ? [-numericMax, numericMax] : [bignumericMin, bignumericMax];
  if (scaled < min || scaled > max)
    return invalid(field, `Invalid ${field.type} value: ${text} is out of range`);
  return scaled;
}

function checkInt(field: Field, value: unknown): bigint {
  const text =
    typeof value === 'number' || typeof value === 'bigint' || typeof value === 'string'
      ? String(value)
      : '';
  if (!/^[+-]?\d+$/.test(text)) return invalid(field, `Could not convert value to integer`);
  const int = BigInt(text.replace('+', ''));
  if (int < int64Min || int > int64Max) return invalid(field, `Integer out of range: ${text}`);
  return int;
}

function checkFloat(field: Field, value: unknown): number {
  if (typeof value === 'number') return value;
  if (value === 'NaN') return Number.NaN;
  const infinite = /^([+-]?)inf(inity)?$/i.exec(String(value));
  if (infinite !== null) return infinite[1] === '-' ? -Infinity : Infinity;
  const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : Number.NaN;
  return Number.isNaN(number) ? invalid(field, 'Could not convert value to double') : number;
}

function daysOf(field: Field, text: string): number {
  const match = /^(\d{4})-(\d{1,2})-(\d{1,2})$/.exec(text);
  const [, year = '', month = '', day = ''] = match ?? [];
  const date = new Date(0);
  date.setUTCFullYear(Number(year), Number(month) - 1, Number(day));
  const isReal =
    match !== null && date.getUTCMonth() === Number(month) - 1 && date.getUTCDate() === Number(day);
  const days = date.getTime() / 86_400_000;
  if (!isReal || days < dayMin || days > dayMax) return invalid(field, `Invalid date: '${text}'`);
  return days;
}

function timeMicros(field: Field, text: string): bigint {
  const match = /^(\d{1,2}):(\d{2}):(\d{2})(?:\.(\d{1,6}))?$/.exec(text);
  const [, hour = '', minute = '', second = '', fraction = ''] = match ?? [];
  if (match === null || Number(hour) > 23 || Number(minute) > 59 || Number(second) > 59) {
    return invalid(field, `Invalid time: '${text}'`);
  }
  const seconds = Number(hour) * 3600 + Number(minute) * 60 + Number(second);
  return BigInt(seconds) * 1_000_000n + BigInt(fraction.padEnd(6, '0'));
}

function civilMicros(field: Field, text: string): bigint {
  const [, date = '', time = '00:00:00'] = /^(\S+?)(?:[ T](\S+))?$/.exec(text) ?? [];
  return BigInt(daysOf(field, date)) * dayMicros + timeMicros(field, time);
}

function checkTimestamp(field: Field, value: unknown): bigint {
  if (typeof value === 'bigint') return boundedMicros(field, value);
  if (typeof value === 'number') return boundedMicros(field, BigInt(Math.round(value * 1e6)));
  const text = String(value);
  const match = /^(.*?)\s*(Z|UTC|([+-])(\d{1,2})(?::?(\d{2}))?)?$/i.exec(text);
  const [, civil = '', , sign = '', hours = '0', minutes = '0'] = match ?? [];
  // `2024-01-01` ends like an offset: only what follows a time is one.
  const hasTime = civil.includes(':');
  const offset =
    hasTime && sign !== '' ? BigInt(Number(hours) * 60 + Number(minutes)) * 60_000_000n : 0n;
  const micros = civilMicros(field, hasTime ? civil : text);
  return boundedMicros(field, sign === '-' ? micros + offset : micros - offset);
}

function boundedMicros(field: Field, micros: bigint): bigint {
  if (micros < microsMin || micros > microsMax)
    return invalid(field, `Timestamp out of range: ${micros}`);
  return micros;
}

const json = JSON as unknown as { rawJSON(text: string): unknown };
const rawJson = (int: bigint): unknown => json.rawJSON(String(int));

/** Parses a line whose whole numbers beyond 2^53 become bigint, so that none is rounded. */
export function parseExact(line: string): unknown {
  const reviver = (_: string, value: unknown, { source }: { source?: string }) =>
    typeof value === 'number' && !Number.isSafeInteger(value) && /^-?\d+$/.test(source ?? '')
      ? BigInt(source ?? '')
      : value;
  return JSON.parse(line, reviver as Parameters<typeof JSON.parse>[1]) as unknown;
}

function checkJson(field: Field, value: unknown): string {
  const text =
    typeof value === 'string'
      ? value
      : JSON.stringify(value, (_, part: unknown) =>
          typeof part === 'bigint' ? rawJson(part) : part,
        );
  try {
    return storedJson(text, 'round');
  } catch (error) {
    return invalid(field, `Invalid JSON: ${error instanceof Error ? error.message : ''}`);
  }
}

function checkText(field: Field, value: unknown): string {
  if (typeof value === 'object') return invalid(field, 'This field is not a record');
  const text = typeof value === 'string' ? value : `${value as number | bigint | boolean}`;
  const length = Array.from(text).length;
  if (length > (field.maxLength ?? Infinity)) {
    return invalid(field, `maximum length ${field.maxLength}, but its value has length ${length}`);
  }
  return text;
}

function checkBytes(field: Field, value: unknown): Uint8Array {
  if (value instanceof Uint8Array) return value;
  const text = String(value);
  if (!/^[A-Za-z0-9+/_-]*={0,2}$/.test(text))
    return invalid(field, 'Could not decode base64 string to bytes');
  return Buffer.from(text, 'base64');
}

function checkBool(field: Field, value: unknown): boolean {
  if (typeof value === 'boolean') return value;
  const text = String(value).toLowerCase();
  if (text === 'true' || text === 'false') return text === 'true';
  return invalid(field, `Could not convert value to boolean`);
}

function checkScalar(field: Field, value: unknown): Cell {
  switch (field.type) {
    case 'STRING':
      return checkText(field, value);
    case 'BYTES':
      return checkBytes(field, value);
    case 'INT64':
      return checkInt(field, value);
    case 'FLOAT64':
      return checkFloat(field, value);
    case 'NUMERIC':
    case 'BIGNUMERIC':
      return checkDecimal(field, value);
    case 'BOOL':
      return checkBool(field, value);
    case 'TIMESTAMP':
      return checkTimestamp(field, value);
    case 'DATE':
      return typeof value === 'number' ? checkDay(field, value) : daysOf(field, String(value));
    case 'TIME':
      return typeof value === 'bigint' ? checkTime(field, value) : timeMicros(field, String(value));
    case 'DATETIME':
      return typeof value === 'bigint'
        ? boundedMicros(field, value)
        : civilMicros(field, String(value));
    case 'JSON':
      return checkJson(field, value);
    case 'STRUCT':
      if (typeof value !== 'object' || Array.isArray(value))
        return invalid(field, 'This field is a record');
      return checkRow(field.fields, value as Readonly<Record<string, unknown>>);
    default:
      return field.type satisfies never;
  }
}

function checkDay(field: Field, days: number): number {
  if (!Number.isInteger(days) || days < dayMin || days > dayMax)
    return invalid(field, `Invalid date: ${days}`);
  return days;
}

function checkTime(field: Field, micros: bigint): bigint {
  if (micros < 0n || micros >= dayMicros) return invalid(field, `Invalid time: ${micros}`);
  return micros;
}

/** A column's value by BigQuery's rules. Throws `invalid`, with the column as location. */
export function checkCell(field: Field, value: unknown): Cell {
  if (field.mode === 'REPEATED') {
    if (value === null || value === undefined) return [];
    if (!Array.isArray(value))
      return invalid(field, 'Array specified for non-repeated field or the reverse');
    return value.map((element: unknown) =>
      element === null
        ? invalid(field, 'Only optional fields can be set to NULL')
        : checkScalar(field, element),
    );
  }
  if (value === null || value === undefined) {
    if (field.mode === 'REQUIRED') return invalid(field, `Missing required field: ${field.name}.`);
    return null;
  }
  if (Array.isArray(value) && field.type !== 'JSON')
    return invalid(field, 'Array specified for non-repeated field.');
  return checkScalar(field, value);
}

/** A row by BigQuery's rules: column names are case-insensitive, unknown ones refused unless ignored. */
export function checkRow(
  fields: readonly Field[],
  row: Readonly<Record<string, unknown>>,
  isUnknownIgnored = false,
): Row {
  const given = new Map(
    Object.entries(row).map(([name, value]) => [name.toLowerCase(), [name, value] as const]),
  );
  const cells: Record<string, Cell> = {};
  for (const field of fields) {
    cells[field.name] = checkCell(field, given.get(field.name.toLowerCase())?.[1]);
    given.delete(field.name.toLowerCase());
  }
  const unknown = [...given.values()][0];
  if (unknown !== undefined && !isUnknownIgnored) {
    throw new ServiceError('invalid', `No such field: ${unknown[0]}.`, unknown[0]);
  }
  return cells;
}
