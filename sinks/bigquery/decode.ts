import { PipelineError } from '../../runtime/errors.ts';
import type { Value } from '../../schemas/change.ts';
import type { LogicalType } from '../../schemas/table-schema.ts';
import { valueOfExact } from '../lake/exact.ts';
import { isDocument } from './column-policy.ts';
import { readJson } from './json-document.ts';

/** A cell as REST gives it, and what `_cdc_exact` says of it. */
export interface StoredCell {
  readonly lakeType: string;
  readonly cell: string | null;
  readonly exact: string | undefined;
}

/** The exact inverse of `encodeValue`. */
export function decodeValue(type: LogicalType, { lakeType, cell, exact }: StoredCell): Value {
  if (exact !== undefined) return valueOfExact(type, exact);
  if (cell === null) return null;
  // Its keys come in BigQuery's order.
  if (isDocument(type.kind) && lakeType === 'JSON') return readJson(cell).canonical;
  return decodeCell(type, cell);
}

function decodeCell(type: LogicalType, cell: string): Value {
  switch (type.kind) {
    case 'bool':
      return cell === 'true';
    case 'int2':
    case 'int4':
      return Number(cell);
    case 'float4':
    case 'float8':
      return floatOf(cell);
    case 'int8':
    case 'oid':
      return unscaledOf(cell, 0);
    case 'numeric':
      return unscaledOf(cell, type.scale);
    case 'date':
      return Date.parse(`${cell}T00:00:00Z`) / 86_400_000;
    case 'time':
      return microsOf(`1970-01-01 ${cell}`);
    case 'timestamp':
      return microsOf(cell);
    case 'timestamptz':
      // Read with `unix_micros`; in an array it is the text that was staged.
      return /^-?\d+$/.test(cell) ? BigInt(cell) : microsOf(cell);
    case 'bytea':
      return new Uint8Array(Buffer.from(cell, 'base64'));
    case 'array':
      return itemsOf(type.element, cell);
    default:
      return cell;
  }
}

const specialFloats: Readonly<Record<string, number>> = {
  nan: NaN,
  inf: Infinity,
  '-inf': -Infinity,
  infinity: Infinity,
  '-infinity': -Infinity,
};

const floatOf = (text: string): number => specialFloats[text.toLowerCase()] ?? Number(text);

/** ("-12.5", 2) → −1250; ("12.000000000", 0) → 12; ("1200", −2) → 12. */
function unscaledOf(text: string, scale: number): bigint {
  const match = /^(-?)(\d+)(?:\.(\d+))?$/.exec(text);
  if (match === null) throw corrupt('a number');
  const [, sign, whole = '', fraction = ''] = match;
  const digits = scale <= 0 ? whole : whole + fraction.padEnd(scale, '0').slice(0, scale);
  const unscaled = scale < 0 ? BigInt(digits) / 10n ** BigInt(-scale) : BigInt(digits);
  return sign === '-' ? -unscaled : unscaled;
}

/** "2024-01-31T10:00:00.5" or with a blank → microseconds since 1970 of that clock. */
function microsOf(text: string): bigint {
  const match = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?$/.exec(text);
  if (match === null) throw corrupt('a time');
  const [, date, time, fraction = ''] = match;
  const seconds = BigInt(Date.parse(`${date}T${time}Z`)) / 1000n;
  return seconds * 1_000_000n + BigInt(fraction.padEnd(6, '0'));
}

function itemsOf(element: LogicalType, json: string): readonly Value[] {
  const items: unknown = JSON.parse(json);
  if (!Array.isArray(items)) throw corrupt('an array');
  return items.map((item: unknown) => {
    if (item === null) return null;
    return decodeCell(element, typeof item === 'string' ? item : JSON.stringify(item));
  });
}

function corrupt(what: string): PipelineError {
  return new PipelineError('sink-corrupt', `a lake column that should hold ${what} does not`, {
    hint: 'load the table anew from the log',
  });
}
